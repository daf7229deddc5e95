// A line of the last values beside a number, which says the same: it is not read aloud.

import { setAttribute, svg } from "../dom.js";

const WIDTH = 96;
const HEIGHT = 24;
/** So many values fill it: fewer begin further right. */
const FULL = 24;

/** @returns {{element: Element, update: function(Array<number|null>)}} */
export function sparkline() {
  const path = svg("path", {});
  const element = svg("svg", { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, path);

  function update(values) {
    const largest = Math.max(0, ...values.filter((each) => each !== null));
    const step = WIDTH / (Math.max(FULL, values.length) - 1);
    const first = WIDTH - step * (values.length - 1);
    let joined = false;
    const parts = values.map((value, index) => {
      if (value === null) {
        joined = false;
        return "";
      }
      const y = HEIGHT - 2 - (largest ? ((HEIGHT - 4) * value) / largest : 0);
      const part = `${joined ? "L" : "M"}${(first + index * step).toFixed(1)} ${y.toFixed(1)}`;
      joined = true;
      return part;
    });
    setAttribute(path, "d", parts.join(""));
  }

  return { element, update };
}

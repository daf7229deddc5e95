// A value as text and as a small bar, with marks where its thresholds are.

import { el, setAttribute, setStyle, setText } from "../dom.js";
import { position, severity } from "../plugins.js";
import { quantity } from "../values.js";

/** An empty bar. Fill it with `setBar`. */
export const bar = () =>
  el("div", { class: "value" },
    el("span", { class: "number" }),
    el("div", { class: "bar", "aria-hidden": "true" }, el("div", { class: "fill" })));

/**
 * @param {number|null} value null: there is none.
 * @param {Object} plugin as in /api/v1/plugins.
 * @param {[number, number]} scale of all bars that are compared.
 */
export function setBar(element, value, plugin, scale, { state = severity(value, plugin), metric = "" } = {}) {
  const [text, track] = element.children;
  setText(text, quantity(value, plugin));
  setAttribute(element, "data-state", value === null ? "none" : state);
  setAttribute(element, "title", metric || null);
  setStyle(track.firstElementChild, { width: value === null ? "0" : `${(100 * position(value, scale)).toFixed(1)}%` });
  setThresholds(track, plugin, scale);
}

function setThresholds(track, { panel }, [low, high]) {
  const inside = panel.thresholds.filter(({ value }) => value > low && value < high);
  while (track.children.length - 1 > inside.length) track.lastElementChild.remove();
  while (track.children.length - 1 < inside.length) track.append(el("i", {}));
  inside.forEach((threshold, index) => {
    const mark = track.children[index + 1];
    setAttribute(mark, "class", threshold.severity);
    setStyle(mark, { left: `${(100 * position(threshold.value, [low, high])).toFixed(1)}%` });
  });
}

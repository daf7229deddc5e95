// The lines of a chart: sample, name and value of each. A click hides or shows it, a double click shows it alone.

import { el, keyed, setAttribute, setStyle, setText, svg } from "../dom.js";
import { t } from "../language.js";
import { name } from "../names.js";
import { quantity } from "../values.js";

const WITH_ALL = 5;
const SCALE = 24;

/**
 * @param {Object} on `toggle(metric)`, `only(metric)`, `all(shown)` and `highlight(metric|null)`.
 * @returns {{element: Element, update: function(Object)}} `update` gets {lines, values, plugin}: `values` by line. Lines of
 *   one metric, which differ by their hosts, are one.
 */
export function chartLegend(on) {
  const list = el("ul", { class: "lines" });
  const all = el("div", { class: "all", hidden: true },
    el("button", { type: "button", onclick: () => on.all(true) }, t("host.legend.all")),
    el("button", { type: "button", onclick: () => on.all(false) }, t("host.legend.none")));
  const element = el("div", { class: "chart-legend" }, list, all);

  function update({ lines, values, plugin }) {
    const items = new Map(lines.map((line) => [line.metric, { line, value: values.get(line), plugin }]));
    keyed(list, [...items], ({ line }) => item(line, on));
    setAttribute(list, "data-many", items.size > 8);
    all.hidden = items.size < WITH_ALL;
  }
  return { element, update };
}

function item({ metric }, on) {
  const stroke = svg("line", { x1: 0, y1: 5, x2: SCALE, y2: 5 });
  const value = el("span", { class: "number" });
  const button = el("button", {
    type: "button", onclick: () => on.toggle(metric), ondblclick: () => on.only(metric),
    onmouseenter: () => on.highlight(metric), onmouseleave: () => on.highlight(null),
  }, svg("svg", { width: SCALE, height: 10, "aria-hidden": "true" }, stroke), name(metric, 32), value);
  const element = el("li", {}, button);

  function update({ line, value: found, plugin }) {
    setStyle(stroke, { stroke: `var(${line.colour})` });
    setAttribute(stroke, "stroke-dasharray", line.dash.join(" ") || null);
    setAttribute(button, "aria-pressed", line.hidden ? "false" : "true");
    setText(value, quantity(found ?? null, plugin));
  }
  return { element, update };
}

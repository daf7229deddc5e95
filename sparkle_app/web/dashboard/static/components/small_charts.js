// The lines of a chart apart from each other: a small chart for each, all with the same times and the same scale.

import { makeChart } from "../chart.js";
import { el, keyed, setAttribute, setText } from "../dom.js";
import { name, quantity } from "../format.js";
import { t } from "../language.js";

/** With more, each refresh and each movement of the pointer would take too long. */
const MAX_CHARTS = 48;
const HEIGHT = 128;

/**
 * Small charts in an element, until `destroy`: what makeChart of chart.js returns, with the same arguments.
 * `showValues` gets the values to write beside the names, by metric.
 */
export function smallCharts(element, plugin, on) {
  const list = el("ul", { class: "small-charts" });
  const more = el("p", { class: "note", hidden: true });
  element.append(list, more);
  const all = () => [...(list.keyedRows?.values() ?? [])];
  const of = (metric) => list.keyedRows?.get(metric);
  let lines = [];

  function update(next) {
    lines = next.lines;
    const own = lines.filter((line) => !line.hidden && !line.compared);
    const drawn = own.slice(0, MAX_CHARTS);
    const left = new Set(all());
    keyed(list, drawn.map((line) => [line.metric, line]), ({ metric }) => smallChart(metric, plugin, {
      ...on,
      point: (_, index, how) => on.point(lines.findIndex((line) => line.metric === metric), index, how),
      // They have the same cursor.
      cursor: (at) => metric === drawnFirst() && on.cursor(at),
    }));
    for (const each of all()) left.delete(each);
    for (const each of left) each.destroy();
    // In the document first: a chart has the width of its element.
    for (const { metric } of drawn) {
      of(metric).draw({ ...next, lines: lines.filter((line) => line.metric === metric && !line.hidden), scaled: lines });
    }
    more.hidden = own.length <= MAX_CHARTS;
    setText(more, t("host.lines.more", { n: own.length - MAX_CHARTS }));
  }

  const drawnFirst = () => list.keyedRows.keys().next().value;

  function highlight(number) {
    for (const [metric, each] of list.keyedRows) setAttribute(each.element, "data-highlighted", metric === lines[number]?.metric);
  }

  return {
    update,
    highlight,
    select(number, index) {
      const chart = of(lines[number].metric);
      chart?.select(index);
      chart?.element.scrollIntoView({ block: "nearest" });
      highlight(number);
    },
    unselect() {
      all()[0]?.unselect();
      highlight(null);
    },
    showValues: (values) => list.keyedRows.forEach((each, metric) => each.showValue(values.get(metric))),
    recolour: () => all().forEach((each) => each.recolour()),
    destroy() {
      for (const each of all()) each.destroy();
      element.replaceChildren();
    },
  };
}

function smallChart(metric, plugin, on) {
  const value = el("span", { class: "number" });
  const place = el("div", {});
  const element = el("li", {}, el("p", {}, name(metric, 32), value), place);
  let chart = null;
  return {
    element,
    update() {},
    draw(next) {
      chart ??= makeChart(place, plugin, on, { height: HEIGHT, texts: false });
      chart.update(next);
    },
    select: (index) => chart.select(0, index),
    unselect: () => chart.unselect(),
    showValue: (found) => setText(value, quantity(found ?? null, plugin)),
    recolour: () => chart.recolour(),
    destroy: () => chart?.destroy(),
  };
}

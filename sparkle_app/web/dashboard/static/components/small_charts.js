// Small charts beside each other, all with the same times and the same scale: one for each line, or one for each host.

import { makeChart } from "../chart.js";
import { el, keyed, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { name, visible } from "../names.js";
import { quantity } from "../values.js";

/** With more, each refresh and each movement of the pointer would take too long. */
const MAX_CHARTS = 48;
const HEIGHT = 128;

/** The heading of the chart of one line. */
const metricHeading = ({ key }) => ({ element: name(key, 32), update() {} });

/**
 * Small charts in an element, until `destroy`: what makeChart of chart.js returns, with the same arguments.
 *
 * `update` also gets `groups`, the charts: {key, lines, gap, missing}, where `lines` are some of all lines, and `missing`
 * says why there are none. `showValues` gets values by line: each chart shows its own, of several the extreme one.
 *
 * @param {function(Object): {element: Element, update: function(Object)}} headingOf the heading of a group.
 * @param {number} height of a chart, in CSS pixels.
 */
export function smallCharts(element, plugin, on, { headingOf = metricHeading, height = HEIGHT } = {}) {
  const list = el("ul", { class: "small-charts" });
  const more = el("p", { class: "note", hidden: true });
  element.append(list, more);
  const all = () => [...(list.keyedRows?.values() ?? [])];
  const of = (group) => list.keyedRows.get(group.key);
  let lines = [];
  let groups = [];

  function update(next) {
    ({ lines, groups } = next);
    const drawn = groups.slice(0, MAX_CHARTS);
    keyed(list, drawn.map((group) => [group.key, group]), (group) => smallChart(plugin, headingOf(group), height, {
      ...on,
      point: (number, index, how) => on.point(lines.indexOf(groupOf(group.key).lines[number]), index, how),
      // They have the same cursor.
      cursor: (at) => group.key === firstDrawn()?.key && on.cursor(at),
    }));
    // In the document first: a chart has the width of its element.
    for (const group of drawn) of(group).draw({ ...next, ...group, scaled: lines });
    more.hidden = groups.length <= MAX_CHARTS;
    setText(more, t("host.lines.more", { n: groups.length - MAX_CHARTS }));
  }

  const groupOf = (key) => groups.find((group) => group.key === key);
  const firstDrawn = () => groups.find((group) => group.lines.length);
  const shown = () => groups.filter((group) => list.keyedRows.has(group.key));

  /** Marks charts, and in each the line of a metric. */
  function mark(metric, marked) {
    for (const group of shown()) {
      setAttribute(of(group).element, "data-highlighted", marked.includes(group));
      const number = group.lines.findIndex((line) => line.metric === metric);
      if (ownOf(group.lines).length > 1) of(group).highlight(number < 0 ? null : number);
    }
  }

  return {
    update,
    /** Those that alone have the metric of a line are marked. */
    highlight(number) {
      const metric = lines[number]?.metric;
      const having = shown().filter((group) => group.lines.some((line) => line.metric === metric));
      mark(metric, having.length < groups.length ? having : []);
    },
    /** @param {boolean} isNew whether somebody has selected it now: it is not scrolled to again. */
    select(number, index, isNew) {
      const line = lines[number];
      const group = shown().find((each) => each.lines.includes(line));
      if (!group) return;
      of(group).select(group.lines.indexOf(line), index);
      if (isNew) of(group).element.scrollIntoView({ block: "nearest" });
      mark(line.metric, [group]);
    },
    unselect() {
      const first = firstDrawn();
      if (first) of(first).unselect();
      mark(null, []);
    },
    /** @param {boolean} areLast whether the values are the last ones: those of a silent host are old. */
    showValues(values, areLast) {
      for (const group of shown()) {
        of(group).showValue(group.lines, values);
        setAttribute(of(group).element, "data-old", areLast && group.state === "silent");
      }
    },
    recolour: () => all().forEach((each) => each.recolour()),
    destroy() {
      for (const each of all()) each.destroy();
      element.replaceChildren();
    },
  };
}

const ownOf = (lines) => lines.filter((line) => !line.compared);

function smallChart(plugin, heading, height, on) {
  const value = el("span", { class: "number" });
  const place = el("div", {});
  const missing = el("p", { class: "missing" });
  const element = el("li", {}, el("p", {}, heading.element, value), place, missing);
  let chart = null;

  function end() {
    chart?.destroy();
    chart = null;
  }

  return {
    element,
    update: heading.update,
    draw(next) {
      missing.hidden = next.lines.length > 0;
      setText(missing, missing.hidden ? "" : next.missing);
      if (next.lines.length) {
        chart ??= makeChart(place, plugin, on, { height, texts: false });
        chart.update(next);
      } else end();
    },
    select: (number, index) => chart?.select(number, index),
    highlight: (number) => chart?.highlight(number),
    unselect: () => chart?.unselect(),
    showValue(lines, values) {
      const [text, metric] = extremeOf(ownOf(lines).filter((line) => !line.hidden), values, plugin);
      setText(value, text);
      setAttribute(value, "title", metric);
    },
    recolour: () => chart?.recolour(),
    destroy: end,
  };
}

/** The value of one line; of several, that which a headline would show, and the metric that has it. */
function extremeOf(lines, values, plugin) {
  if (lines.length < 2) return [lines.length ? quantity(values.get(lines[0]) ?? null, plugin) : "", null];
  const which = plugin.panel.headline.statistic === "minimum" ? "minimum" : "maximum";
  const sign = which === "minimum" ? -1 : 1;
  let best = null;
  for (const line of lines) {
    const value = values.get(line) ?? null;
    if (value !== null && (best === null || sign * value > sign * values.get(best))) best = line;
  }
  const text = quantity(best && values.get(best), plugin);
  return [best ? t(`compare.value.${which}`, { value: text }) : text, best && visible(best.metric)];
}

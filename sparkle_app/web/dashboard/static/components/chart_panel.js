// A chart as a figure: plot, legend, a caption in words, the same as a table, and what can be done with its points.

import { now } from "../api.js";
import { chartLibrary, makeChart, styleOf } from "../chart.js";
import { announce, el, refill, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { pointsAt, spanOf } from "../lines.js";
import { pluginTitle } from "../names.js";
import { rangeUrl, scaled } from "../ranges.js";
import { navigate } from "../router.js";
import { pointTime, timeSpan, utcPointTime } from "../times.js";
import { captionText } from "./chart_caption.js";
import { chartLegend } from "./chart_legend.js";
import { chartTable } from "./chart_table.js";
import { chartWalk, pointText } from "./chart_walk.js";
import { compareHeading } from "./compare_heading.js";
import { compareTable } from "./compare_table.js";
import { exportBar } from "./export_bar.js";
import { openReadings } from "./readings_dialog.js";
import { smallCharts } from "./small_charts.js";

/** A small chart of a host may have many lines. */
const HEIGHT_OF_HOST = 160;

/**
 * @param {Page} page
 * @param {function()} zoomOut
 * @returns {{element, update, destroy, recolour}} `update` gets {title, metrics, data, all}: see host_data.js. With
 *   `data.hosts`, its lines are those of several hosts, and each host has a small chart.
 */
export function chartPanel(page, zoomOut) {
  let shown = null;
  let lines = [];
  let chart = null;
  let apart = false;
  let asTable = chartLibrary === null;
  /** The time of the cursor; null: it is elsewhere. */
  let cursor = null;
  const hidden = new Set();

  const heading = el("h3", {});
  const time = el("span", { class: "at" });
  const toggle = el("button", { type: "button", "aria-pressed": asTable, hidden: chartLibrary === null, onclick: switchTable }, t("host.table.show"));
  const plot = el("div", { class: "plot", tabindex: 0, role: "application", "aria-roledescription": t("host.chart.role"), hidden: asTable });
  const table = el("div", { hidden: !asTable });
  const point = el("p", { class: "point", hidden: true });
  const caption = el("figcaption", {});
  const legend = chartLegend({
    toggle: (metric) => hide((each) => (each === metric ? !hidden.has(each) : hidden.has(each))),
    only: (metric) => hide((each) => each !== metric),
    all: (visible) => hide(() => !visible),
    highlight: (metric) => chart?.highlight(metric === null ? null : lines.findIndex((each) => each.metric === metric && !each.compared)),
  });
  const exports = exportBar(() => shown);
  const element = el("figure", { class: "chart card" },
    el("div", { class: "card-head" }, heading, time, toggle), plot, table, point, legend.element,
    el("div", { class: "chart-foot" }, caption, exports));

  const walk = chartWalk(plot, () => (shown ? { lines, plugin: shown.data.plugin, step: shown.data.step, ...shown.data.range } : null), {
    select: (line, index, isNew) => {
      chart.select(line, index, isNew);
      showPoint(lines[line], index);
    },
    unselect: () => {
      chart?.unselect();
      point.hidden = true;
    },
    open: (line, index) => open(lines[line], index),
    zoom: (factor, at) => {
      const { from, to } = scaled(shown.data.range, factor, now());
      const middle = at === null ? 0 : at - (from + to) / 2;
      navigate(rangeUrl(factor < 1 ? { from: from + middle, to: to + middle } : { from, to }));
    },
  });

  function update(next) {
    shown = next;
    const { data, metrics } = next;
    lines = linesOf(data, metrics, hidden);
    // An export is of one host.
    exports.hidden = Boolean(data.hosts);
    setText(heading, next.title ?? pluginTitle(data.plugin));
    const text = captionText(lines.filter((each) => !each.compared), data);
    setText(caption, text);
    setAttribute(plot, "aria-label", t("host.chart.label", { title: heading.textContent, caption: text }));
    const several = Boolean(data.hosts) || (data.apart && metrics.length > 1);
    if (several !== apart) end();
    apart = several;
    setAttribute(element, "data-apart", Boolean(data.hosts) || (apart && !asTable));
    if (chartLibrary && !asTable) {
      chart ??= (apart ? smallCharts : makeChart)(plot, data.plugin, { zoom, zoomOut, point: pointed, cursor: moved },
        data.hosts ? { headingOf: compareHeading, height: HEIGHT_OF_HOST } : {});
      const { range: { from, to }, gap, exact } = data;
      chart.update({ lines, from, to, gap, exact, groups: apart ? groupsOf(lines, data) : null });
      // All charts have the cursor of this one: after all of them got their points.
      queueMicrotask(() => chart && walk.update());
    }
    if (asTable) drawTable();
    showValues();
  }

  function hide(isHidden) {
    const chosen = shown.metrics.filter(isHidden);
    hidden.clear();
    for (const metric of chosen) hidden.add(metric);
    update(shown);
  }

  function switchTable() {
    asTable = !asTable;
    setAttribute(toggle, "aria-pressed", asTable);
    setText(toggle, t(asTable ? "host.table.hide" : "host.table.show"));
    plot.hidden = asTable;
    table.hidden = !asTable;
    point.hidden = true;
    if (asTable) end();
    else table.replaceChildren();
    update(shown);
  }

  function end() {
    chart?.destroy();
    chart = cursor = null;
  }

  function drawTable() {
    const { scrollTop: top, scrollLeft: left } = table.querySelector(".scrolled") ?? { scrollTop: 0, scrollLeft: 0 };
    const { data: { exact, plugin, hosts } } = shown;
    refill(table, (hosts ? compareTable : chartTable)({ lines, exact, plugin, hosts, caption: heading.textContent }));
    table.firstElementChild.scrollTo({ top, left, behavior: "instant" });
  }

  const zoom = (from, to) => {
    navigate(rangeUrl({ from, to }));
    announce(t("host.zoomed", { range: timeSpan(from, to, { seconds: true }) }));
  };

  function pointed(line, index, { touch }) {
    // A finger selects first: it covers what it points at.
    if (touch) walk.go({ line: lines[line], number: line }, index);
    else open(lines[line], index);
  }

  function open(line, index) {
    const { plugin, hosts } = shown.data;
    const path = line.path ?? shown.data.path;
    const [from, to] = [line.at[index], line.until[index]];
    // Of a reading, all that were measured within a second.
    const span = to > from ? { from, to } : { from: Math.floor(from), to: Math.floor(from) + 1 };
    openReadings(page, { plugin, path, host: hosts ? line.host : null, metric: line.metric, ...span });
  }

  function showPoint(line, index) {
    point.hidden = false;
    point.replaceChildren(el("span", {}, pointText(line, index, shown.data.plugin)),
      el("button", { type: "button", onclick: () => open(line, index) }, t("host.readings.open")));
  }

  function moved(at) {
    cursor = at;
    showValues();
  }

  /** Writes the values at the cursor, otherwise the last ones, into the legend, and the time of their points above. */
  function showValues() {
    const at = cursor;
    const own = lines.filter((each) => !each.compared);
    const points = at === null
      ? new Map(own.map((line) => [line, line.x.length - 1]))
      : pointsAt(own, at, shown.data.gap);
    const values = new Map(own.map((line) => [line, line.value[points.get(line)]]));
    legend.update({ lines: own, values, plugin: shown.data.plugin });
    chart?.showValues?.(values, at === null);
    // In a gap, that of the pointer says where it is.
    const span = at === null ? null : spanOf(own, points) ?? [at, at];
    setText(time, span ? pointTime(...span) : "");
    setAttribute(time, "title", span && utcPointTime(...span));
  }

  return {
    element,
    update,
    recolour: () => chart?.recolour(),
    destroy() {
      walk.end();
      end();
    },
  };
}

/**
 * The lines of some metrics, with their styles; then those that they are compared with. Of several hosts, those of a metric
 * follow each other and have the same style.
 */
function linesOf(data, metrics, hidden) {
  const found = (lines, solid) => metrics.flatMap((metric, index) => {
    const style = styleOf(index);
    return lines.filter((each) => each.metric === metric).map((line) =>
      ({ ...line, ...style, dash: solid ? [2, 2] : style.dash, hidden: hidden.has(metric) }));
  });
  return [...found(data.lines, false), ...found(data.compared, true)];
}

/** The small charts: one for each host, otherwise one for each line that is not hidden. */
function groupsOf(lines, { hosts, gap }) {
  if (hosts) {
    return hosts.map((each) => ({
      ...each, key: each.host, lines: lines.filter((line) => line.host === each.host), missing: each.missing ?? t("compare.noMetrics"),
    }));
  }
  return lines.filter((line) => !line.hidden && !line.compared)
    .map((own) => ({ key: own.metric, gap, lines: lines.filter((line) => line.metric === own.metric) }));
}

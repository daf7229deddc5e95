// All of one plugin: its charts, its words over time or its last values, proof, and the latest readings.

import { chartLibrary } from "../chart.js";
import { thresholdText } from "../chart_texts.js";
import { el, refill, setText } from "../dom.js";
import { instant, localTime, pluginTitle } from "../format.js";
import { t } from "../language.js";
import { chartsOf } from "../lines.js";
import { rangeUrl } from "../ranges.js";
import { shape } from "./state.js";
import { chartPanel } from "./chart_panel.js";
import { latestTable } from "./latest_table.js";
import { openReadings } from "./readings_dialog.js";
import { recountButton } from "./recount.js";
import { isTimeline, lastValues, stateTimeline } from "./state_timeline.js";

/** @returns {{element, update, recolour, destroy}} `update` gets the data of host_data.js. */
export function pluginSection(page, { zoomOut }) {
  const panels = new Map();
  let data = null;
  const title = el("h2", {});
  const limits = el("div", { class: "limits" });
  const proof = recountButton(page);
  const problem = el("p", { class: "note", hidden: true });
  const kept = el("p", { class: "note", hidden: true });
  const charts = el("div", { class: "charts" });
  const words = el("section", { class: "card words", hidden: true });
  const empty = el("p", { class: "nothing card", hidden: true });
  const latest = latestTable((reading) => {
    const at = Math.floor(Date.parse(reading.observed_at) / 1000);
    openReadings(page, { plugin: data.plugin, path: data.path, metric: reading.metric, from: at, to: at + 1 });
  });
  const element = el("section", { class: "of-plugin" },
    el("div", { class: "plugin-head" }, title, limits, proof.button), proof.result, problem, kept, charts, words, empty, latest.element);

  function update(next) {
    data = next;
    const { plugin } = next;
    setText(title, plugin.unit ? `${pluginTitle(plugin)}, ${plugin.unit}` : pluginTitle(plugin));
    if (!limits.children.length) {
      limits.append(...plugin.panel.thresholds.map((each) =>
        el("span", { class: "state", "data-state": each.severity }, shape(each.severity), el("span", {}, thresholdText(each, plugin)))));
    }
    problem.hidden = !next.problem;
    setText(problem, next.problem ? t("host.problem", { detail: next.problem }) : "");
    kept.hidden = !next.keptSince;
    setText(kept, next.keptSince ? t("host.kept", { time: localTime(Date.parse(next.keptSince)) }) : "");
    showCharts(next);
    words.hidden = next.words.length === 0;
    if (next.words.length) refill(words, isTimeline(next.words) ? stateTimeline(next) : lastValues(next));
    proof.button.hidden = next.lines.length === 0;
    proof.update(next);
    empty.hidden = Boolean(next.problem || next.lines.length || next.words.length);
    if (!empty.hidden) showEmpty(empty, next);
    latest.update(next);
  }

  function showCharts(next) {
    const metrics = next.lines.map((each) => each.metric);
    const wanted = chartsOf(next.plugin, metrics);
    const keys = new Set(wanted.map((each) => each.key));
    for (const [key, panel] of panels) {
      if (keys.has(key)) continue;
      panel.destroy();
      panel.element.remove();
      panels.delete(key);
    }
    let before = null;
    for (const chart of wanted) {
      let panel = panels.get(chart.key);
      if (!panel) {
        panel = chartPanel(page, zoomOut);
        panels.set(chart.key, panel);
      }
      // In the document first: a chart has the width of its element.
      const place = before ? before.nextSibling : charts.firstChild;
      if (place !== panel.element) charts.insertBefore(panel.element, place);
      panel.update({ ...chart, data: next, all: chart.metrics.length === metrics.length });
      before = panel.element;
    }
  }

  return {
    element,
    update,
    recolour: () => panels.forEach((panel) => panel.recolour()),
    destroy: () => {
      panels.forEach((panel) => panel.destroy());
      panels.clear();
    },
  };
}

function showEmpty(empty, { known }) {
  const last = known?.last_seen;
  const at = Math.floor(Date.parse(last ?? "") / 1000);
  refill(empty, t("host.empty"), ...(last
    ? [" ", t("host.lastReading"), " ", el("a", { href: rangeUrl({ from: at - 3600, to: at + 60 }) }, instant(last))]
    : []));
}

/** What is to be said if there are no charts. */
export const withoutCharts = () => (chartLibrary ? null : el("p", { class: "note" }, t("host.noCharts")));

// All of one plugin: its charts, its words over time or its last values, proof, and the latest readings.

import { chartLibrary } from "../chart.js";
import { el, refill, setText } from "../dom.js";
import { t } from "../language.js";
import { rangeUrl } from "../ranges.js";
import { instant } from "../times.js";
import { chartGrid } from "./chart_grid.js";
import { latestTable } from "./latest_table.js";
import { pluginHead } from "./plugin_head.js";
import { openReadings } from "./readings_dialog.js";
import { recountButton } from "./recount.js";
import { isTimeline, lastValues, stateTimeline } from "./state_timeline.js";

/** @returns {{element, update, recolour, destroy}} `update` gets the data of host_data.js. */
export function pluginSection(page, { zoomOut }) {
  let data = null;
  const proof = recountButton(page);
  const head = pluginHead(proof.button);
  const problem = el("p", { class: "note", hidden: true });
  const charts = chartGrid(page, zoomOut);
  const words = el("section", { class: "card words", hidden: true });
  const empty = el("p", { class: "nothing card", hidden: true });
  const latest = latestTable((reading) => {
    const at = Math.floor(Date.parse(reading.observed_at) / 1000);
    openReadings(page, { plugin: data.plugin, path: data.path, metric: reading.metric, from: at, to: at + 1 });
  });
  const element = el("section", { class: "of-plugin" },
    head.element, proof.result, problem, head.kept, charts.element, words, empty, latest.element);

  function update(next) {
    data = next;
    head.update(next);
    problem.hidden = !next.problem;
    setText(problem, next.problem ? t("host.problem", { detail: next.problem }) : "");
    charts.update(next);
    words.hidden = next.words.length === 0;
    if (next.words.length) refill(words, isTimeline(next.words) ? stateTimeline(next) : lastValues(next));
    proof.button.hidden = next.lines.length === 0;
    proof.update(next);
    empty.hidden = Boolean(next.problem || next.lines.length || next.words.length);
    if (!empty.hidden) showEmpty(empty, next);
    latest.update(next);
  }

  return { element, update, recolour: charts.recolour, destroy: charts.destroy };
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

// The stages in the order of the pipeline, and how much of the time each takes.

import { el, keyed, setAttribute, setStyle, setText } from "../dom.js";
import { t } from "../language.js";
import { visible } from "../names.js";
import { sum } from "../pipeline_history.js";
import { duration, number } from "../values.js";
import { ALL_STAGES, busy, stageText } from "./verdict.js";
import { delay } from "./worker_card.js";

const COLUMNS = ["stage", "share", "batches", "average", "retries", "now"];
const COUNTS = ["batches", "average", "retries"];

/** @returns {{element: Element, lead: Element, update: function(Object, PipelineHistory)}} lead: what the table says. */
export function stageTable() {
  const body = el("tbody", {});
  const lead = el("p", { class: "aside" });
  const element = el("table", { class: "plain stages" },
    el("caption", { class: "visually-hidden" }, t("stages.caption")),
    el("thead", {}, el("tr", {}, COLUMNS.map((each) => el("th", { scope: "col", class: COUNTS.includes(each) ? "count" : null }, t(`stages.${each}`))))), body);

  function update({ workers }, history) {
    setText(lead, t(history.measures ? "stages.lead" : "stages.measuring"));
    const shares = ALL_STAGES.map((stage) => busy(history, stage));
    const largest = Math.max(...shares);
    keyed(body, ALL_STAGES.map((stage, index) => [stage, { stage, share: shares[index], largest, workers, history }]), row);
  }

  return { element, lead, update };
}

const took = (seconds) => (seconds < 1 ? t("stages.ms", { ms: number(1000 * seconds, seconds < 0.01 ? 1 : 0) }) : delay(seconds));

function row({ stage }) {
  const fill = el("div", { class: "fill" });
  const share = el("span", { class: "number" });
  const value = el("div", { class: "value" }, share, el("div", { class: "bar", "aria-hidden": "true" }, fill));
  const [batches, average, retries] = COUNTS.map(() => el("td", { class: "count" }));
  const current = el("td", {});
  const element = el("tr", { "data-stage": stage },
    el("th", { scope: "row" }, stageText(stage), " ", el("code", {}, stage)),
    el("td", { class: "of-share" }, value),
    batches, average, retries, current);

  function update({ share: part, largest, workers, history }) {
    const rate = history.rate((each) => each.stage_totals[stage]?.batches ?? 0);
    const seconds = history.rate((each) => each.stage_totals[stage]?.seconds ?? 0);
    const unknown = history.measures ? "–" : "";
    setAttribute(value, "data-state", history.measures ? null : "none");
    setText(share, part === null ? unknown : `${number(100 * part, part > 0 && part < 0.1 ? 1 : 0)}\u00a0%`);
    // Several batches may be in a stage at once.
    setStyle(fill, { width: `${Math.min(100, 100 * (part ?? 0))}%` });
    setAttribute(element, "data-largest", part > 0.05 && part === largest);
    setText(batches, rate === null ? unknown : number(rate, rate > 0 && rate < 10 ? 1 : 0));
    setText(average, rate ? took(seconds / rate) : unknown);
    setText(retries, number(sum(workers.map((each) => each.retries[stage] ?? 0))));
    const running = workers.flatMap((each) => each.stages.filter((run) => run.stage === stage));
    const failed = running.find((run) => run.error);
    const longest = Math.max(0, ...running.map((run) => run.seconds));
    setText(current, !running.length ? "–" : failed ? `${duration(longest)}: ${visible(failed.error)}` : t("stages.since", { duration: duration(longest) }));
    setAttribute(current, "class", failed ? "failed" : null);
  }

  return { element, update };
}

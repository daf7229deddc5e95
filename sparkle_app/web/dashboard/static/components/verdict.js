// "Why is it late?": what the workers say, as sentences, the worst first.

import { t } from "../language.js";
import { shortened, visible } from "../names.js";
import { sum, waiting, waitingAtLeast } from "../pipeline_history.js";
import { duration, number } from "../values.js";

/** What is stored within this time is not late: the last batches are always in progress. */
const LATE_SECONDS = 15;
/** A stage that takes longer than this has not just begun. */
const SLOW_SECONDS = 10;
const STAGES = {
  ingest: ["open", "store", "dead_letters", "forward"],
  aggregate: ["restore", "aggregate", "table", "sink"],
};

/** All stages, in the order of the pipeline. */
export const ALL_STAGES = [...STAGES.ingest, ...STAGES.aggregate];

/** A stage in words. A worker of a later version may have others. */
export const stageText = (stage) => (ALL_STAGES.includes(stage) ? t(`stage.${stage}`) : visible(stage));

/**
 * @param {Object} response of /api/v1/pipeline.
 * @param {PipelineHistory} history with this response.
 * @returns {Array<{state: "critical"|"warning"|"ok", text: string}>} what is wrong, then how much waits; or that
 *   nothing does.
 */
export function verdict(response, history) {
  const found = [...faults(response), ...backlogs(response, history)];
  if (found.length) return found.sort((one, other) => (other.state === "critical") - (one.state === "critical"));
  const [lag, samples] = ["ingest", "aggregate"].map((role) => waiting(response, role));
  if (lag === null || samples === null) return [{ state: "ok", text: t("verdict.unknown") }];
  if (!lag) return [{ state: "ok", text: samples ? t("verdict.samples", { n: samples }) : t("verdict.nothing") }];
  const rate = history.rate((state) => sum(state.readings));
  const values = { n: lag, duration: duration(lag / rate) };
  return [{ state: "ok", text: t(rate ? "verdict.inProgress" : "verdict.begins", values) }];
}

function* faults({ workers, unreachable, unowned }) {
  const critical = (text) => ({ state: "critical", text });
  const warning = (text) => ({ state: "warning", text });
  for (const { worker } of unreachable) {
    yield critical(t("verdict.unreachable", { worker: shown(worker) }));
  }
  for (const { worker, problem, consuming, stages } of workers) {
    const name = shown(worker);
    if (problem) yield critical(t("verdict.problem", { worker: name, detail: visible(problem) }));
    else if (!consuming) yield warning(t("verdict.notConsuming", { worker: name }));
    // Several batches may be in the same stage for the same reason.
    const told = new Set();
    for (const { stage, seconds, error } of stages) {
      if (told.has(stage) || (!error && seconds < SLOW_SECONDS)) continue;
      told.add(stage);
      const values = { worker: name, stage: stageText(stage), duration: duration(seconds) };
      yield error ? critical(t("verdict.retries", { ...values, detail: visible(error) })) : warning(t("verdict.slow", values));
    }
  }
  const partitions = sum(Object.fromEntries(Object.entries(unowned).map(([plugin, each]) => [plugin, each.length])));
  if (partitions) yield warning(t("verdict.unowned", { n: partitions }));
}

function* backlogs(response, history) {
  const held = history.rate((state) => state.held_back);
  if (held) yield { state: "critical", text: t("verdict.heldBack") };
  for (const role of ["ingest", "aggregate"]) {
    const lag = waitingAtLeast(response, role);
    if (!lag) continue;
    const values = { n: lag, stage: busiest(history, STAGES[role]) };
    // Each record of a samples topic has many samples: their rate says nothing about it.
    const rate = role === "ingest" ? history.rate((state) => sum(state.readings)) : null;
    // There were some all the time, and never more than now.
    const some = (each) => waitingAtLeast(each, role) > 0 && waitingAtLeast(each, role) <= lag;
    const stuck = history.holdsFor(some) >= LATE_SECONDS * 1000;
    // Those that are being processed may have waited for a long time.
    const delay = longest(response, role === "ingest" ? "row_delay_seconds" : "answer_delay_seconds");
    if (rate && Math.max(delay, lag / rate) > LATE_SECONDS) {
      const times = { duration: duration(lag / rate), rate: number(Math.round(rate)) };
      yield { state: "warning", text: t(stuck ? "verdict.grows" : "verdict.catchesUp", { ...values, ...times }) };
    } else if (!rate && stuck) yield { state: "warning", text: t(`verdict.waits.${role}`, values) };
    else if (role === "aggregate" && delay > LATE_SECONDS) {
      yield { state: "warning", text: t("verdict.late", { ...values, duration: duration(delay) }) };
    }
  }
}

/** The longest delay of any worker and plugin. */
const longest = (response, field) => Math.max(0, ...response.workers.flatMap((each) => Object.values(each[field])));

/** The stage in which most of the time was spent, with its share. */
function busiest(history, stages) {
  const shares = stages.map((stage) => [stage, busy(history, stage) ?? 0]);
  const [stage, share] = shares.reduce((most, each) => (each[1] > most[1] ? each : most));
  return share ? t("verdict.stage", { stage: stageText(stage), share: number(Math.min(100, 100 * share)) }) : t("verdict.noStage");
}

/** Which part of the time a stage was in progress, on average of the workers; null: not known yet. */
export function busy(history, stage) {
  const seconds = history.rate((state) => state.stage_totals[stage]?.seconds ?? 0);
  return seconds === null ? null : seconds / Math.max(1, history.last.workers.length);
}

const shown = (worker) => shortened(worker, 60);

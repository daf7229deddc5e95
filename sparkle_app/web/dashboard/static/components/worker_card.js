// One worker: what it consumes and what waits there, the hosts' partitions that it answers for, and what it has done.

import { el, keyed, setText } from "../dom.js";
import { t } from "../language.js";
import { name, shortened } from "../names.js";
import { sum } from "../pipeline_history.js";
import { duration, number } from "../values.js";
import { scrolled } from "./scrolled.js";
import { sparkline } from "./sparkline.js";
import { stateMark, setState } from "./state.js";

/** @returns {{element: Element, update: function(Object)}} `update` gets {state, history}, state of a worker. */
export function workerCard({ state: { worker } }) {
  const mark = stateMark("ok");
  const word = el("span", { class: "aside" });
  const problem = el("p", { class: "note", hidden: true });
  const topics = el("tbody", {});
  const plugins = el("tbody", {});
  const facts = el("dl", {});
  const element = el("section", { class: "card worker", "data-worker": worker },
    el("div", { class: "card-head" }, el("h2", {}, name(worker, 80)), mark, word),
    problem,
    scrolled(t("worker.topics"), el("table", { class: "plain" },
      el("caption", { class: "visually-hidden" }, t("worker.topics")),
      el("thead", {}, head("worker.topic", "worker.role", "worker.partitions", "worker.lag")), topics)),
    scrolled(t("worker.plugins"), el("table", { class: "plain" },
      el("caption", { class: "visually-hidden" }, t("worker.plugins")),
      el("thead", {}, head("worker.plugin", "worker.hostPartitions", "worker.rate", "worker.row", "worker.answer")), plugins)),
    facts);

  function update({ state, history }) {
    setState(mark, state.problem ? "critical" : state.consuming ? "ok" : "warning");
    setText(mark.lastElementChild, t(state.problem ? "worker.problem" : state.consuming ? "worker.consuming" : "worker.starting"));
    setText(word, t("worker.version", { version: state.version }));
    problem.hidden = state.problem === null;
    setText(problem, state.problem ?? "");
    keyed(topics, state.topics.map((each) => [each.topic, each]), topicRow);
    keyed(plugins, Object.keys(state.tables).map((plugin) => [plugin, { plugin, state, history }]), pluginRow);
    showFacts(facts, state);
  }

  return { element, update };
}

const COUNTS = ["worker.lag", "worker.row", "worker.answer"];

const head = (...keys) => el("tr", {}, keys.map((key) => el("th", { scope: "col", class: COUNTS.includes(key) ? "count" : null }, t(key))));

function topicRow({ topic, role }) {
  const [partitions, lags] = [el("td", {}), el("td", { class: "count lags" })];
  const element = el("tr", {}, el("th", { scope: "row" }, name(topic, 60)), el("td", {}, t(`worker.role.${role}`)), partitions, lags);
  function update({ partitions: numbers, lag, partition_lags: each }) {
    setText(partitions, ranges(numbers));
    const known = each.filter((count) => count !== null);
    setText(lags, known.length || lag !== null ? number(sum(known)) : t("worker.unknown"));
    // Which partitions have it.
    const waiting = numbers.map((partition, index) => [partition, each[index]]).filter(([, count]) => count !== 0);
    if (waiting.length === 0) return;
    lags.append(el("span", { class: "aside" }, " ", waiting.slice(0, 8).map(([partition, count]) =>
      el("span", { class: "of-partition" }, t("worker.ofPartition", { partition: String(partition), lag: count === null ? "?" : number(count) }))),
    waiting.length > 8 ? "…" : null));
  }
  return { element, update };
}

function pluginRow({ plugin }) {
  const [partitions, rate] = [0, 1].map(() => el("td", {}));
  const [row, answer] = [0, 1].map(() => el("td", { class: "count" }));
  const line = sparkline();
  const text = el("span", { class: "number" });
  rate.append(el("span", { class: "with-line" }, text, line.element));
  const element = el("tr", {}, el("th", { scope: "row" }, name(plugin, 40)), partitions, rate, row, answer);
  function update({ state, history }) {
    const counter = (each) => each.readings[plugin] ?? 0;
    const current = history.rate(counter, state.worker);
    setText(partitions, ranges(state.tables[plugin]));
    setText(text, current === null ? unknownRate(history) : number(current, current < 10 ? 1 : 0));
    line.update(history.rates(counter, state.worker));
    setText(row, delay(state.row_delay_seconds[plugin]));
    setText(answer, delay(state.answer_delay_seconds[plugin]));
  }
  return { element, update };
}

function showFacts(facts, state) {
  const deadLetters = sum(state.dead_letters);
  const entries = [
    ["worker.stored", duration(state.seconds_since_stored)],
    ["worker.readings", number(sum(state.readings))],
    ["worker.retries", number(sum(state.retries))],
    ["worker.deadLetters", number(deadLetters)],
    ["worker.heldBack", number(state.held_back)],
  ];
  if (!facts.firstChild) facts.append(...entries.map(([key]) => el("div", {}, el("dt", {}, t(key)), el("dd", {}))));
  entries.forEach(([, text], index) => setText(facts.children[index].lastElementChild, text));
}

/** Seconds of a delay; a dash if there was none yet. */
export const delay = (seconds) =>
  seconds === undefined || seconds === null ? "–" : seconds < 60 ? t("worker.seconds", { seconds: number(seconds, seconds < 10 ? 2 : 0) }) : duration(seconds);

/** What is said in place of a rate. */
export const unknownRate = (history) => (history.measures ? "–" : t("pipeline.measuring"));

/** Numbers as "0–3, 7". */
export function ranges(numbers) {
  const parts = [];
  for (const each of numbers) {
    const last = parts.at(-1);
    if (last && each === last[1] + 1) last[1] = each;
    else parts.push([each, each]);
  }
  return shortened(parts.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(", ") || "–", 60);
}

// Values that are words, over time: a bar for each metric, with a part for each word, which is written in it.

import { el } from "../dom.js";
import { t } from "../language.js";
import { inOrder } from "../lines.js";
import { name, visible } from "../names.js";
import { instant, timeSpan } from "../times.js";
import { placeIn } from "./strip.js";

/** With more different words, a table of the last values says more. */
const MAX_WORDS = 12;
/** Percent of the bar: what is narrower cannot be seen alone. */
const NARROW = 0.2;

/** Whether readings are words that a timeline can show. */
export function isTimeline(readings) {
  const words = new Set();
  for (const { value } of readings) {
    if (typeof value !== "string" && typeof value !== "boolean") return false;
    words.add(String(value));
  }
  return words.size > 0 && words.size <= MAX_WORDS;
}

/**
 * @param {{words: Object[], range: Object, gap: number, complete: boolean}} data see host_data.js.
 * @param {Object[]} all the readings of all timelines in which equal words have the same colour.
 */
export function stateTimeline(data, all = data.words) {
  const { range, gap } = data;
  const words = byFrequency(all.map((each) => String(each.value)));
  const rows = partsOf(data.words, gap, range.to);
  const body = inOrder(rows.keys()).map((metric) => row(metric, rows.get(metric), words, range));
  const marks = el("div", { class: "marks", "aria-hidden": "true" }, el("span", {}, timeSpan(range.from, range.to)));
  return el("div", { class: "timeline" }, body, marks, firstOnly(data));
}

function byFrequency(texts) {
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
}

/** Runs of equal values of each metric: {word, from, to}, seconds since 1970. */
function partsOf(readings, gap, end) {
  const rows = new Map();
  for (const { metric, value, observed_at: observed } of readings) {
    const at = Date.parse(observed) / 1000;
    const word = String(value);
    if (!rows.has(metric)) rows.set(metric, []);
    const parts = rows.get(metric);
    const last = parts.at(-1);
    const near = last && at - last.seen <= gap;
    if (near) last.to = at;
    if (near && last.word === word) last.seen = at;
    else parts.push({ word, from: at, to: at, seen: at });
  }
  for (const parts of rows.values()) {
    const last = parts.at(-1);
    // A value lasts until the next one is due.
    last.to = Math.min(end, last.seen + gap);
    for (const each of parts) if (each.to <= each.from) each.to = each.from + gap / 2;
  }
  return rows;
}

/** Joins neighbours that are too narrow to be seen alone: {words, changes, from, to}. */
function seen(parts, { from, to }) {
  const narrow = (seconds) => seconds < (NARROW * (to - from)) / 100;
  const joined = [];
  let before = null;
  for (const part of parts) {
    if (part.to < from || part.from > to) continue;
    if (before && [before.to - before.from, part.to - part.from, part.from - before.to].every(narrow)) {
      const last = joined.at(-1);
      last.words.add(part.word);
      last.changes += part.word === before.word ? 0 : 1;
      last.to = part.to;
    } else joined.push({ words: new Set([part.word]), changes: 0, from: part.from, to: part.to });
    before = part;
  }
  return joined;
}

function row(metric, parts, words, range) {
  const bar = el("ol", { class: "states", tabindex: 0, "aria-label": visible(metric) });
  for (const part of seen(parts, range)) {
    const found = [...part.words].map((word) => visible(word) || t("host.words.empty")).join(", ");
    const text = part.changes ? t("host.words.changes", { words: found, n: part.changes }) : found;
    const when = timeSpan(part.from, part.to, { seconds: true });
    const word = part.changes ? "several" : words.indexOf([...part.words][0]) % 8;
    const each = el("li", { "data-word": word, title: `${text} · ${when}` },
      el("span", {}, text), el("span", { class: "visually-hidden" }, ` ${when}`));
    placeIn(range, each, part, NARROW);
    bar.append(each);
  }
  return el("div", { class: "timeline-row" }, name(metric, 28), bar);
}

/**
 * The last value of each metric, of values that are neither numbers nor few words.
 *
 * @param {{words: Object[], latest: Object[], range: Object, complete: boolean}} data see host_data.js.
 */
export function lastValues(data) {
  // Of too many readings, only the first are there. The last ones of the host are known apart.
  const isLast = !data.complete && data.range.live;
  const readings = isLast ? data.latest.filter((each) => each.numeric_value === null) : data.words;
  const last = new Map();
  for (const reading of readings) last.set(reading.metric, reading);
  return el("div", {}, el("div", { class: "scrolled" }, el("table", { class: "data" },
    el("thead", {}, el("tr", {}, ["metric", "value", "time"].map((each) => el("th", { scope: "col" }, t(`host.column.${each}`))))),
    el("tbody", {}, inOrder(last.keys()).map((metric) => {
      const { value, observed_at: observed } = last.get(metric);
      return el("tr", {}, el("td", {}, name(metric)),
        el("td", { class: "json" }, el("bdi", {}, visible(typeof value === "string" ? value : JSON.stringify(value)))),
        el("td", {}, instant(observed)));
    })))), isLast ? null : firstOnly(data));
}

const firstOnly = ({ complete, words }) =>
  complete ? null : el("p", { class: "note" }, t("host.words.first", { n: words.length }));

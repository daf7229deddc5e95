// How complete the readings of each plugin are: a number, and a strip of the range with its gaps.

import { el, keyed, refill, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { pluginTitle } from "../names.js";
import { rangeUrl } from "../ranges.js";
import { navigate } from "../router.js";
import { localTime, timeSpan } from "../times.js";
import { duration, number } from "../values.js";
import { placeIn } from "./strip.js";

/** Percent of the strip: what is narrower cannot be seen alone. */
const NARROW = 0.15;
const LISTED = 5;
/** Ranges begin within a bucket. */
const UNSEEN_SECONDS = 120;

/** Of a phone: strips would hide the charts. Also in host.css. */
const narrow = matchMedia("(max-width: 640px)");

/**
 * @returns {{element, update}} `update` gets {range, plugins: Array<[plugin, Object|null]>}: the response, or an object
 *   whose `tooLong` or `unknown` says why there is none.
 */
export function completenessStrips(page) {
  const list = el("div", { class: "strips" });
  const worst = el("summary", {});
  const note = el("p", { class: "note", hidden: true }, t("host.complete.tooLong"));
  const details = el("details", { open: !narrow.matches }, worst, el("p", { class: "strips-title", "aria-hidden": "true" }, t("host.complete.label")), note, list);
  const element = el("section", { class: "completeness", "aria-label": t("host.complete.label"), hidden: true }, details);
  page.listen(narrow, "change", () => { details.open = !narrow.matches; });

  function update({ range, plugins }) {
    const known = plugins.filter(([, found]) => found && found.completeness !== null);
    note.hidden = !plugins.some(([, found]) => found?.tooLong);
    const unknown = plugins.filter(([, found]) => found?.unknown);
    element.hidden = known.length + unknown.length === 0 && note.hidden;
    keyed(list, [
      ...known.map(([plugin, found]) => [plugin.name, { make: strip, plugin, found, range }]),
      ...unknown.map(([plugin]) => [`unknown ${plugin.name}`, { make: unknownRow, plugin }]),
    ], (item) => item.make());
    if (!known.length) {
      setText(worst, t(unknown.length ? "host.complete.allUnknown" : "host.complete.label"));
      setAttribute(worst, "data-state", null);
      return;
    }
    const [plugin, found] = known.reduce((least, each) => (each[1].completeness < least[1].completeness ? each : least));
    setText(worst, t("host.complete.worst", { plugin: pluginTitle(plugin), percent: percentText(found) }));
    setAttribute(worst, "data-state", stateOf(found));
  }
  return { element, update };
}

/** Of a host whose rhythm is not known: it cannot be said what is missing. */
function unknownRow() {
  const title = el("span", { class: "of" });
  const element = el("div", { class: "strip-row" }, title,
    el("span", { class: "number", "aria-hidden": "true" }, "–"), el("span", { class: "unknown" }, t("host.complete.unknown")));
  return { element, update: ({ plugin }) => setText(title, pluginTitle(plugin)) };
}

/** 99.96 % is not complete. */
const percentOf = ({ completeness, missing }) => Math.min(Math.round(1000 * completeness) / 10, missing ? 99.9 : 100);

function percentText(found) {
  const percent = percentOf(found);
  return `${number(percent, percent < 100 ? 1 : 0)}\u00a0%`;
}

function stateOf(found) {
  const percent = percentOf(found);
  return percent >= 99 ? "ok" : percent >= 90 ? "warning" : "critical";
}

function strip() {
  const title = el("span", { class: "of" });
  const ratio = el("span", { class: "number" });
  const bar = el("div", { class: "strip", role: "img" });
  const words = el("a", { class: "gaps" });
  const element = el("div", { class: "strip-row" }, title, ratio, bar, words);
  let drawn = "";

  function update({ plugin, found, range }) {
    const { gaps, missing, expected } = found;
    setText(title, pluginTitle(plugin));
    const text = percentText(found);
    setText(ratio, text);
    setAttribute(element, "data-state", stateOf(found));
    const times = gaps.map((gap) => [Date.parse(gap.from) / 1000, Date.parse(gap.to) / 1000, gap.missing]);
    const longest = times.reduce((most, each) => (most && most[1] - most[0] >= each[1] - each[0] ? most : each), null);
    setAttribute(words, "href", longest && around(longest));
    const listed = [...times].sort((a, b) => b[2] - a[2]).slice(0, LISTED).map(([from, to]) => timeSpan(from, to)).join("; ");
    const start = Math.max(range.from, Date.parse(found.from) / 1000);
    const some = gaps.length ? t("host.complete.gaps", { n: gaps.length, longest: duration(longest[1] - longest[0]) }) : t("host.complete.none");
    // Of the time before, nothing is known.
    setText(words, start > range.from + UNSEEN_SECONDS ? t("host.complete.since", { gaps: some, time: localTime(start * 1000, { seconds: false }) }) : some);
    setAttribute(bar, "aria-label", t("host.complete.words", { percent: text, expected, missing, gaps: listed || "–" }));
    const state = JSON.stringify([range.from, range.to, found.kept_since, times]);
    if (state === drawn) return;
    drawn = state;
    // The first reading may be later than what is kept.
    const kept = found.kept_since && Date.parse(found.kept_since) / 1000 >= start;
    const before = t(kept ? "host.complete.expired" : "host.complete.before");
    refill(bar,
      ...(start > range.from ? [part("before", range.from, start, range, before)] : []),
      ...seen(times, range).map(([from, to, n]) => {
        const each = part("gap", from, to, range, t("host.complete.gap", { range: timeSpan(from, to), n }));
        each.addEventListener("click", () => navigate(around([from, to])));
        return each;
      }));
  }
  return { element, update };
}

/** Joins gaps that are too narrow to be seen alone: [from, to, missing]. */
function seen(gaps, range) {
  const joined = [];
  for (const [from, to, missing] of gaps) {
    const last = joined.at(-1);
    if (last && to - last[0] < (NARROW * (range.to - range.from)) / 100) [last[1], last[2]] = [to, last[2] + missing];
    else joined.push([from, to, missing]);
  }
  return joined;
}

/** The URL of a gap, with as much before and after. */
const around = ([from, to]) => rangeUrl({ from: 2 * from - to, to: 2 * to - from });

function part(kind, from, to, range, title) {
  const each = el("i", { class: kind, title });
  placeIn(range, each, { from, to }, NARROW);
  return each;
}

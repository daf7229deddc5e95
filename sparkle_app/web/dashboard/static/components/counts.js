// How many dead letters there are of each reason, host and config, and in each hour, as small bars.

import { now } from "../api.js";
import { el, keyed, setAttribute, setStyle, setText } from "../dom.js";
import { t } from "../language.js";
import { shortened, visible } from "../names.js";
import { localTime } from "../times.js";
import { number } from "../values.js";
import { reasonText } from "./reason.js";

const SHOWN = 8;
const HOURS = 48;
const HOUR_MS = 3_600_000;

const TITLES = { reason: "deadLetters.byReason", host: "deadLetters.byHost", config: "deadLetters.byConfig" };

/**
 * Counts of one kind: each filters by it, or ends this filter.
 *
 * @param {"reason"|"host"|"config"} kind
 * @param {function(string, string|null): string} urlOf the URL with a filter.
 */
export function countBars(kind, urlOf) {
  const list = el("ul", { class: "counts" });
  const more = el("p", { class: "more" });
  const element = el("section", { class: "card" }, el("h2", {}, t(TITLES[kind])), list, more);

  function update(found, asked) {
    // An object lists names that look like numbers first, in their order.
    const counts = Object.entries(found[`by_${kind}`]).sort(([, a], [, b]) => b - a);
    const chosen = asked[kind];
    const shown = counts.slice(0, SHOWN);
    const largest = Math.max(1, ...shown.map(([, count]) => count));
    keyed(list, shown.map(([value, count]) => [value, { value, count, largest, chosen }]), line);
    const all = { reason: counts.length, host: found.hosts, config: found.configs }[kind];
    const rest = all - shown.length;
    more.hidden = rest === 0;
    setText(more, t("deadLetters.more", { n: rest }));
  }

  function line({ value }) {
    const label = kind === "reason" ? reasonText(value) : shortened(value, 28);
    const title = kind === "reason" ? null : visible(value);
    const text = el("bdi", { class: "label name", title: title === label ? null : title }, label);
    const fill = el("span", { class: "fill" });
    const count = el("b", {});
    const row = el("a", { class: "row" }, text, el("span", { class: "bar", "aria-hidden": "true" }, fill), count);
    const update = (item) => {
      setText(count, number(item.count));
      setStyle(fill, { width: `${((100 * item.count) / item.largest).toFixed(1)}%` });
      const active = item.chosen === value;
      setAttribute(row, "href", urlOf(kind, active ? null : value));
      setAttribute(row, "aria-current", active ? "true" : null);
    };
    return { element: el("li", {}, row), update };
  }

  return { element, update };
}

/** The last two days, hour by hour. A list: a screen reader reads the hours that have any. */
export function hourBars() {
  const list = el("ol", { class: "hours" });
  const caption = el("p", { class: "more" });
  const ends = el("p", { class: "ends", "aria-hidden": "true" }, el("span", {}), el("span", {}, t("deadLetters.now")));
  const element = el("section", { class: "card" }, el("h2", {}, t("deadLetters.byHour")), list, ends, caption);

  function update(byHour) {
    const counts = new Map(Object.entries(byHour).map(([at, count]) => [Date.parse(at), count]));
    const last = Math.floor(now() / HOUR_MS) * HOUR_MS;
    const hours = Array.from({ length: HOURS }, (_, index) => last - (HOURS - 1 - index) * HOUR_MS);
    const largest = Math.max(1, ...counts.values());
    const sum = [...counts.values()].reduce((total, each) => total + each, 0);
    keyed(list, hours.map((at) => [String(at), { at, count: counts.get(at) ?? 0, largest }]), bar);
    setText(ends.firstElementChild, localTime(hours[0], { seconds: false }));
    setText(caption, t("deadLetters.lastHours", { n: sum }));
  }

  function bar({ at }) {
    const fill = el("span", { class: "fill" });
    const text = el("span", { class: "visually-hidden" });
    const element = el("li", {}, fill, text);
    const update = ({ count, largest }) => {
      const said = t("deadLetters.inHour", { time: localTime(at, { seconds: false }), count: number(count) });
      setAttribute(element, "title", said);
      setAttribute(element, "aria-hidden", count === 0 ? "true" : null);
      setText(text, said);
      // One of a thousand is still seen.
      setStyle(fill, { height: count ? `max(2px, ${((100 * count) / largest).toFixed(1)}%)` : "0" });
    };
    return { element, update };
  }

  return { element, update };
}

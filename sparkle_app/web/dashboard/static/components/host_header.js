// Who the host is, how it is now, and whether its clock can be trusted.

import { delayOf } from "../chart_layers.js";
import { el, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { name } from "../names.js";
import { titleOf } from "../plugins.js";
import { rangeQuery } from "../ranges.js";
import { compareUrl } from "../router.js";
import { age, instant, setAge } from "../times.js";
import { duration } from "../values.js";
import { setState, stateMark } from "./state.js";

/** A clock that differs less is not worth a word. */
const CLOCK_SECONDS = 5;
const LATE_SECONDS = 30;

/** @returns {{element, update, showRange}} `update` gets {state, latest}: the row of the overview or null, and the last readings. */
export function hostHeader(hostname) {
  const mark = stateMark("ok");
  const seen = age("1970-01-01T00:00:00Z");
  const at = el("span", {});
  const last = el("span", { class: "fact" }, t("host.lastReading"), " ", at, " · ", seen);
  const clock = el("span", { class: "fact clock" });
  const config = el("span", { class: "fact" });
  const note = el("p", { class: "note", hidden: true });
  const heading = el("h1", { tabindex: -1 }, name(hostname, 80));
  const compare = el("a", {}, t("compare.link"));
  const element = el("header", { class: "host-head" },
    el("p", { class: "links" }, el("a", { href: "/" }, `← ${t("host.all")}`), compare),
    el("div", { class: "view-head" }, heading, mark, last, clock, config), note);

  function update({ state, latest }) {
    for (const each of [mark, last, config]) each.hidden = state === null;
    const problems = state === null ? [t("host.unknown")] : problemsOf(state);
    note.hidden = problems.length === 0;
    setText(note, problems.join(" "));
    if (state) {
      setState(mark, state.state);
      at.replaceChildren(instant(state.last_seen));
      setAge(seen, state.last_seen);
      const ids = [...new Set(Object.values(state.plugins).map((each) => each.config_id))].filter((each) => each !== null);
      setText(config, t("host.config", { ids: ids.sort((a, b) => a - b).join(", ") || "–" }));
    }
    const [text, kind] = clockText(latest);
    clock.hidden = text === "";
    setText(clock, text);
    setAttribute(clock, "data-state", kind);
  }
  // The comparison has the same time range.
  const showRange = () => setAttribute(compare, "href", compareUrl([hostname], rangeQuery()));
  return { element, update, showRange };
}

/** Why what is known of a host may be old, as texts. @param {Object} row of the overview. */
export const problemsOf = ({ problem, outdated }) => [
  ...(problem ? [t("overview.problem", { detail: problem })] : []),
  ...outdated.map((part) => t("host.outdated", { plugin: titleOf(part.plugin), detail: part.problem })),
];

function clockText(latest) {
  if (!latest.length) return ["", "ok"];
  if (latest.some((each) => !each.clock_trusted)) return [t("host.clock.wrong"), "critical"];
  const delays = latest.map(delayOf).sort((a, b) => a - b);
  const middle = delays[Math.floor(delays.length / 2)];
  // What is received before it is measured was measured by a clock that is ahead.
  if (middle < -CLOCK_SECONDS) return [t("host.clock.fast", { duration: duration(-middle) }), "warning"];
  if (middle > LATE_SECONDS) return [t("host.clock.slow", { duration: duration(middle) }), "warning"];
  return [t("host.clock.right"), "ok"];
}

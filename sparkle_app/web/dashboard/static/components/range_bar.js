// The time range of all charts: presets, from–to, earlier, later, wider; what is compared with, and where the lines are.

import { now } from "../api.js";
import { chartLibrary } from "../chart.js";
import { el, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { PRESETS, localInput, moved, presetText, presetUrl, rangeUrl, scaled } from "../ranges.js";
import { navigate, urlWith } from "../router.js";
import { timeSpan } from "../times.js";

export const COMPARE = ["day", "week"];
/** A chart for each line. */
export const APART = "apart";

/**
 * @param {boolean} ofOneHost whether it can be compared with another time, and its lines be apart.
 * @returns {{element: Element, update: function(Object), zoomOut: function()}} `update` gets {range, compare, apart}.
 */
export function rangeBar({ ofOneHost = true } = {}) {
  let range = null;
  const presets = el("nav", { class: "tabs", "aria-label": t("host.range.presets") },
    Object.keys(PRESETS).map((name) => el("a", { "data-range": name }, presetText(name))));
  const [from, to] = ["from", "to"].map((which) =>
    el("input", { type: "datetime-local", step: "any", required: true, "aria-label": t(`host.range.${which}`) }));
  const form = el("form", { class: "from-to", onsubmit: apply },
    from, el("span", { "aria-hidden": "true" }, "–"), to, el("button", { type: "submit" }, t("host.range.apply")));
  const step = (key, sign, action) =>
    el("button", { type: "button", title: t(key), "aria-label": t(key), onclick: () => navigate(rangeUrl(action())) }, sign);
  const steps = el("div", { class: "steps" },
    step("host.range.earlier", "←", () => moved(range, -0.5)),
    step("host.range.later", "→", () => moved(range, 0.5)),
    step("host.range.wider", "−", () => scaled(range, 2, now())),
    step("host.range.narrower", "+", () => scaled(range, 0.5, now())));
  const compare = el("select", { hidden: !ofOneHost, "aria-label": t("host.compare.label"), onchange: () => navigate(urlWith({ compare: compare.value })) },
    ["", ...COMPARE].map((each) => el("option", { value: each }, t(`host.compare.${each || "none"}`))));
  const lines = el("select", { hidden: !ofOneHost || chartLibrary === null, "aria-label": t("host.lines.label"), onchange: () => navigate(urlWith({ lines: lines.value })) },
    ["", APART].map((each) => el("option", { value: each }, t(`host.lines.${each || "together"}`))));
  const live = el("span", { class: "live" });
  const problem = el("p", { class: "note", hidden: true });
  const element = el("section", { class: "range-bar", "aria-label": t("host.range.label") },
    presets, steps, compare, lines, live, form, problem);
  // What somebody is typing is left alone.
  let typed = false;
  // By what is in the inputs: it has no zone, and when clocks are put back, an hour is there twice.
  let written = [];
  form.addEventListener("input", () => { typed = true; });

  function apply(event) {
    event.preventDefault();
    const [first, last] = [from, to].map((input, index) =>
      (input.value === written[index]?.text ? written[index].seconds : new Date(input.value).getTime() / 1000));
    if (!(first < last)) {
      to.setCustomValidity(t("host.range.order"));
      to.reportValidity();
      return;
    }
    typed = false;
    navigate(rangeUrl({ from: first, to: last }));
  }
  for (const input of [from, to]) input.addEventListener("input", () => to.setCustomValidity(""));

  function update({ range: next, compare: compared, apart }) {
    const changed = range?.preset !== next.preset || (!next.preset && (range?.from !== next.from || range?.to !== next.to));
    range = next;
    for (const link of presets.children) {
      setAttribute(link, "href", presetUrl(link.dataset.range));
      setAttribute(link, "aria-current", link.dataset.range === range.preset ? "true" : null);
    }
    if (changed || (!typed && !form.contains(document.activeElement))) {
      written = [[from, range.from], [to, range.to]].map(([input, each]) => {
        const seconds = range.live ? each - (each % 60) : each;
        input.value = localInput(seconds);
        return { text: input.value, seconds };
      });
      typed = false;
    }
    compare.value = compared ?? "";
    lines.value = apart ? APART : "";
    setText(live, range.live ? t("host.range.live") : timeSpan(range.from, range.to));
    setAttribute(live, "data-live", String(range.live));
    problem.hidden = !range.invalid;
    setText(problem, range.invalid ? t("host.range.invalid") : "");
  }

  return { element, update, zoomOut: () => navigate(rangeUrl(scaled(range, 2, now()))) };
}

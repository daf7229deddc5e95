// The state of a host or of a value: a shape, a colour and a word, so that none of them is needed to tell it.

import { el, setAttribute, setText, svg } from "../dom.js";
import { t } from "../language.js";

/** The worst first. */
export const STATES = ["silent", "critical", "warning", "unknown", "ok"];

const SHAPES = {
  silent: "M3 8h10",
  critical: "M8 1.500 14.500 8 8 14.500 1.500 8Z",
  warning: "M8 2 15 14H1Z",
  unknown: "M8 3a5 5 0 1 1 0 10 5 5 0 0 1 0-10Z",
  ok: "M8 3a5 5 0 1 1 0 10 5 5 0 0 1 0-10Z",
};

/** The shape alone. */
export const shape = (state) =>
  svg("svg", { class: `shape ${state}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: SHAPES[state] }));

/** Shape and word. Update it with `setState`. */
export const stateMark = (state) => setState(el("span", { class: "state" }), state);

export function setState(element, state) {
  if (element.dataset.state === state) return element;
  setAttribute(element, "data-state", state);
  element.replaceChildren(shape(state), el("span", {}, t(`state.${state}`)));
  return element;
}

/** Links that filter by state, with the number of hosts in each. */
export function stateFilter(states, chosen, urlOf) {
  const all = Object.values(states).reduce((sum, each) => sum + each, 0);
  const link = (state, count) =>
    el("a", { class: "chip", "data-state": state ?? "all", href: urlOf(state), "aria-current": chosen === state ? "true" : null },
      state ? shape(state) : null,
      el("span", {}, t(`state.${state ?? "all"}`)),
      el("b", {}, t("number", { n: count })));
  return [link(null, all), ...STATES.map((state) => link(state, states[state] ?? 0))];
}

/** Writes a count into a link of `stateFilter`. Without any, the state that is rare has no link. */
export function setCount(link, count) {
  setText(link.querySelector("b"), t("number", { n: count }));
  link.hidden = link.dataset.state === "unknown" && count === 0 && link.getAttribute("aria-current") !== "true";
}

// The replay of dead letters: a button for operators, which asks first, and how far it is.

import { ApiError, get, post, withQuery } from "../api.js";
import { announce, el, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { name, visible } from "../names.js";
import { session } from "../session.js";
import { age, setAge } from "../times.js";
import { reasonText } from "./reason.js";

const PATH = "/api/v1/dead-letters/replay";
/** While none is running: a worker asks all the others. */
const IDLE_MS = 30_000;
const FILTERS = ["reason", "host", "config", "topic"];

/**
 * Loads what this component shows: the role, and the last replay; null if that is not known at this moment.
 *
 * @returns {{load: function(AbortSignal): Promise<Object|null>, expire: function()}} after `expire`, it is loaded again.
 */
export function replayLoader() {
  let loaded = null;
  let due = 0;
  return {
    async load(signal) {
      if (loaded?.last.state !== "running" && Date.now() < due) return loaded;
      try {
        const [{ role }, last] = await Promise.all([session(signal), get(PATH, { signal })]);
        loaded = { role, last };
        due = Date.now() + IDLE_MS;
        return loaded;
      } catch (error) {
        if (error instanceof ApiError) return null;
        throw error;
      }
    },
    expire() {
      due = 0;
    },
  };
}

/**
 * @param {function()} started called when a replay has begun.
 * @returns {{button: Element, element: Element, update: function(Object|null, Object, Object)}} `update` gets what
 *   a loader returned, the filters, and {total, leftOut, pending}: how many dead letters they select, how many older ones
 *   are not counted, and whether these numbers are still those of other filters.
 */
export function replay(started) {
  let selected = { filters: {}, total: 0, leftOut: 0 };
  let state = null;
  const button = el("button", { type: "button", hidden: true, onclick: ask });
  const text = el("span", {});
  const bar = el("progress", { max: 1, "aria-label": t("replay.progress") });
  const seen = el("span", {});
  const detail = el("p", { class: "aside" });
  const element = el("section", { class: "card replay", hidden: true }, el("p", { class: "line" }, text, seen), bar, detail);

  function update(found, asked, { total, leftOut, pending }) {
    const filters = Object.fromEntries(FILTERS.filter((each) => asked[each] !== null).map((each) => [each, asked[each]]));
    selected = { filters, total, leftOut };
    // What is not known at this moment stays as it was.
    if (found) {
      state = found;
      show(found.last);
    }
    button.hidden = state?.role !== "operator" || total === 0;
    button.disabled = pending || state?.last.state === "running";
    setText(button, t(Object.keys(filters).length ? "replay.these" : "replay.all", { n: total }));
  }

  function show(last) {
    const before = element.dataset.state;
    element.hidden = last.state === "none";
    setAttribute(element, "data-state", last.state);
    if (last.state === "none") return;
    if (before === "running" && last.state !== "running") announce(t(`replay.${last.state}`));
    setText(text, t(`replay.${last.state}`) + (last.state === "running" ? t("replay.started") : ""));
    bar.hidden = last.state !== "running";
    // Until all are counted, it is not known how many there are.
    if (last.replayable) bar.value = last.replayed / last.replayable;
    else bar.removeAttribute("value");
    const at = last.finished_at ?? last.started_at;
    if (seen.firstElementChild) setAge(seen.firstElementChild, at);
    else seen.append(" ", age(at));
    detail.replaceChildren(
      t("replay.done", { replayed: last.replayed, replayable: last.replayable }), " ",
      last.without_record ? `${t("replay.withoutRecord", { n: last.without_record })} ` : "",
      described(last.filters), " ",
      ...(last.problem ? [el("bdi", { class: "failed" }, visible(last.problem))] : []));
  }

  function ask() {
    const { filters, total, leftOut } = selected;
    const problem = el("p", { class: "failed", role: "alert" });
    const confirm = el("button", { type: "button", class: "primary", onclick: send }, t("replay.confirm", { n: total }));
    const title = el("h2", { id: "replay-title" }, t("replay.ask", { n: total }));
    const dialog = el("dialog", { "aria-labelledby": title.id, onclose: () => dialog.remove() },
      title, el("p", {}, described(filters)), leftOut ? el("p", { class: "note" }, t("replay.leftOut", { n: leftOut })) : null,
      el("p", {}, t("replay.explained")), problem,
      el("p", { class: "actions" }, el("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, t("replay.cancel")), confirm));

    async function send() {
      confirm.disabled = true;
      try {
        const query = Object.keys(filters).length ? filters : { all: "true" };
        const last = await post(withQuery(PATH, query), {});
        dialog.close();
        announce(t("replay.running"));
        state = { ...state, last };
        show(last);
        started();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        setText(problem, visible(error.detail));
        confirm.disabled = false;
      }
    }

    element.parentElement.append(dialog);
    dialog.showModal();
  }

  return { button, element, update };
}

/** Filters in words. */
function described(filters) {
  const parts = Object.entries(filters).map(([key, value]) =>
    [FILTERS.includes(key) ? t(`replay.filter.${key}`) : visible(key), ": ", key === "reason" ? reasonText(value) : name(value)]);
  return el("span", {}, parts.length ? parts.flatMap((each, index) => (index ? [", ", ...each] : each)) : t("replay.everything"));
}

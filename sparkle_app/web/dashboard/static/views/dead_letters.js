// The records that could not be stored: how many, why, of whom and when; and one in full.

import { get } from "../api.js";
import { countBars, hourBars } from "../components/counts.js";
import { deadLetterTable } from "../components/dead_letter_table.js";
import { goToLastPage, pageOf, pager } from "../components/pager.js";
import { REASONS } from "../components/reason.js";
import { replay, replayLoader } from "../components/replay.js";
import { el, refill, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { navigate, urlWith } from "../router.js";
import { deadLetter } from "./dead_letter.js";

const PAGE_SIZE = 50;
const FILTERS = ["reason", "host", "config", "topic"];

/** @param {Page} page its URL: /dead-letters?reason=&host=&config=&topic=&page=, or of one: ?key= */
export function deadLetters(page) {
  let key = null;
  let shown = null;

  function begin() {
    shown?.stop();
    page.element.replaceChildren();
    key = page.query.get("key");
    shown = key === null ? list(page) : deadLetter(page, key);
  }

  begin();
  return () => {
    if (page.query.get("key") !== key) {
      begin();
      page.element.querySelector("h1").focus();
    } else shown.changed();
  };
}

function list(page) {
  page.title(t("deadLetters.title"));
  const replays = replayLoader();
  const parts = partsOf(page, () => {
    replays.expire();
    polling.now();
  });
  let asked = askedFor(page.query);
  let last = null;

  async function load(signal) {
    const query = { ...asked, page: null, limit: PAGE_SIZE, offset: (asked.page - 1) * PAGE_SIZE || null };
    const [found, replayed] = await Promise.all([get("/api/v1/dead-letters", { signal, query }), replays.load(signal)]);
    return { found, replayed, asked };
  }

  function show(loaded) {
    last = loaded;
    parts.show(loaded);
    // Those of the last pages are no longer there.
    goToLastPage(asked.page, PAGE_SIZE, loaded.found.total);
  }

  const polling = page.poll(load, show);
  return {
    changed() {
      asked = askedFor(page.query);
      if (last) parts.show({ ...last, asked, pending: true });
      parts.fill(asked);
      polling.now();
    },
    stop: polling.stop,
  };
}

function askedFor(query) {
  const chosen = Object.fromEntries(FILTERS.map((each) => [each, query.get(each) || null]));
  return {
    ...chosen,
    // What the worker would refuse is not asked.
    reason: REASONS.includes(chosen.reason) ? chosen.reason : null,
    page: pageOf(query),
  };
}

function partsOf(page, started) {
  const filterUrl = (name, value) => urlWith({ [name]: value, page: null });
  const total = el("span", { class: "count" });
  const counts = ["reason", "host", "config"].map((each) => countBars(each, filterUrl));
  const hours = hourBars();
  const form = filterForm();
  const table = deadLetterTable();
  const pages = [el("div", { class: "pages" }), el("div", { class: "pages below" })];
  const replaying = replay(started);
  const leftOut = el("p", { class: "note", hidden: true });
  const nothing = el("p", { class: "nothing" }, t("overview.loading"));
  const summary = el("div", { class: "summary", hidden: true }, counts.map((each) => each.element), hours.element);

  page.element.append(
    el("div", { class: "view-head" }, el("h1", { tabindex: -1 }, t("deadLetters.title"), " ", total), replaying.button),
    el("p", { class: "lead" }, t("deadLetters.lead")),
    replaying.element, leftOut, summary,
    el("section", { class: "card" },
      el("div", { class: "card-head" }, el("h2", {}, t("deadLetters.list")), form.element, pages[0]),
      el("div", { class: "scrolled" }, table.element), nothing, pages[1]),
  );
  form.fill(askedFor(page.query));

  function show({ found, replayed, asked, pending = false }) {
    replaying.update(replayed, asked, { total: found.total, leftOut: found.left_out, pending });
    setText(total, t("number", { n: found.total }));
    leftOut.hidden = found.left_out === 0;
    setText(leftOut, t("deadLetters.leftOut", { n: found.left_out }));
    summary.hidden = found.total === 0;
    counts.forEach((each) => each.update(found, asked));
    hours.update(found.by_hour);
    table.update(found.dead_letters);
    table.element.hidden = found.dead_letters.length === 0;
    nothing.hidden = found.dead_letters.length > 0;
    const filtered = FILTERS.some((each) => asked[each] !== null);
    setText(nothing, t(filtered ? "deadLetters.none" : "deadLetters.empty"));
    form.clear.hidden = !filtered;
    setAttribute(form.clear, "href", location.pathname);
    pages.forEach((each, index) => showPages(each, asked.page, found.total, index === 0));
    pages[1].hidden = found.total <= PAGE_SIZE;
  }

  return { show, fill: form.fill };
}

function showPages(element, page, total, landmark) {
  const range = JSON.stringify([page, total, location.search]);
  // Otherwise a link that has the focus would lose it.
  if (element.shown === range) return;
  element.shown = range;
  const urlOf = (to) => urlWith({ page: to === 1 ? null : to });
  refill(element, pager({ page, size: PAGE_SIZE, total, urlOf, landmark }));
}

function filterForm() {
  const reason = el("select", { name: "reason", "aria-label": t("deadLetters.reason"), onchange: apply },
    el("option", { value: "" }, t("deadLetters.anyReason")),
    REASONS.map((each) => el("option", { value: each }, t(`reason.${each}`))));
  const field = (name, key) => el("input", {
    name, placeholder: t(key), "aria-label": t(key), autocomplete: "off", spellcheck: "false", size: 1, onchange: apply,
  });
  // An input is as wide as the text under it, in every language.
  const placed = (input) => (input.placeholder ? el("span", { class: "field" }, el("span", { "aria-hidden": "true" }, input.placeholder), input) : input);
  const fields = [
    reason,
    field("host", "deadLetters.host"),
    field("config", "deadLetters.config"),
    field("topic", "deadLetters.topic"),
  ];
  const clear = el("a", { hidden: true }, t("filter.clear"));
  const element = el("form", { class: "filters", role: "search", onsubmit: submit }, fields.map(placed), clear);

  function apply() {
    navigate(urlWith({ ...Object.fromEntries(fields.map((each) => [each.name, each.value.trim()])), page: null }));
  }

  function submit(event) {
    event.preventDefault();
    apply();
  }

  function fill(asked) {
    for (const each of fields) each.value = asked[each.name] ?? "";
  }

  return { element, clear, fill };
}

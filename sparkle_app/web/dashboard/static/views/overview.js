// The fleet now: states, silent hosts, a heat map, and a table that the worker sorts, filters and pages.

import { get } from "../api.js";
import { heatSection } from "../components/heat_section.js";
import { choiceBar } from "../components/host_choice.js";
import { hostTable, silentHosts } from "../components/host_table.js";
import { goToLastPage, pageOf, pager } from "../components/pager.js";
import { STATES, setCount, stateFilter } from "../components/state.js";
import { announce, el, refill, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { plugins, titleOf } from "../plugins.js";
import { navigate, urlWith } from "../router.js";

const PAGE_SIZE = 100;
/** With the heat map of hosts and time, which has a row for each host of the page. */
const SMALL_PAGE_SIZE = 40;
const SILENT_SHOWN = 6;
const TYPING_MS = 250;
/** The worst first: what a reader looks for is on the first page. */
const DEFAULT_SORT = "state";

/** @param {Page} page its URL: /?state=&search=&sort=&page=&map=PLUGIN&over=1h */
export function overview(page) {
  page.title(t("overview.title"));
  const parts = partsOf(page);
  let asked = askedFor(page.query);
  let last = null;
  let typed = false;

  async function load(signal) {
    const installed = await plugins(signal);
    const { state, search, size } = asked;
    const listed = { state, search, sort: sortOf(asked, installed), limit: size, offset: (asked.page - 1) * size || null };
    const [hosts, heat] = await Promise.all([
      get("/api/v1/overview", { signal, query: { ...listed, silent: SILENT_SHOWN } }),
      parts.heat.load(signal, installed, listed),
    ]);
    return { installed, hosts, heat, asked };
  }

  function show(loaded) {
    const before = last?.hosts.states;
    last = loaded;
    parts.show(loaded);
    announceWorse(before, loaded.hosts.states);
    if (typed) announce(t("hosts.found", { n: loaded.hosts.total }));
    typed = false;
    goToLastPage(asked.page, asked.size, loaded.hosts.total);
  }

  const polling = page.poll(load, show);
  return () => {
    const next = askedFor(page.query);
    typed = next.search !== asked.search || next.state !== asked.state;
    asked = next;
    // Links and marks follow at once, hosts when they are there.
    if (last) parts.show({ ...last, asked });
    parts.search.show(asked.search);
    polling.now();
  };
}

function askedFor(query) {
  const state = query.get("state");
  return {
    state: STATES.includes(state) ? state : null,
    search: query.get("search") ?? "",
    sort: query.get("sort") || DEFAULT_SORT,
    page: pageOf(query),
    size: query.get("over") ? SMALL_PAGE_SIZE : PAGE_SIZE,
  };
}

/** What is sorted by: a plugin of a URL may be uninstalled. */
function sortOf({ sort }, installed) {
  const columns = ["state", "host", "last_seen", ...installed.map((each) => each.name)];
  return columns.includes(sort.replace(/^-/, "")) ? sort : DEFAULT_SORT;
}

function partsOf(page) {
  const filterUrl = (state) => urlWith({ state, page: null });
  const sortUrl = (sort) => urlWith({ sort: sort === DEFAULT_SORT ? null : sort, page: null });

  const total = el("span", { class: "count" });
  const filter = el("nav", { class: "chips", "aria-label": t("filter.label") });
  const outdated = el("div", { class: "notes" });
  const silent = silentHosts();
  const heat = heatSection(page);
  const search = searchField(page.query.get("search") ?? "");
  const table = hostTable(sortUrl);
  const pages = [el("div", { class: "pages" }), el("div", { class: "pages below" })];
  const why = el("span", {});
  const clear = el("a", {}, t("filter.clear"));
  const nothing = el("p", { class: "nothing", hidden: true }, why, " ", clear);
  const tableSection = el("section", { class: "card", hidden: true },
    el("div", { class: "card-head" }, el("h2", {}, t("hosts.title")), search.element, pages[0]),
    el("div", { class: "scrolled" }, table.element), nothing, pages[1]);
  const loading = el("p", { class: "nothing" }, t("overview.loading"));

  page.element.append(
    el("div", { class: "view-head" }, el("h1", { tabindex: -1 }, t("overview.title"), " ", total), filter),
    outdated, loading, silent.element, heat.element, tableSection, choiceBar(page),
  );
  page.watch("chosen", table.showChosen);

  function show({ installed, hosts, heat: cells, asked }) {
    loading.remove();
    const known = sumOf(hosts.states);
    // As while a worker starts: nobody knows the hosts.
    const starting = known === 0 && hosts.outdated.length > 0;
    filter.hidden = starting;
    setText(total, starting ? "" : t("number", { n: known }));
    showStates(filter, hosts.states, asked.state, filterUrl);
    outdated.replaceChildren(...notes(hosts));
    silent.update({
      hosts: hosts.silent_hosts,
      total: asked.state === "silent" ? 0 : hosts.states.silent,
      allUrl: urlWith({ state: "silent", sort: "-last_seen", page: null }),
    });
    tableSection.hidden = false;
    heat.show(starting ? null : cells, filterOf(cells?.found, asked));
    table.update({ hosts: hosts.hosts, plugins: installed, sort: sortOf(asked, installed) });
    table.element.hidden = hosts.hosts.length === 0;
    nothing.hidden = hosts.hosts.length > 0;
    setText(why, t(known ? "hosts.none" : starting ? "hosts.starting" : "hosts.empty"));
    clear.hidden = !asked.state && !asked.search;
    setAttribute(clear, "href", urlWith({ state: null, search: null, page: null }));
    showPages(pages, asked, hosts.total);
  }

  return { show, heat, search };
}

const sumOf = (states) => Object.values(states).reduce((sum, each) => sum + each, 0);

/** Whether a cell is among the hosts that the table lists. */
function filterOf(cells, { state, search }) {
  const text = search.toLowerCase();
  return (index) =>
    (!state || cells.host_state[index] === state) && (!text || cells.host[index].toLowerCase().includes(text));
}

function showStates(filter, states, chosen, urlOf) {
  const links = stateFilter(states, chosen, urlOf);
  if (!filter.children.length) filter.append(...links);
  for (const [index, link] of [...filter.children].entries()) {
    setAttribute(link, "href", links[index].getAttribute("href"));
    setAttribute(link, "aria-current", links[index].getAttribute("aria-current"));
    setCount(link, index ? states[STATES[index - 1]] ?? 0 : sumOf(states));
  }
}

/** Says that more hosts are silent or critical than before. */
function announceWorse(before, { silent, critical }) {
  if (before && (silent > before.silent || critical > before.critical)) {
    announce(t("overview.worse", { silent, critical }));
  }
}

function showPages(pages, { page, size }, total) {
  const range = JSON.stringify([page, size, total, location.search]);
  // Otherwise a link that has the focus would lose it.
  if (pages.shown === range) return;
  pages.shown = range;
  const urlOf = (to) => urlWith({ page: to === 1 ? null : to });
  pages.forEach((each, index) =>
    refill(each, pager({ page, size, total, urlOf, landmark: index === 0 })));
  pages[1].hidden = total <= size;
}

function notes({ outdated, problem }) {
  const found = problem ? [t("overview.problem", { detail: problem })] : [];
  for (const part of outdated) {
    const partitions = part.partitions.length;
    found.push(t("overview.outdated", { plugin: titleOf(part.plugin), n: partitions, detail: part.problem }));
  }
  return found.map((text) => el("p", { class: "note" }, text));
}

function searchField(value) {
  let timer = 0;
  const input = el("input", {
    type: "search", value, placeholder: t("hosts.search"), "aria-label": t("hosts.search"),
    autocomplete: "off", spellcheck: "false",
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        timer = 0;
        if (input.isConnected) navigate(urlWith({ search: input.value.trim(), page: null }), { replace: true });
      }, TYPING_MS);
    },
  });
  return {
    element: input,
    /** What is being typed is left alone. */
    show(text) {
      if (!timer && input.value.trim() !== text) input.value = text;
    },
  };
}

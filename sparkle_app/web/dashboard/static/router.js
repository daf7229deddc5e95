// Views and their URLs. What is shown is always what the URL says: a link, the back button and a bookmark all work.
//
// A view is a function of a Page: it draws into page.element, and has whatever it starts end with the page.
// It may return a function: that is called when the query of the URL changes, instead of the view being made again.

import { el } from "./dom.js";
import { t } from "./language.js";
import { poll } from "./poll.js";
import { store } from "./store.js";
import { compare } from "./views/compare.js";
import { deadLetters } from "./views/dead_letters.js";
import { host } from "./views/host.js";
import { overview } from "./views/overview.js";
import { pipeline } from "./views/pipeline.js";

/** By path; the worker serves the page at these paths (page.py). */
const VIEWS = { "/": overview, "/host": host, "/compare": compare, "/dead-letters": deadLetters, "/pipeline": pipeline };

/** One visit of a view. */
class Page {
  #endings = new Set();

  constructor() {
    this.element = el("div", { class: "view" });
    /** The query of the URL. @type {URLSearchParams} */
    this.query = new URLSearchParams(location.search);
  }

  /** Polls (poll.js) until the view is left. */
  poll(load, show, options) {
    const polling = poll(load, show, options);
    const forget = this.ending(polling.stop);
    return { ...polling, stop: () => (forget(), polling.stop()) };
  }

  /** Calls a function when the view is left; what is returned prevents it: it is no longer needed. */
  ending(end) {
    this.#endings.add(end);
    return () => this.#endings.delete(end);
  }

  /** Calls a function now, and when a value of the store changes, until the view is left. */
  watch(name, listener) {
    this.ending(store.subscribe(name, listener));
    listener(store.get(name));
  }

  listen(target, event, listener) {
    target.addEventListener(event, listener);
    this.ending(() => target.removeEventListener(event, listener));
  }

  /** Sets the heading of the browser's tab. */
  title(text) {
    document.title = `${text} · Sparkle-M`;
  }

  end() {
    for (const end of this.#endings) end();
    this.#endings.clear();
    this.element.remove();
  }
}

let main = null;
let page = null;
let path = "";
let onQuery = null;

/** Shows the view of the present URL in an element, and follows links. */
export function startRouter(element) {
  main = element;
  window.addEventListener("popstate", () => show());
  document.addEventListener("click", follow);
  store.subscribe("language", reload);
  show();
}

/** Goes to another URL of the page. @param {boolean} replace without a new entry of the browser's history. */
export function navigate(url, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", url);
  show({ forward: true });
}

/** The present URL with other parameters; null removes one. */
export function urlWith(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  return query.size ? `${location.pathname}?${query}` : location.pathname;
}

/** The URL of a host's view. @param {string[][]} more parameters, such as those of a time range. */
export const hostUrl = (name, more = []) => `/host?${new URLSearchParams([["name", name], ...more])}`;

/** The URL of the view that compares hosts. */
export const compareUrl = (hosts, more = []) => `/compare?${new URLSearchParams([...hosts.map((host) => ["host", host]), ...more])}`;

function show({ forward = false } = {}) {
  if (page && location.pathname === path && onQuery) {
    page.query = new URLSearchParams(location.search);
    onQuery();
  } else {
    const moved = page !== null;
    reload();
    if (moved) {
      // Going back, the browser scrolls to where it was.
      if (forward) scrollTo(0, 0);
      // A screen reader begins with the new view.
      main.querySelector("h1")?.focus();
    }
  }
  store.set("path", location.pathname);
}

/** Makes the view again. */
export function reload() {
  page?.end();
  path = location.pathname;
  page = new Page();
  main.append(page.element);
  onQuery = (VIEWS[path] ?? notFound)(page) ?? null;
}

function notFound(page) {
  page.title(t("notFound.title"));
  page.element.append(
    el("h1", { tabindex: -1 }, t("notFound.title")),
    el("p", {}, el("a", { href: "/" }, t("notFound.back"))),
  );
}

function follow(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !(url.pathname in VIEWS) || url.hash) return;
  event.preventDefault();
  navigate(url.pathname + url.search, { replace: url.href === location.href });
}

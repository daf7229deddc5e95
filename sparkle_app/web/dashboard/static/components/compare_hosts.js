// The hosts that are compared: each can be removed, and others added by a field that suggests hosts.

import { ApiError, get } from "../api.js";
import { comparedHost } from "../compare_data.js";
import { MAX_HOSTS, hostsOf } from "../compared.js";
import { announce, el, keyed, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { name, shortened, visible } from "../names.js";
import { rangeQuery } from "../ranges.js";
import { compareUrl, hostUrl, navigate } from "../router.js";
import { problemsOf } from "./host_header.js";
import { setState, stateMark } from "./state.js";

const SUGGESTED = 10;
/** In a message. */
const LISTED = 3;
const TYPING_MS = 200;

/** @returns {{element, update}} `update` gets {hosts, ignored, found}: names, and what comparedHost found by name, or null. */
export function compareHosts(page) {
  const list = el("ul", { "aria-label": t("compare.hosts") });
  const field = addField(page, add);
  const note = el("p", { class: "note", hidden: true });
  const problems = el("div", { class: "notes" });
  const hint = el("p", { class: "hint", hidden: true });
  const element = el("div", { class: "compared-hosts" },
    el("div", { class: "chosen" }, list, field.element), hint, field.message, note, problems);

  function update({ hosts, ignored, found }) {
    keyed(list, hosts.map((host) => [host, { host, found: found?.get(host) }]), ({ host }) => item(host, remove));
    list.hidden = hosts.length === 0;
    note.hidden = ignored === 0;
    setText(note, ignored ? t("compare.ignored", { n: ignored, max: MAX_HOSTS }) : "");
    hint.hidden = hosts.length > 1;
    setText(hint, t(hosts.length ? "compare.oneHost" : "compare.noHosts"));
    keyed(problems, [...problemsOfHosts(hosts, found)].map((each) => [each[0], each]), problem);
  }

  function add(host) {
    navigate(compareUrl([...hostsOf(page.query).hosts, host], rangeQuery()));
    announce(t("compare.added", { host: shortened(host) }));
  }

  function remove(host) {
    const { hosts } = hostsOf(page.query);
    const place = hosts.indexOf(host);
    navigate(compareUrl(hosts.filter((each) => each !== host), rangeQuery()));
    // The button that had the focus is gone.
    const next = list.children[Math.min(place, list.children.length - 1)];
    (next?.querySelector("button") ?? field.input).focus();
    announce(t("compare.removed", { host: shortened(host) }));
  }

  return { element, update };
}

/** Why what is shown of some hosts may be old, each with these hosts. */
function problemsOfHosts(hosts, found) {
  const all = new Map();
  for (const host of hosts) {
    const row = found?.get(host)?.row;
    for (const text of row ? problemsOf(row) : []) all.set(text, [...(all.get(text) ?? []), host]);
  }
  return all;
}

function problem() {
  const element = el("p", { class: "note" });
  return { element, update: ([text, hosts]) => setText(element, `${hosts.map((host) => shortened(host)).join(", ")}: ${text}`) };
}

function item(host, remove) {
  const link = el("a", {}, name(host, 28));
  const mark = stateMark("ok");
  const unknown = el("span", { class: "unknown" });
  const label = t("compare.remove", { host: shortened(host) });
  const element = el("li", {}, link, mark, unknown,
    el("button", { type: "button", title: label, "aria-label": label, onclick: () => remove(host) }, "×"));

  function update({ found }) {
    setAttribute(link, "href", hostUrl(host, rangeQuery()));
    mark.hidden = !found?.row;
    if (found?.row) setState(mark, found.row.state);
    unknown.hidden = !found || Boolean(found.row);
    setText(unknown, t(found?.problem ? "compare.notShown" : "compare.notKnown"));
    setAttribute(unknown, "title", found?.problem ?? null);
  }
  return { element, update };
}

/** @param {function(string)} add is called with a host that is known and not compared yet. */
function addField(page, add) {
  const message = el("p", { class: "note", id: "compare-message", hidden: true });
  const options = el("datalist", { id: "compare-suggested" });
  const input = el("input", {
    type: "text", list: options.id, required: true, placeholder: t("compare.addHost"), "aria-label": t("compare.addHost"),
    "aria-describedby": message.id, autocomplete: "off", autocapitalize: "off", spellcheck: "false", oninput: typed, onfocus: suggest,
  });
  const element = el("form", { onsubmit: submit }, input, options, el("button", { type: "submit" }, t("compare.add")));
  // By what is shown of them: an option cannot have all characters that a name has.
  const suggested = new Map();
  let candidates = [];
  const ended = new AbortController();
  page.ending(() => ended.abort());
  let timer = 0;

  /** What is shown of a host, unlike that of any other. */
  function textOf(host) {
    let text = visible(host);
    for (let n = 2; (suggested.get(text) ?? host) !== host; n += 1) text = `${visible(host)} (${n})`;
    suggested.set(text, host);
    return text;
  }

  function typed() {
    say("");
    candidates = [];
    clearTimeout(timer);
    timer = setTimeout(suggest, TYPING_MS);
  }

  async function suggest() {
    const search = input.value.trim();
    try {
      const query = { search, limit: SUGGESTED + MAX_HOSTS, sort: "host" };
      const { hosts } = await get("/api/v1/overview", { query, signal: ended.signal });
      // Somebody has gone on typing.
      if (search !== input.value.trim()) return;
      const compared = hostsOf(page.query).hosts;
      const found = hosts.map(({ host }) => host).filter((host) => !compared.includes(host)).slice(0, SUGGESTED);
      candidates = found;
      options.replaceChildren(...found.map((host) => el("option", { value: textOf(host) })));
    } catch {
      // Whether the worker answers is said at the top.
    }
  }

  async function submit(event) {
    event.preventDefault();
    const text = suggested.has(input.value) ? input.value : input.value.trim();
    clearTimeout(timer);
    if (!suggested.has(text)) await suggest();
    const { hosts } = hostsOf(page.query);
    // Part of a name is enough if there is one such host.
    const host = suggested.get(text) ?? (candidates.length === 1 && !hosts.includes(text) ? candidates[0] : text);
    if (hosts.includes(host)) say(t("compare.present", { host: shortened(host) }));
    else if (hosts.length >= MAX_HOSTS) say(t("compare.full", { n: MAX_HOSTS }));
    else if (host) await addKnown(host);
  }

  async function addKnown(host) {
    try {
      const { row, problem } = await comparedHost(host, ended.signal);
      if (!row) {
        const similar = candidates.slice(0, LISTED).map((each) => shortened(each)).join(", ");
        say(problem ?? t(similar ? "compare.similar" : "compare.unknown", { host: shortened(host), similar }));
        return;
      }
      input.value = "";
      options.replaceChildren();
      add(host);
    } catch (error) {
      if (error instanceof ApiError) say(error.detail);
      else if (!ended.signal.aborted) throw error;
    }
  }

  function say(text) {
    message.hidden = text === "";
    setText(message, text);
    setAttribute(input, "aria-invalid", text ? "true" : null);
    if (text) announce(text);
  }

  return { element, input, message };
}

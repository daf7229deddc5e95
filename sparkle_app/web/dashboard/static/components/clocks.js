// Hosts with wrong clocks: their readings are stored with the time at which they were received.

import { ApiError, get } from "../api.js";
import { el, keyed, setText } from "../dom.js";
import { t } from "../language.js";
import { name } from "../names.js";
import { hostUrl } from "../router.js";
import { age, setAge } from "../times.js";
import { duration } from "../values.js";
import { scrolled } from "./scrolled.js";

/** Workers write them once a minute. */
const INTERVAL_MS = 60_000;
const LISTED = 100;

/** @returns {{element: Element, refresh: function()}} `refresh` loads the hosts again if they are old; nothing waits for it. */
export function clocks(page) {
  const leaving = new AbortController();
  page.ending(() => leaving.abort());
  let loaded = { hosts: [], more: false, problem: null };
  let due = 0;
  const title = el("h2", {});
  const problem = el("p", { class: "note", hidden: true });
  const body = el("tbody", {});
  const table = el("table", { class: "plain" },
    el("caption", { class: "visually-hidden" }, t("clocks.caption")),
    el("thead", {}, el("tr", {}, ["host", "plugin", "offset", "last"].map((each) => el("th", { scope: "col" }, t(`clocks.${each}`))))),
    body);
  const more = el("p", { class: "more" }, t("clocks.more", { n: LISTED }));
  const lead = el("p", { class: "lead" }, t("clocks.lead"));
  const listed = scrolled(t("clocks.caption"), table);
  const element = el("section", { class: "card clocks", hidden: true }, el("div", { class: "card-head" }, title), lead, problem, listed, more);

  /** The hosts are in the database: what is in the memory of the workers is shown without them. */
  async function refresh() {
    if (Date.now() < due) return;
    due = Infinity;
    try {
      const { hosts, next } = await get("/api/v1/hosts", { signal: leaving.signal, query: { clock: "untrusted", limit: LISTED } });
      loaded = { hosts, more: next !== null, problem: null };
      due = Date.now() + INTERVAL_MS;
    } catch (error) {
      if (leaving.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      loaded = { ...loaded, problem: error.detail };
      due = 0;
    }
    show(loaded);
  }

  function show(found) {
    element.hidden = false;
    const rows = found.hosts.flatMap(({ host, plugins }) =>
      plugins.filter((each) => each.clock_offset_seconds !== null).map((each) => ({ host, ...each })));
    const known = found.problem === null;
    setText(title, rows.length ? t("clocks.title", { n: found.hosts.length }) : t(known ? "clocks.none" : "clocks.caption"));
    problem.hidden = known;
    setText(problem, known ? "" : t("clocks.problem", { detail: found.problem }));
    keyed(body, rows.map((each) => [JSON.stringify([each.host, each.plugin]), each]), row);
    lead.hidden = listed.hidden = rows.length === 0;
    more.hidden = !found.more;
  }

  return { element, refresh };
}

function row({ host, plugin, last_received_at: at }) {
  const offset = el("td", {});
  const seen = age(at);
  const element = el("tr", {},
    el("th", { scope: "row" }, el("a", { href: hostUrl(host) }, name(host))), el("td", {}, name(plugin)), offset, el("td", {}, seen));
  function update({ clock_offset_seconds: seconds, last_received_at: at }) {
    setText(offset, t(seconds < 0 ? "clocks.behind" : "clocks.ahead", { duration: duration(Math.abs(seconds)) }));
    setAge(seen, at);
  }
  return { element, update };
}

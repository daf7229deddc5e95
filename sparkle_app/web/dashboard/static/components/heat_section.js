// The heat map of one plugin, of now or of the last hours, and what selects it.

import { ApiError, get, madeAt, noteMade, now as currentTime, pathOf } from "../api.js";
import { el, refill, setText } from "../dom.js";
import { t } from "../language.js";
import { pluginTitle } from "../names.js";
import { PRESETS, presetText } from "../ranges.js";
import { urlWith } from "../router.js";
import { legend } from "./heat.js";
import { heatMap } from "./heat_map.js";
import { timeMap } from "./time_map.js";

const SPANS = ["1h", "6h", "24h", "7d", "30d"];
/** The past changes slowly, and is read from the database. */
const TIME_MAP_MS = 30_000;
const RETRY_MS = 10_000;

/**
 * The URL's parameters are `map`, the plugin, and `over`, the time.
 *
 * @returns {{element: Element, load: function, show: function}} `load` requests what `show` gets.
 */
export function heatSection(page) {
  const now = heatMap(page);
  const past = timeMap(page);
  const plugins = el("nav", { class: "tabs", "aria-label": t("heat.choose") });
  const times = el("nav", { class: "tabs", "aria-label": t("heat.over") });
  const nothing = el("p", { class: "nothing", hidden: true });
  const key = el("div", {});
  const element = el("section", { class: "card", hidden: true },
    el("div", { class: "card-head" }, el("h2", {}, t("heat.title")), plugins, times),
    now.element, past.element, nothing, key);
  let kept = { query: "", at: 0, madeAt: 0, found: null, problem: "" };

  /** @param {Object} listed the query of the hosts that the table lists. */
  async function load(signal, installed, listed) {
    const plugin = installed.find((each) => each.name === page.query.get("map")) ?? installed[0];
    const over = SPANS.includes(page.query.get("over")) ? page.query.get("over") : null;
    if (!plugin) return null;
    const loaded = { installed, plugin, over, problem: "" };
    if (!over) return { ...loaded, found: await get(pathOf`/api/v1/plugins/${plugin.name}/cells`, { signal }) };
    const query = JSON.stringify([plugin.name, over, listed]);
    if (kept.query !== query || Date.now() - kept.at > TIME_MAP_MS) {
      const from = new Date(currentTime() - PRESETS[over] * 1000).toISOString();
      // Of its own, so that its age is known apart.
      const mine = AbortSignal.any([signal]);
      try {
        const found = await get(pathOf`/api/v1/plugins/${plugin.name}/headlines`, { signal: mine, query: { ...listed, from } });
        kept = { query, at: Date.now(), madeAt: madeAt(mine), found, problem: "" };
      } catch (error) {
        // Everything else is shown without the database. If it is the worker that does not answer, it does not answer the rest.
        if (!(error instanceof ApiError)) throw error;
        const problem = error.limit === "buckets" ? t("heat.tooFine", { range: presetText(over) }) : error.detail;
        // Not asked again at once: everything else would wait for it.
        kept = { query, at: Date.now() - TIME_MAP_MS + RETRY_MS, madeAt: null, found: { host: [], average: [] }, problem };
      }
    }
    if (kept.madeAt) noteMade(signal, kept.madeAt);
    return { ...loaded, found: kept.found, problem: kept.problem };
  }

  /** @param {function(number): boolean} shows whether a cell of /cells is drawn in full. */
  function show(loaded, shows) {
    element.hidden = loaded === null;
    if (loaded === null) return;
    const { installed, plugin, over, found, problem } = loaded;
    showTabs(installed, plugin, over);
    nothing.hidden = found.host.length > 0;
    setText(nothing, problem || t(over ? "heat.noneListed" : "heat.none"));
    now.element.hidden = Boolean(over) || !found.host.length;
    past.element.hidden = !over || !found.host.length;
    if (over) past.update({ found, plugin });
    else now.update({ found, plugin, shows });
    key.replaceChildren(legend(plugin, over ? found.average.flat() : found.last, Boolean(over)));
  }

  function showTabs(installed, plugin, over) {
    const current = JSON.stringify([installed.map((each) => each.name), plugin.name, over, location.search]);
    // Otherwise a link that has the focus would lose it.
    if (plugins.shown === current) return;
    plugins.shown = current;
    refill(plugins, ...installed.map((each) => tab({ map: each.name }, pluginTitle(each), each === plugin)));
    refill(times,
      tab({ over: null, page: null }, t("heat.now"), !over),
      ...SPANS.map((name) => tab({ over: name, page: null }, presetText(name), over === name)),
    );
  }

  return { element, load, show };
}

const tab = (changes, text, current) =>
  el("a", { href: urlWith(changes), "aria-current": current ? "true" : null }, text);

// Hosts beside each other: for each chart of each plugin a row of small charts, one for each host.

import { now } from "../api.js";
import { comparedHost, comparedPlugins, comparison } from "../compare_data.js";
import { hostsOf } from "../compared.js";
import { compareHosts } from "../components/compare_hosts.js";
import { compareSection } from "../components/compare_section.js";
import { withoutCharts } from "../components/plugin_section.js";
import { rangeBar } from "../components/range_bar.js";
import { el, keyed } from "../dom.js";
import { t } from "../language.js";
import { plugins } from "../plugins.js";
import { rangeData } from "../range_data.js";
import { rangeOf } from "../ranges.js";

/** @param {Page} page its URL: /compare?host=HOST&host=HOST&range=1h, or &from=…&to=… */
export function compare(page) {
  page.title(t("compare.title"));
  const parts = partsOf(page);
  let asked = askedFor(page.query);
  const charts = rangeData();
  // The plugins of each host, whose data was loaded.
  let loadedFor = "";
  parts.showAsked(asked);

  async function load(signal) {
    const known = Promise.all(asked.hosts.map((host) => comparedHost(host, signal)));
    const [installed, hosts] = await Promise.all([plugins(signal), known]);
    const having = JSON.stringify(hosts.map(({ row }) => row && Object.keys(row.plugins).sort()));
    if (having !== loadedFor) charts.forget();
    loadedFor = having;
    const loaded = await charts.get(asked, page.query, signal, async ({ range }, mine) =>
      ({ plugins: await comparedPlugins(installed, hosts, range, mine) }));
    return { hosts, ...loaded };
  }

  const polling = page.poll(load, parts.show);
  return () => {
    asked = askedFor(page.query);
    charts.forget();
    parts.showAsked(asked);
    polling.now();
  };
}

const askedFor = (query) => ({ ...hostsOf(query), range: rangeOf(query, now()) });

function partsOf(page) {
  const chosen = compareHosts(page);
  const bar = rangeBar({ ofOneHost: false });
  const sections = el("div", { class: "plugins" });
  const status = el("p", { class: "nothing", role: "status" }, t("overview.loading"));
  page.element.classList.add("compare-view");
  page.element.append(
    el("header", { class: "host-head" },
      el("p", { class: "links" }, el("a", { href: "/" }, `← ${t("host.all")}`)),
      el("h1", { tabindex: -1 }, t("compare.title"))),
    chosen.element, bar.element, ...[withoutCharts()].filter(Boolean), status, sections);
  let found = new Map();
  let shown = null;

  const all = () => [...(sections.keyedRows?.values() ?? [])];
  page.ending(() => all().forEach((each) => each.destroy()));
  page.listen(window, "sparkle:colours", () => all().forEach((each) => each.recolour()));

  function show({ hosts, plugins: loaded, asked }) {
    found = new Map(hosts.map((each) => [each.host, each]));
    chosen.update({ ...asked, found });
    const compared = loaded.map((each) => comparison(each, hosts)).filter(Boolean);
    sections.classList.remove("waiting");
    status.hidden = compared.length > 0 || hosts.length === 0;
    status.textContent = t("host.empty");
    // The points are those of the last update, but a state may be another one.
    const now = { loaded, states: JSON.stringify(compared.map((each) => each.hosts.map(({ state }) => state))) };
    if (shown?.loaded === now.loaded && shown.states === now.states) return;
    shown = now;
    bar.update(asked);
    // Charts first.
    compared.sort((a, b) => (b.lines.length > 0) - (a.lines.length > 0));
    keyed(sections, compared.map((each) => [each.plugin.name, each]), () => compareSection(page, { zoomOut: bar.zoomOut }));
  }

  return {
    show,
    /** What is asked for: what is shown may still be something else. */
    showAsked(asked) {
      chosen.update({ ...asked, found });
      bar.update(asked);
      if (shown) sections.classList.add("waiting");
    },
  };
}

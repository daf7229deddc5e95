// One host: all its plugins under each other, one time range, and where every number comes from.

import { now } from "../api.js";
import { completenessStrips } from "../components/completeness.js";
import { hostHeader } from "../components/host_header.js";
import { pluginSection, withoutCharts } from "../components/plugin_section.js";
import { APART, COMPARE, rangeBar } from "../components/range_bar.js";
import { el, keyed } from "../dom.js";
import { completenessOf, hostState, pluginData } from "../host_data.js";
import { t } from "../language.js";
import { shortened } from "../names.js";
import { plugins } from "../plugins.js";
import { rangeData } from "../range_data.js";
import { rangeOf } from "../ranges.js";
import { reload } from "../router.js";

/** Of a name in the title of the browser's tab. */
const TITLE_LENGTH = 80;

/** @param {Page} page its URL: /host?name=HOST&range=1h&compare=day&lines=apart, or &from=…&to=… */
export function host(page) {
  const hostname = page.query.get("name") ?? "";
  page.title(hostname ? shortened(hostname, TITLE_LENGTH) : t("host.title"));
  if (!hostname) {
    page.element.append(el("h1", { tabindex: -1 }, t("host.title")), el("p", {}, t("host.noName"), " ", el("a", { href: "/" }, t("host.all"))));
    return undefined;
  }
  const parts = partsOf(page, hostname);
  let asked = askedFor(page.query);
  const charts = rangeData();
  parts.showRange(asked);

  async function load(signal) {
    const [installed, state] = await Promise.all([plugins(signal), hostState(hostname, signal)]);
    return { state, ...(await charts.get(asked, page.query, signal, (moving, mine) => loadCharts(installed, state, moving, mine))) };
  }

  async function loadCharts(installed, state, { range, compare, apart }, signal) {
    const own = state ? installed.filter((each) => each.name in state.plugins) : installed;
    const [data, complete] = await Promise.all([
      Promise.all(own.map((plugin) =>
        pluginData({ plugin, host: hostname, range, compare, apart, known: state?.plugins[plugin.name] }, signal))),
      Promise.all(own.map(async (plugin) =>
        [plugin, state && await completenessOf({ plugin, host: hostname, range, known: state.plugins[plugin.name] }, signal)])),
    ]);
    return { data, complete };
  }

  const polling = page.poll(load, parts.show);
  return () => {
    const name = page.query.get("name") ?? "";
    if (name !== hostname) {
      reload();
      return;
    }
    asked = askedFor(page.query);
    charts.forget();
    parts.showRange(asked);
    parts.wait();
    polling.now();
  };
}

function askedFor(query) {
  const compare = query.get("compare");
  return {
    range: rangeOf(query, now()), compare: COMPARE.includes(compare) ? compare : null, apart: query.get("lines") === APART,
  };
}

function partsOf(page, hostname) {
  const header = hostHeader(hostname);
  const bar = rangeBar();
  const strips = completenessStrips(page);
  const sections = el("div", { class: "plugins" });
  const status = el("p", { class: "nothing", role: "status" }, t("overview.loading"));
  page.element.classList.add("host-view");
  page.element.append(header.element, bar.element, strips.element, ...[withoutCharts()].filter(Boolean), status, sections);
  let shown = null;

  const all = () => [...(sections.keyedRows?.values() ?? [])];
  page.ending(() => all().forEach((each) => each.destroy()));
  page.listen(window, "sparkle:colours", () => all().forEach((each) => each.recolour()));

  function show(loaded) {
    const { state, data, complete, asked } = loaded;
    header.update({ state, latest: data.flatMap((each) => each.latest) });
    if (shown === data) return;
    shown = data;
    sections.classList.remove("waiting");
    // A host that nobody knows has no plugins; one that was removed still has its history.
    const listed = state ? [...data] : data.filter((each) => each.lines.length || each.words.length || each.problem);
    // Charts first.
    listed.sort((a, b) => (b.lines.length > 0) - (a.lines.length > 0));
    status.hidden = listed.length > 0;
    status.textContent = t(state ? "host.empty" : "host.nothing");
    bar.update(asked);
    strips.update({ range: asked.range, plugins: complete });
    keyed(sections, listed.map((each) => [each.plugin.name, each]), () => pluginSection(page, { zoomOut: bar.zoomOut }));
  }

  return {
    show,
    showRange(asked) {
      header.showRange();
      bar.update(asked);
    },
    /** What is shown is of another range. */
    wait: () => sections.classList.add("waiting"),
  };
}

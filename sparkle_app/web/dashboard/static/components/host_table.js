// One row a host: whether it is chosen, its state, the headline of each plugin as a bar, and the age of its last reading.

import { el, keyed, refill, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { name, pluginTitle, visible } from "../names.js";
import { scaleOf } from "../plugins.js";
import { hostUrl } from "../router.js";
import { age, instant, setAge } from "../times.js";
import { bar, setBar } from "./bar.js";
import { hostChoice } from "./host_choice.js";
import { setState, stateMark } from "./state.js";

/**
 * @param {function(string): string} urlOf the URL that sorts by something.
 * @returns {{element, update, showChosen}} `update` gets {hosts, plugins, sort}; `showChosen` follows the choice of hosts.
 */
export function hostTable(urlOf) {
  // The roles stay what they are when the table becomes a list of cards on a narrow screen.
  const head = el("tr", { role: "row" });
  const body = el("tbody", { role: "rowgroup" });
  const element = el("table", { class: "hosts", role: "table" },
    el("caption", { class: "visually-hidden" }, t("hosts.caption")),
    el("thead", { role: "rowgroup" }, head), body);
  let columns = "";
  let headed = "";

  function update({ hosts, plugins, sort }) {
    const names = JSON.stringify(plugins.map((each) => each.name));
    if (columns !== names) keyed(body, [], row);
    columns = names;
    // The links keep the rest of the URL.
    if (headed !== names + location.search) {
      headed = names + location.search;
      refill(head, el("th", { role: "columnheader", scope: "col", class: "of-choice" }, t("compare.column")), ...headings(plugins, sort, urlOf));
    }
    const scales = new Map(plugins.map((plugin) =>
      [plugin.name, scaleOf(plugin, hosts.map((each) => each.plugins[plugin.name]?.headline?.last ?? null))]));
    keyed(body, hosts.map((host) => [host.host, { host, plugins, scales }]), row);
  }

  const showChosen = () => body.keyedRows?.forEach((each) => each.showChosen());
  return { element, update, showChosen };
}

function headings(plugins, sort, urlOf) {
  const heading = (key, text, first = key) => {
    const by = sort.replace(/^-/, "");
    const active = by === key;
    // The first click sorts as is usually wanted, the second one in reverse.
    const to = active && sort === first ? (first.startsWith("-") ? first.slice(1) : `-${first}`) : first;
    const direction = sort.startsWith("-") ? "descending" : "ascending";
    return el("th", { role: "columnheader", scope: "col", "data-column": key, "aria-sort": active ? direction : null },
      el("a", { href: urlOf(to) }, text, el("span", { class: "arrow", "aria-hidden": "true" })));
  };
  return [
    heading("state", t("hosts.state")),
    heading("host", t("hosts.host")),
    ...plugins.map((plugin) =>
      heading(plugin.name, pluginTitle(plugin), plugin.panel.headline.statistic === "minimum" ? plugin.name : `-${plugin.name}`)),
    heading("last_seen", t("hosts.lastSeen")),
  ];
}

function row({ host, plugins }) {
  const state = stateMark(host.state);
  const seen = age(host.last_seen);
  const bars = new Map(plugins.map((plugin) => [plugin.name, bar()]));
  const choice = hostChoice(host.host);
  const element = el("tr", { role: "row" },
    el("td", { role: "cell", class: "of-choice" }, choice.elements),
    el("td", { role: "cell", class: "of-state" }, state),
    el("th", { role: "rowheader", scope: "row" }, el("a", { href: hostUrl(host.host) }, name(host.host))),
    plugins.map((plugin) =>
      el("td", { role: "cell", class: "of-plugin", "data-label": pluginTitle(plugin) }, bars.get(plugin.name))),
    el("td", { role: "cell", class: "of-age" }, seen));

  function update({ host, plugins, scales }) {
    choice.update();
    setAttribute(element, "data-state", host.state);
    setState(state, host.state);
    setAge(seen, host.last_seen);
    for (const plugin of plugins) {
      const found = host.plugins[plugin.name];
      const each = bars.get(plugin.name);
      setBar(each, found?.headline?.last ?? null, plugin, scales.get(plugin.name), {
        state: found?.state,
        metric: found?.headline ? visible(found.headline.metric) : "",
      });
      setAttribute(each.parentElement, "data-absent", found === undefined);
    }
  }
  return { element, update, showChosen: choice.update };
}

/** The hosts that fell silent last, each with since when. */
export function silentHosts() {
  const list = el("ul", {});
  const more = el("a", {});
  const title = el("h2", {});
  const element = el("section", { class: "silent-hosts", hidden: true }, title, list, more);

  function update({ hosts, total, allUrl }) {
    element.hidden = total === 0;
    setText(title, t("silent.title", { n: total }));
    keyed(list, hosts.map((host) => [host.host, host]), item);
    more.hidden = total <= hosts.length;
    setAttribute(more, "href", allUrl);
    setText(more, t("silent.all", { n: total }));
  }

  return { element, update };
}

function item(host) {
  const seen = age(host.last_seen);
  const since = el("span", {}, instant(host.last_seen));
  const element = el("li", {}, el("a", { href: hostUrl(host.host) }, name(host.host, 28)), since, seen);

  function update({ last_seen }) {
    if (since.firstElementChild.dateTime !== last_seen) since.replaceChildren(instant(last_seen));
    setAge(seen, last_seen);
  }

  return { element, update };
}

// The points of several hosts as a table, the newest first: a row for each time and metric, a column for each host.

import { el } from "../dom.js";
import { t } from "../language.js";
import { name } from "../names.js";
import { rfc3339 } from "../ranges.js";
import { instant } from "../times.js";
import { quantity } from "../values.js";

const MAX_ROWS = 500;

/** @param {{lines: Object[], hosts: Object[], plugin: Object, caption: string}} shown see chart_panel.js. */
export function compareTable({ lines, hosts, plugin, caption }) {
  const rows = [...rowsOf(lines.filter((line) => !line.hidden)).values()].sort((a, b) => b.at - a.at);
  const more = rows.length - MAX_ROWS;
  const head = (text, column) => el("th", { scope: "col", "data-column": column }, text);
  return el("div", { class: "scrolled points", tabindex: 0, role: "group", "aria-label": caption },
    el("table", { class: "data" },
      el("caption", { class: "visually-hidden" }, caption),
      el("thead", {}, el("tr", {}, head(t("host.column.time"), "time"), head(t("host.column.metric"), "metric"),
        hosts.map(({ host }) => head(name(host, 28), "value")))),
      el("tbody", {}, rows.slice(0, MAX_ROWS).map(({ at, metric, values }) => el("tr", {},
        el("td", { "data-column": "time" }, instant(rfc3339(at))),
        el("td", { "data-column": "metric" }, name(metric)),
        hosts.map(({ host }) => el("td", { "data-column": "value" }, quantity(values.get(host) ?? null, plugin))))))),
    more > 0 ? el("p", { class: "note" }, t("compare.table.more", { n: more })) : null);
}

/** By time and metric; in order of the lines. Hosts with very many metrics have longer steps. */
function rowsOf(lines) {
  const rows = new Map();
  for (const { metric, host, at, until, value } of lines) {
    at.forEach((start, index) => {
      const key = `${start}/${until[index]}/${metric}`;
      if (!rows.has(key)) rows.set(key, { at: start, metric, values: new Map() });
      rows.get(key).values.set(host, value[index]);
    });
  }
  return rows;
}

// The points of a chart as a table, the newest first.

import { el } from "../dom.js";
import { t } from "../language.js";
import { name } from "../names.js";
import { rfc3339 } from "../ranges.js";
import { instant } from "../times.js";
import { duration, quantity } from "../values.js";

const MAX_ROWS = 500;

/** @param {{lines: Object[], exact: boolean, plugin: Object}} shown */
export function chartTable({ lines, exact, plugin, caption }) {
  const rows = [];
  for (const line of lines) {
    if (line.hidden || line.compared) continue;
    line.x.forEach((x, index) => rows.push({ x, line, index }));
  }
  rows.sort((a, b) => b.x - a.x);
  const columns = exact ? ["time", "metric", "value"] : ["time", "metric", "average", "minimum", "maximum", "count"];
  if (rows.some(({ line }) => line.late?.size)) columns.push("late");
  const more = rows.length - MAX_ROWS;
  return el("div", { class: "scrolled points", tabindex: 0, role: "group", "aria-label": caption },
    el("table", { class: "data" },
      el("caption", { class: "visually-hidden" }, caption),
      el("thead", {}, el("tr", {}, columns.map((each) => el("th", { scope: "col", "data-column": each }, t(`host.column.${each}`))))),
      el("tbody", {}, rows.slice(0, MAX_ROWS).map((row) => tableRow(row, columns, plugin)))),
    more > 0 ? el("p", { class: "note" }, t("host.table.more", { n: more })) : null);
}

function tableRow({ line, index }, columns, plugin) {
  const text = {
    time: () => instant(rfc3339(line.at[index])),
    metric: () => name(line.metric),
    value: () => quantity(line.value[index], plugin),
    average: () => quantity(line.value[index], plugin),
    minimum: () => quantity(line.minimum[index], plugin),
    maximum: () => quantity(line.maximum[index], plugin),
    count: () => t("number", { n: line.count[index] }),
    late: () => (line.late.has(index) ? duration(line.late.get(index).delay) : ""),
  };
  return el("tr", {}, columns.map((each) => el("td", { "data-column": each }, text[each]())));
}

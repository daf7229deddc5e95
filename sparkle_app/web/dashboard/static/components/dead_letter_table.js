// One row a dead letter.

import { el, keyed, setAttribute } from "../dom.js";
import { t } from "../language.js";
import { name, shortened, visible } from "../names.js";
import { urlWith } from "../router.js";
import { age, setAge } from "../times.js";
import { reasonText } from "./reason.js";

const NONE = "–";
const COLUMNS = ["received", "reason", "host", "config", "metric", "detail", "origin"];

/** @returns {{element: Element, update: function(Array)}} `update` gets the dead letters of a response. */
export function deadLetterTable() {
  const body = el("tbody", { role: "rowgroup" });
  const element = el("table", { class: "dead-letters", role: "table" },
    el("caption", { class: "visually-hidden" }, t("deadLetters.caption")),
    el("thead", { role: "rowgroup" },
      el("tr", { role: "row" }, COLUMNS.map((each) => el("th", { role: "columnheader", scope: "col" }, t(`deadLetters.column.${each}`))))),
    body);
  // A reason may change: the record was replayed, and refused for another one.
  const keyOf = (each) => JSON.stringify([each.key, each.reason, each.detail]);
  const update = (found) => keyed(body, found.map((each) => [keyOf(each), each]), row);
  return { element, update };
}

/** The URL of one dead letter; the filters stay in it for the way back. */
export const deadLetterUrl = (key) => urlWith({ key });

/** Where a dead letter's record was received. */
export const origin = ({ topic, partition, offset }) => `${topic}/${partition}/${offset}`;

function row(found) {
  const seen = age(found.received_at);
  const link = el("a", { href: deadLetterUrl(found.key) }, seen);
  const cell = (column, ...children) => el("td", {
    role: "cell", class: `of-${column}`, "data-label": t(`deadLetters.column.${column}`), "data-absent": children[0] === NONE,
  }, children);
  const element = el("tr", { role: "row" },
    el("th", { role: "rowheader", scope: "row", class: "of-received" }, link),
    cell("reason", reasonText(found.reason)),
    cell("host", name(found.host, 28)),
    cell("config", name(found.config, 12)),
    cell("metric", metric(found)),
    cell("detail", detail(found)),
    cell("origin", name(origin(found), 28), el("span", { class: "size" }, t("deadLetters.bytes", { n: found.size }))));

  function update(next) {
    setAge(seen, next.received_at);
    setAttribute(link, "href", deadLetterUrl(next.key));
  }
  return { element, update };
}

const detail = ({ detail }) => (detail ? el("bdi", { title: visible(detail) }, shortened(detail, 72)) : NONE);

function metric({ plugin, metric }) {
  if (plugin === null) return NONE;
  return el("span", {}, name(plugin, 20), metric === null ? null : [" ", name(metric, 28)]);
}

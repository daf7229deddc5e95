// One dead letter in full: what it says, why it was not stored, and whether it would be now.

import { ApiError, get, pathOf } from "../api.js";
import { origin } from "../components/dead_letter_table.js";
import { explanation, reasonText } from "../components/reason.js";
import { el, refill } from "../dom.js";
import { t } from "../language.js";
import { name, visible } from "../names.js";
import { hostUrl, urlWith } from "../router.js";
import { instant } from "../times.js";
import { number } from "../values.js";

/** Each time, the worker reads it from the broker and tries to decrypt it. */
const INTERVAL_MS = 30_000;

/** @param {string} key of the dead letter. */
export function deadLetter(page, key) {
  page.title(t("deadLetter.title"));
  const body = el("div", { class: "dead-letter" }, el("p", { class: "nothing" }, t("overview.loading")));
  page.element.append(
    el("p", {}, el("a", { href: urlWith({ key: null }), class: "back" }, t("deadLetter.back"))),
    el("h1", { tabindex: -1 }, t("deadLetter.title"), " ", el("span", { class: "count" }, name(key, 60))),
    body,
  );
  let shown = null;

  async function load(signal) {
    try {
      return await get(pathOf`/api/v1/dead-letters/${key}`, { signal });
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return { gone: error.detail };
      throw error;
    }
  }

  function show(found) {
    // A selection of text survives, and so does what is unfolded.
    const text = JSON.stringify(found);
    if (text === shown) return;
    shown = text;
    refill(body, ...(found.gone === undefined ? parts(found) : [el("p", { class: "note" }, visible(found.gone))]));
  }

  const polling = page.poll(load, show, { interval: INTERVAL_MS });
  return { changed() {}, stop: polling.stop };
}

function parts({ dead_letter: found, value, would_be_stored: stored, obstacle }) {
  return [verdict(stored, obstacle), why(found), record(found, value)];
}

function verdict(stored, obstacle) {
  const state = stored === null ? "unknown" : stored ? "yes" : "no";
  return el("section", { class: "card would-be", "data-state": state },
    el("h2", {}, t(`deadLetter.stored.${state}`)),
    el("p", {}, stored ? t("deadLetter.replayable") : el("bdi", {}, visible(obstacle ?? ""))));
}

const entry = (term, ...content) => [el("dt", {}, term), el("dd", {}, content)];

function why({ reason, config, detail, plugin, metric }) {
  return el("section", { class: "card" },
    el("h2", {}, t("deadLetter.why")),
    el("dl", {},
      entry(t("deadLetters.column.reason"), reasonText(reason), " ", el("code", {}, visible(reason))),
      explanation(reason, config),
      detail === null ? null : entry(t("deadLetters.column.detail"), el("bdi", {}, visible(detail))),
      plugin === null ? null : entry(t("deadLetter.plugin"), name(plugin, 80)),
      metric === null ? null : entry(t("deadLetter.metric"), name(metric, 255))));
}

function record(found, value) {
  const claim = claimOf(value);
  return el("section", { class: "card" },
    el("h2", {}, t("deadLetter.record")),
    el("dl", {},
      entry(t("deadLetters.column.host"), claim.hostname === null ? name(found.host, 80) : hostLink(claim.hostname)),
      entry(t("deadLetters.column.config"), name(found.config, 40)),
      claim.datetime === null ? null : entry(t("deadLetter.hostTime"), name(claim.datetime, 60)),
      entry(t("deadLetter.received"), instant(found.received_at)),
      entry(t("deadLetters.column.origin"), name(origin(found), 200)),
      found.index === null ? null : entry(t("deadLetter.index"), number(found.index)),
      entry(t("deadLetter.size"), t("deadLetters.bytes", { n: found.size })),
      claim.payload === null ? null : entry(t("deadLetter.payload"), payload(claim.payload))),
    value === "" ? null : el("details", {}, el("summary", {}, t("deadLetter.value")), el("pre", { tabindex: 0 }, el("bdi", {}, visible(value)))));
}

const hostLink = (hostname) => el("span", {},
  hostname ? el("a", { href: hostUrl(hostname) }, name(hostname, 80)) : "–",
  " ", el("span", { class: "aside" }, t("deadLetter.claim")));

/** What the record says in clear text: each field, or null. Nothing verifies it. */
function claimOf(value) {
  let parsed = null;
  try {
    parsed = JSON.parse(value);
  } catch {
    // It is not JSON, or is cut off.
  }
  const text = (field) => (typeof parsed?.[field] === "string" ? parsed[field] : null);
  return { hostname: text("hostname"), datetime: text("datetime"), payload: text("payload") };
}

function payload(text) {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const size = Math.max(0, Math.floor((text.length * 3) / 4) - padding);
  return [t("deadLetter.encrypted", { n: size }), " ", el("code", { class: "cipher" }, visible(text.slice(0, 48)), text.length > 48 ? "…" : "")];
}

// Where a point comes from: its stored readings, each with its record.

import { ApiError, get } from "../api.js";
import { delayOf, remarkOf } from "../chart_layers.js";
import { el } from "../dom.js";
import { t } from "../language.js";
import { name, visible } from "../names.js";
import { rfc3339 } from "../ranges.js";
import { instant, localTime, timeSpan } from "../times.js";
import { number, quantity } from "../values.js";

const PAGE = 50;

/**
 * Opens the dialog; it ends with the view, or when it is closed.
 *
 * @param {Page} page
 * @param {{plugin: Object, path: string, host: string|null, metric: string, from: number, to: number}} asked seconds since
 *   1970; the end is exclusive. host: if the reader does not know it.
 */
export function openReadings(page, { plugin, path, host = null, metric, from, to }) {
  const focused = document.activeElement;
  const list = el("ol", { class: "readings" });
  const status = el("p", { class: "nothing", role: "status" }, t("host.readings.loading"));
  const more = el("button", { type: "button", hidden: true, onclick: () => load() }, t("host.readings.more"));
  const title = el("h2", { id: "readings-title" }, t("host.readings.title"));
  const dialog = el("dialog", { class: "drawer", "aria-labelledby": title.id },
    el("div", { class: "card-head" }, title,
      el("button", { type: "button", class: "close", autofocus: true, onclick: () => dialog.close() }, t("host.readings.close"))),
    el("p", { class: "of-point" }, host === null ? null : el("span", {}, name(host)), name(metric), el("span", {}, timeSpan(from, to, { seconds: to - from < 60 }))),
    status, list, more);
  const request = new AbortController();
  let after = null;
  let count = 0;

  async function load() {
    more.hidden = true;
    try {
      const found = await get(`${path}/readings`,
        { signal: request.signal, query: { metric, from: rfc3339(from), to: rfc3339(to), limit: PAGE, after } });
      list.append(...found.readings.map((each) => entry(each, plugin)));
      count += found.readings.length;
      after = found.next;
      more.hidden = after === null;
      const read = t(after === null ? "host.readings.count" : "host.readings.first", { n: count });
      const kept = found.kept_since && t("host.kept", { time: localTime(Date.parse(found.kept_since)) });
      status.textContent = kept ? `${read}. ${kept}` : read;
    } catch (error) {
      if (request.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      status.textContent = error.detail;
      more.hidden = false;
    }
  }

  const forget = page.ending(() => dialog.open && dialog.close());
  dialog.addEventListener("close", () => {
    forget();
    request.abort();
    dialog.remove();
    focused?.focus?.({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  page.element.append(dialog);
  dialog.showModal();
  load();
}

function entry(reading, plugin) {
  const remark = remarkOf(reading);
  const row = (key, ...value) => [el("dt", {}, t(`host.reading.${key}`)), el("dd", {}, value)];
  return el("li", {},
    el("div", { class: "reading-head" },
      el("strong", {}, valueText(reading, plugin)), instant(reading.observed_at),
      remark ? el("span", { class: "remark" }, t(`host.remark.${remark}`)) : null),
    el("dl", {},
      row("received", instant(reading.received_at), ` (${delayText(reading)})`),
      row("clock", t(reading.clock_trusted ? "host.clock.trusted" : "host.clock.untrusted")),
      row("record", el("bdi", {}, visible(reading.topic)), t("host.reading.position",
        { partition: String(reading.partition), offset: String(reading.offset) })),
      row("config", String(reading.config_id)),
      row("id", el("code", {}, reading.id))));
}

/** A number with its unit, or another JSON value. */
export function valueText({ value, numeric_value: numeric }, plugin) {
  if (typeof value === "number") return quantity(value, plugin);
  const text = visible(typeof value === "string" ? value : JSON.stringify(value));
  return numeric === null ? text : `${quantity(numeric, plugin)} · ${text}`;
}

/** "+0.4 s": how long after it was measured a reading was received. */
export function delayText(reading) {
  const seconds = delayOf(reading);
  return t("host.delay", { seconds: `${seconds < 0 ? "−" : "+"}${number(Math.abs(seconds), Math.abs(seconds) < 10 ? 1 : 0)}` });
}

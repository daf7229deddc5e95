// CSV, JSON and a curl command of exactly what a chart shows.

import { getText, withQuery } from "../api.js";
import { announce, el } from "../dom.js";
import { MAX_READINGS } from "../host_data.js";
import { t } from "../language.js";
import { rfc3339 } from "../ranges.js";
import { session } from "../session.js";

/** The API takes no more of them. */
const MAX_METRICS = 100;
const SHOWN_MS = 2000;

/** @param {function(): Object} shown {data, metrics, all}: all: whether these are all metrics of the plugin. */
export function exportBar(shown) {
  const button = (key, action) => {
    const each = el("button", { type: "button", onclick: () => action(each, shown()) }, t(key));
    return each;
  };
  return el("div", { class: "exports", role: "group", "aria-label": t("host.export.label") },
    button("host.export.csv", save("csv", "text/csv", loadCsv)),
    button("host.export.json", save("json", "application/json", loadJson)),
    button("host.export.curl", copy));
}

/** The URL of what is shown, or of its first page. @param {string} format csv or json. */
function exportUrl({ data, metrics, all }, format, exact = data.exact) {
  const range = { from: rfc3339(data.range.from), to: rfc3339(data.range.to) };
  const metric = all || metrics.length > MAX_METRICS ? null : metrics;
  if (exact) return withQuery(`${data.path}/readings`, { ...range, limit: MAX_READINGS, metric });
  // Columns are for charts, CSV has rows.
  const [series, late] = format === "csv" ? ["series", null] : ["columns", true];
  return withQuery(`${data.path}/${series}`, { ...range, step: data.step, metric, late });
}

const save = (format, type, load) => async (button, asked) => {
  try {
    const text = await load(exportUrl(asked, format));
    const file = URL.createObjectURL(new Blob([text], { type }));
    const base = `${asked.data.plugin.name}-${asked.data.host}`.replace(/[^A-Za-z0-9_.-]+/g, "_").slice(0, 100);
    el("a", { href: file, download: `${base}.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(file), 10_000);
  } catch (error) {
    say(button, t("host.export.failed", { detail: error.message }));
  }
};

/** All pages, each of which begins with the names of the columns. */
async function loadCsv(first) {
  let text = "";
  for (let url = first; url; ) {
    const { text: page, headers } = await getText(url, "text/csv");
    text += text ? page.slice(page.indexOf("\n") + 1) : page;
    url = headers.get("Link")?.match(/<(.*)>; rel="next"/)?.[1];
  }
  return text;
}

/** All pages. A single one stays as it is, with all digits of its numbers. */
async function loadJson(first) {
  let { text } = await getText(first, "application/json");
  const all = JSON.parse(text);
  while (all.next) {
    const page = JSON.parse((await getText(`${first}&after=${encodeURIComponent(all.next)}`, "application/json")).text);
    all.readings.push(...page.readings);
    all.next = page.next;
    text = JSON.stringify(all);
  }
  return text;
}

async function copy(button, asked) {
  const { exact, onePage } = asked.data;
  const url = new URL(exportUrl(asked, "json", exact && onePage), location.href).href;
  // --globoff: brackets and braces mean themselves.
  const command = `curl --globoff --path-as-is ${await token()}'${url.replaceAll("'", "%27")}'`;
  const copied = await copyText(command, button);
  say(button, t(copied ? "host.export.copied" : "host.export.failed", { detail: command }));
}

/** Where a browser has a session, curl needs a token. */
async function token() {
  const { session: needed } = await session().catch(() => ({ session: false }));
  return needed ? '-H "Authorization: Bearer $SPARKLE_WEB__TOKEN" ' : "";
}

async function copyText(text, beside) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS, a browser has no clipboard for pages beyond localhost.
    const area = el("textarea", { class: "visually-hidden", readonly: true, "aria-hidden": "true" });
    area.value = text;
    beside.after(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function say(button, text) {
  announce(text);
  const note = el("span", { class: "said" }, text);
  button.parentElement.append(note);
  setTimeout(() => note.remove(), SHOWN_MS);
}

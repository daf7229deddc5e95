// "Verify": has a worker recount what is shown from the stored readings, and says what it found.

import { ApiError } from "../api.js";
import { announce, el } from "../dom.js";
import { recount } from "../host_data.js";
import { t } from "../language.js";
import { name } from "../names.js";
import { instant, localTime, timeSpan } from "../times.js";
import { number, quantity } from "../values.js";

const LISTED = 20;
/** A reading is counted some seconds after it was stored. */
const ATTEMPTS = 4;
const PAUSE_MS = 2000;

/** @param {Page} page @returns {{button, result, update}} `update` gets the data of host_data.js. */
export function recountButton(page) {
  let data = null;
  let request = null;
  const button = el("button", { type: "button", class: "prove", title: t("host.recount.hint"), onclick: run }, t("host.recount.button"));
  const result = el("div", { class: "recount", hidden: true });
  page.ending(() => request?.abort());

  async function run() {
    request?.abort();
    const mine = (request = new AbortController());
    button.disabled = true;
    show("running", t("host.recount.running"));
    try {
      const found = await settled(mine.signal);
      show(stateOf(found), sentence(found), found.behind ? found.found : null);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      show("failed", t("host.recount.failed", { detail: error.detail }));
    } finally {
      if (request === mine) button.disabled = false;
    }
  }

  /** Readings that were stored but not counted yet are no differences: they are given time. */
  async function settled(signal) {
    const first = await recount(data.path, data.range, data.counted ?? 0, signal);
    let [last, now] = [first, lagging(first.found)];
    // Of each aggregate that was behind at first: all that was recounted of it.
    const doubtful = new Map([...(now ?? [])].map(([key, { recounted }]) => [key, [recounted]]));
    for (let attempt = 1; attempt < ATTEMPTS && now && doubtful.size; attempt += 1) {
      await pause(PAUSE_MS, signal);
      const [from, to] = [first.found.from, first.found.to].map((each) => Date.parse(each) / 1000);
      last = await recount(data.path, { from, to }, 0, signal);
      now = lagging(last.found);
      for (const [key, before] of now ? [...doubtful] : []) {
        const found = now.get(key);
        // Behind it may also be because readings have arrived meanwhile: then it is what was recounted before.
        if (found ? before.some((each) => same(found.stored, each)) : isWithin(key, last.found)) doubtful.delete(key);
        else if (found) before.push(found.recounted);
      }
    }
    const uncounted = ([key, [recounted]]) => now.has(key) && (now.get(key).stored?.count ?? 0) < recounted.count;
    const behind = now === null || [...doubtful].some(uncounted);
    const newer = [...(now?.keys() ?? [])].filter((key) => !doubtful.has(key)).length;
    return { ...last, partial: first.partial || last.partial, behind, doubtful: doubtful.size, newer };
  }

  function show(state, text, found = null) {
    result.hidden = false;
    result.dataset.state = state;
    result.replaceChildren(el("p", {}, text), found ? differences(found, data.plugin) : "");
    announce(text);
  }

  /** Another range: what was found is of the one before. */
  function update(next) {
    if (data && (data.range.preset !== next.range.preset || (!next.range.live && data.range.from !== next.range.from))) {
      request?.abort();
      button.disabled = false;
      result.hidden = true;
    }
    data = next;
  }
  return { button, result, update };
}

/** The aggregates that contain fewer readings than are stored, by what identifies them; null: others differ, too. */
function lagging({ differing, differences: listed }) {
  if (listed.length < differing || !listed.every((each) => each.lagging)) return null;
  return new Map(listed.map((each) => [JSON.stringify([each.metric, each.at, each.resolution]), each]));
}

/** Whether an aggregate was compared: a repetition may have had to leave out the beginning of the range. */
function isWithin(key, { from, to }) {
  const [, at, resolution] = JSON.parse(key);
  return Date.parse(at) >= Date.parse(from) && Date.parse(at) + 1000 * resolution <= Date.parse(to);
}

/** Whether two aggregates are of the same readings, as far as it shows: sums are rounded. */
function same(stored, recounted) {
  const differs = (each) => stored[each] !== recounted[each];
  if (stored === null || ["count", "minimum", "maximum", "last", "last_at"].some(differs)) return false;
  return Math.abs(stored.average - recounted.average) <= 1e-9 * Math.max(Math.abs(stored.minimum), Math.abs(stored.maximum));
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** What could not be compared is not verified. */
function stateOf({ found: { aggregates, not_verifiable: left }, behind, doubtful }) {
  if (behind) return "differing";
  return aggregates && !left && !doubtful ? "equal" : "unknown";
}

function sentence({ found, seconds, partial, behind, doubtful, newer }) {
  const [from, to] = [found.from, found.to].map((each) => Date.parse(each) / 1000);
  const { readings, aggregates, differing } = found;
  return [
    t("host.recount.readings", { range: timeSpan(from, to), n: readings, seconds: number(seconds, 1) }),
    behind ? t("host.recount.differing", { n: differing, aggregates })
      : aggregates ? t("host.recount.equal", { n: aggregates - differing }) : t("host.recount.empty"),
    !behind && newer ? t("host.recount.counting", { n: newer }) : "",
    !behind && doubtful ? t("host.recount.doubtful", { n: doubtful }) : "",
    found.not_verifiable ? t("host.recount.unverifiable", { n: found.not_verifiable }) : "",
    found.kept_since ? t("host.recount.kept", { time: localTime(Date.parse(found.kept_since)) }) : "",
    partial ? t("host.recount.partial") : "",
  ].filter(Boolean).join(" ");
}

function differences({ differences: found, differing }, plugin) {
  const statistics = (each) => (each === null ? t("host.recount.nothing") : t("host.recount.statistics",
    { n: each.count, average: quantity(each.average, plugin), minimum: quantity(each.minimum, plugin), maximum: quantity(each.maximum, plugin) }));
  return [
    el("div", { class: "scrolled" }, el("table", { class: "data" },
      el("thead", {}, el("tr", {}, ["time", "metric", "stored", "recounted"].map((each) => el("th", { scope: "col" }, t(`host.column.${each}`))))),
      el("tbody", {}, found.slice(0, LISTED).map((each) => el("tr", {},
        el("td", {}, instant(each.at)), el("td", {}, name(each.metric)),
        el("td", {}, statistics(each.stored)), el("td", {}, statistics(each.recounted), each.lagging ? ` ${t("host.recount.lagging")}` : "")))))),
    differing > LISTED ? el("p", {}, t("host.recount.more", { n: differing - LISTED })) : "",
  ].filter(Boolean).reduce((box, each) => (box.append(each), box), el("div", {}));
}

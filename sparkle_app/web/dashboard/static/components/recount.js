// "Prove it": has a worker recount what is shown from the stored readings, and says what it found.

import { ApiError } from "../api.js";
import { announce, el } from "../dom.js";
import { instant, localTime, name, number, quantity, timeSpan } from "../format.js";
import { recount } from "../host_data.js";
import { t } from "../language.js";

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
    let [last, behind] = [first, missing(first.found)];
    for (let attempt = 1; attempt < ATTEMPTS && behind?.size; attempt += 1) {
      await pause(PAUSE_MS, signal);
      const [from, to] = [first.found.from, first.found.to].map((each) => Date.parse(each) / 1000);
      last = await recount(data.path, { from, to }, 0, signal);
      const now = missing(last.found);
      // Others are behind because readings have arrived meanwhile.
      behind = now && new Map([...behind].filter(([key, count]) => now.has(key) && now.get(key).stored < count.recounted));
    }
    return { ...last, partial: first.partial, behind: behind === null || behind.size > 0 };
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

/** The counts of the aggregates that contain fewer readings than are stored, by aggregate; null: others differ, too. */
function missing({ differing, differences: listed }) {
  if (listed.length < differing || !listed.every((each) => each.lagging)) return null;
  return new Map(listed.map((each) => [
    JSON.stringify([each.metric, each.at, each.resolution]),
    { stored: each.stored?.count ?? 0, recounted: each.recounted.count },
  ]));
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** What could not be compared is not proved. */
function stateOf({ found: { aggregates, not_verifiable: left }, behind }) {
  if (behind) return "differing";
  return aggregates && !left ? "equal" : "unknown";
}

function sentence({ found, seconds, partial, behind }) {
  const [from, to] = [found.from, found.to].map((each) => Date.parse(each) / 1000);
  const values = {
    range: timeSpan(from, to), n: found.readings, aggregates: found.aggregates, differing: found.differing,
    seconds: number(seconds, 1),
  };
  const key = behind ? "host.recount.differing" : found.aggregates ? "host.recount.equal" : "host.recount.empty";
  return [
    t(key, { ...values, aggregates: behind ? found.aggregates : found.aggregates - found.differing }),
    !behind && found.differing ? t("host.recount.counting", { n: found.differing }) : "",
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

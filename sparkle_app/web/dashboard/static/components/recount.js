// "Prove it": has a worker recount what is shown from the stored readings, and says what it found.

import { ApiError } from "../api.js";
import { announce, el } from "../dom.js";
import { instant, localTime, name, number, quantity, timeSpan } from "../format.js";
import { recount } from "../host_data.js";
import { t } from "../language.js";

const LISTED = 20;

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
      const found = await recount(data.path, data.range, data.counted ?? 0, mine.signal);
      show(stateOf(found.found), sentence(found), found.found);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      show("failed", t("host.recount.failed", { detail: error.detail }));
    } finally {
      if (request === mine) button.disabled = false;
    }
  }

  function show(state, text, found = null) {
    result.hidden = false;
    result.dataset.state = state;
    result.replaceChildren(el("p", {}, text), found && !found.equal ? differences(found, data.plugin) : "");
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

/** What could not be compared is not proved. */
function stateOf({ equal, aggregates, not_verifiable: left }) {
  if (!equal) return "differing";
  return aggregates && !left ? "equal" : "unknown";
}

function sentence({ found, seconds, partial }) {
  const [from, to] = [found.from, found.to].map((each) => Date.parse(each) / 1000);
  const values = {
    range: timeSpan(from, to), n: found.readings, aggregates: found.aggregates, differing: found.differing,
    seconds: number(seconds, 1),
  };
  const key = !found.equal ? "host.recount.differing" : found.aggregates ? "host.recount.equal" : "host.recount.empty";
  return [
    t(key, values),
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

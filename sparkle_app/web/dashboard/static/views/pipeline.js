// What the workers consume, how far they lag behind, and what they wait for: "why is it late?"

import { get } from "../api.js";
import { clocks } from "../components/clocks.js";
import { scrolled } from "../components/scrolled.js";
import { sparkline } from "../components/sparkline.js";
import { stageTable } from "../components/stage_table.js";
import { shape } from "../components/state.js";
import { verdict } from "../components/verdict.js";
import { delay, unknownRate, workerCard } from "../components/worker_card.js";
import { announce, el, keyed, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { name, visible } from "../names.js";
import { PipelineHistory, sum, waiting } from "../pipeline_history.js";
import { age, setAge } from "../times.js";
import { number } from "../values.js";

/** @param {Page} page its URL: /pipeline */
export function pipeline(page) {
  page.title(t("pipeline.title"));
  const history = new PipelineHistory();
  const parts = partsOf(page);
  page.poll((signal) => get("/api/v1/pipeline", { signal }), (response) => {
    history.add(response);
    parts.show(response, history);
  });
}

function partsOf(page) {
  const count = el("span", { class: "count" });
  const sentences = el("ul", { class: "verdict" });
  const tiles = [
    tile(t("pipeline.readings"), (response, history) => {
      const rate = history.rate((each) => sum(each.readings));
      const shown = rate === null ? unknownRate(history) : number(rate, rate < 10 ? 1 : 0);
      return [shown, history.rates((each) => sum(each.readings)), rate !== null];
    }),
    ...["ingest", "aggregate"].map((role) =>
      tile(t(`pipeline.waiting.${role}`), (response, history) => {
        const lag = waiting(response, role);
        return [lag === null ? t("worker.unknown") : number(lag), history.values((each) => waiting(each, role)), lag !== null];
      })),
    tile(t("pipeline.row"), (_, history) => delays(history, "row_delay_seconds")),
    tile(t("pipeline.answer"), (_, history) => delays(history, "answer_delay_seconds")),
  ];
  const stages = stageTable();
  const workers = el("div", { class: "workers" });
  const gone = el("ul", { class: "gone" });
  const wrongClocks = clocks(page);
  const loading = el("p", { class: "nothing" }, t("overview.loading"));
  const content = el("div", { class: "stack", hidden: true },
    sentences, el("div", { class: "tiles" }, tiles.map((each) => each.element)),
    el("section", { class: "card" },
      el("div", { class: "card-head" }, el("h2", {}, t("stages.title")), stages.lead),
      scrolled(t("stages.caption"), stages.element)),
    gone, workers, wrongClocks.element);
  page.element.append(
    el("div", { class: "view-head" }, el("h1", { tabindex: -1 }, t("pipeline.title"), " ", count)), loading, content);
  let worst = null;

  function show(response, history) {
    loading.remove();
    content.hidden = false;
    setText(count, t("pipeline.workers", { n: response.workers.length + response.unreachable.length }));
    const said = verdict(response, history);
    keyed(sentences, said.map((each, index) => [`${each.state}${index}`, each]), sentence);
    if (worst !== null && worst !== said[0].state) announce(said[0].text);
    worst = said[0].state;
    tiles.forEach((each) => each.update(response, history));
    stages.update(response, history);
    keyed(workers, [
      ...response.unreachable.map((each) => [`unreachable ${each.worker}`, { ...each, make: unreachableCard }]),
      ...response.workers.map((state) => [state.worker, { state, history, make: workerCard }]),
    ], (item) => item.make(item));
    wrongClocks.refresh();
    keyed(gone, history.gone().map(([worker, at]) => [worker, { worker, at: new Date(at).toISOString() }]), goneItem);
  }

  return { show };
}

function sentence({ state }) {
  const text = el("bdi", {});
  const element = el("li", { "data-state": state }, shape(state), text);
  return { element, update: (next) => setText(text, next.text) };
}

/** A number, or words in its place, with the line of its last values. */
function tile(title, valueOf) {
  const text = el("b", {});
  const line = sparkline();
  const element = el("div", { class: "card tile" }, el("span", { class: "label" }, title), text, line.element);
  function update(response, history) {
    const [shown, values, known] = valueOf(response, history);
    setText(text, shown);
    setAttribute(text, "data-unknown", !known);
    line.update(values);
  }
  return { element, update };
}

/** The longest delay of any worker and plugin. */
function delays(history, field) {
  const values = history.values((response) => {
    const all = response.workers.flatMap((each) => Object.values(each[field]));
    return all.length ? Math.max(...all) : null;
  });
  const last = values.at(-1);
  return last === null ? [t("pipeline.noReadings"), values, false] : [delay(last), values, true];
}

function unreachableCard({ worker }) {
  const detail = el("bdi", {});
  const element = el("section", { class: "card worker unreachable", "data-worker": worker },
    el("div", { class: "card-head" },
      el("h2", {}, name(worker, 80)),
      el("span", { class: "state", "data-state": "critical" }, shape("critical"), el("span", {}, t("worker.unreachable")))),
    el("p", {}, detail));
  return { element, update: (next) => setText(detail, visible(next.problem)) };
}

function goneItem({ worker, at }) {
  const seen = age(at);
  const element = el("li", { "data-worker": worker }, name(worker, 80), " ", t("worker.gone"), " ", seen);
  return {
    element,
    update(next) {
      setAge(seen, next.at);
      setAttribute(element, "data-worker", next.worker);
    },
  };
}

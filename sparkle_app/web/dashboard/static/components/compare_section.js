// One plugin of several hosts: its charts, each with a small chart for each host, or the words of each host over time.

import { el, refill } from "../dom.js";
import { chartGrid } from "./chart_grid.js";
import { compareHeading } from "./compare_heading.js";
import { pluginHead } from "./plugin_head.js";
import { isTimeline, lastValues, stateTimeline } from "./state_timeline.js";

/** @returns {{element, update, recolour, destroy}} `update` gets a comparison of compare_data.js. */
export function compareSection(page, { zoomOut }) {
  const head = pluginHead();
  const charts = chartGrid(page, zoomOut);
  const words = el("section", { class: "card words" });
  const element = el("section", { class: "of-plugin" }, head.element, head.kept, charts.element, words);

  function update(next) {
    head.update(next);
    charts.update(next);
    // Without lines, each host says what it has instead.
    words.hidden = next.lines.length > 0 && next.hosts.every((each) => each.words.length === 0);
    const shown = next.lines.length ? next.hosts.filter((each) => each.words.length) : next.hosts;
    const all = next.hosts.flatMap((each) => each.words);
    refill(words, ...(words.hidden ? [] : shown.map((each) => wordsOf(each, all, next))));
  }

  return { element, update, recolour: charts.recolour, destroy: charts.destroy };
}

function wordsOf(host, all, { range }) {
  const heading = compareHeading(host);
  heading.update(host);
  // The last readings are not known apart.
  const data = { ...host, range: { ...range, live: false } };
  return el("div", { class: "words-of-host" }, el("p", {}, heading.element),
    host.words.length ? (isTimeline(host.words) ? stateTimeline(data, all) : lastValues(data)) : el("p", { class: "missing" }, host.missing));
}

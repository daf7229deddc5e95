// The last reading of each metric of a plugin.

import { remarkOf } from "../chart_layers.js";
import { el, keyed, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { inOrder } from "../lines.js";
import { name, visible } from "../names.js";
import { severity } from "../plugins.js";
import { age, setAge } from "../times.js";
import { delayText, valueText } from "./readings_dialog.js";

const COLUMNS = ["metric", "value", "time", "delay", "clock"];

/** @param {function(Object)} open is called with a reading. */
export function latestTable(open) {
  const body = el("tbody", {});
  const element = el("details", { class: "latest" },
    el("summary", {}, t("host.latest.title")),
    el("div", { class: "scrolled" }, el("table", { class: "data" },
      el("thead", {}, el("tr", {}, COLUMNS.map((each) => el("th", { scope: "col", "data-column": each }, t(`host.column.${each}`))))), body)));

  function update({ latest, plugin }) {
    element.hidden = latest.length === 0;
    const byMetric = new Map(latest.map((each) => [each.metric, each]));
    keyed(body, inOrder(byMetric.keys()).map((metric) => [metric, { reading: byMetric.get(metric), plugin }]), (item) => row(item, open));
  }
  return { element, update };
}

function row({ reading: first }, open) {
  let present = first;
  const value = el("td", { "data-column": "value" });
  const seen = age(first.observed_at);
  const delay = el("td", { "data-column": "delay" });
  const clock = el("td", { "data-column": "clock" });
  const element = el("tr", {},
    el("td", {}, el("button", { type: "button", class: "plain", title: visible(first.metric), onclick: () => open(present) }, name(first.metric))),
    value, el("td", {}, seen), delay, clock);

  function update({ reading, plugin }) {
    present = reading;
    setText(value, valueText(reading, plugin));
    setAttribute(value, "data-state", reading.numeric_value === null ? null : severity(reading.numeric_value, plugin));
    setAge(seen, reading.observed_at);
    setText(delay, delayText(reading));
    setAttribute(delay, "data-remark", remarkOf(reading));
    setText(clock, t(reading.clock_trusted ? "host.clock.trusted" : "host.clock.untrusted"));
  }
  return { element, update };
}

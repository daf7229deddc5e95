// What is above the charts of a plugin: its title, what its thresholds are, and since when there is data.

import { thresholdText } from "../chart_texts.js";
import { el, setText } from "../dom.js";
import { t } from "../language.js";
import { pluginTitle } from "../names.js";
import { localTime } from "../times.js";
import { shape } from "./state.js";

/**
 * @param {...Node} more beside the title.
 * @returns {{element, kept, update}} `kept` is a note; `update` gets {plugin, keptSince}: see host_data.js.
 */
export function pluginHead(...more) {
  const title = el("h2", {});
  const limits = el("div", { class: "limits" });
  const element = el("div", { class: "plugin-head" }, title, limits, more);
  const kept = el("p", { class: "note", hidden: true });

  function update({ plugin, keptSince }) {
    setText(title, plugin.unit ? `${pluginTitle(plugin)}, ${plugin.unit}` : pluginTitle(plugin));
    if (!limits.children.length) {
      limits.append(...plugin.panel.thresholds.map((each) =>
        el("span", { class: "state", "data-state": each.severity }, shape(each.severity), el("span", {}, thresholdText(each, plugin)))));
    }
    kept.hidden = !keptSince;
    setText(kept, keptSince ? t("host.kept", { time: localTime(Date.parse(keptSince)) }) : "");
  }
  return { element, kept, update };
}

// The charts of a plugin: those that it declares, each with its metrics.

import { el } from "../dom.js";
import { chartsOf } from "../lines.js";
import { chartPanel } from "./chart_panel.js";

/**
 * @param {function()} zoomOut
 * @returns {{element, update, recolour, destroy}} `update` gets data with `plugin` and `lines`: see host_data.js.
 */
export function chartGrid(page, zoomOut) {
  const panels = new Map();
  const element = el("div", { class: "charts" });

  function update(data) {
    const metrics = [...new Set(data.lines.map((each) => each.metric))];
    const wanted = chartsOf(data.plugin, metrics);
    const keys = new Set(wanted.map((each) => each.key));
    for (const [key, panel] of panels) {
      if (keys.has(key)) continue;
      panel.destroy();
      panel.element.remove();
      panels.delete(key);
    }
    let before = null;
    for (const chart of wanted) {
      let panel = panels.get(chart.key);
      if (!panel) {
        panel = chartPanel(page, zoomOut);
        panels.set(chart.key, panel);
      }
      // In the document first: a chart has the width of its element.
      const place = before ? before.nextSibling : element.firstChild;
      if (place !== panel.element) element.insertBefore(panel.element, place);
      panel.update({ ...chart, data, all: chart.metrics.length === metrics.length });
      before = panel.element;
    }
  }

  return {
    element,
    update,
    recolour: () => panels.forEach((panel) => panel.recolour()),
    destroy: () => {
      panels.forEach((panel) => panel.destroy());
      panels.clear();
    },
  };
}

// A chart by keyboard: arrows walk the points of a line and its neighbours, and a screen reader says each.

import { announce } from "../dom.js";
import { t } from "../language.js";
import { isSame, nearest } from "../lines.js";
import { lineName } from "../names.js";
import { pointTime } from "../times.js";
import { duration, quantity } from "../values.js";

const BIG_STEP = 10;
/** Unselects the point that is selected: all charts have the same cursor, so there is one at most. */
let unselect = null;

/**
 * @param {Element} plot gets the keys.
 * @param {function(): Object} shown {lines, plugin, from, to, step}, or null.
 * @param {Object} on `select(line, index, isNew)`, `unselect()`, `open(line, index)`, `zoom(factor, at)`.
 */
export function chartWalk(plot, shown, on) {
  let at = null;
  let isShown = false;

  const walkable = () => (shown()?.lines ?? []).map((line, number) => ({ line, number }))
    .filter(({ line }) => !line.hidden && !line.compared && line.x.length);

  /** The selected point in the present lines. */
  function present() {
    const lines = walkable();
    if (!lines.length) return null;
    const chosen = lines.find(({ line }) => at && isSame(line, at)) ?? lines[0];
    return { lines, chosen, index: nearest(chosen.line, at?.x ?? Infinity) };
  }

  function go(chosen, index) {
    if (unselect !== clear) unselect?.();
    unselect = clear;
    at = { host: chosen.line.host, metric: chosen.line.metric, x: chosen.line.x[index] };
    isShown = true;
    on.select(chosen.number, index, true);
    announce(pointText(chosen.line, index, shown().plugin));
  }

  function clear() {
    at = unselect = null;
    isShown = false;
    on.unselect();
  }

  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("a")) return;
    const found = present();
    if (!found) return;
    const { lines, chosen } = found;
    const { x } = chosen.line;
    // One outside of the range is not selected at present.
    const index = isShown ? found.index : null;
    const time = isShown ? at.x : null;
    const step = event.shiftKey ? BIG_STEP : 1;
    const last = x.length - 1;
    const to = {
      ArrowLeft: () => (index === null ? last : Math.max(0, index - step)),
      ArrowRight: () => (index === null ? last : Math.min(last, index + step)),
      Home: () => 0,
      End: () => last,
    }[event.key];
    if (to) go(chosen, to());
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const place = lines.indexOf(chosen) + (event.key === "ArrowDown" ? 1 : -1);
      const next = lines[(place + lines.length) % lines.length];
      go(next, nearest(next.line, time ?? Infinity));
    } else if (event.key === "Enter" && index !== null) on.open(chosen.number, index);
    else if (event.key === "+" || event.key === "=") on.zoom(0.5, time);
    else if (event.key === "-") on.zoom(2, time);
    else if (event.key === "Escape" && isShown) clear();
    else return;
    event.preventDefault();
  });

  return {
    /** Selects a point that was touched. */
    go,
    /** The chart is removed. */
    end() {
      if (unselect === clear) unselect = null;
    },
    /** After new points: the selected one may be elsewhere, or outside of the range until that is another one. */
    update() {
      if (!at) return;
      const found = present();
      const { from, to, step } = shown();
      const wasShown = isShown;
      isShown = found !== null && at.x >= from - step && at.x <= to + step;
      if (isShown) on.select(found.chosen.number, found.index, false);
      else if (wasShown) on.unselect();
    },
  };
}

/** "core/0, 20:05 – 20:10: 54.3 °C (41.0 °C to 61.2 °C)" */
export function pointText(line, index, plugin) {
  const value = quantity(line.value[index], plugin);
  const metric = lineName(line);
  const time = pointTime(line.at[index], line.until[index]);
  if (!line.count) return t("host.point.reading", { metric, time, value });
  const late = line.late?.get(index);
  return t("host.point.step", {
    metric, time, value, n: line.count[index],
    minimum: quantity(line.minimum[index], plugin), maximum: quantity(line.maximum[index], plugin),
  }) + (late ? `; ${t("host.point.late", { n: late.count, duration: duration(late.delay) })}` : "");
}

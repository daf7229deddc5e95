// A chart by mouse and by finger: a click on a point, a double click, and a range that a finger selects.

import { nearest } from "./lines.js";

/** How near to a point a click has to be, in CSS pixels. */
const NEAR = 40;
const DOUBLE_CLICK_MS = 260;

/**
 * @param {uPlot} plot
 * @param {function(): Object[]} lines
 * @param {Object} on `point(line, index, {touch})` and `zoomOut()`; what a finger selects is a selection of the plot.
 * @returns {{end: function()}}
 */
export function listenToPointer(plot, lines, on) {
  // A click waits: a second one makes it a double click.
  let clicks = 0;
  let touches = false;
  function clicked(event) {
    const point = pointAt(event);
    clearTimeout(clicks);
    if (point && event.detail < 2) clicks = setTimeout(() => on.point(...point, { touch: touches }), touches ? 0 : DOUBLE_CLICK_MS);
  }
  function doubleClicked() {
    clearTimeout(clicks);
    on.zoomOut();
  }

  /** The point that is nearest to the pointer, on the screen. */
  function pointAt({ clientX, clientY }) {
    const box = plot.over.getBoundingClientRect();
    const at = plot.posToVal(clientX - box.left, "x");
    let [best, distance] = [null, NEAR];
    lines().forEach((line, number) => {
      const index = line.hidden || line.compared ? -1 : nearest(line, at);
      if (index < 0 || line.value[index] === null) return;
      const dx = plot.valToPos(line.x[index], "x") - (clientX - box.left);
      const dy = plot.valToPos(line.value[index], "y") - (clientY - box.top);
      const found = Math.hypot(dx, dy);
      if (found < distance) [best, distance] = [[number, index], found];
    });
    return best;
  }

  /** A finger that moves sideways selects a range; up and down it scrolls the page (host.css: touch-action). */
  function touched(event) {
    touches = event.pointerType !== "mouse";
    if (!touches || !event.isPrimary) return;
    const over = plot.over;
    const start = event.clientX - over.getBoundingClientRect().left;
    let [left, width] = [start, 0];
    const move = ({ clientX }) => {
      const at = Math.min(over.clientWidth, Math.max(0, clientX - over.getBoundingClientRect().left));
      [left, width] = [Math.min(start, at), Math.abs(at - start)];
      if (width > 8) plot.setSelect({ left, top: 0, width, height: over.clientHeight }, false);
    };
    const end = ({ type }) => {
      for (const [name, listener] of listeners) over.removeEventListener(name, listener);
      plot.setSelect({ left, top: 0, width: type === "pointerup" && width > 16 ? width : 0, height: 0 });
    };
    const listeners = [["pointermove", move], ["pointerup", end], ["pointercancel", end]];
    for (const [name, listener] of listeners) over.addEventListener(name, listener);
  }

  plot.over.addEventListener("click", clicked);
  plot.over.addEventListener("dblclick", doubleClicked);
  plot.over.addEventListener("pointerdown", touched);
  return { end: () => clearTimeout(clicks) };
}

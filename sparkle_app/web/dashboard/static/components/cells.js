// Cells on one canvas: thousands of them are drawn in some milliseconds. The pointer, the arrow keys and a screen reader
// all select a cell; what it shows is then there as text.

import { el, setAttribute, setStyle, setText } from "../dom.js";
import { navigate } from "../router.js";

let maps = 0;

/**
 * @param {Page} page the view that the cells belong to.
 * @param {Object} map what the cells show:
 *   label()           what the whole is, for a screen reader;
 *   count()           number of cells, row by row;
 *   grid(width)       {columns, wide, high, pitchX, pitchY, height}: sizes and distances of cells in a canvas this wide;
 *   paint(context, grid)
 *   text(index)       what a cell shows, as one line;
 *   tip(index)        the same as nodes;
 *   url(index)        where a click on it leads.
 * @returns {{element: Element, draw: function(), select: function(number), selected: function(): number}}
 */
export function cells(page, map) {
  const id = `cells-${(maps += 1)}`;
  const canvas = el("canvas", { "aria-hidden": "true" });
  // A list box that has one option at a time, the selected cell.
  let option = el("div", { role: "option", id: `${id}-0`, class: "visually-hidden" });
  // Not drawn on the canvas: to select a cell does not draw the others again.
  const mark = el("div", { class: "mark", hidden: true });
  const tip = el("div", { class: "tip", hidden: true });
  const element = el("div", { class: "cells", role: "listbox", tabindex: 0 }, canvas, option, mark, tip);
  let grid = null;
  let selected = -1;

  function draw() {
    const width = element.clientWidth;
    if (!width) return;
    setAttribute(element, "aria-label", map.label());
    grid = map.grid(width);
    setStyle(canvas, { width: `${width}px`, height: `${grid.height}px` });
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(grid.height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    map.paint(context, grid);
    if (selected >= map.count()) selected = -1;
    showSelected();
    // What Enter opens is what was read out.
    describe(option);
  }

  function select(index) {
    if (index === selected) return;
    selected = index < map.count() ? index : -1;
    showSelected();
  }

  function describe(element) {
    const index = Math.max(0, selected);
    setText(element, map.count() ? map.text(index) : map.label());
    setAttribute(element, "aria-setsize", map.count());
    setAttribute(element, "aria-posinset", index + 1);
  }

  function speak() {
    // A new element with another id: otherwise a screen reader would not read the change.
    const next = el("div", {
      role: "option",
      id: `${id}-${selected + 1}`,
      class: "visually-hidden",
      "aria-selected": "true",
    });
    describe(next);
    option.replaceWith(next);
    option = next;
    setAttribute(element, "aria-activedescendant", option.id);
  }

  function showSelected() {
    mark.hidden = tip.hidden = selected < 0;
    if (selected < 0) {
      setAttribute(element, "aria-activedescendant", null);
      return;
    }
    const x = (selected % grid.columns) * grid.pitchX;
    const y = Math.floor(selected / grid.columns) * grid.pitchY;
    const [left, top, width, height] = [x - 2, y - 2, grid.wide + 4, grid.high + 4].map((each) => `${each}px`);
    setStyle(mark, { left, top, width, height });
    tip.replaceChildren(...map.tip(selected));
    const most = Math.max(0, element.clientWidth - tip.offsetWidth);
    const middle = Math.min(Math.max(0, x + grid.wide / 2 - tip.offsetWidth / 2), most);
    const above = y - tip.offsetHeight - 6;
    setStyle(tip, { left: `${middle}px`, top: `${above > -48 ? above : y + grid.high + 6}px` });
  }

  function indexAt(event) {
    if (!grid) return -1;
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / grid.pitchX);
    const row = Math.floor((event.clientY - box.top) / grid.pitchY);
    const index = row * grid.columns + column;
    return column >= 0 && column < grid.columns && row >= 0 && index < map.count() ? index : -1;
  }

  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && select(indexAt(event)));
  element.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse" && document.activeElement !== element) select(-1);
  });
  canvas.addEventListener("click", (event) => {
    const index = indexAt(event);
    if (index < 0) return;
    // A finger selects first: a cell is smaller than it, and the tip, which is a link, says which one it has met.
    if (event.pointerType === "mouse") navigate(map.url(index));
    else select(index);
  });
  element.addEventListener("focus", () => {
    if (!element.matches(":focus-visible") || !map.count()) return;
    select(Math.max(0, selected));
    speak();
  });
  element.addEventListener("blur", (event) => element.contains(event.relatedTarget) || select(-1));
  element.addEventListener("keydown", (event) => {
    if (!grid || !map.count()) return;
    if (event.key === "Enter" && selected >= 0) navigate(map.url(selected));
    if (event.key === "Escape") select(-1);
    const to = {
      ArrowLeft: selected - 1,
      ArrowRight: selected + 1,
      ArrowUp: selected - grid.columns,
      ArrowDown: selected + grid.columns,
      Home: 0,
      End: map.count() - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0 || to >= map.count()) return;
    select(to);
    speak();
  });

  const observer = new ResizeObserver(draw);
  observer.observe(element);
  page.ending(() => observer.disconnect());
  page.listen(window, "sparkle:colours", draw);
  return { element, draw, select, selected: () => selected };
}

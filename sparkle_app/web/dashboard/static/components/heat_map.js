// A cell for each host on one canvas: thousands of them are drawn in some milliseconds. The pointer, the arrow keys and
// a screen reader all select a cell; its name and value are then shown as text.

import { el, setAttribute, setStyle } from "../dom.js";
import { name, quantity, shortened } from "../format.js";
import { t } from "../language.js";
import { position, scaleOf } from "../plugins.js";
import { hostUrl, navigate } from "../router.js";
import { colours } from "../theme.js";
import { stateMark } from "./state.js";

const MAX_CELL = 44;
const MIN_CELL = 3;
/** Cells of this size hold their value as text. */
const WITH_TEXT = 30;
const SHADES = 16;

/**
 * @param {Page} page the view that it belongs to.
 * @returns {{element: Element, update: function(Object)}} `update` gets {cells, plugin, shows}: the response of
 *   /cells, the plugin, and a function that says whether the cell with a number is drawn in full.
 */
export function heatMap(page) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  // A list box with one option at a time: that of the selected cell. Two take turns, so that each is read aloud.
  const options = [0, 1].map((each) => el("div", { role: "option", id: `cell-${each}`, class: "visually-hidden" }));
  const tip = el("div", { class: "tip", hidden: true });
  const element = el("div", { class: "heat-map", role: "listbox", tabindex: 0 }, canvas, options, tip);
  let shown = null;
  let grid = null;
  let selected = -1;

  function update(next) {
    const host = shown && selected >= 0 ? shown.cells.host[selected] : null;
    shown = next;
    if (host !== null && shown.cells.host[selected] !== host) selected = shown.cells.host.indexOf(host);
    setAttribute(element, "aria-label", t("heat.label", { n: shown.cells.host.length }));
    draw();
    if (selected >= 0) showTip();
    else tip.hidden = true;
  }

  function draw() {
    const width = element.clientWidth;
    if (!shown || !width) return;
    grid = gridOf(shown.cells.host.length, width);
    setStyle(canvas, { width: `${width}px`, height: `${grid.height}px` });
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(grid.height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    paint(context, grid, shown, selected);
  }

  function select(index, { spoken = false } = {}) {
    const count = shown?.cells.host.length ?? 0;
    if (index === selected || !count) return;
    selected = Math.min(index, count - 1);
    draw();
    if (selected < 0) {
      tip.hidden = true;
      return;
    }
    showTip();
    if (spoken) speak();
  }

  function speak() {
    const { cells, plugin } = shown;
    const option = options.reverse()[0];
    option.textContent = `${shortened(cells.host[selected])}: ${quantity(cells.last[selected], plugin)}, ${t(`state.${cells.state[selected]}`)}`;
    setAttribute(option, "aria-setsize", cells.host.length);
    setAttribute(option, "aria-posinset", selected + 1);
    setAttribute(option, "aria-selected", "true");
    setAttribute(options[1], "aria-selected", "false");
    setAttribute(element, "aria-activedescendant", option.id);
  }

  function showTip() {
    const { cells, plugin } = shown;
    tip.replaceChildren(
      el("a", { href: hostUrl(cells.host[selected]), tabindex: -1 }, name(cells.host[selected])),
      el("span", { class: "number" }, quantity(cells.last[selected], plugin)),
      stateMark(cells.state[selected]),
    );
    tip.hidden = false;
    const { size, pitch, columns } = grid;
    const x = (selected % columns) * pitch + size / 2;
    const y = Math.floor(selected / columns) * pitch;
    const left = Math.min(Math.max(0, x - tip.offsetWidth / 2), Math.max(0, element.clientWidth - tip.offsetWidth));
    const above = y - tip.offsetHeight - 6;
    setStyle(tip, { left: `${left}px`, top: `${above > -48 ? above : y + size + 6}px` });
  }

  function indexAt(event) {
    if (!grid) return -1;
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / grid.pitch);
    const row = Math.floor((event.clientY - box.top) / grid.pitch);
    const index = row * grid.columns + column;
    return column >= 0 && column < grid.columns && row >= 0 && index < shown.cells.host.length ? index : -1;
  }

  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && select(indexAt(event)));
  element.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse" && document.activeElement !== element) select(-1);
  });
  canvas.addEventListener("click", (event) => {
    const index = indexAt(event);
    if (index < 0) return;
    // A finger selects first: a cell is smaller than it, and the tip says which one it has met.
    if (event.pointerType === "mouse") navigate(hostUrl(shown.cells.host[index]));
    else select(index);
  });
  element.addEventListener("focus", () => element.matches(":focus-visible") && select(Math.max(0, selected), { spoken: true }));
  element.addEventListener("blur", (event) => element.contains(event.relatedTarget) || select(-1));
  element.addEventListener("keydown", (event) => {
    const count = shown?.cells.host.length ?? 0;
    if (!count || !grid) return;
    if (event.key === "Enter" && selected >= 0) {
      navigate(hostUrl(shown.cells.host[selected]));
      return;
    }
    if (event.key === "Escape") {
      select(-1);
      return;
    }
    const to = {
      ArrowLeft: selected - 1,
      ArrowRight: selected + 1,
      ArrowUp: selected - grid.columns,
      ArrowDown: selected + grid.columns,
      Home: 0,
      End: count - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to >= 0 && to < count) select(to, { spoken: true });
  });

  const observer = new ResizeObserver(draw);
  observer.observe(element);
  page.ending(() => observer.disconnect());
  page.listen(window, "sparkle:colours", draw);
  return { element, update };
}

/** The largest cells with which all fit into the width and a fair height. */
function gridOf(count, width) {
  const room = Math.min(340, 130 + count / 20);
  for (let size = MAX_CELL; ; size -= 1) {
    const gap = size > 16 ? 3 : size > 7 ? 2 : size > 4 ? 1 : 0;
    const pitch = size + gap;
    const columns = Math.max(1, Math.floor((width + gap) / pitch));
    const rows = Math.ceil(count / columns);
    const height = Math.max(0, rows * pitch - gap);
    if (height <= room || size === MIN_CELL) return { size, pitch, columns, height };
  }
}

function paint(context, { size, pitch, columns }, { cells, plugin, shows }, selected) {
  const [low, high, warning, critical, silent, nothing, text, inverse, mark] = colours(
    "--heat-low", "--heat-high", "--warning-fill", "--critical-fill", "--silent-fill", "--heat-none", "--heat-text",
    "--heat-text-inverse", "--focus");
  const shades = Array.from({ length: SHADES }, (_, step) =>
    `color-mix(in oklab, ${high} ${Math.round((100 * step) / (SHADES - 1))}%, ${low})`);
  const [bottom, top] = scaleOf(plugin, cells.last);
  const limits = plugin.panel.thresholds.filter((each) => each.when === "above").map((each) => each.value);
  const calm = [bottom, Math.max(bottom + 1e-9, Math.min(top, ...limits))];
  const radius = size > 10 ? 3 : size > 6 ? 1.5 : 0;
  context.font = `600 ${size > 36 ? 12 : 11}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let index = 0; index < cells.host.length; index += 1) {
    const x = (index % columns) * pitch;
    const y = Math.floor(index / columns) * pitch;
    const value = cells.last[index];
    const state = cells.state[index];
    const heat = value === null ? 0 : position(value, calm);
    context.globalAlpha = shows(index) ? 1 : 0.2;
    context.fillStyle =
      state === "silent" ? silent
      : state === "critical" ? critical
      : state === "warning" ? warning
      : value === null ? nothing
      : shades[Math.round(heat * (SHADES - 1))];
    context.beginPath();
    if (radius) context.roundRect(x, y, size, size, radius);
    else context.rect(x, y, size, size);
    context.fill();
    const bright = state === "ok" ? heat < 0.55 : state === "warning";
    context.fillStyle = context.strokeStyle = bright ? text : inverse;
    if (size >= WITH_TEXT && state !== "silent" && value !== null) {
      context.fillText(brief(value), x + size / 2, y + size / 2 + 1);
    }
    // Shapes too: colours alone do not tell everybody.
    if (size >= 6) drawShape(context, state, x, y, size);
  }
  context.globalAlpha = 1;
  if (selected >= 0) {
    context.lineWidth = 2;
    context.strokeStyle = mark;
    context.strokeRect((selected % columns) * pitch - 1, Math.floor(selected / columns) * pitch - 1, size + 2, size + 2);
  }
}

const brief = (value) => (Math.abs(value) < 1000 ? String(Math.round(value)) : value.toExponential(0).replace("+", ""));

function drawShape(context, state, x, y, size) {
  const part = Math.max(3, size * 0.3);
  if (state === "silent") {
    context.lineWidth = size > 16 ? 2 : 1;
    context.beginPath();
    context.moveTo(x + part, y + size / 2);
    context.lineTo(x + size - part, y + size / 2);
    context.stroke();
  } else if (state === "critical" || state === "warning") {
    context.beginPath();
    context.moveTo(x + size, y);
    context.lineTo(x + size - part, y);
    context.lineTo(x + size, y + part);
    context.fill();
    if (state === "critical") {
      context.beginPath();
      context.moveTo(x, y + size);
      context.lineTo(x + part, y + size);
      context.lineTo(x, y + size - part);
      context.fill();
    }
  }
}

/** What the colours of a plugin's cells mean. */
export function legend(plugin, cells) {
  const [low, high] = scaleOf(plugin, cells.last);
  const limits = plugin.panel.thresholds.map(({ value, severity, when }) =>
    el("span", { class: `limit ${severity}` },
      el("i", { "aria-hidden": "true" }), `${t(`state.${severity}`)} ${when === "above" ? ">" : "<"} ${quantity(value, plugin)}`));
  return el("div", { class: "legend" },
    el("span", { class: "range" }, quantity(low, plugin), el("i", { "aria-hidden": "true" }), quantity(high, plugin)),
    limits,
    el("span", { class: "limit silent" }, el("i", { "aria-hidden": "true" }), t("state.silent")));
}

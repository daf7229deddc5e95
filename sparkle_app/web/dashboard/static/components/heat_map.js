// The fleet now: a cell for each host, coloured by the last value of one plugin.

import { el } from "../dom.js";
import { t } from "../language.js";
import { name, shortened } from "../names.js";
import { hostUrl } from "../router.js";
import { coarseDuration, number, quantity } from "../values.js";
import { cells } from "./cells.js";
import { heat } from "./heat.js";
import { stateMark } from "./state.js";

const MAX_CELL = 44;
const MIN_CELL = 3;
/** Cells of this size hold their value as text. */
const WITH_TEXT = 30;
const PREFIXES = ["", "k", "M", "G", "T", "P", "E"];

/**
 * @returns {{element: Element, update: function(Object)}} `update` gets {found, plugin, shows}: the response of /cells,
 *   the plugin, and a function that says whether the cell with a number is drawn in full.
 */
export function heatMap(page) {
  let shown = { found: { host: [], state: [], last: [] }, plugin: null, shows: () => true };
  const [host, state, last] = ["host", "state", "last"].map((column) => (index) => shown.found[column][index]);
  const map = cells(page, {
    label: () => t("heat.label", { n: shown.found.host.length }),
    count: () => shown.found.host.length,
    grid: (width) => gridOf(shown.found.host.length, width),
    paint: (context, grid) => shown.plugin && paint(context, grid, shown),
    text: (index) => `${shortened(host(index))}: ${quantity(last(index), shown.plugin)}, ${t(`state.${state(index)}`)}`,
    tip: (index) => [
      el("a", { href: hostUrl(host(index)), tabindex: -1 }, name(host(index))),
      el("span", { class: "number" }, quantity(last(index), shown.plugin)),
      stateMark(state(index)),
    ],
    url: (index) => hostUrl(host(index)),
  });

  function update(next) {
    const before = map.selected() >= 0 ? host(map.selected()) : null;
    shown = next;
    // The selected host may have moved.
    if (before !== null && host(map.selected()) !== before) map.select(shown.found.host.indexOf(before));
    map.draw();
  }

  return { element: map.element, update };
}

/** The largest cells with which all fit into the width and a fair height. */
function gridOf(count, width) {
  const room = Math.min(340, 130 + count / 20);
  for (let size = MAX_CELL; ; size -= 1) {
    const gap = size > 16 ? 3 : size > 7 ? 2 : size > 4 ? 1 : 0;
    const pitch = size + gap;
    const columns = Math.max(1, Math.floor((width + gap) / pitch));
    const height = Math.max(0, Math.ceil(count / columns) * pitch - gap);
    if (height <= room || size === MIN_CELL) {
      return { columns, wide: size, high: size, pitchX: pitch, pitchY: pitch, height };
    }
  }
}

function paint(context, { columns, wide, high, pitchX, pitchY }, { found, plugin, shows }) {
  const draw = heat(plugin, found.last);
  context.font = `600 ${wide > 36 ? 12 : 11}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let index = 0; index < found.host.length; index += 1) {
    const value = found.last[index];
    const state = found.state[index];
    const x = (index % columns) * pitchX;
    const y = Math.floor(index / columns) * pitchY;
    context.globalAlpha = shows(index) ? 1 : 0.2;
    const text = wide >= WITH_TEXT && state !== "silent" && value !== null ? brief(value, plugin) : "";
    draw(context, { value, state, x, y, wide, high, text });
  }
}

/** Three digits at most, such as 42.5 or 1.5k; of bytes as in the table, with 1.5K for 1.5 KiB. */
export function brief(value, { unit, panel }) {
  if (panel.quantity === "duration" && unit === "s" && Math.abs(value) >= 60) return coarseDuration(value);
  const base = panel.quantity === "bytes" && unit === "B" ? 1024 : 1000;
  let [scaled, power] = [value, 0];
  while (Math.abs(scaled) >= 999.5 && power < PREFIXES.length - 1) [scaled, power] = [scaled / base, power + 1];
  const size = Math.abs(scaled);
  if (size >= 999.5) return value.toExponential(0).replace("+", "");
  if (power) return `${number(scaled, size < 9.95 ? 1 : 0)}${PREFIXES[power]}`;
  return number(value, Math.min(panel.decimals, size < 9.95 ? 2 : size < 99.5 ? 1 : 0));
}

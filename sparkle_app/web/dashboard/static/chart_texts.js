// What the thresholds of a chart mean, written beside them where it hides as little of the lines as possible.

import { t } from "./language.js";
import { nearest } from "./lines.js";
import { bound } from "./values.js";

/** In CSS pixels: of a text with its backing, and around it. */
const HEIGHT = 16;
const PADDING = 4;
const DISTANCE = 2;
/** Two texts over each other would both be illegible. */
const OVERLAP = 1000;

/** "Warning > 80 °C" */
export const thresholdText = ({ severity, when, value }, plugin) =>
  `${t(`state.${severity}`)} ${when === "above" ? ">" : "<"} ${bound(value, plugin)}`;

/** Writes the texts of some thresholds. @param {Object} state of chart.js. */
export function drawThresholdTexts(plot, context, thresholds, { lines, gap, palette, plugin }) {
  const ratio = devicePixelRatio;
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  const texts = thresholds.map((threshold) => {
    const text = thresholdText(threshold, plugin);
    const wide = context.measureText(text).width + 2 * PADDING * ratio;
    return { text, threshold, wide, high: HEIGHT * ratio, y: plot.valToPos(threshold.value, "y", true), above: threshold.when === "above" };
  });
  const shown = lines.filter((line) => !line.hidden);
  const hides = ({ left, top, wide, high }) => crossings(shown, gap, {
    from: plot.posToVal(left, "x", true), to: plot.posToVal(left + wide, "x", true),
    low: plot.posToVal(top + high, "y", true), high: plot.posToVal(top, "y", true),
  });
  places(plot.bbox, texts, DISTANCE * ratio, hides).forEach(({ left, top, wide, high }, index) => {
    const { text, threshold } = texts[index];
    // What passes behind it remains visible, and does not make it illegible.
    context.globalAlpha = 0.85;
    context.fillStyle = palette["--card"];
    context.beginPath();
    context.roundRect(left, top, wide, high, 3 * ratio);
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = palette[`--${threshold.severity}`];
    context.fillText(text, left + PADDING * ratio, top + high / 2);
  });
}

/**
 * Places of texts in a box: beyond their line or before it, at the right end, the left end, or between these.
 *
 * @param {{left: number, top: number, width: number, height: number}} box
 * @param {Array<{wide: number, high: number, y: number, above: boolean}>} texts above: whether this is beyond the line.
 * @param {number} distance from the line.
 * @param {function(Object): number} hides how much a text at a place hides. The first place that hides least is taken.
 * @returns {Array<{left: number, top: number, wide: number, high: number}>}
 */
export function places(box, texts, distance, hides) {
  const taken = [];
  const step = Math.max(...texts.map(({ wide }) => wide)) + 2 * distance;
  for (const { wide, high, y, above } of texts) {
    const end = box.left + box.width - wide - 2 * distance;
    const start = box.left + 2 * distance;
    const between = Array.from({ length: Math.floor((end - start) / step) }, (_, index) => (index + 1) * step);
    const lefts = [end, start, ...between.flatMap((offset) => [end - offset, start + offset])]
      .filter((left) => left >= start && left <= end);
    const [over, under] = [y - distance - high, y + distance];
    const tops = (above ? [over, under] : [under, over]).filter((top) => top >= box.top && top + high <= box.top + box.height);
    const found = (lefts.length ? lefts : [end]).flatMap((left) => (tops.length ? tops : [over]).map((top) => ({ left, top, wide, high })));
    const costs = found.map((place) => hides(place) + OVERLAP * taken.filter((other) => overlap(place, other)).length);
    taken.push(found[costs.indexOf(Math.min(...costs))]);
  }
  return taken;
}

const overlap = (one, other) =>
  one.left < other.left + other.wide && other.left < one.left + one.wide && one.top < other.top + other.high && other.top < one.top + one.high;

/**
 * How many parts of lines, from one point to the next, pass through a rectangle.
 *
 * @param {number} gap longer ones are not drawn.
 * @param {{from: number, to: number, low: number, high: number}} rectangle times and values.
 */
export function crossings(lines, gap, { from, to, low, high }) {
  let count = 0;
  for (const line of lines) {
    const { x, value } = line;
    for (let index = Math.max(0, nearest(line, from) - 1); index < x.length && x[index] <= to; index += 1) {
      const next = index + 1 < x.length && x[index + 1] - x[index] <= gap ? index + 1 : index;
      if (x[next] < from || value[index] === null || value[next] === null) continue;
      const at = (time) => (next === index ? value[index]
        : value[index] + ((value[next] - value[index]) * (time - x[index])) / (x[next] - x[index]));
      const [first, last] = [at(Math.max(from, x[index])), at(Math.min(to, x[next]))];
      if (Math.max(first, last) >= low && Math.min(first, last) <= high) count += 1;
    }
  }
  return count;
}

// What of its values a chart shows: the range of the axis and its texts, bands, and single points.

import { hasPrefixes, mark, number } from "./values.js";

/** With more lines, only the highlighted one has its band. */
const MAX_BANDS = 4;

/** The indices of points without a neighbour, which a line alone would not show; null if there are none. */
export function lonely(values) {
  const found = [];
  let [before, run] = [-1, 0];
  for (let index = 0; index <= values.length; index += 1) {
    const value = index < values.length ? values[index] : null;
    if (value === undefined) continue;
    if (value !== null) {
      [before, run] = [index, run + 1];
      continue;
    }
    if (run === 1) found.push(before);
    run = 0;
  }
  return found.length ? found : null;
}

/** The lines that are drawn with their band. */
export function bandsOf(lines, highlighted) {
  const shown = lines.filter((line) => !line.hidden && !line.compared && line.minimum);
  return shown.length <= MAX_BANDS ? shown : shown.filter((line) => line === lines[highlighted]);
}

/** The values that a chart shows; fixed: exactly these are its ends. */
export function valueRange({ lines, from, to, plugin: { panel } }) {
  let [low, high] = [Infinity, -Infinity];
  for (const line of lines) {
    if (line.hidden) continue;
    for (let index = 0; index < line.x.length; index += 1) {
      if (line.x[index] < from || line.x[index] > to || line.value[index] === null) continue;
      low = Math.min(low, line.minimum?.[index] ?? line.value[index]);
      high = Math.max(high, line.maximum?.[index] ?? line.value[index]);
    }
  }
  if (low > high) [low, high] = panel.scale ?? [0, 1];
  // Of a ratio, how much of the whole it is matters.
  if (panel.quantity === "ratio" && panel.scale) {
    return { low: Math.min(low, panel.scale[0]), high: Math.max(high, panel.scale[1]), fixed: true };
  }
  const size = high - low;
  for (const { value, when } of panel.thresholds) {
    // A threshold that is near is shown; one that is far would flatten the lines.
    if (when === "above" && value > high && value - low < 2.5 * Math.max(size, Math.abs(high) / 10)) high = Math.max(high, value);
    if (when === "below" && value < low && high - value < 2.5 * Math.max(size, Math.abs(low) / 10)) low = Math.min(low, value);
  }
  return { low, high, fixed: false };
}

/** A value at a mark of the axis. */
export function axisValue(value, step, plugin) {
  if (hasPrefixes(plugin) || plugin.panel.quantity === "duration") return mark(value, step, plugin);
  if (Math.abs(value) >= 1e6 || (value !== 0 && step < 1e-6)) return value.toExponential(1);
  return number(value, Math.min(9, Math.max(0, -Math.floor(Math.log10(step || 1)))));
}

export function axisWidth(plot, texts) {
  const longest = (texts ?? []).reduce((most, each) => Math.max(most, each.length), 3);
  return Math.min(96, 14 + 7 * longest);
}

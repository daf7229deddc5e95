// From columns and readings of the API to the lines of a chart.

import { declared } from "./language.js";
import { visible } from "./names.js";

const byName = new Intl.Collator("en", { numeric: true });

/** Names in the order in which people count: "core 2" before "core 10". */
export const inOrder = (names) => [...names].sort((a, b) => byName.compare(a, b) || (a < b ? -1 : 1));

/**
 * The charts that a plugin declares, with the metrics of each.
 *
 * @returns {Array<{key: string, title: string|null, metrics: string[]}>}
 */
export function chartsOf({ panel }, metrics) {
  const found = new Map();
  const charts = panel.panels.map((chart) => ({ ...chart, pattern: pattern(chart.match ?? "*") }));
  for (const metric of inOrder(metrics)) {
    const index = charts.findIndex(({ pattern: matches }) => matches.test(metric));
    if (index < 0) continue;
    const { group_by: part, title } = charts[index];
    const group = part ? metric.split("/")[part - 1] ?? "" : "";
    const key = JSON.stringify([index, group]);
    if (!found.has(key)) {
      const words = [title ? visible(declared(title)) : "", part ? visible(group) : ""].filter(Boolean);
      found.set(key, { key, index, title: words.join(" · ") || null, metrics: [] });
    }
    found.get(key).metrics.push(metric);
  }
  return [...found.values()].sort((a, b) => a.index - b.index);
}

function pattern(text) {
  const escaped = text.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
  return new RegExp(`^${escaped}$`, "su");
}

/**
 * A line: its points in order of time. `at` and `until` are seconds since 1970: what a point stands for; `x` is where it
 * is drawn; `minimum` and `maximum` are null for a line without a band. `late` has, by index, what is known of readings
 * that arrived late: {count, delay}. Of several hosts, a line also has `host`, `path` and `gap`: see host_data.js.
 */
export function lineOfColumns(metric, { at, average, minimum, maximum, count }, step, end, found) {
  const x = at.map((start) => Math.min(start + step / 2, Math.max(start, end)));
  const late = new Map();
  found?.at.forEach((start, number) => {
    const index = at.indexOf(start);
    if (index >= 0) late.set(index, { count: found.count[number], delay: found.delay_seconds[number] });
  });
  return { metric, x, at, until: at.map((start) => start + step), value: average, minimum, maximum, count, late };
}

/** The lines of readings, by metric; without numbers, only their times are of use. */
export function linesOfReadings(readings) {
  const lines = new Map();
  for (const reading of readings) {
    if (!lines.has(reading.metric)) {
      lines.set(reading.metric,
        { metric: reading.metric, x: [], at: [], until: [], value: [], minimum: null, maximum: null, count: null, readings: [] });
    }
    const line = lines.get(reading.metric);
    const at = Date.parse(reading.observed_at) / 1000;
    line.x.push(at);
    line.at.push(at);
    line.until.push(at);
    line.value.push(reading.numeric_value);
    line.readings.push(reading);
  }
  return lines;
}

/** The same line so many seconds later: what is compared with. */
export const shiftedBy = (line, seconds) => ({ ...line, x: line.x.map((at) => at + seconds), compared: true });

/**
 * The data of uPlot: all times, then the values of each line; undefined: not one of its times, null: a gap.
 *
 * @param {number} gap seconds without a point that are drawn as a gap.
 */
export function aligned(lines, gap) {
  const times = new Set();
  const breaks = lines.map(({ x }) => {
    const found = [];
    for (let index = 1; index < x.length; index += 1) {
      if (x[index] - x[index - 1] > gap) found.push((x[index] + x[index - 1]) / 2);
    }
    return found;
  });
  lines.forEach(({ x }, line) => {
    for (const at of x) times.add(at);
    for (const at of breaks[line]) times.add(at);
  });
  const xs = Float64Array.from(times).sort();
  const place = new Map();
  xs.forEach((at, index) => place.set(at, index));
  const values = lines.map(({ x, value }, line) => {
    const column = new Array(xs.length);
    x.forEach((at, index) => { column[place.get(at)] = value[index]; });
    for (const at of breaks[line]) column[place.get(at)] = null;
    return column;
  });
  return { data: [[...xs], ...values], place };
}

/** The lowest, the highest and the last value of lines, each with its line and index; null if there are none. */
export function extremes(lines) {
  let [lowest, highest, last] = [null, null, null];
  for (const line of lines) {
    for (let index = 0; index < line.x.length; index += 1) {
      const low = line.minimum?.[index] ?? line.value[index];
      const high = line.maximum?.[index] ?? line.value[index];
      if (low === null || high === null) continue;
      const found = { line, index };
      if (!lowest || low < lowest.value) lowest = { ...found, value: low };
      if (!highest || high > highest.value) highest = { ...found, value: high };
      if (!last || line.x[index] >= last.line.x[last.index]) last = { ...found, value: line.value[index] };
    }
  }
  return lowest && { lowest, highest, last };
}

/** Whether lines, also of different updates, show the same. */
export const isSame = (one, other) => one?.metric === other?.metric && one?.host === other?.host;

/** The usual time between the points of lines, in seconds; 0 if there are too few. */
export function usualInterval(lines) {
  const found = [];
  for (const { x } of lines) for (let index = 1; index < x.length; index += 1) found.push(x[index] - x[index - 1]);
  return found.length ? found.sort((a, b) => a - b)[Math.floor(found.length / 2)] : 0;
}

/** The index of the point of a line that is nearest to a time; -1 if there is none. */
export function nearest({ x }, at) {
  let [low, high] = [0, x.length - 1];
  if (high < 0) return -1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low > 0 && at - x[low - 1] <= x[low] - at ? low - 1 : low;
}

/** The indices of the points next to a time, by line; a line without a point so near has none. */
export function pointsAt(lines, at, gap) {
  const found = new Map();
  for (const line of lines) {
    const index = nearest(line, at);
    if (index >= 0 && Math.abs(line.x[index] - at) <= (line.gap ?? gap)) found.set(line, index);
  }
  return found;
}

/** What the points of `pointsAt` stand for, those of hidden lines aside: [from, to] in seconds; null: there are none. */
export function spanOf(lines, points) {
  const shown = lines.filter((line) => !line.hidden && points.has(line)).map((line) => [line, points.get(line)]);
  if (!shown.length) return null;
  return [Math.min(...shown.map(([line, index]) => line.at[index])), Math.max(...shown.map(([line, index]) => line.until[index]))];
}

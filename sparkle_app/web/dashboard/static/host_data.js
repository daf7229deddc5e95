// What the API knows of one host: its state, and of each plugin the points, readings and completeness of a time range.

import { ApiError, get, now, pathOf } from "./api.js";
import { lineOfColumns, linesOfReadings, shiftedBy, usualInterval } from "./lines.js";
import { daysBefore, rfc3339 } from "./ranges.js";

/** Of a line; fewer for a host with so many metrics that there would be too many points: 20 are enough for 2,000 metrics. */
const POINTS = [400, 60, 20];
/** Of a line in a small chart. */
const COMPARED_POINTS = [200, 60, 20];
const HOUR = 3600;
/** Raw readings are shown of a range that has no more; one page of the API. */
export const MAX_READINGS = 1000;
/** Of values that are not numbers. */
const MAX_PAGES = 3;
/** How far a clock can be wrong without the worker noticing: readings may seem to be older or newer. */
const CLOCK_SECONDS = 8 * 60;
/** In which the last readings of a host are, before the very last one; fewer if there are too many readings. */
const NEAR_SECONDS = [120, 45, 15, 5];
// Plugins without numbers: they have no steps that could have been filled late.
const wordsOnly = new Set();
/** The shortest time range whose buckets the API has refused to count: it is not asked again for one as long. */
let tooLongSeconds = Infinity;
const COMPARED_DAYS = { day: 1, week: 7 };

/** The row of a host in the overview; null if it is not known. Throws as `get`. */
export async function hostState(host, signal) {
  try {
    return await get(pathOf`/api/v1/hosts/${host}`, { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/**
 * What is shown of a plugin. Whatever the API refuses is in `problem`.
 *
 * @param {{plugin: Object, host: string, range: Object, compare: string|null, apart: boolean, known: Object|undefined}} asked
 *   known: the plugin of the host in the overview; apart: how its lines are shown.
 */
export const pluginData = (asked, signal) => orProblem(asked, loaded(asked, signal));

/** The same of one of several hosts: with one request, unless it has words in some of the plugins that have numbers. */
export const comparedData = (asked, signal) => orProblem(asked, steps(asked, signal));

async function orProblem(asked, loading) {
  try {
    return await loading;
  } catch (error) {
    if (!(error instanceof ApiError) || error.kind !== "refused") throw error;
    return { ...asked, step: 0, gap: 0, lines: [], compared: [], words: [], latest: [], problem: error.detail };
  }
}

async function steps(asked, signal) {
  const { plugin, host, range, known } = asked;
  const path = pathOf`/api/v1/plugins/${plugin.name}/hosts/${host}`;
  const interval = known?.interval_seconds ?? 0;
  const data = { ...asked, path, step: 0, gap: 0, lines: [], words: [], complete: true, problem: null };
  if (!wordsOnly.has(plugin.name)) {
    const columns = await columnsOf(path, range, signal, {}, COMPARED_POINTS);
    const step = columns.step_seconds;
    const lines = Object.entries(columns.series).map(([metric, each]) => lineOfColumns(metric, each, step, range.to));
    Object.assign(data, { step, lines, gap: gapOf(lines, interval, step), keptSince: keptSince(columns) });
    if (lines.length) return data;
  }
  const { readings, complete, kept } = await readingsOf(path, range, MAX_PAGES, signal);
  const words = readings.filter((each) => each.numeric_value === null);
  // Of other hosts, the plugin may have words only.
  if (words.length < readings.length && wordsOnly.delete(plugin.name)) return steps(asked, signal);
  if (words.length && words.length === readings.length) wordsOnly.add(plugin.name);
  return { ...data, words, complete, keptSince: kept, gap: gapOf([...linesOfReadings(words).values()], interval, data.step) };
}

async function loaded(asked, signal) {
  const { plugin, host, range, compare, known } = asked;
  const path = pathOf`/api/v1/plugins/${plugin.name}/hosts/${host}`;
  const [columns, latest] = await Promise.all([
    columnsOf(path, range, signal, wordsOnly.has(plugin.name) ? {} : { late: true }),
    known ? latestReadings(path, known, signal) : [],
  ]);
  const step = columns.step_seconds;
  if (Object.keys(columns.series).length) wordsOnly.delete(plugin.name);
  else if (latest.length && latest.every((each) => each.numeric_value === null)) wordsOnly.add(plugin.name);
  const counted = Object.values(columns.series).flatMap(({ count }) => count).reduce((sum, each) => sum + each, 0);
  const interval = known?.interval_seconds ?? 0;
  const data = {
    ...asked, path, step, latest, problem: null, exact: false, words: [], complete: true, compared: [], counted,
    lines: Object.entries(columns.series).map(([metric, each]) =>
      lineOfColumns(metric, each, step, range.to, lateOf(columns, metric))),
    keptSince: keptSince(columns),
  };
  data.gap = gapOf(data.lines, interval, step);
  const short = range.to - range.from <= 2 * HOUR;
  const words = latest.some((each) => each.numeric_value === null) || data.lines.length === 0;
  if (words || (short && counted <= MAX_READINGS)) {
    const { readings, complete, kept } = await readingsOf(path, range, words ? MAX_PAGES : 1, signal);
    data.words = readings.filter((each) => each.numeric_value === null);
    if (data.words.length) data.gap = gapOf([...linesOfReadings(data.words).values()], interval, step);
    data.complete = complete;
    if (words && !data.lines.length) data.keptSince = kept;
    // Aggregates are kept longer.
    if (short && complete && !kept && data.lines.length <= MAX_READINGS) {
      const lines = [...linesOfReadings(readings.filter((each) => each.numeric_value !== null)).values()];
      const onePage = readings.length <= MAX_READINGS;
      Object.assign(data, { exact: true, onePage, keptSince: null, lines, gap: Math.max(data.gap, gapOf(lines, interval, 0)) });
    }
  }
  if (compare && data.lines.length) data.compared = await comparedLines(path, range, compare, step, signal);
  return data;
}

/** Since when there is something of a range, if it begins earlier; RFC 3339. */
function keptSince({ from, to, sources }) {
  const first = sources[0]?.from ?? to;
  return Date.parse(first) > Date.parse(from) ? first : null;
}

/** A host that sends every two minutes has no gaps of one minute. Points alone tell it only if nothing is missing. */
export const gapOf = (lines, interval, step) => Math.max(1.5 * step, 2.5 * (interval || usualInterval(lines)) + 1);

/** A metric may have the name of something that every object has. */
const lateOf = ({ late }, metric) => (late && Object.hasOwn(late, metric) ? late[metric] : undefined);

async function columnsOf(path, range, signal, more = {}, [points, ...fewer] = POINTS) {
  try {
    const query = { from: rfc3339(range.from), to: rfc3339(range.to), points, ...more };
    return await get(`${path}/columns`, { query, signal });
  } catch (error) {
    const tooMany = error instanceof ApiError && error.limit === "points";
    if (!tooMany || !fewer.length) throw error;
    return columnsOf(path, range, signal, more, fewer);
  }
}

/** All readings of a range, or as many as some pages of the API have. */
async function readingsOf(path, { from, to }, pages, signal, query = {}) {
  const readings = [];
  let after = null;
  let kept = null;
  for (let page = 0; page < pages; page += 1) {
    const found = await get(`${path}/readings`,
      { signal, query: { from: rfc3339(from), to: rfc3339(to), limit: MAX_READINGS, after, ...query } });
    readings.push(...found.readings);
    after = found.next;
    kept = found.kept_since;
    if (after === null) break;
  }
  return { readings, complete: after === null, after, kept };
}

/** The last reading of each metric, by metric. */
async function latestReadings(path, { last_seen: seen }, signal) {
  const at = Math.floor(Date.parse(seen) / 1000);
  const near = (before) => readingsOf(path, { from: at - before, to: at + CLOCK_SECONDS }, MAX_PAGES, signal);
  let { readings, complete } = await near(NEAR_SECONDS[0]);
  if (!readings.length) ({ readings } = await near(CLOCK_SECONDS + NEAR_SECONDS[0]));
  else {
    // Pages begin with the oldest: of too many readings, the last ones would be missing.
    for (const before of NEAR_SECONDS.slice(1)) {
      if (complete) break;
      ({ readings, complete } = await near(before));
    }
  }
  const last = new Map();
  for (const reading of readings) last.set(reading.metric, reading);
  return [...last.values()];
}

async function comparedLines(path, { from, to }, compare, step, signal) {
  const seconds = daysBefore(to, COMPARED_DAYS[compare]);
  const { series, step_seconds: found } = await columnsOf(path, { from: from - seconds, to: to - seconds }, signal);
  return Object.entries(series).map(([metric, each]) =>
    shiftedBy({ ...lineOfColumns(metric, each, found, to - seconds), minimum: null, maximum: null }, seconds));
}

/**
 * How complete a plugin's readings are; {tooLong: true} if the range is too long, {unknown: true} if it is not known how
 * often the host sends any; null if nothing is known.
 */
export async function completenessOf({ plugin, host, range: { from, to }, known }, signal) {
  const tooLong = { completeness: null, tooLong: true };
  if (to - from >= tooLongSeconds) return tooLong;
  if (!known.interval_seconds) return { completeness: null, unknown: true };
  try {
    const query = { from: rfc3339(from), to: rfc3339(to) };
    return await get(pathOf`/api/v1/plugins/${plugin.name}/hosts/${host}/completeness`, { query, signal });
  } catch (error) {
    if (!(error instanceof ApiError) || error.kind !== "refused") throw error;
    if (error.limit !== "buckets") return null;
    tooLongSeconds = Math.min(to - from, tooLongSeconds);
    return tooLong;
  }
}

const RECOUNT_TIMEOUT_MS = 120_000;
/** About as many as the API recounts: fewer requests are refused. */
const RECOUNTED = 200_000;

/**
 * Compares the aggregates of a plugin with its readings; of too many, those of the end of the range.
 *
 * @param {number} counted how many readings the range has, as far as it is known.
 * @returns {Promise<{found: Object, seconds: number, partial: boolean}>}
 */
export async function recount(path, { from, to }, counted, signal) {
  const began = performance.now();
  let start = counted > RECOUNTED ? to - ((to - from) * 0.8 * RECOUNTED) / counted : from;
  for (;;) {
    try {
      const query = { from: rfc3339(Math.floor(start)), to: rfc3339(Math.min(to, Math.ceil(now() / 1000))) };
      const found = await get(`${path}/recount`, { query, signal, timeout: RECOUNT_TIMEOUT_MS });
      return { found, seconds: (performance.now() - began) / 1000, partial: start > from };
    } catch (error) {
      // There are more readings than the aggregates say.
      const fewer = error instanceof ApiError && error.limit === "readings";
      if (!fewer || to - start < 120) throw error;
      start = (start + to) / 2;
    }
  }
}

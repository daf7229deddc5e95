// The time range of a host's view, which is in the URL: ?range=1h ends now, ?from=…&to=… does not move.

import { t } from "./language.js";
import { urlWith } from "./router.js";

const HOUR = 3600;
const DAY = 24 * HOUR;
/** Seconds by name. */
export const PRESETS = {
  "15m": HOUR / 4, "1h": HOUR, "6h": 6 * HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "1y": 365 * DAY, "3y": 3 * 365 * DAY,
};
/** Names of messages have no digits. */
const MESSAGES = {
  "15m": "quarter", "1h": "hour", "6h": "hours", "24h": "day", "7d": "week", "30d": "month", "1y": "year", "3y": "years",
};
export const presetText = (preset) => t(`host.range.${MESSAGES[preset]}`);
const DEFAULT = "1h";
const RANGE = ["range", "from", "to"];
/** Of a zoom, in seconds. */
const SHORTEST = 10;
const LONGEST = 20 * 365 * DAY;

/**
 * @param {URLSearchParams} query
 * @param {number} now ms
 * @returns {{preset: string|null, from: number, to: number, live: boolean, invalid: boolean}} seconds since 1970.
 */
export function rangeOf(query, now) {
  const [from, to] = [secondsOf(query.get("from")), secondsOf(query.get("to"))];
  if (from !== null && to !== null && from < to && to - from <= LONGEST) {
    return { preset: null, from, to, live: false, invalid: false };
  }
  const named = query.get("range");
  const preset = Object.hasOwn(PRESETS, named ?? "") ? named : DEFAULT;
  const end = Math.ceil(now / 1000);
  const invalid = query.has("from") || query.has("to") || (named !== null && preset !== named);
  return { preset, from: end - PRESETS[preset], to: end, live: true, invalid };
}

function secondsOf(text) {
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) ? null : Math.floor(ms / 1000);
}

/** Readings of the last minute may still arrive. */
const ARRIVING = 60;

/** Whether more readings of a range are expected. @param {number} now ms */
export const isRecent = ({ to }, now) => to + ARRIVING >= now / 1000;

/** How often a range is asked for again. @param {number} now ms */
export function refreshSeconds({ from, to }, now) {
  if (!isRecent({ to }, now)) return 300;
  const length = to - from;
  return length <= HOUR ? 5 : length <= 6 * HOUR ? 15 : length <= DAY ? 30 : 60;
}

/** The parameters of the range in the URL, for the URL of another view. */
export const rangeQuery = () => [...new URLSearchParams(location.search)].filter(([name]) => RANGE.includes(name));

/** As the API takes it. @param {number} seconds since 1970. */
export const rfc3339 = (seconds) => new Date(seconds * 1000).toISOString().replace(/\.000Z$/, "Z");

export const presetUrl = (name) => urlWith({ range: name === DEFAULT ? null : name, from: null, to: null });

/** The URL of another range; of a very short one, that around its middle. */
export function rangeUrl({ from, to }) {
  const missing = Math.max(0, SHORTEST - (to - from)) / 2;
  return urlWith({ range: null, from: rfc3339(Math.floor(from - missing)), to: rfc3339(Math.ceil(to + missing)) });
}

/** A range of another length around the same middle; not beyond the present. */
export function scaled({ from, to }, factor, now) {
  const length = Math.min(LONGEST, (to - from) * factor);
  const end = Math.min((from + to + length) / 2, Math.max(to, now / 1000));
  return { from: Math.round(end - length), to: Math.round(end) };
}

/** The range before or after. */
export const moved = ({ from, to }, ranges) => ({ from: from + ranges * (to - from), to: to + ranges * (to - from) });

/** The same time of day some days before: days are not always 24 hours long. @returns {number} seconds earlier. */
export function daysBefore(seconds, days) {
  const date = new Date(seconds * 1000);
  date.setDate(date.getDate() - days);
  return seconds - Math.round(date.getTime() / 1000);
}

/** The value of a datetime-local input. */
export function localInput(seconds) {
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const minute = `${day}T${two(date.getHours())}:${two(date.getMinutes())}`;
  return date.getSeconds() ? `${minute}:${two(date.getSeconds())}` : minute;
}

// Values, times and names as text.

import { now } from "./api.js";
import { el, setAttribute, setText } from "./dom.js";
import { declared, t } from "./language.js";
import { severity } from "./plugins.js";
import { store } from "./store.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Shown of a name that is longer. */
const NAME_LENGTH = 40;
const NO_BREAK = "\u00a0";
const NONE = "–";
const MAX_DECIMALS = 9;

// Making one takes longer than using it.
const formats = new Map();

function format(kind, options) {
  const locale = store.get("locale");
  const key = locale + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new kind(locale, options));
  return formats.get(key);
}

/** A number with so many decimals. */
export const number = (value, decimals = 0) =>
  format(Intl.NumberFormat, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).format(value);

const PREFIXED = {
  bytes: [1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi"]],
  frequency: [1000, ["", "k", "M", "G", "T"]],
  power: [1000, ["", "k", "M", "G"]],
  energy: [1000, ["", "k", "M", "G", "T"]],
};
const PLAIN_UNITS = new Set(["B", "Hz", "W", "J", "Wh"]);

/**
 * A value of a plugin with its unit, such as "84.5 °C". It has as many decimals as the plugin declares; more, if otherwise
 * it would seem to be on the other side of a threshold.
 *
 * @param {number|null} value null is shown as a dash.
 * @param {{unit: string, panel: Object}} plugin as in /api/v1/plugins.
 */
export const quantity = (value, plugin) =>
  withUnit(value, plugin, (shown, factor) => severity(factor * shown, plugin) === severity(value, plugin));

/** The bound of a threshold, with its own decimals. */
export const bound = (value, plugin) => withUnit(value, plugin, (shown, factor) => shown === value / factor);

/** A mark of an axis, as far as marks that are a step apart differ. */
export const mark = (value, step, plugin) =>
  withUnit(value, plugin, (shown, factor) => Math.abs(factor * shown - value) < step / 20);

/**
 * The fewest decimals with which a value fits, but no fewer than the plugin declares.
 *
 * @param {function(number, number): boolean} fits whether a rounded value may be shown; multiplied by the factor of its
 *   prefix, it has the plugin's unit.
 */
function withUnit(value, { unit, panel }, fits) {
  if (value === null || value === undefined) return NONE;
  let { decimals } = panel;
  if (panel.quantity === "duration" && unit === "s") return exactDuration(value, decimals, fits);
  let [factor, prefix] = [1, ""];
  if (panel.quantity in PREFIXED && PLAIN_UNITS.has(unit)) {
    const [base, prefixes] = PREFIXED[panel.quantity];
    let power = 0;
    while (Math.abs(value) / factor >= base && power < prefixes.length - 1) {
      factor *= base;
      power += 1;
    }
    prefix = prefixes[power];
  }
  const scaled = value / factor;
  while (decimals < MAX_DECIMALS && !fits(Number(scaled.toFixed(decimals)), factor)) decimals += 1;
  // Far outside of what decimals are meant for: 1.2E15 rather than a row of digits.
  const huge = Math.abs(scaled) >= 1e12;
  const text = huge
    ? format(Intl.NumberFormat, { notation: "scientific", maximumFractionDigits: 3 }).format(scaled)
    : number(scaled, decimals);
  return unit ? `${text}${NO_BREAK}${prefix}${unit}` : text;
}

/** What durations are rounded to; from 0 on, it is the number of decimals of a second. */
const [TO_HOURS, TO_MINUTES] = [-2, -1];

/** Below a minute with decimals, below an hour with seconds, below a day with minutes, then with hours; finer until it fits. */
function exactDuration(seconds, decimals, fits) {
  if (seconds < 0) return `−${exactDuration(-seconds, decimals, (shown) => fits(-shown, 1))}`;
  let precision = seconds < MINUTE ? decimals : seconds < HOUR ? 0 : seconds < DAY ? TO_MINUTES : TO_HOURS;
  while (precision < MAX_DECIMALS && !fits(rounded(seconds, precision), 1)) precision += 1;
  return inUnits(rounded(seconds, precision), Math.max(0, precision));
}

function rounded(seconds, precision) {
  const unit = precision === TO_HOURS ? HOUR : MINUTE;
  return precision < 0 ? unit * Math.round(seconds / unit) : Number(seconds.toFixed(precision));
}

/** Seconds as "5 min" or "3 h 20 min". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return inUnits(whole - (whole % (whole < MINUTE ? 1 : whole < DAY ? MINUTE : HOUR)), 0);
}

/** Seconds as days, hours, minutes and seconds; without those of which there are none. */
function inUnits(seconds, decimals) {
  const texts = [];
  let rest = seconds;
  for (const [unit, size] of [["days", DAY], ["hours", HOUR], ["minutes", MINUTE]]) {
    const n = Math.floor(rest / size);
    if (n) texts.push(t(`duration.${unit}`, { n }));
    rest = Number((rest - n * size).toFixed(decimals));
  }
  if (rest || !texts.length) texts.push(t("duration.seconds", { n: number(rest, decimals) }));
  return texts.join(" ");
}

/** Seconds in the largest unit, such as "2 h". */
export function coarseDuration(seconds) {
  const size = Math.abs(seconds);
  const [unit, length] = size < HOUR ? ["minutes", MINUTE] : size < DAY ? ["hours", HOUR] : ["days", DAY];
  return t(`duration.${unit}`, { n: Math.round(seconds / length) });
}

/** "2 s ago", of whole seconds, minutes, hours or days. */
export function ago(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [name, size] =
    whole < MINUTE ? ["seconds", 1] : whole < HOUR ? ["minutes", MINUTE] : whole < DAY ? ["hours", HOUR] : ["days", DAY];
  return t("time.ago", { duration: t(`duration.${name}`, { n: Math.floor(whole / size) }) });
}

/** A local time: only the time of day if it is today's. */
export function localTime(ms, { seconds = true } = {}) {
  const date = new Date(ms);
  const today = date.toDateString() === new Date(now()).toDateString();
  const time = { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}), hourCycle: "h23" };
  const day = { year: "numeric", month: "short", day: "numeric" };
  return format(Intl.DateTimeFormat, today ? time : { ...day, ...time }).format(date) + zoneOf(date);
}

/** " GMT+2", if the clocks are changed within an hour: a time of day may then be there twice. */
function zoneOf(date) {
  const changes = [-HOUR, HOUR].some((each) =>
    new Date(date.getTime() + 1000 * each).getTimezoneOffset() !== date.getTimezoneOffset());
  return changes ? `${NO_BREAK}${axisTime(date, "zone")}` : "";
}

const utc = (ms) => `${new Date(ms).toISOString().replace("T", " ").replace(/\.?0*Z$/, "")} UTC`;

/** A <time> with the local time; UTC is its tooltip. @param {string} at RFC 3339, as the API sends it. */
export function instant(at) {
  const ms = Date.parse(at);
  return el("time", { class: "instant", datetime: at, title: utc(ms) }, localTime(ms));
}

/** A <time> that says how long ago, and goes on doing so. Update it with `setAge`. */
export const age = (at) => setAge(el("time", { class: "age" }), at);

/** Sets the time of an element that `age` has made. */
export function setAge(element, at) {
  if (element.dateTime !== at) {
    element.dateTime = at;
    element.at = Date.parse(at);
    setAgeTitle(element);
  }
  setText(element, ago((now() - element.at) / 1000));
  return element;
}

const setAgeTitle = (element) => setAttribute(element, "title", `${localTime(element.at)} · ${utc(element.at)}`);

/** Keeps all ages current, and the day of all times: after midnight, those of the day before have one. Called once. */
export function startAges() {
  let day = "";
  setInterval(() => {
    if (document.hidden) return;
    const ages = document.querySelectorAll("time.age");
    for (const each of ages) setText(each, ago((now() - each.at) / 1000));
    const today = new Date(now()).toDateString();
    if (today === day) return;
    day = today;
    ages.forEach(setAgeTitle);
    for (const each of document.querySelectorAll("time.instant")) setText(each, localTime(Date.parse(each.dateTime)));
  }, 1000);
}

// Control characters, and those that are invisible or change the direction of the text around them.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;

/** A text from outside, with symbols in place of what cannot be seen. */
export function visible(text) {
  return text.replace(INVISIBLE, (found) => {
    const code = found.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

/** A text from outside, visible, and cut in the middle if it is long. */
export function shortened(text, length = NAME_LENGTH) {
  // Cut by code points: half of a pair would be no character.
  const all = [...visible(text)];
  if (all.length <= length) return all.join("");
  const end = Math.floor((length - 1) / 2);
  return `${all.slice(0, length - 1 - end).join("")}…${all.slice(-end).join("")}`;
}

/** A <bdi> with a name from outside: of a host, a metric, a topic. Its tooltip is the whole name, if that is cut. */
export function name(text, length = NAME_LENGTH) {
  const shown = shortened(text, length);
  return el("bdi", { class: "name", title: shown === text ? null : visible(text) }, shown);
}

/** The name of a line: its metric, after its host if there are lines of several. */
export const lineName = ({ host, metric }) => [...(host ? [host] : []), metric].map((each) => shortened(each)).join(", ");

/** The title of a plugin. */
export const pluginTitle = (plugin) => visible(declared(plugin.panel.title ?? plugin.name));

const AXIS = {
  year: { year: "numeric" },
  month: { month: "short" },
  day: { day: "numeric", month: "short" },
  date: { day: "numeric", month: "short", year: "numeric" },
  minute: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  second: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
};

/** A part of a local time, for an axis: year, month, day, date, minute, second or zone. */
export function axisTime(date, part) {
  if (part !== "zone") return format(Intl.DateTimeFormat, AXIS[part]).format(date);
  const parts = format(Intl.DateTimeFormat, { timeZoneName: "short" }).formatToParts(date);
  return parts.find((each) => each.type === "timeZoneName").value;
}

/** "20:05 – 20:10", with the days unless both are today. Seconds since 1970. */
export function timeSpan(from, to, { seconds = false } = {}) {
  const [first, last] = [new Date(from * 1000), new Date(to * 1000)];
  const sameDay = first.toDateString() === last.toDateString();
  const time = axisTime(last, seconds ? "second" : "minute") + zoneOf(last);
  const sameYear = first.getFullYear() === last.getFullYear();
  const end = sameDay ? time : `${axisTime(last, sameYear ? "day" : "date")}, ${time}`;
  return `${localTime(from * 1000, { seconds })} – ${end}`;
}

/** What points stand for: "20:05:07" of readings, "20:05 – 20:10" of a step. Seconds since 1970. */
export const pointTime = (from, to) =>
  Math.floor(from) === Math.floor(to)
    ? localTime(from * 1000)
    : timeSpan(from, to, { seconds: [from, to].some((each) => each % MINUTE !== 0) });

/** The same in UTC, for tooltips. */
export const utcPointTime = (from, to) => (from === to ? utc(from * 1000) : `${utc(from * 1000)} – ${utc(to * 1000)}`);

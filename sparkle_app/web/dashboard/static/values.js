// Values and durations as text.

import { t } from "./language.js";
import { severity } from "./plugins.js";
import { store } from "./store.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** From the largest. */
const UNITS = [["days", DAY], ["hours", HOUR], ["minutes", MINUTE], ["seconds", 1]];
const NO_BREAK = "\u00a0";
const NONE = "–";
const MAX_DECIMALS = 9;

// Making one takes longer than using it.
const formats = new Map();

/** A formatter of Intl for the language of the page. */
export function format(kind, options) {
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
/** Whether values of a plugin have prefixes, such as k or Mi, if its unit has any. */
export const hasPrefixes = ({ panel }) => panel.quantity in PREFIXED;

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
function withUnit(value, plugin, fits) {
  const { unit, panel } = plugin;
  if (value === null || value === undefined) return NONE;
  let { decimals } = panel;
  if (panel.quantity === "duration" && unit === "s") return exactDuration(value, decimals, fits);
  let [factor, prefix] = [1, ""];
  if (hasPrefixes(plugin) && PLAIN_UNITS.has(unit)) {
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
  for (const [unit, size] of UNITS.slice(0, -1)) {
    const n = Math.floor(rest / size);
    if (n) texts.push(t(`duration.${unit}`, { n }));
    rest = Number((rest - n * size).toFixed(decimals));
  }
  if (rest || !texts.length) texts.push(t("duration.seconds", { n: number(rest, decimals) }));
  return texts.join(" ");
}

/** The largest unit of which there is one. */
const largest = (seconds) => UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);

/** Seconds in the largest unit, such as "2 h". */
export function coarseDuration(seconds) {
  const [unit, size] = largest(seconds);
  return t(`duration.${unit}`, { n: Math.round(seconds / size) });
}

/** "2 s ago", of whole seconds, minutes, hours or days. */
export function ago(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [unit, size] = largest(whole);
  return t("time.ago", { duration: t(`duration.${unit}`, { n: Math.floor(whole / size) }) });
}

// Times as text.

import { now } from "./api.js";
import { el, setAttribute, setText } from "./dom.js";
import { ago, format } from "./values.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const NO_BREAK = "\u00a0";

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

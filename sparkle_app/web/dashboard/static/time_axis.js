// Where a time axis has its marks, and what they say: local time, also on days of 23 and 25 hours.

import { axisTime } from "./times.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 20 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR, 6 * HOUR, 8 * HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY, 7 * DAY, 10 * DAY, 14 * DAY,
];
const MONTHS = [1, 2, 3, 6, 12, 24, 60];
/** In pixels: from one text to the next, and of the widest one. */
const TEXT_PITCH = 64;
const TEXT_WIDTH = 48;

/** Times between two others, in seconds since 1970, at most so many. */
export function timeMarks(from, to, most) {
  const shortest = (to - from) / Math.max(1, most);
  const step = STEPS.find((each) => each >= shortest);
  if (step === undefined) return inMonths(from, to, shortest);
  if (step <= HOUR) return inSeconds(from, to, step);
  return step < DAY ? inHours(from, to, step / HOUR) : inDays(from, to, step / DAY);
}

/** The marks of an axis that is `width` pixels wide, with their places: pairs of seconds and pixels. Texts fit in. */
export function placedMarks(from, to, width) {
  return timeMarks(from, to, Math.max(2, width / TEXT_PITCH))
    .map((at) => [at, ((at - from) / (to - from)) * width])
    // A text begins at its mark.
    .filter(([, left]) => left <= width - TEXT_WIDTH);
}

/** Whole steps of local time. An hour that occurs twice has its marks twice. */
function inSeconds(from, to, step) {
  // Whole seconds, as zones once had them.
  const offset = Math.round(new Date(from * 1000).getTimezoneOffset() * 60);
  const marks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) marks.push(at);
  return marks;
}

function inHours(from, to, hours) {
  const marks = [];
  const first = new Date(from * 1000);
  for (let day = 0; ; day += 1) {
    for (let hour = 0; hour < 24; hour += hours) {
      const date = new Date(first.getFullYear(), first.getMonth(), first.getDate() + day, hour);
      const at = date.getTime() / 1000;
      if (at > to) return marks;
      // An hour that does not exist has no mark.
      if (at >= from && date.getHours() === hour) marks.push(at);
    }
  }
}

function inDays(from, to, days) {
  const first = firstMidnight(new Date(from * 1000));
  // Weeks begin on Monday.
  const monday = days % 7 === 0 ? (first.getDay() + 6) % 7 : 0;
  return walked(from, to, (index) =>
    new Date(first.getFullYear(), first.getMonth(), first.getDate() - monday + index * days));
}

function firstMidnight(from) {
  const today = new Date(from.getFullYear(), from.getMonth(), from.getDate());
  return today < from ? new Date(from.getFullYear(), from.getMonth(), from.getDate() + 1) : today;
}

function inMonths(from, to, shortest) {
  const months = MONTHS.find((each) => each * 30 * DAY >= shortest) ?? 120;
  const first = new Date(from * 1000);
  const month = first.getMonth() - (first.getMonth() % Math.min(12, months));
  return walked(from, to, (index) => new Date(first.getFullYear(), month + index * months, 1));
}

function walked(from, to, dateOf) {
  const marks = [];
  for (let index = 0; ; index += 1) {
    const at = dateOf(index).getTime() / 1000;
    if (at > to) return marks;
    if (at >= from) marks.push(at);
  }
}

/** The texts of marks: time of day, and the day below the first one of each; days, months or years alone otherwise. */
export function timeLabels(marks) {
  if (marks.length === 0) return [];
  const dates = marks.map((at) => new Date(at * 1000));
  const midnight = (date) => date.getHours() + date.getMinutes() + date.getSeconds() === 0;
  if (marks.length > 1 && dates.every((date) => midnight(date) && date.getDate() === 1)) {
    return dates.map((date, index) => {
      const year = index === 0 || date.getFullYear() !== dates[index - 1].getFullYear();
      return `${axisTime(date, "month")}${year ? `\n${axisTime(date, "year")}` : ""}`;
    });
  }
  if (marks.length > 1 && dates.every(midnight)) return dates.map((date) => axisTime(date, "day"));
  const seconds = dates.some((date) => date.getSeconds() !== 0);
  const clock = dates.map((date) => axisTime(date, seconds ? "second" : "minute"));
  return dates.map((date, index) => {
    // The same time of day twice: which zone it is tells them apart.
    const twice = clock[index - 1] === clock[index] || clock[index + 1] === clock[index] || repeats(dates, index);
    const text = twice ? `${clock[index]} ${axisTime(date, "zone")}` : clock[index];
    const day = index === 0 || date.getDate() !== dates[index - 1].getDate();
    return day ? `${text}\n${axisTime(date, "day")}` : text;
  });
}

/** Whether a mark's time of day occurs among others of that day. */
function repeats(dates, index) {
  const before = dates[index].getTimezoneOffset();
  return dates.some((date) => date.getTimezoneOffset() !== before
    && date.getDate() === dates[index].getDate()
    && date.getHours() === dates[index].getHours() && date.getMinutes() === dates[index].getMinutes());
}

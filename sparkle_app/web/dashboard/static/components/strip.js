// Strips that show a time range: where their parts are.

import { setStyle } from "../dom.js";

/** Places a part where its time is in the range, seconds since 1970. @param {number} narrow its least width in percent. */
export function placeIn(range, part, { from, to }, narrow) {
  const place = (at) => (100 * (Math.min(Math.max(at, range.from), range.to) - range.from)) / (range.to - range.from);
  setStyle(part, { left: `${place(from)}%`, width: `${Math.max(narrow, place(to) - place(from))}%` });
}

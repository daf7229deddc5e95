// Names and other texts from outside.

import { el } from "./dom.js";
import { declared } from "./language.js";

/** Shown of a name that is longer. */
const NAME_LENGTH = 40;

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

// What a chart shows, in words.

import { t } from "../language.js";
import { extremes } from "../lines.js";
import { lineName } from "../names.js";
import { localTime, timeSpan } from "../times.js";
import { duration, quantity } from "../values.js";

/**
 * @param {Object[]} lines without those that they are compared with.
 * @param {Object} data of host_data.js or compare_data.js: the steps of several hosts may differ.
 */
export function captionText(lines, { range, plugin, exact, step, shortestStep = step, compare, compared, hosts }) {
  const when = timeSpan(range.from, range.to);
  const found = extremes(lines.filter((each) => !each.hidden));
  if (!found) return t("host.caption.empty", { range: when });
  const thin = compare ? ` ${compared.length ? t(`host.compared.${compare}`) : t("host.compared.none")}` : "";
  const one = lines.length === 1 && !hosts;
  const text = ({ value, line, index }) => t(one ? "host.caption.one" : "host.caption.of", {
    value: quantity(value, plugin), metric: lineName(line),
    time: exact ? localTime(line.at[index] * 1000) : timeSpan(line.at[index], line.at[index] + (line.step ?? step)),
  });
  const steps = [...new Set([shortestStep, step])].map(stepText).join(" – ");
  return t(hosts ? "compare.caption" : exact ? "host.caption.exact" : "host.caption.steps", {
    range: when, step: steps, lowest: text(found.lowest), highest: text(found.highest), last: text(found.last),
  }) + lateText(lines) + thin;
}

/** Of the steps that readings filled when they were over: different lines have the same ones. */
function lateText(lines) {
  const late = new Map(lines.filter((each) => !each.hidden).flatMap(({ at, late: found }) =>
    [...(found ?? [])].map(([index, { delay }]) => [at[index], delay])));
  const longest = Math.max(...late.values());
  return late.size ? ` ${t("host.caption.late", { n: late.size, duration: duration(longest) })}` : "";
}

function stepText(seconds) {
  if (seconds % 60) return duration(seconds);
  const [unit, size] = seconds % 86400 === 0 ? ["days", 86400] : seconds % 3600 === 0 ? ["hours", 3600] : ["minutes", 60];
  return t(`duration.${unit}`, { n: seconds / size });
}

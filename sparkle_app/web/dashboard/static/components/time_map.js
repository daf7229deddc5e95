// Hosts and time: a row for each host, a cell for each step, coloured by the average of one plugin.

import { el, keyed, setStyle } from "../dom.js";
import { t } from "../language.js";
import { name, shortened } from "../names.js";
import { severity } from "../plugins.js";
import { hostUrl } from "../router.js";
import { placedMarks, timeLabels } from "../time_axis.js";
import { localTime } from "../times.js";
import { quantity } from "../values.js";
import { cells } from "./cells.js";
import { heat } from "./heat.js";

/** Up to so many hosts have high rows. */
const FEW_HOSTS = 30;

/**
 * @returns {{element: Element, update: function(Object)}} `update` gets {found, plugin}: the response of /headlines, and
 *   the plugin.
 */
export function timeMap(page) {
  let shown = null;
  const steps = () => shown?.found.average[0]?.length ?? 0;
  const hostOf = (index) => shown.found.host[Math.floor(index / steps())];
  const valueOf = (index) => shown.found.average[Math.floor(index / steps())][index % steps()];
  const timeOf = (index) => Date.parse(shown.found.from) + (index % steps()) * shown.found.step_seconds * 1000;
  const when = (index) => localTime(timeOf(index), { seconds: false });
  const pitch = () => (shown.found.host.length > FEW_HOSTS ? 14 : 20);

  const names = el("ul", { class: "names" });
  const axis = el("div", { class: "axis", "aria-hidden": "true" });
  const map = cells(page, {
    label: () => t("heat.timeLabel", { n: shown?.found.host.length ?? 0 }),
    count: () => (shown?.found.host.length ?? 0) * steps(),
    grid(width) {
      const columns = Math.max(1, steps());
      const [pitchX, pitchY] = shown ? [width / columns, pitch()] : [1, 1];
      showAxis(width);
      const gap = pitchX > 6 ? 1 : 0;
      return { columns, pitchX, pitchY, wide: pitchX - gap, high: pitchY - 2, height: pitchY * (shown?.found.host.length ?? 0) };
    },
    paint: (context, grid) => shown && paint(context, grid),
    text: (index) => `${shortened(hostOf(index))}, ${when(index)}: ${quantity(valueOf(index), shown.plugin)}`,
    tip: (index) => [
      el("a", { href: hostUrl(hostOf(index)), tabindex: -1 }, name(hostOf(index))),
      el("span", { class: "number" }, quantity(valueOf(index), shown.plugin)),
      el("span", {}, when(index)),
    ],
    url: (index) => hostUrl(hostOf(index)),
  });
  const element = el("div", { class: "time-map" }, names, el("div", {}, map.element, axis));

  function paint(context, { columns, wide, high, pitchX, pitchY }) {
    const draw = heat(shown.plugin, shown.found.average.flat());
    shown.found.average.forEach((row, line) => {
      for (let step = 0; step < columns; step += 1) {
        const value = row[step];
        const state = value === null ? "none" : severity(value, shown.plugin);
        draw(context, { value, state, x: step * pitchX, y: line * pitchY, wide, high });
      }
    });
  }

  function showAxis(width) {
    if (!shown) return;
    const from = Date.parse(shown.found.from) / 1000;
    const placed = placedMarks(from, from + steps() * shown.found.step_seconds, width);
    const texts = timeLabels(placed.map(([at]) => at));
    axis.replaceChildren(...placed.map(([, left], index) => {
      const mark = el("span", {}, texts[index]);
      setStyle(mark, { left: `${left}px` });
      return mark;
    }));
  }

  /** The cell of a host that is nearest to a time; -1: the host has none. */
  function indexOf(host, time) {
    const row = shown.found.host.indexOf(host);
    const step = Math.floor((time - Date.parse(shown.found.from)) / (1000 * shown.found.step_seconds));
    return row < 0 || !steps() ? -1 : row * steps() + Math.min(Math.max(0, step), steps() - 1);
  }

  function update(next) {
    const before = map.selected() >= 0 ? [hostOf(map.selected()), timeOf(map.selected())] : null;
    shown = next;
    // The selected cell may have moved.
    if (before) map.select(indexOf(...before));
    element.style.setProperty("--pitch", `${pitch()}px`);
    keyed(names, shown.found.host.map((each) => [each, each]), (each) => ({
      element: el("li", {}, el("a", { href: hostUrl(each) }, name(each, 24))),
      update() {},
    }));
    map.draw();
  }

  return { element, update };
}

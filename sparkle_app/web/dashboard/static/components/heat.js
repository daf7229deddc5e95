// The colours of cells, and what they mean.

import { el } from "../dom.js";
import { t } from "../language.js";
import { position, scaleOf } from "../plugins.js";
import { colours } from "../theme.js";
import { bound, quantity } from "../values.js";

const SHADES = 16;
const DARK = "#101820";
const BRIGHT = "#ffffff";
/** Of a surface on which both have the same contrast. */
const MIDDLE = 0.18;

/**
 * What draws the cells of one map.
 *
 * @param {Array<number|null>} values all that are shown.
 * @returns {function(CanvasRenderingContext2D, Object)} draws one cell: {value, state, x, y, wide, high, text}.
 */
export function heat(plugin, values) {
  const [low, high, warning, critical, silent, nothing] = colours(
    "--heat-low", "--heat-high", "--warning-fill", "--critical-fill", "--silent-fill", "--heat-empty");
  const shades = Array.from({ length: SHADES }, (_, step) =>
    `color-mix(in oklab, ${high} ${Math.round((100 * step) / (SHADES - 1))}%, ${low})`);
  const fills = { silent, critical, warning };
  const inks = Object.fromEntries(Object.entries(fills).map(([state, fill]) => [state, inkOn(luminance(fill))]));
  // Shades are even in lightness, which is about the cube root of luminance.
  const [lowest, highest] = [Math.cbrt(luminance(low)), Math.cbrt(luminance(high))];
  const calm = shaded(plugin, values);

  return (context, { value, state, x, y, wide, high, text = "" }) => {
    const warmth = value === null ? 0 : position(value, calm);
    context.fillStyle =
      fills[state] ?? (value === null ? nothing : shades[Math.round(warmth * (SHADES - 1))]);
    const size = Math.min(wide, high);
    context.beginPath();
    if (size > 6) context.roundRect(x, y, wide, high, size > 10 ? 3 : 1.5);
    else context.rect(x, y, wide, high);
    context.fill();
    context.fillStyle = context.strokeStyle = inks[state] ?? inkOn((lowest + warmth * (highest - lowest)) ** 3);
    if (text) context.fillText(text, x + wide / 2, y + high / 2 + 1);
    // Shapes too: colours alone do not tell everybody.
    if (size >= 6) drawShape(context, state, x, y, wide, high);
  };
}

/** The ends of the shades: up to the first threshold, since what is beyond has a colour of its own. */
function shaded(plugin, values) {
  const [bottom, top] = scaleOf(plugin, values);
  const limits = plugin.panel.thresholds.filter((each) => each.when === "above").map((each) => each.value);
  return [bottom, Math.max(bottom + 1e-9, Math.min(top, ...limits))];
}

const inkOn = (surface) => (surface > MIDDLE ? DARK : BRIGHT);

/** Relative luminance of "rgb(…)", as WCAG defines it. */
function luminance(colour) {
  const [red, green, blue] = colour.match(/[\d.]+/g).map((each) => {
    const part = each / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function drawShape(context, state, x, y, wide, high) {
  const part = Math.max(3, Math.min(wide, high) * 0.3);
  context.beginPath();
  if (state === "silent") {
    context.lineWidth = high > 16 ? 2 : 1;
    context.moveTo(x + part, y + high / 2);
    context.lineTo(x + wide - part, y + high / 2);
    context.stroke();
  }
  if (state === "warning" || state === "critical") corner(context, x + wide, y, -part, part);
  if (state === "critical") corner(context, x, y + high, part, -part);
  context.fill();
}

function corner(context, x, y, across, down) {
  context.moveTo(x, y);
  context.lineTo(x + across, y);
  context.lineTo(x, y + down);
}

/** What the colours of a plugin's cells mean. */
export function legend(plugin, values, past) {
  const [low, high] = shaded(plugin, values);
  const sample = (state) => el("i", { "aria-hidden": "true", class: state });
  const limits = plugin.panel.thresholds.map(({ value, severity, when }) =>
    el("span", {}, sample(severity), `${t(`state.${severity}`)} ${when === "above" ? ">" : "<"} ${bound(value, plugin)}`));
  return el("div", { class: "legend" },
    el("span", {}, quantity(low, plugin), sample("range"), quantity(high, plugin)),
    limits,
    past ? null : el("span", {}, sample("silent"), t("state.silent")));
}

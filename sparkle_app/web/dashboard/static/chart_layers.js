// What a chart has besides its lines: bands, thresholds, and marks of single readings.

import { drawThresholdTexts } from "./chart_texts.js";

/** A reading that was received so many seconds after it was measured is late; the same in storage/late.py. */
export const LATE_SECONDS = 60;
const MARK = 4;

export const delayOf = ({ observed_at: observed, received_at: received }) => (Date.parse(received) - Date.parse(observed)) / 1000;

/** late, clock or null: what is to be said of a reading. */
export const remarkOf = (reading) =>
  !reading.clock_trusted ? "clock" : delayOf(reading) > LATE_SECONDS ? "late" : null;

/** Below the lines: min–max bands and thresholds. */
export function drawBelow(plot, { bands, gap, palette, plugin, highlighted, lines }) {
  clipped(plot, (context) => {
    for (const line of bands) {
      context.globalAlpha = highlighted === null || lines[highlighted] === line ? 0.16 : 0.05;
      context.fillStyle = palette[line.colour];
      for (const [first, last] of runs(line, gap)) fillBand(plot, context, line, first, last);
    }
    context.globalAlpha = 1;
    for (const threshold of shownThresholds(plot, plugin)) drawThreshold(plot, context, threshold, palette);
  });
}

/** Parts of a line without a gap. */
function* runs({ x }, gap) {
  let first = 0;
  for (let index = 1; index <= x.length; index += 1) {
    if (index < x.length && x[index] - x[index - 1] <= gap) continue;
    yield [first, index - 1];
    first = index;
  }
}

function fillBand(plot, context, line, first, last) {
  const x = (index) => plot.valToPos(line.x[index], "x", true);
  const y = (value) => plot.valToPos(value, "y", true);
  context.beginPath();
  if (first === last) {
    context.rect(x(first) - 2 * devicePixelRatio, y(line.maximum[first]), 4 * devicePixelRatio,
      y(line.minimum[first]) - y(line.maximum[first]));
  } else {
    for (let index = first; index <= last; index += 1) context.lineTo(x(index), y(line.maximum[index]));
    for (let index = last; index >= first; index -= 1) context.lineTo(x(index), y(line.minimum[index]));
  }
  context.fill();
}

function shownThresholds(plot, plugin) {
  const { min, max } = plot.scales.y;
  return plugin.panel.thresholds.filter(({ value }) => value > min && value < max);
}

function drawThreshold(plot, context, threshold, palette) {
  const ratio = devicePixelRatio;
  const { left, width } = plot.bbox;
  const y = Math.round(plot.valToPos(threshold.value, "y", true));
  context.strokeStyle = palette[`--${threshold.severity}`];
  context.lineWidth = ratio;
  context.setLineDash([4 * ratio, 4 * ratio]);
  context.beginPath();
  context.moveTo(left, y);
  context.lineTo(left + width, y);
  context.stroke();
  context.setLineDash([]);
}

/**
 * Above the lines: rings around points with readings that arrived late, squares around those of a host with a wrong clock,
 * and what the thresholds mean.
 */
export function drawAbove(plot, state) {
  const { lines, palette, plugin } = state;
  clipped(plot, (context) => {
    context.lineWidth = 1.5 * devicePixelRatio;
    context.fillStyle = palette["--card"];
    const size = MARK * devicePixelRatio;
    for (const line of lines) {
      if (line.hidden || line.compared) continue;
      context.strokeStyle = palette["--warning"];
      for (const [index, remark] of remarksOf(line)) {
        const x = plot.valToPos(line.x[index], "x", true);
        const y = plot.valToPos(line.value[index], "y", true);
        context.beginPath();
        if (remark === "late") context.arc(x, y, size, 0, 2 * Math.PI);
        else context.rect(x - size, y - size, 2 * size, 2 * size);
        context.fill();
        context.stroke();
      }
    }
    if (state.texts) drawThresholdTexts(plot, context, shownThresholds(plot, plugin), state);
  });
}

/** Points of which something is to be said, and what: see `remarkOf`. */
function* remarksOf({ readings, late }) {
  for (const index of late?.keys() ?? []) yield [index, "late"];
  for (const [index, reading] of readings?.entries() ?? []) {
    const remark = remarkOf(reading);
    if (remark) yield [index, remark];
  }
}

function clipped(plot, draw) {
  const { ctx: context, bbox } = plot;
  context.save();
  context.beginPath();
  context.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  context.clip();
  draw(context);
  context.restore();
}

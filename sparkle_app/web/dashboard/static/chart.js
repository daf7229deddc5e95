// The one file that knows uPlot. Without it, `chartLibrary` is null and charts are shown as tables.

import { drawAbove, drawBelow } from "./chart_layers.js";
import { listenToPointer } from "./chart_pointer.js";
import { axisValue, axisWidth, bandsOf, lonely, valueRange } from "./chart_scale.js";
import { aligned, nearest } from "./lines.js";
import { timeLabels, timeMarks } from "./time_axis.js";
import { colours } from "./theme.js";
import uPlot from "./uplot.js";

export const chartLibrary = uPlot;

/** A line has one of eight colours and one of four dashes: 32 differ. */
const COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6", "--line-7", "--line-8"];
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
export const styleOf = (index) => ({
  colour: COLOURS[index % COLOURS.length],
  dash: DASHES[(index + Math.floor(index / COLOURS.length)) % DASHES.length],
});
const PALETTE = [...COLOURS, "--line", "--muted", "--text", "--card", "--warning", "--critical", "--focus"];
const FONT = "12px system-ui, sans-serif";
const HEIGHT = 208;
/** So many are thinner. */
const MANY = 8;
const SYNC = "host";

/**
 * A chart in an element, until `destroy`.
 *
 * @param {Object} on `zoom(from, to)`, `zoomOut()`, `point(line, index, {touch})` and `cursor(time|null)`.
 * @param {boolean} texts whether it is written beside thresholds what they mean.
 */
export function makeChart(element, plugin, on, { height = HEIGHT, texts = true } = {}) {
  let shown = null;
  let plot = null;
  let made = "";
  let palette = {};
  let highlighted = null;
  let pointer = null;

  /**
   * @param {Object} next {lines, from, to, gap, exact, scaled}: `lines` as in lines.js, with `colour`, `dash` and `hidden`;
   *   exact: whether the points are readings; scaled: lines that fit into the scale, by default these.
   */
  function update(next) {
    shown = { ...next, ...aligned(next.lines, next.gap) };
    const structure = JSON.stringify(next.lines.map(({ metric, colour, dash, compared }) => [metric, colour, dash, compared]));
    if (structure !== made || !plot) {
      make();
      made = structure;
      return;
    }
    plot.batch(() => {
      next.lines.forEach((line, index) => {
        if (plot.series[index + 1].show === Boolean(line.hidden)) plot.setSeries(index + 1, { show: !line.hidden }, false);
      });
      plot.setData(shown.data, false);
      plot.setScale("x", { min: shown.from, max: shown.to });
    });
  }

  function make() {
    plot?.destroy();
    palette = paletteNow();
    plot = new uPlot(options(), shown.data, element);
    // At once: a cursor that other charts pass on needs the scale.
    plot.batch(() => plot.setScale("x", { min: shown.from, max: shown.to }));
    pointer?.end();
    pointer = listenToPointer(plot, () => shown.lines, on);
  }

  const paletteNow = () => {
    const found = colours(...PALETTE);
    return Object.fromEntries(PALETTE.map((each, index) => [each, found[index]]));
  };

  const state = () => ({ ...shown, plugin, palette, highlighted, texts, bands: bandsOf(shown.lines, highlighted) });

  function options() {
    const axis = { stroke: () => palette["--muted"], font: FONT, ticks: { show: false },
      grid: { stroke: () => palette["--line"], width: 1 } };
    return {
      width: Math.max(1, element.clientWidth), height, legend: { show: false }, padding: [8, 20, 0, 0],
      scales: {
        x: { time: true, auto: false },
        y: { range: () => rangeOf({ ...shown, plugin, lines: shown.scaled ?? shown.lines }) },
      },
      axes: [
        { ...axis, size: 40, space: 96, splits: (u) => timeMarks(u.scales.x.min, u.scales.x.max, u.bbox.width / devicePixelRatio / 72),
          values: (_, marks) => timeLabels(marks) },
        { ...axis, size: axisWidth, gap: 4, values: (_, marks, __, ___, step) => marks.map((each) => axisValue(each, step, plugin)) },
      ],
      series: [{}, ...shown.lines.map((line, index) => seriesOf(line, index))],
      focus: { alpha: 0.25 },
      cursor: {
        y: false, drag: { x: true, y: false, setScale: false, dist: 5 }, focus: { prox: 24 },
        dataIdx: (_, series, closest, at) => (series ? indexAt(series - 1, at) : closest),
        points: { size: 7 },
        sync: { key: SYNC, scales: ["x", null], setSeries: false,
          filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
      },
      hooks: {
        drawAxes: [(u) => drawBelow(u, state())],
        draw: [(u) => drawAbove(u, state())],
        setSelect: [selected],
        setCursor: [(u) => {
          on.cursor(u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null);
        }],
        setSeries: [(_, index, { focus }) => {
          if (focus !== undefined) highlighted = index ? index - 1 : null;
        }],
      },
    };
  }

  const seriesOf = (line, index) => ({
    label: line.metric,
    show: !line.hidden,
    stroke: () => palette[line.colour],
    width: line.compared || shown.lines.length > MANY ? 1 : 1.6,
    dash: line.dash,
    alpha: line.compared ? 0.55 : 1,
    points: {
      show: (u, _, first, last) => shown.exact && !line.compared && last - first < u.bbox.width / devicePixelRatio / 10,
      filter: (_, __, show) => (show ? null : lonely(shown.data[index + 1])),
      size: 5,
    },
  });

  /** Where the cursor marks a line; null: it has a gap there. */
  function indexAt(line, at) {
    const index = nearest(shown.lines[line], at);
    const x = shown.lines[line].x[index];
    return index >= 0 && Math.abs(x - at) <= shown.gap ? shown.place.get(x) : null;
  }

  function selected(u) {
    const { left, width } = u.select;
    if (width < 1) return;
    const [from, to] = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    on.zoom(from, to);
  }

  /** Moves the cursor to a point, and that of all other charts to its time. */
  function select(number, index) {
    const { x, value } = shown.lines[number];
    plot.setCursor({ left: plot.valToPos(x[index], "x"), top: plot.valToPos(value[index] ?? 0, "y") }, true, true);
    highlight(number);
  }

  function highlight(number) {
    highlighted = number;
    plot?.setSeries(number === null ? null : number + 1, { focus: true }, false);
    plot?.redraw(false);
  }

  const observer = new ResizeObserver(() => {
    if (plot && element.clientWidth) plot.setSize({ width: element.clientWidth, height });
  });
  observer.observe(element);

  return {
    update,
    select,
    highlight,
    unselect() {
      plot?.setCursor({ left: -10, top: -10 }, true, true);
      highlight(null);
    },
    recolour() {
      palette = paletteNow();
      plot?.redraw(false);
    },
    destroy() {
      pointer?.end();
      observer.disconnect();
      plot?.destroy();
      plot = null;
    },
  };
}

function rangeOf(state) {
  const { low, high, fixed } = valueRange(state);
  // Lines at the ends are drawn in full.
  const room = (high - low) * 0.02;
  return fixed ? [low - room, high + room] : uPlot.rangeNum(low, high, 0.1, true);
}

// The one file that knows uPlot. Without it, `chartLibrary` is null and charts are shown as tables.

import uPlot from "./uplot.js";

export const chartLibrary = uPlot;

// The installed plugins: loaded again from time to time, and after a failure, since another worker may have others.

import { get } from "./api.js";
import { pluginTitle, visible } from "./names.js";
import { store } from "./store.js";

const MAX_AGE_MS = 60_000;
let loadedAt = 0;

/** All plugins, as /api/v1/plugins lists them; the same object while they do not change. Throws as `get`. */
export async function plugins(signal) {
  const known = store.get("plugins");
  if (known && store.get("connection").since === null && Date.now() - loadedAt < MAX_AGE_MS) return known;
  const { plugins: found } = await get("/api/v1/plugins", { signal });
  loadedAt = Date.now();
  if (JSON.stringify(found) !== JSON.stringify(known)) store.set("plugins", found);
  return store.get("plugins");
}

/** The title of a plugin of the last list, by its name. */
export function titleOf(name) {
  const plugin = store.get("plugins")?.find((each) => each.name === name);
  return plugin ? pluginTitle(plugin) : visible(name);
}

/** How bad a value is by a plugin's thresholds, as the worker decides: ok, warning or critical. */
export function severity(value, { panel }) {
  let worst = "ok";
  for (const each of panel.thresholds) {
    const exceeded = each.when === "above" ? value > each.value : value < each.value;
    if (exceeded && worst !== "critical") worst = each.severity;
  }
  return worst;
}

/** The ends of a plugin's scale; if it declares none, those of the values. */
export function scaleOf({ panel }, values) {
  if (panel.scale) return panel.scale;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  // Bars that begin at zero can be compared by length.
  low = Math.min(low, 0);
  return [low, high > low ? high : low + 1];
}

/** Where on a scale a value is: 0 to 1. */
export const position = (value, [low, high]) => Math.min(1, Math.max(0, (value - low) / (high - low)));

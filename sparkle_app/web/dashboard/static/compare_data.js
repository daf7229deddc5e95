// What the API knows of several hosts: their states, and of each plugin their points beside each other.

import { ApiError } from "./api.js";
import { comparedData, hostState } from "./host_data.js";
import { t } from "./language.js";
import { pluginTitle } from "./names.js";

/** A worker answers six such requests at a time; others wait, and others ask, too. */
const AT_ONCE = 4;

/** A host as the overview has it: {host, row, problem}; `row` is null if it is not known. Throws as `get`. */
export async function comparedHost(host, signal) {
  try {
    return { host, row: await hostState(host, signal), problem: null };
  } catch (error) {
    if (!(error instanceof ApiError) || error.kind !== "refused") throw error;
    return { host, row: null, problem: error.detail };
  }
}

/**
 * The plugins of hosts, with one request for each host and plugin. Throws as `get`.
 *
 * @param {Object[]} installed plugins.
 * @param {Object[]} hosts of comparedHost.
 * @returns {Promise<Array<{plugin: Object, found: Object[]}>>} found: the data of each host, or null; see host_data.js.
 */
export async function comparedPlugins(installed, hosts, range, signal) {
  const all = installed.map((plugin) => ({ plugin, range, found: hosts.map(() => null) }));
  await inTurn(all.flatMap(({ plugin, found }) => hosts.map(({ host, row, problem }, index) => async () => {
    // A host that nobody knows may still have a history.
    if (problem || (row && !(plugin.name in row.plugins))) return;
    found[index] = await comparedData({ plugin, host, range, known: row?.plugins[plugin.name] }, signal);
  })));
  return all;
}

/** Runs tasks, some at a time. Rejects as soon as one does; no other begins then. */
async function inTurn(tasks) {
  let next = 0;
  async function run() {
    while (next < tasks.length) {
      try {
        await tasks[next++]();
      } catch (error) {
        next = tasks.length;
        throw error;
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, run));
}

/**
 * What is shown of a plugin, as pluginData of host_data.js has it for one host; null if none of the hosts has it.
 *
 * `hosts` has an entry for each: {host, state, gap, words, complete, missing}, where `missing` says why it has no lines.
 */
export function comparison({ plugin, range, found }, hosts) {
  const known = hosts.map(({ row }) => row?.plugins[plugin.name]);
  if (!found.some((each, index) => known[index] || each?.lines.length || each?.words.length)) return null;
  const shown = found.filter(Boolean);
  const steps = shown.filter((each) => each.lines.length).map((each) => each.step);
  return {
    plugin, range, exact: false, compare: null, compared: [],
    lines: shown.flatMap((each) => each.lines.map((line) => ({ ...line, host: each.host, path: each.path, gap: each.gap }))),
    step: Math.max(0, ...steps),
    shortestStep: Math.min(...steps),
    gap: Math.max(0, ...shown.map((each) => each.gap)),
    keptSince: shown.find((each) => each.keptSince)?.keptSince ?? null,
    hosts: hosts.map(({ host, row, problem }, index) => ({
      host,
      // Of the plugin, since that is what the chart shows.
      state: known[index]?.state ?? null,
      gap: found[index]?.gap ?? 0,
      words: found[index]?.words ?? [],
      complete: found[index]?.complete ?? true,
      missing: missing({ row, problem }, plugin, found[index]),
    })),
  };
}

/** Why a host has neither lines nor words of a plugin. */
function missing({ row, problem }, plugin, found) {
  if (found?.lines.length || found?.words.length) return null;
  if (problem ?? found?.problem) return t("host.problem", { detail: problem ?? found.problem });
  if (!row) return t("host.unknown");
  return plugin.name in row.plugins ? t("host.empty") : t("compare.noPlugin", { plugin: pluginTitle(plugin) });
}

// Hosts to compare: those that a URL names, and until then those that are chosen in the overview.

import { store } from "./store.js";

export const MAX_HOSTS = 8;

/** @param {URLSearchParams} query @returns {{hosts: string[], ignored: number}} ignored: how many are too many. */
export function hostsOf(query) {
  const all = [...new Set(query.getAll("host").filter(Boolean))];
  return { hosts: all.slice(0, MAX_HOSTS), ignored: Math.max(0, all.length - MAX_HOSTS) };
}

/** Chooses a host, or no longer. */
export function choose(host, chosen) {
  const others = store.get("chosen").filter((each) => each !== host);
  store.set("chosen", chosen ? [...others, host].slice(0, MAX_HOSTS) : others);
}

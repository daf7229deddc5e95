// Polling: every five seconds while the page is visible, at once when it becomes so, slower while there is no answer.

import { announce } from "./dom.js";
import { t } from "./language.js";
import { ApiError, madeAt } from "./api.js";
import { store } from "./store.js";

const INTERVAL_MS = 5000;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;

/**
 * Loads something again and again, and says in the store's `connection` how fresh it is.
 *
 * @param {function(AbortSignal): Promise<any>} load requests everything that is shown together.
 * @param {function(any)} show called with what was loaded.
 * @param {number} interval in ms.
 * @returns {{now: function(), stop: function()}} `now` loads at once, for another query, and aborts the last request.
 */
export function poll(load, show, { interval = INTERVAL_MS } = {}) {
  let timer = 0;
  let failures = 0;
  let request = null;
  let stopped = false;

  async function run() {
    clearTimeout(timer);
    request?.abort();
    if (stopped || document.hidden) return;
    const mine = (request = new AbortController());
    let delay = interval;
    try {
      const loaded = await load(mine.signal);
      if (mine.signal.aborted) return;
      show(loaded);
      failures = 0;
      succeeded(madeAt(mine.signal));
    } catch (error) {
      if (mine.signal.aborted) return;
      // What cannot be shown is as old as what cannot be loaded.
      const known = error instanceof ApiError ? error : new ApiError("refused", String(error));
      delay = retryDelay(known, failures++);
      failed(known, delay);
      if (known !== error) throw error;
    } finally {
      // Otherwise a newer request sets the timer.
      if (request === mine && !stopped) timer = setTimeout(run, delay);
    }
  }

  const events = [[document, "visibilitychange"], [window, "online"], [window, "focus"], [window, "sparkle:retry"]];
  for (const [target, name] of events) target.addEventListener(name, run);
  run();
  return {
    now: run,
    stop() {
      stopped = true;
      for (const [target, name] of events) target.removeEventListener(name, run);
      clearTimeout(timer);
      request?.abort();
    },
  };
}

/** Has whatever polls try again at once. */
export const retryNow = () => window.dispatchEvent(new Event("sparkle:retry"));

function retryDelay(error, failures) {
  const usual = Math.max(FIRST_RETRY_MS * 2 ** failures, 1000 * error.retryAfter);
  // Jitter: all open pages have lost the same worker at the same moment.
  return Math.min(usual, MAX_RETRY_MS) * (0.75 + Math.random() / 2);
}

function succeeded(at) {
  const before = store.get("connection");
  if (before.since !== null) announce(t("connection.back"));
  store.set("connection", { state: "fresh", at, since: null, detail: "", retryAt: null });
}

function failed(error, delay) {
  const before = store.get("connection");
  const since = before.since ?? before.at ?? Date.now();
  store.set("connection", {
    state: error.kind,
    at: before.at,
    since,
    detail: error.detail,
    retryAt: Date.now() + delay,
  });
  if (before.state !== error.kind) announce(t(`connection.${error.kind}.said`));
}

// What is loaded of a time range: as often as its length makes sense, while states are asked for more often.

import { madeAt, noteMade, now } from "./api.js";
import { isRecent, rangeOf, refreshSeconds } from "./ranges.js";

/** @returns {{get, forget}} `forget` has the next `get` load again. */
export function rangeData() {
  let kept = null;
  let due = 0;

  return {
    /**
     * What was loaded last, or what is loaded now if that is old; always with what was asked for, as `asked`.
     *
     * @param {{range: Object}} asked a range that ends now is moved to the present.
     * @param {URLSearchParams} query with the range.
     * @param {AbortSignal} signal its responses get the age of what is kept.
     * @param {function(Object, AbortSignal): Promise<Object>} load
     */
    async get(asked, query, signal, load) {
      const moving = asked.range.live ? { ...asked, range: rangeOf(query, now()) } : asked;
      if (!kept || Date.now() >= due) {
        // Of its own, so that its age is known apart.
        const mine = AbortSignal.any([signal]);
        kept = { asked: moving, ...(await load(moving, mine)), madeAt: madeAt(mine) };
        due = Date.now() + 1000 * refreshSeconds(moving.range, now()) - 500;
      }
      // The past hardly changes.
      if (isRecent(kept.asked.range, now())) noteMade(signal, kept.madeAt);
      return kept;
    },
    forget() {
      kept = null;
    },
  };
}

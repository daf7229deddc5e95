// What the workers said in the last minutes: for rates, sparklines, and workers that have left. It is bounded.

const KEPT = 60;
const KEPT_GONE = 8;
const GONE_MS = 10 * 60_000;

/** Remembers responses of /api/v1/pipeline. Times are ms of the workers' clock: a response may be older than its arrival. */
export class PipelineHistory {
  #samples = [];
  #seen = new Map();

  /** Adds a response, unless it is the last one again: workers make one every few seconds. */
  add(response) {
    const at = Date.parse(response.made_at);
    if (this.#samples.at(-1)?.at === at) return;
    this.#samples.push({ at, response, workers: new Map(response.workers.map((each) => [each.worker, each])) });
    if (this.#samples.length > KEPT) this.#samples.shift();
    for (const { worker } of [...response.workers, ...response.unreachable]) {
      this.#seen.delete(worker);
      this.#seen.set(worker, at);
    }
    for (const [worker, seen] of this.#seen) {
      if (at - seen > GONE_MS || this.#seen.size > response.workers.length + response.unreachable.length + KEPT_GONE) {
        this.#seen.delete(worker);
      }
    }
  }

  /** The last response. */
  get last() {
    return this.#samples.at(-1).response;
  }

  /** Whether rates can be known: they take two responses. */
  get measures() {
    return this.#samples.length > 1;
  }

  /** Workers that were members, and are not any more: [url, when they were last]. */
  gone() {
    const last = this.#samples.at(-1);
    return [...this.#seen].filter(([, seen]) => seen < last.at);
  }

  /**
   * How much a counter grew per second, from each response to the next: null where it is not known.
   *
   * @param {function(Object): number} counter of a worker's state; all workers are added up.
   */
  rates(counter, worker = null) {
    return this.#growths(counter, worker).map((each) => each && each.grown / each.seconds);
  }

  /** The average rate of the last few responses; null: none is known yet. */
  rate(counter, worker = null) {
    const known = this.#growths(counter, worker).slice(-3).filter((each) => each !== null);
    const total = (field) => known.reduce((sum, each) => sum + each[field], 0);
    return known.length ? total("grown") / total("seconds") : null;
  }

  #growths(counter, worker) {
    return this.#samples.slice(1).map((sample, index) => {
      const before = this.#samples[index];
      const seconds = (sample.at - before.at) / 1000;
      let grown = null;
      for (const [url, state] of sample.workers) {
        const earlier = before.workers.get(url);
        if (!earlier || (worker !== null && url !== worker)) continue;
        const difference = counter(state) - counter(earlier);
        // It was started again in between.
        if (difference >= 0) grown = (grown ?? 0) + difference;
      }
      return grown === null || seconds <= 0 ? null : { grown, seconds };
    });
  }

  /** A value of each response. */
  values(value) {
    return this.#samples.map(({ response }) => value(response));
  }

  /** For how many ms a condition has held without a break, up to the last response. */
  holdsFor(condition) {
    const last = this.#samples.at(-1);
    let since = last.at;
    for (const sample of [...this.#samples].reverse()) {
      if (!condition(sample.response)) break;
      since = sample.at;
    }
    return last.at - since;
  }
}

export const sum = (numbers) => Object.values(numbers).reduce((total, each) => total + each, 0);

/** The lags of all partitions of a role; null: not known. @param {"ingest"|"aggregate"} role */
const lags = (response, role) => response.workers.flatMap(({ topics }) =>
  topics.filter((each) => each.role === role).flatMap((each) => (each.partition_lags.length ? each.partition_lags : [each.lag])));

/** Records that wait in the topics of a role; null: not known of every partition. */
export function waiting(response, role) {
  const found = lags(response, role);
  return found.includes(null) ? null : sum(found);
}

/** The same as far as it is known: partitions of which it is not hide none of the others. */
export const waitingAtLeast = (response, role) => sum(lags(response, role));

// Requests to /api/v1, which is everything that the page knows.

import { t } from "./language.js";

const TIMEOUT_MS = 10_000;
/** Of a file: a page of the database. */
const TEXT_TIMEOUT_MS = 60_000;
const REMEMBERED = 24;

/** A response other than the one that was asked for. */
export class ApiError extends Error {
  /**
   * @param {"lost"|"unavailable"|"refused"} kind no answer; 503, try again; any other error.
   * @param {string} detail one line, for people.
   * @param {string|null} limit of what the request would need too much: "points", "readings" or "buckets".
   */
  constructor(kind, detail, { status = 0, limit = null, retryAfter = 0 } = {}) {
    super(detail);
    this.kind = kind;
    this.detail = detail;
    this.status = status;
    this.limit = limit;
    /** Seconds after which to try again; 0: not said. */
    this.retryAfter = retryAfter;
  }
}

// By path: entity tag and decoded body. A response that has not changed is not loaded again, and is the same object.
const tagged = new Map();
// By the signal of requests: when the oldest of their responses was made.
const made = new WeakMap();
let clockOffset = 0;

/** The worker's time of day in ms: ages are right also if this machine's clock is wrong. */
export const now = () => Date.now() + clockOffset;

/** When the oldest response to requests with a signal was made, ms of Date.now(); the present without any. */
export const madeAt = (signal) => made.get(signal) ?? Date.now();

/**
 * The decoded JSON of a GET request.
 *
 * @param {string} path use `pathOf` for names.
 * @param {Object} query parameters; null and "" are left out, an array is repeated.
 * @throws {ApiError}
 * @throws {DOMException} AbortError, if the signal aborts it.
 */
export async function get(path, { query = {}, signal, timeout = TIMEOUT_MS } = {}) {
  const url = withQuery(path, query);
  const known = tagged.get(url);
  const headers = { Accept: "application/json", ...(known ? { "If-None-Match": known.tag } : {}) };
  const response = await answered(url, { headers, signal }, timeout);
  if (response.status === 304 && known) {
    keep(url, known);
    return known.body;
  }
  const body = await decoded(response);
  const tag = response.headers.get("ETag");
  if (tag) keep(url, { tag, body });
  return body;
}

/** Has what is shown with the responses to requests with a signal count as one of them: it was made at `at`, as madeAt. */
export const noteMade = (signal, at) => void made.set(signal, Math.min(at, made.get(signal) ?? at));

/** The decoded JSON of a POST request. Throws as `get`. */
export async function post(path, body, { signal, timeout = TIMEOUT_MS } = {}) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  return decoded(await answered(path, { method: "POST", headers, body: JSON.stringify(body), signal }, timeout));
}

/** A path with names in it: pathOf`/api/v1/plugins/${plugin}/hosts/${host}`. */
export function pathOf(parts, ...names) {
  for (const name of names) {
    // A browser takes it for the parent folder, even percent-encoded.
    if (name === "." || name === "..") {
      throw new ApiError("refused", t("error.name", { name }));
    }
  }
  return String.raw({ raw: parts }, ...names.map(encodeURIComponent));
}

export function withQuery(path, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") parameters.append(name, each);
    }
  }
  return parameters.size ? `${path}?${parameters}` : path;
}

/** The text of a GET request and the headers of its response. Throws as `get`. @param {string} type of what is accepted. */
export async function getText(url, type) {
  const response = await checked(await answered(url, { headers: { Accept: type } }, TEXT_TIMEOUT_MS));
  try {
    return { text: await response.text(), headers: response.headers };
  } catch {
    throw new ApiError("lost", t("error.short"));
  }
}

async function answered(url, options, timeout) {
  const limit = AbortSignal.timeout(timeout);
  const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
  const began = Date.now();
  try {
    // no-store: the entity tags are ours.
    const response = await fetch(url, { ...options, signal, cache: "no-store", credentials: "same-origin" });
    setClock(response.headers.get("Date"), began, Date.now());
    if (options.signal) noteAge(options.signal, began, response.headers.get("Age"));
    return response;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("lost", limit.aborted ? t("error.timeout", { n: timeout / 1000 }) : t("error.unreachable"));
  }
}

async function decoded(response) {
  await checked(response);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("lost", t("error.short"));
  }
}

/** The response, if it is the one that was asked for. */
async function checked(response) {
  if (response.ok) return response;
  if (response.status === 401) {
    const here = location.pathname + location.search;
    location.assign(`/login?next=${encodeURIComponent(here)}`);
    // Nothing is shown until the login page is.
    return new Promise(() => {});
  }
  let problem = null;
  try {
    problem = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  const { status } = response;
  const kind = status === 503 ? "unavailable" : status === 502 || status === 504 ? "lost" : "refused";
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  throw new ApiError(kind, problem?.detail ?? `HTTP ${status}`, { status, limit: problem?.limit, retryAfter });
}

function keep(url, entry) {
  // The one used last is the last: the first is forgotten.
  tagged.delete(url);
  tagged.set(url, entry);
  if (tagged.size > REMEMBERED) tagged.delete(tagged.keys().next().value);
}

/** Not a time of day: this machine's clock may be another one than the worker's. */
function noteAge(signal, began, age) {
  noteMade(signal, began - 1000 * (Number(age) || 0));
}

function setClock(date, began, ended) {
  const sent = Date.parse(date ?? "");
  if (Number.isNaN(sent) || ended - began > 2000) return;
  // The header has whole seconds.
  const offset = sent + 500 - (began + ended) / 2;
  clockOffset = Math.abs(offset) > 2000 ? offset : 0;
}

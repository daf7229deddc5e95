// The one store: what several parts of the page share. Everything else belongs to a view, and ends with it.

/**
 * connection  {state, at, since, detail, retryAt}: what became of the last requests (poll.js).
 *             state: "loading", "fresh", "lost" (no answer), "unavailable" (503) or "refused" (any other error).
 *             at: of when the picture is; since: when the page ceased to be up to date; ms of Date.now(), or null.
 * plugins     the installed plugins, as /api/v1/plugins lists them, or null.
 * chosen      the names of the hosts that are chosen in the overview, to be compared.
 * path        that of the present view.
 * language    "en" or "ru" (language.js).
 * locale      language and region, for Intl, such as "en-GB".
 * theme       "auto", "light" or "dark" (theme.js).
 */
const values = {
  connection: { state: "loading", at: null, since: null, detail: "", retryAt: null },
  plugins: null,
  chosen: [],
  path: "/",
  language: "en",
  locale: "en",
  theme: "auto",
};
const listeners = new Map();

export const store = {
  get: (name) => values[name],

  set(name, value) {
    if (values[name] === value) return;
    values[name] = value;
    for (const listener of [...(listeners.get(name) ?? [])]) listener(value);
  },

  /** Calls a function with each new value. Returns a function that ends it. */
  subscribe(name, listener) {
    if (!listeners.has(name)) listeners.set(name, new Set());
    listeners.get(name).add(listener);
    return () => listeners.get(name).delete(listener);
  },
};

/** A choice of this browser; null if there is none, or if the browser keeps nothing. */
export function remembered(name) {
  try {
    return localStorage.getItem(`sparkle.${name}`);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`sparkle.${name}`, value);
  } catch {
    // It is then the choice of this visit.
  }
}

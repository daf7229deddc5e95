// Light or dark: the system's choice, or the reader's, which this browser keeps. The colours are in style.css.

import { remember, remembered, store } from "./store.js";

export const THEMES = ["auto", "light", "dark"];

/** Sets the theme at start. */
export function startTheme() {
  const kept = remembered("theme");
  use(THEMES.includes(kept) ? kept : "auto");
  // What is drawn on a canvas has to be drawn again.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    window.dispatchEvent(new Event("sparkle:colours"));
  });
}

/** Sets the theme that the reader has chosen. */
export function chooseTheme(theme) {
  remember("theme", theme);
  use(theme);
}

function use(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  store.set("theme", theme);
  window.dispatchEvent(new Event("sparkle:colours"));
}

/** The present values of CSS variables, for a canvas: colours("--ok", "--critical"). */
export function colours(...names) {
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const found = names.map((name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}

// A table that may be wider than its place.

import { el, setAttribute } from "../dom.js";

/** @param {string} label of what is scrolled. */
export function scrolled(label, table) {
  const element = el("div", { class: "scrolled", role: "group", "aria-label": label }, table);
  // The keyboard scrolls what has the focus. It ends with the elements.
  const observer = new ResizeObserver(() =>
    setAttribute(element, "tabindex", element.scrollWidth > element.clientWidth ? 0 : null));
  observer.observe(element);
  observer.observe(table);
  return element;
}

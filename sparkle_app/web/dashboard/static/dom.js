// Elements. Text only ever becomes text: nothing here, and nothing elsewhere in the page, parses markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element.
 *
 * @param {string} tag
 * @param {Object} attributes `onclick` and the like are listeners, `style` is an object of CSS properties, `true` is an
 *   attribute without a value, and `null` or `false` is none.
 * @param {...(Node|string|null|Array)} children strings become text; null is left out.
 */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") setStyle(element, value);
    else setAttribute(element, name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// The setters below write only what differs: what is unchanged is neither laid out nor read aloud again.

/** Sets an attribute; null and false remove it. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Sets CSS properties, by their names in CSS. A `style` attribute would violate the content security policy. */
export function setStyle(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (element.style.getPropertyValue(name) !== String(value)) element.style.setProperty(name, value);
  }
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of an element those of a list, and keeps the elements of items that remain: focus, selection and
 * scroll position survive an update.
 *
 * @param {Array<[string, any]>} items key and item, in their order.
 * @param {function(any): {element: Element, update: function(any)}} make called for a new key; a row that leaves ends with its
 *   `destroy`, if it has one.
 */
export function keyed(parent, items, make) {
  const before = parent.keyedRows ?? new Map();
  const rows = new Map();
  const wanted = new Set(items.map(([key]) => key));
  // First: what remains in the same order is then not moved. A moved element loses the focus.
  for (const [key, row] of before) {
    if (wanted.has(key)) continue;
    row.destroy?.();
    row.element.remove();
  }
  let next = parent.firstElementChild;
  for (const [key, item] of items) {
    const row = before.get(key) ?? make(item);
    rows.set(key, row);
    row.update(item);
    if (row.element === next) next = next.nextElementSibling;
    else parent.insertBefore(row.element, next);
  }
  parent.keyedRows = rows;
}

/** Replaces the children of an element. What has the focus is replaced by what is in its place, which gets the focus. */
export function refill(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const before = focused ? focusable(parent) : [];
  parent.replaceChildren(...children);
  if (!focused) return;
  const after = focusable(parent);
  // A link that is no longer one has no place: then the one with the same text, otherwise any.
  const same = before.length === after.length ? after[before.indexOf(focused)] : null;
  (same ?? after.find((each) => each.textContent === focused.textContent) ?? after[0])?.focus({ preventScroll: true });
}

const focusable = (parent) => [...parent.querySelectorAll("a[href], button, input, select, summary, [tabindex]")];

const speaker = el("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });

const SPEAK_MS = 100;
let speaking = 0;
let together = [];

/** Has a screen reader say something. For what changes by itself: only what matters. */
export function announce(text) {
  place();
  // Of one update, everything is said; of several in a row, the last.
  if (!together.length) setTimeout(() => { together = []; });
  together.push(text);
  const all = together.join(". ");
  clearTimeout(speaking);
  // What a region contains when it appears is not read.
  speaking = setTimeout(() => {
    place();
    // An equal text would not be read again.
    speaker.textContent = speaker.textContent === all ? `${all}\u00a0` : all;
  }, SPEAK_MS);
}

/** Outside of a modal dialog, nothing is read. */
function place() {
  const parent = document.querySelector("dialog:modal") ?? document.body;
  if (speaker.parentElement !== parent) parent.append(speaker);
}

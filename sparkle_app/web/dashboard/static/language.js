// Texts in the reader's language: the browser's, or the one chosen, which this browser keeps.

import en from "./messages/en.js";
import ru from "./messages/ru.js";
import { remember, remembered, store } from "./store.js";

/** In the order in which they are offered, each by its own name. */
export const LANGUAGES = { en: "English", ru: "Русский" };
const messages = { en, ru };
let plurals = new Intl.PluralRules("en");
let numbers = new Intl.NumberFormat("en");

/** Sets the language at start. */
export function startLanguage() {
  const wanted = [remembered("language"), ...navigator.languages.map((each) => each.slice(0, 2).toLowerCase())];
  use(wanted.find((each) => each && Object.hasOwn(LANGUAGES, each)) ?? "en");
}

/** Sets the language that the reader has chosen. */
export function chooseLanguage(language) {
  remember("language", language);
  use(language);
}

function use(language) {
  // Dates and numbers as in the reader's region, if the browser names one.
  const locale = navigator.languages.find((each) => each.slice(0, 2).toLowerCase() === language) ?? language;
  plurals = new Intl.PluralRules(locale);
  numbers = new Intl.NumberFormat(locale);
  store.set("locale", locale);
  document.documentElement.lang = language;
  store.set("language", language);
}

/**
 * A text of messages/.
 *
 * @param {string} key
 * @param {Object} values for the names in braces; a number is formatted. Of a text with plural forms, `n` selects one.
 */
export function t(key, values = {}) {
  const found = messages[store.get("language")][key];
  if (found === undefined) throw new Error(`messages/: ${key} is missing`);
  const text = typeof found === "string" ? found : found[plurals.select(values.n)];
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? numbers.format(value) : String(value);
  });
}

/** A text that a plugin declares: one string, or one for each language. */
export const declared = (text) => (typeof text === "string" ? text : text[store.get("language")] ?? text.en);

// The records that could not be stored.

import { el } from "../dom.js";
import { t } from "../language.js";

/** @param {Page} page its URL: /dead-letters */
export function deadLetters(page) {
  page.title(t("deadLetters.title"));
  page.element.append(el("h1", { tabindex: -1 }, t("deadLetters.title")));
}

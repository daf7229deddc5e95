// What the workers consume, how far they lag behind, and what they wait for.

import { el } from "../dom.js";
import { t } from "../language.js";

/** @param {Page} page its URL: /pipeline */
export function pipeline(page) {
  page.title(t("pipeline.title"));
  page.element.append(el("h1", { tabindex: -1 }, t("pipeline.title")));
}

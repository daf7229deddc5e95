// One host: all its plugins, one time range.

import { el } from "../dom.js";
import { name } from "../format.js";
import { t } from "../language.js";

/** @param {Page} page its URL: /host?name=HOST */
export function host(page) {
  const hostname = page.query.get("name") ?? "";
  page.title(hostname || t("host.title"));
  page.element.append(el("h1", { tabindex: -1 }, name(hostname)));
}

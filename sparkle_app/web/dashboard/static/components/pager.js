// "101–200 of 1,000", and links to the pages before and after.

import { el } from "../dom.js";
import { t } from "../language.js";
import { navigate, urlWith } from "../router.js";

/** The API skips no more entries than pages up to this one have. */
const MAX_PAGE = 1_000_000;

/** The page of a URL, from 1. */
export const pageOf = (query) => Math.min(Math.max(1, Math.floor(Number(query.get("page"))) || 1), MAX_PAGE);

const pagesOf = (total, size) => Math.max(1, Math.ceil(total / size));

/** Goes to the last page, if the present one is after it. */
export function goToLastPage(page, size, total) {
  const last = pagesOf(total, size);
  if (page > last) navigate(urlWith({ page: last === 1 ? null : last }), { replace: true });
}

/**
 * @param {number} page from 1.
 * @param {number} size of a page.
 * @param {function(number): string} urlOf the URL of a page.
 * @param {boolean} landmark of several on a page, only one is.
 */
export function pager({ page, size, total, urlOf, landmark = true }) {
  const pages = pagesOf(total, size);
  const first = total ? (page - 1) * size + 1 : 0;
  const link = (to, key, rel) =>
    to >= 1 && to <= pages && to !== page
      ? el("a", { class: "button", href: urlOf(to), rel }, t(key))
      : el("span", { class: "button", "aria-hidden": "true" }, t(key));
  return el(landmark ? "nav" : "div", { class: "pager", "aria-label": landmark ? t("pager.label") : null },
    el("span", {}, t("pager.range", { first, last: Math.min(page * size, total), total })),
    pages > 1 ? [link(page - 1, "pager.previous", "prev"), link(page + 1, "pager.next", "next")] : null);
}

// What is above each small chart of a comparison: a host, and how it is.

import { el, setAttribute } from "../dom.js";
import { name } from "../names.js";
import { rangeQuery } from "../ranges.js";
import { hostUrl } from "../router.js";
import { setState, stateMark } from "./state.js";

/** @param {Object} group {host, state}: see compare_data.js; `state` is null if it is not known. */
export function compareHeading({ host }) {
  const mark = stateMark("ok");
  const link = el("a", {}, name(host, 32));
  const element = el("span", { class: "of-host" }, link, mark);

  function update({ state }) {
    setAttribute(link, "href", hostUrl(host, rangeQuery()));
    mark.hidden = state === null;
    if (state) setState(mark, state);
  }
  return { element, update };
}

// Hosts of the overview that are chosen to be compared: a box for each, and a bar that stays while others are looked for.

import { MAX_HOSTS, choose } from "../compared.js";
import { announce, el, keyed, setAttribute, setText } from "../dom.js";
import { t } from "../language.js";
import { name, shortened } from "../names.js";
import { compareUrl } from "../router.js";
import { store } from "../store.js";

/** The bar. It is shown as long as hosts are chosen. */
export function choiceBar(page) {
  const text = el("p", { id: "choice-text" });
  const list = el("ul", { "aria-label": t("compare.chosen") });
  const link = el("a", { class: "button primary" });
  const clear = el("button", { type: "button", onclick: () => {
    store.set("chosen", []);
    away();
  } }, t("compare.clear"));
  const element = el("section", { class: "choice-bar", id: "choice-bar", tabindex: -1, "aria-label": t("compare.bar"), hidden: true }, list, text, link, clear);

  /** What had the focus is gone. */
  function away() {
    const next = element.hidden ? document.querySelector("table.hosts input") : clear;
    next?.focus({ preventScroll: true });
  }

  page.watch("chosen", (chosen) => {
    element.hidden = chosen.length === 0;
    keyed(list, chosen.map((host) => [host, host]), (host) => chosenHost(host, away));
    const count = chosen.length;
    const hint = count === 1 ? t("compare.chooseMore") : count >= MAX_HOSTS ? t("compare.full", { n: MAX_HOSTS }) : "";
    text.hidden = hint === "";
    setText(text, hint);
    link.hidden = count < 2;
    setAttribute(link, "href", compareUrl(chosen));
    setText(link, t("compare.button", { n: count }));
  });
  return element;
}

function chosenHost(host, away) {
  const label = t("compare.remove", { host: shortened(host) });
  const remove = el("button", { type: "button", title: label, "aria-label": label, onclick: () => {
    choose(host, false);
    away();
  } }, "×");
  return { element: el("li", {}, name(host, 20), remove), update() {} };
}

/**
 * The box of a host, and behind it, if the host is chosen, a link to the bar: between them may be a hundred other boxes.
 *
 * @returns {{elements: Element[], update: function()}} `update` follows the choice of hosts.
 */
export function hostChoice(host) {
  const box = el("input", { type: "checkbox", "aria-label": t("compare.box", { host: shortened(host) }), onchange: () => {
    choose(host, box.checked);
    const count = store.get("chosen").length;
    announce(count >= MAX_HOSTS ? t("compare.full", { n: MAX_HOSTS }) : t("compare.count", { n: count }));
  } });
  const toBar = el("a", { class: "skip", href: "#choice-bar", onclick: goToBar }, t("compare.toBar"));

  function update() {
    const chosen = store.get("chosen");
    box.checked = chosen.includes(host);
    box.disabled = chosen.length >= MAX_HOSTS && !box.checked;
    // The bar says why.
    setAttribute(box, "aria-describedby", box.disabled ? "choice-text" : null);
    setAttribute(box, "title", box.disabled ? t("compare.full", { n: MAX_HOSTS }) : box.ariaLabel);
    toBar.hidden = !box.checked;
  }

  return { elements: [box, toBar], update };
}

function goToBar(event) {
  event.preventDefault();
  const bar = document.getElementById("choice-bar");
  (bar.querySelector("a:not([hidden])") ?? bar).focus();
}

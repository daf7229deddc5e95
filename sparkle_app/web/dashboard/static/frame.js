// What surrounds every view: navigation, freshness, language and theme; a banner while the picture is old.

import { announce, el, setAttribute, setText, svg } from "./dom.js";
import { LANGUAGES, chooseLanguage, t } from "./language.js";
import { retryNow } from "./poll.js";
import { session } from "./session.js";
import { store } from "./store.js";
import { THEMES, chooseTheme } from "./theme.js";
import { localTime } from "./times.js";
import { ago } from "./values.js";

const LINKS = [["/", "nav.overview"], ["/dead-letters", "nav.deadLetters"], ["/pipeline", "nav.pipeline"], ["/docs", "nav.api"]];

/** Puts the frame into the document. Returns the element for the views. */
export function startFrame() {
  const skip = el("a", { class: "skip", href: "#main", onclick: skipTo });
  const header = el("header", { class: "frame" });
  const banner = el("div", { class: "banner", hidden: true });
  const main = el("main", { id: "main", tabindex: -1 });
  document.body.append(skip, header, banner, main);

  function draw() {
    setText(skip, t("nav.skip"));
    header.replaceChildren(brand(), navigation(), freshness(), language(), theme(), logout());
    markPath();
    showConnection();
    showLogout(header);
  }

  function markPath() {
    for (const link of header.querySelectorAll("nav a")) {
      setAttribute(link, "aria-current", link.pathname === store.get("path") ? "page" : null);
    }
  }

  function showConnection() {
    const connection = store.get("connection");
    const old = connection.since !== null;
    setAttribute(main, "class", old ? "old" : null);
    showFreshness(header.querySelector(".freshness"), connection);
    banner.hidden = !old;
    if (old) showBanner(banner, connection);
    else banner.replaceChildren();
  }

  draw();
  store.subscribe("language", draw);
  store.subscribe("path", markPath);
  store.subscribe("connection", (connection) => {
    showConnection();
    if (connection.state === "fresh") showLogout(header);
  });
  setInterval(() => document.hidden || showConnection(), 1000);
  return main;
}

function skipTo(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

const brand = () =>
  el("a", { class: "brand", href: "/", "aria-label": "Sparkle-M" },
    svg("svg", { viewBox: "0 0 32 32", width: 22, height: 22, "aria-hidden": "true" },
      svg("path", { d: "M3 20h6l3-12 6 17 4-10 2 5h5", class: "pulse" })),
    el("span", {}, "Sparkle-M"));

const navigation = () =>
  el("nav", { "aria-label": t("nav.label") }, LINKS.map(([path, key]) => el("a", { href: path }, t(key))));

const freshness = () =>
  el("div", { class: "freshness" }, el("span", { class: "dot", "aria-hidden": "true" }), el("span", { class: "text" }));

function showFreshness(element, { state, at }) {
  setAttribute(element, "data-state", state);
  const text = at === null ? t("connection.loading") : ago((Date.now() - at) / 1000);
  setText(element.querySelector(".text"), text);
  setAttribute(element, "title", at === null ? null : t("connection.at", { time: localTime(at) }));
}

function showBanner(banner, { state, at, since, detail, retryAt }) {
  if (!banner.firstChild) {
    banner.append(
      el("strong", {}), el("span", { class: "detail" }), el("span", { class: "next" }),
      el("button", { type: "button", onclick: retryNow }),
    );
  }
  const [title, text, next, retry] = banner.children;
  setText(title, t(`connection.${state}`, { time: localTime(since) }));
  setText(text, detail);
  setText(retry, t("connection.retry"));
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  const shown = at === null ? "" : `${t("connection.picture", { time: localTime(at) })} `;
  setText(next, shown + t("connection.next", { n: seconds }));
}

function language() {
  const options = Object.entries(LANGUAGES).map(([code, name]) =>
    el("option", { value: code, lang: code, selected: code === store.get("language") }, name));
  const choose = (event) => {
    chooseLanguage(event.target.value);
    // The choice was drawn again.
    document.querySelector("header select.language").focus();
  };
  return el("select", { class: "language", "aria-label": t("choice.language"), onchange: choose }, options);
}

function theme() {
  const options = THEMES.map((each) =>
    el("option", { value: each, selected: each === store.get("theme") }, t(`choice.theme.${each}`)));
  const choose = (event) => {
    chooseTheme(event.target.value);
    announce(t(`choice.theme.${event.target.value}`));
  };
  return el("select", { class: "theme", "aria-label": t("choice.theme"), onchange: choose }, options);
}

const logout = () =>
  el("form", { class: "logout", method: "post", action: "/logout", hidden: true },
    el("button", { type: "submit" }, t("session.end")));

/** Only to somebody who has logged in. */
function showLogout(header) {
  // Without an answer there is no button; the views say why.
  session().then((found) => setAttribute(header.querySelector(".logout"), "hidden", !found.session), () => {});
}

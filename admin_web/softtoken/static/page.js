// The page's pieces: which screen is seen, in which language, what is said. It knows no key and keeps no secret
// beyond what it shows.

import { firstLanguage, rememberLanguage, say } from "./texts.js";

const SCREENS = ["loading", "setup", "locked", "token"];
let language = firstLanguage();
let problem = null;
let aheadSeconds = null;
let tokenId = "";
let enrolBy = null;

export function piece(id) {
  return document.getElementById(id);
}

export function text(name, values) {
  return say(language, name, values);
}

/** One screen is seen; its heading takes the focus, unless it is the first. */
export function show(screen) {
  const first = !piece("loading").hidden;
  for (const one of SCREENS) piece(one).hidden = one !== screen;
  if (!first) piece(`${screen}-title`)?.focus();
}

/** Until when a token has to be enrolled, in milliseconds; null: that day is over. */
export function showEnrolBy(at) {
  enrolBy = at;
  piece("enrol-by").hidden = at === null;
  const date = new Intl.DateTimeFormat(language, { dateStyle: "long" }).format(at ?? 0);
  piece("enrol-by").textContent = text("enrolBy", { date });
}

/** ``SKSO 1234 5678``. */
export function grouped(id) {
  return id.replace(/^(\D+)(\d{4})(\d{4})$/, "$1 $2 $3");
}

export function showTokenId(id) {
  tokenId = id;
  for (const place of document.querySelectorAll("[data-token-id]")) place.textContent = grouped(id);
  piece("new-lead").textContent = text("newLead", { tokenId: grouped(id) });
}

/** What went wrong, by its text's name, and the field that it belongs to. Null takes it away. */
export function complain(name, field = null) {
  problem = name;
  for (const marked of document.querySelectorAll("[aria-invalid]")) {
    for (const name of ["aria-invalid", "aria-errormessage"]) marked.removeAttribute(name);
  }
  const place = piece("error");
  if (field) field.labels[0].before(place); // where somebody looks who is about to type
  else document.querySelector("main").prepend(place);
  place.hidden = name === null;
  place.textContent = name === null ? "" : text("errorPrefix") + text(name);
  setTitle();
  if (name === null) return;
  field?.setAttribute("aria-invalid", "true");
  field?.setAttribute("aria-errormessage", "error");
  (field ?? place).focus();
}

/** A short remark, politely. */
export function remark(name) {
  piece("said").textContent = "";
  setTimeout(() => { piece("said").textContent = name ? text(name) : ""; }, 50); // so that the same one is heard again
}

/** A new code: seen in groups, heard digit by digit, once. Empty: none. */
export function showCode(code) {
  const half = Math.ceil(code.length / 2);
  piece("code").textContent = `${code.slice(0, half)} ${code.slice(half)}`.trim();
  piece("code-said").textContent = code && `${text("code")} ${[...code].join(" ")}`;
}

export function showSeconds(left, period) {
  piece("seconds").textContent = text("seconds", { seconds: left });
  piece("ring").setAttribute("stroke-dashoffset", String(100 - (100 * left) / period));
}

/** A hint when this device's clock is off. */
export function showClock(seconds) {
  aheadSeconds = seconds;
  piece("clock").hidden = seconds === null;
  piece("clock").textContent = seconds === null ? "" : text("clockOff", { seconds });
}

export function speak(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  for (const place of document.querySelectorAll("[data-text]")) place.textContent = text(place.dataset.text);
  for (const place of document.querySelectorAll("[data-label]")) place.setAttribute("aria-label", text(place.dataset.label));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === chosen));
  }
  showTokenId(tokenId);
  showEnrolBy(enrolBy);
  showClock(aheadSeconds);
  if (problem) piece("error").textContent = text("errorPrefix") + text(problem);
  piece("said").textContent = "";
  setTitle();
}

function setTitle() {
  document.title = (problem ? text("errorPrefix") : "") + text("title");
}

/** Language buttons. ``changed`` is called after a change. */
export function startSpeaking(changed) {
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      rememberLanguage(button.dataset.language);
      speak(button.dataset.language);
      changed();
    });
  }
  speak(language);
}

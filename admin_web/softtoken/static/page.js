// What the page shows: the screen, texts, messages, the code. Has no key and never calls the server.

import { BANK } from "./bank.js";
import { initialLanguage, storeLanguage, translate } from "./texts.js";

const SCREENS = ["loading", "home", "setup", "locked", "token"];
let language = initialLanguage();
let errorMs = 0;
let errorName = null; // the rest is kept to show it again in another language
let clockHint = [null, null]; // the name of its text, and milliseconds
let persistence = null;
let tokenId = "";
let enrolBy = [null, true];

/** The element with this id; null if there is none. */
export function element(id) {
  return document.getElementById(id);
}

/** Shows the text of this name in an element, in each language that is chosen from now on. Null hides it. */
export function showText(place, name) {
  place.hidden = name === null;
  if (name === null) return;
  place.dataset.text = name;
  place.textContent = text(name);
}

/** The text of this name (texts.js) in the current language; `values` fills its {places}. */
export function text(name, values) {
  return translate(language, name, values);
}

/** Shows one of SCREENS and hides the others. Its heading takes the focus, except on the first screen after loading. */
export function showScreen(screen) {
  const first = !element("loading").hidden;
  for (const one of SCREENS) element(one).hidden = one !== screen;
  if (!first) element(`${screen}-title`)?.focus();
}

/**
 * Shows the last day on which the token can be enrolled, in milliseconds since the epoch, and whether it is still to come
 * (`open`). Null hides it.
 */
export function showEnrolBy(ms, open = true) {
  enrolBy = [ms, open];
  element("enrol-by").hidden = ms === null;
  const date = new Intl.DateTimeFormat(language, { dateStyle: "long" }).format(ms ?? 0);
  element("enrol-by").textContent = text(open ? "enrolBy" : "enrolByPast", { date });
}

/**
 * Shows a token ID (letters, then eight digits) wherever the page has one: in groups, and one by one for screen readers,
 * which would read each group as a number. An empty string hides it.
 */
export function showTokenId(id) {
  tokenId = id;
  for (const place of document.querySelectorAll("[data-token-id]")) place.textContent = inGroups(id);
  for (const place of document.querySelectorAll("[data-token-id-spelt]")) place.textContent = [...id].join(" ");
  element("new-lead").textContent = text("newLead", { tokenId: inGroups(id) });
}

/** A number for a sentence: full-width digits in Japanese, as everywhere in its texts. */
function digits(number) {
  return language === "ja" ? String(number).replace(/\d/g, (one) => "０１２３４５６７８９"[one]) : String(number);
}

/** Milliseconds in the largest unit of which there are two. */
function duration(ms) {
  const units = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000]];
  const [unit, length] = units.find(([, one]) => ms >= 2 * one) ?? units.at(-1);
  const format = new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" });
  const written = digits(format.format(Math.round(ms / length)));
  return language === "ja" ? written.replace(/\s/gu, "") : written;
}

/** SKSO12345678 as "SKSO 1234 5678". */
export function inGroups(id) {
  return id.replace(/^(\D+)(\d{4})(\d{4})$/, "$1 $2 $3");
}

/**
 * Shows an error and moves the focus to it. `name` is a text's name; null hides the error. With `field` (the input that
 * is wrong), the message goes above its label, and the input is marked as invalid and takes the focus.
 * `ms` fills the text's {amount}.
 */
export function showError(name, field = null, ms = 0) {
  errorName = name;
  errorMs = ms;
  for (const invalid of document.querySelectorAll("[aria-invalid]")) {
    for (const attribute of ["aria-invalid", "aria-errormessage"]) invalid.removeAttribute(attribute);
  }
  const message = element("error");
  if (field) field.labels[0].before(message);
  else document.querySelector("main").prepend(message);
  message.hidden = name === null;
  message.textContent = name === null ? "" : errorText();
  setTitle();
  if (name === null) return;
  field?.setAttribute("aria-invalid", "true");
  field?.setAttribute("aria-errormessage", "error");
  (field ?? message).focus();
}

function errorText() {
  return text("errorPrefix") + text(errorName, { amount: duration(errorMs) });
}

/** Shows a short message, which screen readers read out when they are idle. `name` is a text's name, null clears it. */
export function announce(name) {
  element("status").textContent = "";
  // The pause makes screen readers read out the same message again.
  setTimeout(() => { element("status").textContent = name ? text(name) : ""; }, 50);
}

/**
 * Shows a code (string of digits): in two groups, and digit by digit for screen readers, which find it there but are not
 * told of each new one. An empty string hides it.
 */
export function showCode(code) {
  const half = Math.ceil(code.length / 2);
  element("code").textContent = `${code.slice(0, half)} ${code.slice(half)}`.trim();
  element("code-digits").textContent = [...code].join(" ");
  element("code-aloud").textContent = "";
}

/** Has screen readers read this code out, once; if it is empty, that the time is being found out. */
export function readAloud(code) {
  const said = code ? `${text("code")} ${[...code].join(" ")}` : text("checkingTime");
  element("code-aloud").textContent = "";
  setTimeout(() => { element("code-aloud").textContent = said; }, 50);
}

/** Shows how many seconds are left of a period, as text and as a ring. Null: that the time is being found out. */
export function showSeconds(left, period) {
  element("seconds").textContent = left === null ? text("checkingTime") : text("seconds", { seconds: digits(left) });
  element("ring").setAttribute("stroke-dashoffset", String(100 - (100 * (left ?? 0)) / period));
}

/** Shows what there is to say of the clock: a text's name and by how many milliseconds it is off. Null hides it. */
export function showClockHint(name, ms) {
  clockHint = [name, ms];
  element("clock").hidden = name === null;
  element("clock").textContent = name === null ? "" : text(name, { amount: duration(ms ?? 0) });
}

/** Shows whether the browser keeps the token, by a text's name. */
export function showPersistence(name) {
  persistence = name;
  element("kept").hidden = name === null;
  element("kept").className = name === "keptYes" ? "" : "hint";
  element("kept").textContent = name === null ? "" : text(name);
}

/** Shows the page in this language: "ja" or "en". The caller shows the code again. */
export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  for (const place of document.querySelectorAll("[data-text]")) place.textContent = text(place.dataset.text);
  for (const place of document.querySelectorAll("[data-label]")) place.setAttribute("aria-label", text(place.dataset.label));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === chosen));
  }
  showBank();
  showTokenId(tokenId);
  showEnrolBy(...enrolBy);
  showClockHint(...clockHint);
  showPersistence(persistence);
  if (errorName) element("error").textContent = errorText();
  element("status").textContent = "";
  setTitle();
}

/** The bank's name, and the links to its portal, which then speaks the same language. Without a portal: none. */
function showBank() {
  for (const place of document.querySelectorAll("[data-bank]")) place.textContent = BANK[language];
  if (BANK.logo) for (const place of document.querySelectorAll("[data-bank-logo]")) place.src = BANK.logo;
  for (const link of document.querySelectorAll("[data-portal]")) {
    link.parentElement.hidden = !BANK.portal;
    if (BANK.portal) link.href = `${BANK.portal}${link.dataset.portal}?lang=${language}`;
  }
}

/** The bank's name in the current language; empty if there is none. */
export function bankName() {
  return BANK[language] ?? "";
}

function setTitle() {
  const bank = BANK[language] ? ` - ${BANK[language]}` : "";
  document.title = (errorName ? text("errorPrefix") : "") + text("title") + bank;
}

/** Shows the page in the initial language and connects the language buttons; `onChange()` runs after each change. */
export function initLanguage(onChange) {
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      storeLanguage(button.dataset.language);
      setLanguage(button.dataset.language);
      onChange();
    });
  }
  setLanguage(language);
}

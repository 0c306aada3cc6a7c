// The rules for a new PIN: eight digits or more, or a phrase of twelve characters or more; not one of those that are
// guessed first. Pure. A PIN from before these rules still opens its token.

import { COLUMNS, KEYPAD_LINES, KNOWN_NUMBERS, ROWS, WORDS } from "./guesses.js";

const MIN_DIGITS = 8;
const MIN_PHRASE = 12;
const LEAST_LEFT = 8; // characters of a phrase that are left when each guess in it counts as one
const LEAST_DIFFERENT = 6;
const LEETS = { 0: "o", 1: "i", 3: "e", 4: "a", 5: "s", 7: "t", "@": "a", $: "s", "!": "i" };

/** The PIN or phrase in an input's value: full-width characters become ASCII, spaces are removed. */
export function normalisePin(input) {
  return input.normalize("NFKC").replace(/\s/gu, "");
}

/**
 * The name of the text (texts.js) that says what is wrong with a new PIN, or null. `form`: "digits" or "phrase"; `pin` and
 * `again` are normalised; `tokenId`: the one that the lock's page will show, if it is known yet.
 */
export function pinProblem(form, pin, again, tokenId = "") {
  if (form === "digits" && (!/^[0-9]+$/.test(pin) || pin.length < MIN_DIGITS)) return "pinTooShort";
  if (form === "phrase" && [...pin].length < MIN_PHRASE) return "phraseTooShort";
  const shown = tokenId.replace(/\D/g, "");
  if (isEasy(pin) || (shown && pin.includes(shown))) return form === "digits" ? "pinTooEasy" : "phraseTooEasy";
  return pin === again ? null : "pinsDiffer";
}

/** Whether a PIN (digits only) or a phrase is one of those that are guessed first. */
export function isEasy(pin) {
  return /^[0-9]+$/.test(pin) ? isEasyNumber(pin) : isEasyPhrase(hiragana(pin.toLowerCase()));
}

function isEasyNumber(digits) {
  const once = digits.replace(/(.)\1+/g, "$1"); // 11223344 as 1234
  return (
    new Set(digits).size < 4 ||
    isRepeated(digits) ||
    isMirrored(digits) ||
    isRun(once) ||
    isRun(digits.slice(0, -2)) ||
    isRun(digits.slice(2)) ||
    isTwoRuns(digits) ||
    isKeypadPath(digits) ||
    isMostlyDate(digits) ||
    KNOWN_NUMBERS.some((known) => digits.startsWith(known) || digits.endsWith(known))
  );
}

/** One part again and again, perhaps cut off: 12121212, 12341234, 0123012301. */
function isRepeated(text) {
  for (let length = 1; length <= text.length / 2; length += 1) {
    if ([...text].every((one, at) => one === text[at % length])) return true;
  }
  return false;
}

function isMirrored(text) {
  return [...text].reverse().join("") === text;
}

/** Equal distances, over the end too: 12345678, 97531975, 89012345. */
function isRun(digits) {
  return new Set([...digits].slice(1).map((digit, at) => (Number(digit) - Number(digits[at]) + 10) % 10)).size <= 1;
}

/** Two runs, or parts of one digit, one behind the other: 12348765, 11119999, 12345543. */
function isTwoRuns(digits) {
  for (let cut = 3; cut <= digits.length - 3; cut += 1) {
    if (isRun(digits.slice(0, cut)) && isRun(digits.slice(cut))) return true;
  }
  return false;
}

/** Lines on the keypad, one after the other, but for two digits: 14725836, 15935728. */
function isKeypadPath(digits) {
  const most = [0]; // how many of the first digits lie in lines
  for (let end = 1; end <= digits.length; end += 1) {
    most[end] = most[end - 1];
    for (const line of KEYPAD_LINES) {
      if (end >= line.length && digits.startsWith(line, end - line.length)) {
        most[end] = Math.max(most[end], most[end - line.length] + line.length);
      }
    }
  }
  return most[digits.length] >= digits.length - 2;
}

/** A date of the years 1900 to 2049, in any order of its parts, and fewer than four digits besides. */
function isMostlyDate(digits) {
  const day = "(?:0[1-9]|[12][0-9]|3[01])";
  const month = "(?:0[1-9]|1[0-2])";
  const year = "(?:19[0-9]{2}|20[0-4][0-9])";
  const date = new RegExp(`${year}${month}${day}|${year}${day}${month}|${day}${month}${year}|${month}${day}${year}`);
  return date.test(digits) && digits.length < 12;
}

/** Katakana as hiragana, so that each word stands once in the lists. */
function hiragana(text) {
  return text.replace(/[\u30a1-\u30f6]/g, (kana) => String.fromCharCode(kana.charCodeAt(0) - 0x60));
}

function isEasyPhrase(phrase) {
  if (isRepeated(phrase) || new Set(phrase).size < LEAST_DIFFERENT) return true;
  return [phrase, phrase.replace(/[0-9@$!]/g, (one) => LEETS[one] ?? one)].some((one) => weight(one) < LEAST_LEFT);
}

/** How long a phrase is if each known word, row of keys, run or number in it counts as one character. */
function weight(phrase) {
  const known = WORDS.reduce((rest, word) => rest.replaceAll(word, "\u0000"), shortenRows(phrase));
  return known.replace(/[0-9]+/g, "\u0000").replace(/(.)\1+/gu, "$1").length;
}

/** Four or more keys that lie side by side, or letters that follow one another in the alphabet, as one. */
function shortenRows(text) {
  const rows = [...ROWS, ...COLUMNS].flatMap((row) => [row, [...row].reverse().join("")]);
  let rest = text;
  for (const row of rows) {
    for (let length = row.length; length >= 4; length -= 1) {
      for (let at = 0; at + length <= row.length; at += 1) rest = rest.replaceAll(row.slice(at, at + length), "\u0000");
    }
  }
  return rest;
}

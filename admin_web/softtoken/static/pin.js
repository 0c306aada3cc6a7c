// The rules for a new PIN: six digits or more, and not one of those that are guessed first. Pure.

const MIN_DIGITS = 6;

/** The PIN in an input's value: full-width digits become ASCII, spaces are removed. */
export function normalisePin(input) {
  return input.normalize("NFKC").replace(/\s/gu, "");
}

/** The name of the text (texts.js) that says what is wrong with a new PIN, or null. Both arguments are normalised. */
export function pinProblem(pin, again) {
  if (!/^[0-9]+$/.test(pin) || pin.length < MIN_DIGITS) return "pinTooShort";
  if (isEasy(pin)) return "pinTooEasy";
  return pin === again ? null : "pinsDiffer";
}

/** Equal or consecutive digits: 000000, 123456, 654321, and over the end: 890123. */
function isEasy(pin) {
  const differences = new Set([...pin].slice(1).map((digit, at) => (Number(digit) - Number(pin[at]) + 10) % 10));
  return differences.size === 1 && [0, 1, 9].some((difference) => differences.has(difference));
}

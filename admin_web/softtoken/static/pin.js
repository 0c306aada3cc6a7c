// What may be a PIN: six digits or more, in any width, and not the first ones that everybody tries. Pure.

const FEWEST = 6;

/** The PIN as it is used: full-width digits and spaces are as good as any. */
export function normalisePin(typed) {
  return typed.normalize("NFKC").replace(/\s/gu, "");
}

/** The name of a text that says what is wrong with a new PIN; null: nothing. */
export function problemOf(pin, again) {
  if (!/^[0-9]+$/.test(pin) || pin.length < FEWEST) return "pinTooShort";
  if (isEasy(pin)) return "pinTooEasy";
  return pin === again ? null : "pinsDiffer";
}

function isEasy(pin) {
  const steps = new Set([...pin].slice(1).map((digit, at) => (Number(digit) - Number(pin[at]) + 10) % 10));
  return steps.size === 1 && [0, 1, 9].some((step) => steps.has(step)); // 000000, 123456, 654321
}

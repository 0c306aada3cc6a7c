// How often a wrong PIN was entered in a row, and how long to wait after it; kept across reloads and in all tabs. It slows
// down somebody who holds the device; it does not bind who has copied the profile.

import { inTransaction } from "./storage.js";

const FREE = 3;
const FIRST_MS = 10_000;
const LONGEST_MS = 3_600_000;

/** A PIN may be tried again only after `ms` milliseconds. */
export class TooSoon extends Error {
  constructor(ms) {
    super(`${ms} ms too soon`);
    this.ms = ms;
  }
}

/** Milliseconds to wait after so many wrong PINs in a row: none after the first two, then 10 s, doubled up to an hour. */
export function waitAfter(wrong) {
  return wrong < FREE ? 0 : Math.min(FIRST_MS * 2 ** (wrong - FREE), LONGEST_MS);
}

/**
 * Counts a try before the PIN is tried, so that closing the page undoes nothing. Resolves to the milliseconds to wait if
 * the PIN is wrong. Throws TooSoon, which counts nothing, or DOMException.
 */
export async function takeTry() {
  const now = Date.now();
  let early = 0;
  let after = 0;
  await inTransaction("readwrite", (store) => {
    const found = store.get("tries");
    found.onsuccess = () => {
      const { wrong, until } = found.result ?? { wrong: 0, until: 0 };
      const left = until - now;
      early = Math.max(0, Math.min(left, waitAfter(wrong))); // less, if the clock was set back
      if (early > 0) {
        if (left > early) store.put({ wrong, until: now + early }, "tries");
        return;
      }
      after = waitAfter(wrong + 1);
      store.put({ wrong: wrong + 1, until: now + after }, "tries");
    };
    return found;
  });
  if (early > 0) throw new TooSoon(early);
  return after;
}

/** The PIN was right: nothing is counted any more. Throws DOMException. */
export function clearTries() {
  return inTransaction("readwrite", (store) => store.delete("tries"));
}

// The token that this page works with: its stored record and, while it is unlocked, its key. Others read both; only the
// functions here change them. Never reads or writes the storage.

import { importSeed } from "./totp.js";

/** As stored: sealed (its shape: seal() in sealing.js). Null if this device has no token. */
export let record = null;

/** Null while locked, else { key, period, digits, step, code }; code.js keeps step and code up to date. */
export let unlocked = null;

/** Makes a stored record, or null, the token of this page, locked. */
export function useRecord(stored) {
  record = stored ?? null;
  unlocked = null;
}

/** Keeps the key of the record's seed (Uint8Array, not overwritten here) in memory. */
export async function keepKey(seed) {
  unlocked = { key: await importSeed(seed), digits: record.digits, period: record.period, step: -1, code: "" };
}

/** Forgets the key. */
export function forgetKey() {
  unlocked = null;
}

// Opens the stored token by passkey or PIN, and shows it. Never stores a token.

import { now } from "./clock.js";
import { refreshCode } from "./code.js";
import { element, showEnrolBy, showError, showScreen, showTokenId } from "./page.js";
import { passkeyOutput } from "./passkey.js";
import { askToKeep } from "./persistence.js";
import { normalisePin } from "./pin.js";
import { keyFromPasskey, keyFromPin, unseal, wipe, WrongKey } from "./sealing.js";
import { keepKey, record } from "./session.js";
import { checkStored } from "./storage.js";
import { clearTries, takeTry } from "./tries.js";

/**
 * Asks for the passkey. Throws WrongKey if the record is damaged, NoOutput, the browser's DOMException; once the code is
 * shown, Erased or AlreadyStored if the record is not the stored one.
 */
export async function unlockWithPasskey() {
  await show(await openSeed(record, null));
}

/** Takes the PIN from its input. A wrong one is explained. Throws as unlockWithPasskey(), and TooSoon. */
export async function unlockWithPin() {
  await show(await openSeed(record, element("pin")));
}

async function show(seed) {
  if (!seed) return;
  try {
    await unlock(seed);
  } finally {
    wipe(seed);
  }
  await checkStored(record);
}

/**
 * Resolves to the seed of a stored record (Uint8Array; wipe it after use), by its passkey, or by the PIN in this input,
 * which is emptied. Null after a wrong PIN, which is explained and counted, or none. Throws TooSoon, WrongKey if the
 * record is damaged, NoOutput, or a DOMException.
 */
export async function openSeed(stored, field) {
  if (stored.lock.kind === "passkey") {
    return unseal(stored, await keyFromPasskey(await passkeyOutput(stored.lock), stored.lock));
  }
  const pin = normalisePin(field.value);
  field.value = "";
  if (!pin) {
    showError("pinMissing", field);
    return null;
  }
  const wait = await takeTry();
  try {
    const seed = await unseal(stored, await keyFromPin(pin, stored.lock));
    await clearTries();
    return seed;
  } catch (error) {
    if (!(error instanceof WrongKey)) throw error;
    showError(wait > 0 ? "wrongPinWait" : "wrongPin", field, wait);
    return null;
  }
}

/** Unlocks the session's record with its seed (Uint8Array; wipe it after use) and shows token ID and code. */
export async function unlock(seed) {
  await keepKey(seed);
  showTokenId(record.tokenId);
  showEnrolBy(record.enrolBy, now() < record.enrolBy);
  await refreshCode();
  showScreen("token");
  askToKeep();
}

// Opens the stored token by passkey or PIN, and shows it. Never stores anything.

import { now } from "./clock.js";
import { refreshCode } from "./code.js";
import { element, showEnrolBy, showError, showScreen, showTokenId } from "./page.js";
import { passkeyOutput } from "./passkey.js";
import { askToKeep } from "./persistence.js";
import { normalisePin } from "./pin.js";
import { keyFromPasskey, keyFromPin, unseal, WrongKey } from "./sealing.js";
import { keepKey, record } from "./session.js";

/** Asks for the passkey. Throws WrongKey if the record is damaged, NoPrf, or the browser's DOMException. */
export async function unlockWithPasskey() {
  await unlockWithKey(await keyFromPasskey(await passkeyOutput(record.lock), record.lock));
}

/** Takes the PIN from its input. A wrong one is explained. */
export async function unlockWithPin() {
  const field = element("pin");
  const pin = normalisePin(field.value);
  field.value = "";
  try {
    await unlockWithKey(await keyFromPin(pin, record.lock));
  } catch (error) {
    if (!(error instanceof WrongKey)) throw error;
    showError("wrongPin", field);
  }
}

async function unlockWithKey(key) {
  const seed = await unseal(record, key);
  try {
    await unlock(seed);
  } finally {
    seed.fill(0);
  }
}

/** Unlocks the session's record with its seed (Uint8Array; overwrite it after use) and shows token ID and code. */
export async function unlock(seed) {
  await keepKey(seed);
  showTokenId(record.tokenId);
  showEnrolBy(now() < record.enrolBy ? record.enrolBy : null);
  await refreshCode();
  showScreen("token");
  askToKeep();
}

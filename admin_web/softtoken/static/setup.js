// Makes this device's token: the lock first, then the request for a token, sealed as soon as it arrives. Erases one.

import { element, showCode, showError, showScreen, text } from "./page.js";
import { createPasskey, passkeysAvailable } from "./passkey.js";
import { isAppleTab } from "./persistence.js";
import { normalisePin, pinProblem } from "./pin.js";
import { keyFromPasskey, keyFromPin, newPinLock, seal } from "./sealing.js";
import { requestToken } from "./server.js";
import { useRecord } from "./session.js";
import { deleteToken, storeToken } from "./storage.js";
import { tellTabs } from "./tabs.js";
import { unlock } from "./unlocking.js";

let pendingPasskey = null; // { lock, key }, kept until it has a token, so that a second try creates no second passkey

/** Where an app on the home screen has a storage of its own, the way there comes first. */
export function showFirstSetup() {
  if (isAppleTab()) showScreen("home");
  else showSetup();
}

export function showSetup() {
  element("passkey-way").hidden = !passkeysAvailable();
  showScreen("setup");
}

export async function setUpWithPasskey() {
  if (!pendingPasskey) {
    const { lock, output } = await createPasskey(text("title"));
    pendingPasskey = { lock, key: await keyFromPasskey(output, lock) };
  }
  await setUp(pendingPasskey.lock, pendingPasskey.key);
  pendingPasskey = null;
}

/** Takes the new PIN from its two inputs. One that will not do is explained. */
export async function setUpWithPin() {
  const [field, again] = [element("pin-new"), element("pin-again")];
  const pin = normalisePin(field.value);
  const problem = pinProblem(pin, normalisePin(again.value));
  if (problem) return showError(problem, problem === "pinsDiffer" ? again : field);
  const lock = newPinLock();
  await setUp(lock, await keyFromPin(pin, lock));
  field.value = again.value = "";
}

/** The lock is chosen before the token is requested, so that the seed is sealed as soon as it arrives. */
async function setUp(lock, key) {
  const { token, seed } = await requestToken();
  try {
    const record = await seal(seed, token, lock, key);
    await storeToken(record);
    useRecord(record);
    await unlock(seed);
  } finally {
    seed.fill(0);
  }
  tellTabs("changed");
}

/** Erases this device's token. */
export async function eraseToken() {
  await deleteToken();
  element("new-token").close();
  useRecord(null);
  showCode("");
  tellTabs("changed");
  showFirstSetup();
}

// Makes this device's token, or gives it another lock. The token is asked for with a key that is kept until it is
// stored, so that any failure on the way uses up no second one. Erases a token.

import { element, showCode, showError, showScreen, showText } from "./page.js";
import { disownPasskey, passkeyAbility } from "./passkey.js";
import { passkeyFor, pendingText, startAnotherPasskey } from "./passkeysetup.js";
import { dropRequestKey, CannotStore, requestKey } from "./pending.js";
import { isAppleTab, isInsideApp } from "./persistence.js";
import { normalisePin, pinProblem } from "./pin.js";
import { keyFromPasskey, keyFromPin, newPinLock, seal, wipe } from "./sealing.js";
import { KeyUsedUp, requestToken } from "./server.js";
import { record, unlocked, useRecord } from "./session.js";
import { AlreadyStored, deleteToken, Erased, readToken, replaceToken, storeToken } from "./storage.js";
import { alone, tellTabs } from "./tabs.js";
import { dropTicket, ticket } from "./ticket.js";
import { openSeed, unlock } from "./unlocking.js";

/** Where an app on the home screen has a storage of its own, the way there comes first. */
export function showFirstSetup() {
  for (const hint of document.querySelectorAll("[data-inside-app]")) hint.hidden = !isInsideApp();
  if (isAppleTab()) showScreen("home");
  else return showSetup();
}

/** Shows the ways to protect a new token; for a token that there is, the ways to protect it anew. */
export async function showSetup() {
  const [ability, pending] = await Promise.all([passkeyAbility(), pendingText()]);
  element("passkey-way").hidden = !ability.possible;
  element("passkey-away").hidden = ability.here;
  showText(element("make-passkey"), goOnText(pending));
  showText(element("passkey-pending"), pending);
  element("another-passkey").hidden = pending === null;
  element("setup-lead").hidden = record !== null;
  element("current-way").hidden = record === null;
  element("current-pin").hidden = record?.lock.kind !== "pin";
  showText(element("setup-title"), record ? "changeTitle" : "setupTitle");
  for (const field of document.querySelectorAll("#setup input[type=password]")) field.value = "";
  showForm();
  showScreen("setup");
}

function goOnText(pending) {
  if (pending === null) return "passkeyButton";
  return pending === "passkeyMade" ? "passkeyGoOn" : null;
}

/** The form of the new PIN fits what is chosen, digits or a phrase. */
export function showForm() {
  const form = chosenForm();
  const [fresh, again, button, hint] = form === "digits"
    ? ["pinNew", "pinAgain", "pinButton", "byPinHint"]
    : ["phraseNew", "phraseAgain", "phraseButton", "byPhraseHint"];
  showText(element("pin-new").labels[0], fresh);
  showText(element("pin-again").labels[0], again);
  showText(element("pin-button"), button);
  showText(element("pin-hint"), hint);
  for (const field of [element("pin-new"), element("pin-again")]) {
    field.inputMode = form === "digits" ? "numeric" : "text";
  }
}

function chosenForm() {
  return document.querySelector("input[name=pin-form]:checked").value;
}

export function setUpWithPasskey() {
  return alone(() =>
    withSeed(async ({ tokenId }) => {
      try {
        const { lock, output } = await passkeyFor(tokenId);
        return { lock, key: await keyFromPasskey(output, lock) };
      } catch (error) {
        if (!record || unlocked) await showSetup(); // else it was locked while the browser asked
        throw error;
      }
    }),
  );
}

/** The passkey that was created before is given up: another one is created. */
export async function setUpWithAnotherPasskey() {
  await startAnotherPasskey();
  await setUpWithPasskey();
}

/** Takes the new PIN from its two inputs. One that will not do is explained. */
export async function setUpWithPin() {
  const [field, again] = [element("pin-new"), element("pin-again")];
  const form = chosenForm();
  const pin = normalisePin(field.value);
  const problem = pinProblem(form, pin, normalisePin(again.value), record?.tokenId);
  if (problem) return showError(problem, problem === "pinsDiffer" ? again : field);
  const lock = newPinLock(form);
  const key = await keyFromPin(pin, lock);
  await alone(() => withSeed(() => ({ lock, key })));
  field.value = again.value = "";
}

/** Seals the seed under the lock that `makeLock(token)` resolves to, { lock, key }, stores it and shows the code. */
async function withSeed(makeLock) {
  const before = record;
  if (!before && (await readToken())) throw new AlreadyStored();
  const { token, seed } = before ? { token: before, seed: await openSeed(before, element("pin-current")) } : await newToken();
  if (!seed) return; // a wrong PIN, which is explained
  try {
    const { lock, key } = await makeLock(token);
    const { tokenId, digits, period, enrolBy } = token;
    const sealed = await seal(seed, { tokenId, digits, period, enrolBy }, lock, key);
    await (before ? replaceToken(before, sealed) : storeToken(sealed)).catch(explainStorage);
    useRecord(sealed);
    await unlock(seed);
  } finally {
    wipe(seed);
  }
  dropTicket();
  if (before?.lock.kind === "passkey") disownPasskey(before.lock);
  tellTabs("changed");
}

/** Resolves to { token, seed } as requestToken() does. */
async function newToken() {
  try {
    return await requestToken(await requestKey(), ticket());
  } catch (error) {
    if (!(error instanceof KeyUsedUp)) throw error;
  }
  await dropRequestKey();
  return requestToken(await requestKey(), ticket());
}

function explainStorage(error) {
  if (error instanceof Erased) showScreen(unlocked ? "token" : "locked"); // for a last act: a change to another token
  throw error instanceof AlreadyStored || error instanceof Erased ? error : new CannotStore(error?.name);
}

/** Erases this device's token. */
export function eraseToken() {
  return alone(async () => {
    const { lock } = record;
    await deleteToken(record);
    element("new-token").close();
    useRecord(null);
    showCode("");
    tellTabs("changed");
    if (lock.kind === "passkey") disownPasskey(lock);
    await showFirstSetup();
  });
}

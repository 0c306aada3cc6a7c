// The soft token: sets a token up, unlocks and locks it, shows its token ID and its code. Never sends a code anywhere.

import {
  announce,
  element,
  initLanguage,
  showClockOffset,
  showCode,
  showEnrolBy,
  showError,
  showScreen,
  showSeconds,
  showTokenId,
  text,
} from "./page.js";
import { createPasskey, NoPrf, passkeyOutput, passkeysAvailable } from "./passkey.js";
import { normalisePin, pinProblem } from "./pin.js";
import { keyFromPasskey, keyFromPin, newPinLock, seal, unseal, WrongKey } from "./sealing.js";
import { clockOffset, requestToken, TooManyRequests, Unreachable } from "./server.js";
import { AlreadyStored, deleteToken, readToken, storeToken } from "./storage.js";
import { codeForStep, importSeed, timeStep } from "./totp.js";

const LOCK_AFTER_MINUTES = 5; // hidden for longer than this, the app locks when it is shown again
const CLOCK_TOLERANCE_MS = 30_000;

let record = null; // as stored: sealed
let unlocked = null; // null while locked, else { key, period, digits, step, code }
let pendingPasskey = null; // { lock, key }, kept until it has a token, so that a second try creates no second passkey
let hiddenSince = null; // milliseconds since the epoch
const tabs = new BroadcastChannel("soft-token");

// Setting up

/** The lock is chosen before the token is requested, so that the seed is sealed as soon as it arrives. */
async function setUp(lock, key) {
  const { token, seed } = await requestToken();
  try {
    record = await seal(seed, token, lock, key);
    await storeToken(record);
    await unlock(seed, token);
  } finally {
    seed.fill(0);
  }
  tabs.postMessage("changed");
  navigator.storage?.persist?.(); // the browser may refuse: the footer says what happens then
}

async function setUpWithPasskey() {
  if (!pendingPasskey) {
    const { lock, output } = await createPasskey(text("title"));
    pendingPasskey = { lock, key: await keyFromPasskey(output, lock) };
  }
  await setUp(pendingPasskey.lock, pendingPasskey.key);
  pendingPasskey = null;
}

async function setUpWithPin() {
  const [field, again] = [element("pin-new"), element("pin-again")];
  const pin = normalisePin(field.value);
  const problem = pinProblem(pin, normalisePin(again.value));
  if (problem) return showError(problem, problem === "pinsDiffer" ? again : field);
  const lock = newPinLock();
  await setUp(lock, await keyFromPin(pin, lock));
  field.value = again.value = "";
}

// Unlocking and locking

async function unlockWithPasskey() {
  await unlockWithKey(await keyFromPasskey(await passkeyOutput(record.lock), record.lock));
}

async function unlockWithPin() {
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
    await unlock(seed, record);
  } finally {
    seed.fill(0);
  }
}

async function unlock(seed, { tokenId, digits, period, enrolBy }) {
  unlocked = { key: await importSeed(seed), digits, period, step: -1, code: "" };
  showTokenId(tokenId);
  showEnrolBy(Date.now() < enrolBy ? enrolBy : null);
  await refreshCode();
  showScreen("token");
}

function lock() {
  unlocked = null;
  showCode("");
  announce(null);
  showTokenId(record.tokenId);
  element("open-passkey").hidden = record.lock.kind !== "passkey";
  element("open-pin").hidden = record.lock.kind !== "pin";
  showScreen("locked");
}

// The code

/** Shows the seconds that are left and, at each new time step, its code. */
async function refreshCode() {
  if (!unlocked) return;
  const now = Date.now();
  const step = timeStep(now, unlocked.period);
  showSeconds(unlocked.period - (Math.floor(now / 1000) % unlocked.period), unlocked.period);
  if (step === unlocked.step) return;
  const token = unlocked;
  token.step = step;
  const code = await codeForStep(token.key, step, token.digits);
  if (token !== unlocked || token.step !== step) return; // locked or at a later step since
  token.code = code;
  showCode(code);
}

function refreshEverySecond() {
  refreshCode();
  setTimeout(refreshEverySecond, 1000 - (Date.now() % 1000));
}

async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    announce("copied");
  } catch {
    announce("notCopied");
  }
}

// Making a new token

async function eraseToken() {
  await deleteToken();
  element("new-token").close();
  record = unlocked = null;
  showCode("");
  tabs.postMessage("changed");
  showSetup();
}

function showSetup() {
  element("passkey-way").hidden = !passkeysAvailable();
  showScreen("setup");
}

// Clock, network, tabs in the background

async function checkClock() {
  const offset = await clockOffset();
  element("offline").hidden = offset !== null || navigator.onLine;
  if (offset === null) return;
  const wrong = Math.abs(offset);
  showClockOffset(wrong > CLOCK_TOLERANCE_MS ? Math.round(wrong / 1000) : null);
}

function onVisibilityChange() {
  if (document.hidden) {
    hiddenSince = Date.now();
    return;
  }
  if (unlocked && hiddenSince !== null && Date.now() - hiddenSince > LOCK_AFTER_MINUTES * 60_000) lock();
  hiddenSince = null;
  checkClock();
}

// Errors

const ERROR_TEXTS = [
  [NoPrf, "noPrf"],
  [TooManyRequests, "tooMany"],
  [Unreachable, "unreachable"],
  [WrongKey, "damaged"],
];
// Names of the DOMExceptions of navigator.credentials: cancelled, timed out, or not possible on this device.
const PASSKEY_REFUSED = ["NotAllowedError", "AbortError", "InvalidStateError", "NotSupportedError", "SecurityError"];

function showFailure(error) {
  if (error instanceof AlreadyStored) return location.reload(); // shows the token that the other tab has stored
  const known = ERROR_TEXTS.find(([type]) => error instanceof type);
  return showError(known ? known[1] : PASSKEY_REFUSED.includes(error?.name) ? "passkeyNo" : "broken");
}

/** Runs one operation at a time: a click while another one runs does nothing. Failures are shown. */
let busy = false;
async function runExclusive(button, operation) {
  if (busy) return;
  busy = true;
  button.setAttribute("aria-disabled", "true");
  showError(null);
  element("status").textContent = text("working");
  try {
    await operation();
  } catch (error) {
    showFailure(error);
  } finally {
    busy = false;
    button.removeAttribute("aria-disabled");
    element("status").textContent = "";
  }
}

// Starting

function addListeners() {
  const onClick = (id, handler) => element(id).addEventListener("click", (event) => handler(event.currentTarget));
  const onSubmit = (id, operation) =>
    element(id).addEventListener("submit", (event) => {
      event.preventDefault();
      runExclusive(event.currentTarget.querySelector("button"), operation);
    });
  onClick("make-passkey", (button) => runExclusive(button, setUpWithPasskey));
  onClick("open-passkey", (button) => runExclusive(button, unlockWithPasskey));
  onSubmit("make-pin", setUpWithPin);
  onSubmit("open-pin", unlockWithPin);
  onClick("lock", lock);
  onClick("copy-id", () => copy(record.tokenId));
  onClick("copy-code", () => copy(unlocked.code));
  onClick("new-cancel", () => element("new-token").close());
  onClick("new-confirm", (button) => runExclusive(button, eraseToken));
  for (const button of document.querySelectorAll("[data-new-token]")) {
    button.addEventListener("click", () => element("new-token").showModal());
  }
  document.addEventListener("visibilitychange", onVisibilityChange);
  for (const event of ["online", "offline"]) addEventListener(event, checkClock);
  tabs.addEventListener("message", () => location.reload());
}

/** The page's policy demands Trusted Types: the worker's URL has to come from the policy "worker" (site.py). */
function registerServiceWorker() {
  if (!navigator.serviceWorker) return;
  const createScriptURL = (url) => {
    if (url !== "/sw.js") throw new TypeError("no other worker");
    return url;
  };
  const policy = globalThis.trustedTypes?.createPolicy("worker", { createScriptURL });
  navigator.serviceWorker.register(policy ? policy.createScriptURL("/sw.js") : "/sw.js").catch(() => {});
}

async function start() {
  initLanguage(() => unlocked && showCode(unlocked.code));
  addListeners();
  registerServiceWorker();
  try {
    record = await readToken();
  } catch {
    return showError("broken");
  }
  if (record) lock();
  else showSetup();
  refreshEverySecond();
  return checkClock();
}

start();

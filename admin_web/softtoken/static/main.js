// The soft token: sets itself up once, is locked and unlocked, shows its token ID and its code. Sends no code anywhere.

import { complain, piece, remark, show, showClock, showCode, showEnrolBy, showSeconds, showTokenId, startSpeaking, text } from "./page.js";
import { askPasskey, createPasskey, mayHavePasskeys, NoPrf } from "./passkey.js";
import { normalisePin, problemOf } from "./pin.js";
import { askForToken, clockAhead, TooMany, Unreachable } from "./server.js";
import { dropToken, keepToken, readToken, Taken } from "./shelf.js";
import { codeOf, importSeed, stepAt } from "./totp.js";
import { keyFromPasskey, keyFromPin, newPinLock, seal, unseal, WrongKey } from "./vault.js";

const HIDDEN_MINUTES = 5; // out of sight for so long, it locks itself
const CLOCK_MAY_BE_OFF = 30_000;

let record = null; // what is stored: sealed
let open = null; // while unlocked: { key, period, digits, step, code }
let madePasskey = null; // one without a token yet: a second try does not make a second one
let hiddenSince = null;
const tabs = new BroadcastChannel("soft-token");

// Setting up

/** The lock comes first, so that the seed is sealed as soon as it arrives and never waits for a person. */
async function setUp(lock, key) {
  const { token, seed } = await askForToken();
  try {
    record = await seal(seed, token, lock, key);
    await keepToken(record);
    await unlock(seed, token);
  } finally {
    seed.fill(0);
  }
  tabs.postMessage("changed");
  navigator.storage?.persist?.(); // the browser may say no: the page says what happens then
}

async function setUpByPasskey() {
  if (!madePasskey) {
    const { lock, output } = await createPasskey(text("title"));
    madePasskey = { lock, key: await keyFromPasskey(output, lock) };
  }
  await setUp(madePasskey.lock, madePasskey.key);
  madePasskey = null;
}

async function setUpByPin() {
  const [field, again] = [piece("pin-new"), piece("pin-again")];
  const pin = normalisePin(field.value);
  const wrong = problemOf(pin, normalisePin(again.value));
  if (wrong) return complain(wrong, wrong === "pinsDiffer" ? again : field);
  const lock = newPinLock();
  await setUp(lock, await keyFromPin(pin, lock));
  field.value = again.value = "";
}

// Opening and locking

async function openByPasskey() {
  await openWith(await keyFromPasskey(await askPasskey(record.lock), record.lock));
}

async function openByPin() {
  const field = piece("pin");
  const pin = normalisePin(field.value);
  field.value = "";
  try {
    await openWith(await keyFromPin(pin, record.lock));
  } catch (error) {
    if (!(error instanceof WrongKey)) throw error;
    complain("wrongPin", field);
  }
}

async function openWith(key) {
  const seed = await unseal(record, key);
  try {
    await unlock(seed, record);
  } finally {
    seed.fill(0);
  }
}

async function unlock(seed, { tokenId, digits, period, enrolBy }) {
  open = { key: await importSeed(seed), digits, period, step: -1, code: "" };
  showTokenId(tokenId);
  showEnrolBy(Date.now() < enrolBy ? enrolBy : null);
  await tick();
  show("token");
}

function lock() {
  open = null;
  showCode("");
  remark(null);
  showTokenId(record.tokenId);
  piece("open-passkey").hidden = record.lock.kind !== "passkey";
  piece("open-pin").hidden = record.lock.kind !== "pin";
  show("locked");
}

// The code

/** Every second: the seconds that are left, and at each new step its code. */
async function tick() {
  if (!open) return;
  const now = Date.now();
  const step = stepAt(now, open.period);
  showSeconds(open.period - (Math.floor(now / 1000) % open.period), open.period);
  if (step === open.step) return;
  const token = open;
  token.step = step;
  const code = await codeOf(token.key, step, token.digits);
  if (token !== open || token.step !== step) return; // locked, or overtaken, meanwhile
  token.code = code;
  showCode(code);
}

function keepTicking() {
  tick();
  setTimeout(keepTicking, 1000 - (Date.now() % 1000));
}

async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    remark("copied");
  } catch {
    remark("notCopied");
  }
}

// Beginning anew

async function eraseAndBegin() {
  await dropToken();
  piece("new-token").close();
  record = open = null;
  showCode("");
  tabs.postMessage("changed");
  begin();
}

function begin() {
  piece("passkey-way").hidden = !mayHavePasskeys();
  show("setup");
}

// Around it

async function checkClock() {
  const ahead = await clockAhead();
  if (ahead !== null) showClock(Math.abs(ahead) > CLOCK_MAY_BE_OFF ? Math.round(Math.abs(ahead) / 1000) : null);
  piece("offline").hidden = ahead !== null || navigator.onLine;
}

function seenOrHidden() {
  if (document.hidden) {
    hiddenSince = Date.now();
    return;
  }
  if (open && hiddenSince !== null && Date.now() - hiddenSince > HIDDEN_MINUTES * 60_000) lock();
  hiddenSince = null;
  checkClock();
}

const SAID = [
  [NoPrf, "noPrf"],
  [TooMany, "tooMany"],
  [Unreachable, "unreachable"],
  [WrongKey, "damaged"],
];

function explain(error) {
  if (error instanceof Taken) return location.reload(); // another tab was faster: show what it made
  const known = SAID.find(([kind]) => error instanceof kind);
  const saidNo = ["NotAllowedError", "AbortError", "InvalidStateError", "NotSupportedError", "SecurityError"];
  return complain(known ? known[1] : saidNo.includes(error?.name) ? "passkeyNo" : "broken");
}

/** One act at a time; a second click while it runs does nothing. */
let busy = false;
async function once(button, act) {
  if (busy) return;
  busy = true;
  button.setAttribute("aria-disabled", "true");
  complain(null);
  piece("said").textContent = text("working");
  try {
    await act();
  } catch (error) {
    explain(error);
  } finally {
    busy = false;
    button.removeAttribute("aria-disabled");
    piece("said").textContent = "";
  }
}

function wire() {
  const click = (id, act) => piece(id).addEventListener("click", (event) => act(event.currentTarget));
  const submit = (id, act) =>
    piece(id).addEventListener("submit", (event) => {
      event.preventDefault();
      once(event.currentTarget.querySelector("button"), act);
    });
  click("make-passkey", (button) => once(button, setUpByPasskey));
  click("open-passkey", (button) => once(button, openByPasskey));
  submit("make-pin", setUpByPin);
  submit("open-pin", openByPin);
  click("lock", lock);
  click("copy-id", () => copy(record.tokenId));
  click("copy-code", () => copy(open.code));
  click("new-cancel", () => piece("new-token").close());
  click("new-confirm", (button) => once(button, eraseAndBegin));
  for (const button of document.querySelectorAll("[data-new-token]")) {
    button.addEventListener("click", () => piece("new-token").showModal());
  }
  document.addEventListener("visibilitychange", seenOrHidden);
  for (const event of ["online", "offline"]) addEventListener(event, checkClock);
  tabs.addEventListener("message", () => location.reload());
}

async function start() {
  startSpeaking(() => open && showCode(open.code));
  wire();
  workOffline();
  try {
    record = await readToken();
  } catch {
    return complain("broken");
  }
  if (record) lock();
  else begin();
  keepTicking();
  return checkClock();
}

function workOffline() {
  if (!navigator.serviceWorker) return;
  const only = (url) => {
    if (url !== "/sw.js") throw new TypeError("no other worker");
    return url;
  };
  const policy = globalThis.trustedTypes?.createPolicy("worker", { createScriptURL: only });
  navigator.serviceWorker.register(policy ? policy.createScriptURL("/sw.js") : "/sw.js").catch(() => {});
}

start();

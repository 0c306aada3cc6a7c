// Locks the unlocked token: on request, when another tab does, and when nobody has used the page for a while, seen or
// not. Takes the code off the page whenever it is out of sight.

import { hideCode, refreshCode } from "./code.js";
import { announce, element, showCode, showScreen, showText, showTokenId } from "./page.js";
import { whereText } from "./passkey.js";
import { forgetKey, record, unlocked } from "./session.js";
import { tellTabs } from "./tabs.js";

const LOCK_AFTER_MS = 300_000;
const USES = ["pointerdown", "keydown", "wheel"];

let lastUse = { clock: Date.now(), passed: performance.now() };

function noteUse() {
  lastUse = { clock: Date.now(), passed: performance.now() };
}

/** Milliseconds since the page was used. On some devices performance.now() stands still during sleep. */
function unusedFor() {
  return Math.max(Date.now() - lastUse.clock, performance.now() - lastUse.passed);
}

/** Forgets the key and the code, and shows how to unlock. */
export function lock() {
  forgetKey();
  showCode("");
  announce(null);
  showTokenId(record.tokenId);
  element("open-passkey").hidden = record.lock.kind !== "passkey";
  element("open-pin").hidden = record.lock.kind !== "pin";
  element("pin").inputMode = record.lock.form === "phrase" ? "text" : "numeric";
  showText(element("passkey-where"), record.lock.kind === "passkey" ? whereText(record.lock) : null);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (const field of document.querySelectorAll("#setup input[type=password]")) field.value = "";
  showScreen("locked");
}

/** Locks this page, and every other tab with it. */
export function lockEverywhere() {
  lock();
  tellTabs("locked");
}

/** Locks if another tab was. */
export function lockIfOpen() {
  if (unlocked) lock();
}

/** Call it every second. */
export function lockIfUnused() {
  if (unlocked && unusedFor() > LOCK_AFTER_MS) lock();
}

/** From now on. */
export function watchUse() {
  for (const use of USES) addEventListener(use, noteUse, { capture: true, passive: true });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return hideCode();
    lockIfUnused(); // before anything is shown
    noteUse();
    return refreshCode();
  });
}

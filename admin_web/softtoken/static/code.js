// Shows the unlocked token's code, anew at each time step, and copies it. Never sends a code anywhere.

import { announce, showCode, showSeconds } from "./page.js";
import { unlocked } from "./session.js";
import { codeForStep, timeStep } from "./totp.js";

/** Shows the seconds that are left and, at each new time step, its code. Does nothing while locked. */
export async function refreshCode() {
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

/** Refreshes at the start of every second, from now on. */
export function refreshEverySecond() {
  refreshCode();
  setTimeout(refreshEverySecond, 1000 - (Date.now() % 1000));
}

/** Copies a text to the clipboard, and says whether it could. */
export async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    announce("copied");
  } catch {
    announce("notCopied");
  }
}

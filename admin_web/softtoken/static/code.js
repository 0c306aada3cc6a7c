// Shows the unlocked token's code, anew at each time step, while it can be seen. Never sends a code anywhere.

import { isChecking, now } from "./clock.js";
import { readAloud, showCode, showSeconds } from "./page.js";
import { unlocked } from "./session.js";
import { codeForStep, timeStep } from "./totp.js";

/** Takes the code off the page. The next refreshCode() shows it again. */
export function hideCode() {
  if (unlocked) Object.assign(unlocked, { step: -1, code: "" });
  showCode("");
}

/** Shows the seconds that are left and, at each new time step, its code. Does nothing while locked. */
export async function refreshCode() {
  if (!unlocked) return;
  if (document.hidden || isChecking()) {
    hideCode();
    showSeconds(null, unlocked.period);
    return;
  }
  const ms = now();
  const step = timeStep(ms, unlocked.period);
  showSeconds(unlocked.period - (Math.floor(ms / 1000) % unlocked.period), unlocked.period);
  if (step === unlocked.step) return;
  const token = unlocked;
  token.step = step;
  const code = await codeForStep(token.key, step, token.digits);
  if (token !== unlocked || token.step !== step) return; // hidden, locked or at a later step since
  token.code = code;
  showCode(code);
}

/** Has a screen reader read the code that is shown now. */
export function readCodeAloud() {
  readAloud(unlocked.code);
}

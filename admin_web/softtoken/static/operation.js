// One operation of the customer at a time, and what is said when it fails.

import { element, showError, text } from "./page.js";
import { NoOutput, NoPrf } from "./passkey.js";
import { CannotStore } from "./pending.js";
import { WrongKey } from "./sealing.js";
import { BadAnswer, KeyUsedUp, NotNow, TooManyRequests, TooSlow, Unreachable } from "./server.js";
import { AlreadyStored, Erased } from "./storage.js";
import { OtherTab } from "./tabs.js";
import { TooSoon } from "./tries.js";

const ERROR_TEXTS = [
  [NoPrf, "noPrf"],
  [NoOutput, "noOutput"],
  [TooManyRequests, "tooMany"],
  [Unreachable, "unreachable"],
  [TooSlow, "tooSlow"],
  [BadAnswer, "badAnswer"],
  [NotNow, "notNow"],
  [KeyUsedUp, "badAnswer"],
  [CannotStore, "cannotStore"],
  [OtherTab, "otherTab"],
  [WrongKey, "damaged"],
  [Erased, "erased"],
];
// Names of the DOMExceptions of navigator.credentials: cancelled, timed out, or not possible on this device.
const PASSKEY_REFUSED = ["NotAllowedError", "AbortError", "InvalidStateError", "NotSupportedError", "SecurityError"];

function showFailure(error) {
  if (error instanceof AlreadyStored) return location.reload(); // shows the token that the other tab has stored
  if (error instanceof TooSoon) return showError("tooSoon", null, error.ms);
  const known = ERROR_TEXTS.find(([type]) => error instanceof type);
  return showError(known ? known[1] : exceptionText(error?.name));
}

/** The name of the text for a DOMException of this name. */
function exceptionText(name) {
  if (name === "QuotaExceededError") return "noRoom"; // a wrong PIN cannot be counted, so none is tried
  return PASSKEY_REFUSED.includes(name) ? "passkeyNo" : "broken";
}

/** Whether an operation is running. */
export let busy = false;

/** Runs one operation at a time: a click while another one runs does nothing. Failures are shown. */
export async function runExclusive(button, operation) {
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

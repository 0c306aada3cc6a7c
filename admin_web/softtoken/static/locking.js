// Locks the unlocked token: on request, and when it was out of sight for long.

import { announce, element, showCode, showScreen, showTokenId } from "./page.js";
import { forgetKey, record, unlocked } from "./session.js";

const LOCK_AFTER_MINUTES = 5; // hidden for longer than this, the app locks when it is shown again

let hiddenSince = null; // milliseconds since the epoch

/** Forgets the key and the code, and shows how to unlock. */
export function lock() {
  forgetKey();
  showCode("");
  announce(null);
  showTokenId(record.tokenId);
  element("open-passkey").hidden = record.lock.kind !== "passkey";
  element("open-pin").hidden = record.lock.kind !== "pin";
  showScreen("locked");
}

/** Locks when the page is shown again after a long time, from now on. */
export function watchVisibility() {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      hiddenSince = Date.now();
      return;
    }
    if (unlocked && hiddenSince !== null && Date.now() - hiddenSince > LOCK_AFTER_MINUTES * 60_000) lock();
    hiddenSince = null;
  });
}

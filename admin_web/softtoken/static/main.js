// The soft token: reads the stored token, shows its first screen, and connects what can be clicked.

import { watchClock } from "./clock.js";
import { copy, refreshEverySecond } from "./code.js";
import { lock, watchVisibility } from "./locking.js";
import { runExclusive } from "./operation.js";
import { element, initLanguage, showCode, showError } from "./page.js";
import { record, unlocked, useRecord } from "./session.js";
import { eraseToken, setUpWithPasskey, setUpWithPin, showSetup } from "./setup.js";
import { readToken } from "./storage.js";
import { followTabs } from "./tabs.js";
import { unlockWithPasskey, unlockWithPin } from "./unlocking.js";
import { watchUpdates } from "./update.js";

function onClick(id, handler) {
  element(id).addEventListener("click", (event) => handler(event.currentTarget));
}

function onSubmit(id, operation) {
  element(id).addEventListener("submit", (event) => {
    event.preventDefault();
    runExclusive(event.currentTarget.querySelector("button"), operation);
  });
}

function addListeners() {
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
}

async function start() {
  initLanguage(() => unlocked && showCode(unlocked.code));
  addListeners();
  watchVisibility();
  followTabs();
  await showFirstScreen();
  dispatchEvent(new Event("app-started")); // boot.js waits for it
  watchUpdates();
}

async function showFirstScreen() {
  try {
    useRecord(await readToken());
  } catch {
    return showError("broken");
  }
  if (record) lock();
  else showSetup();
  refreshEverySecond();
  watchClock();
}

start();

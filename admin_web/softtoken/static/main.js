// The soft token: reads the stored token, shows its first screen, and connects what can be clicked.

import { clearOldCode, copyCode, copyTokenId, watchClipboard } from "./clipboard.js";
import { now, tickClock, watchClock } from "./clock.js";
import { readCodeAloud, refreshCode } from "./code.js";
import { lock, lockEverywhere, lockIfOpen, lockIfUnused, watchUse } from "./locking.js";
import { runExclusive } from "./operation.js";
import { announce, element, initLanguage, showCode, showError, showScreen } from "./page.js";
import { record, unlocked, useRecord } from "./session.js";
import {
  eraseToken,
  setUpWithAnotherPasskey,
  setUpWithPasskey,
  setUpWithPin,
  showFirstSetup,
  showForm,
  showSetup,
} from "./setup.js";
import { readToken } from "./storage.js";
import { followTabs } from "./tabs.js";
import { takeTicket } from "./ticket.js";
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
  onClick("another-passkey", (button) => runExclusive(button, setUpWithAnotherPasskey));
  onClick("change-lock", showSetup);
  onClick("change-cancel", () => showScreen("token"));
  element("make-pin").addEventListener("change", showForm);
  onSubmit("make-pin", setUpWithPin);
  onSubmit("open-pin", unlockWithPin);
  onClick("stay-in-tab", showSetup);
  onClick("lock", lockEverywhere);
  onClick("copy-id", () => copyTokenId(record.tokenId));
  onClick("copy-code", () => (unlocked.code ? copyCode(unlocked.code) : announce("checkingTime")));
  onClick("read-code", readCodeAloud);
  onClick("new-cancel", () => element("new-token").close());
  onClick("new-confirm", (button) => runExclusive(button, eraseToken));
  for (const button of document.querySelectorAll("[data-new-token]")) {
    button.addEventListener("click", () => element("new-token").showModal());
  }
}

/** At the start of every second of the right time. Browsers call it less often while the page is out of sight. */
function tick() {
  tickClock();
  lockIfUnused();
  refreshCode();
  clearOldCode();
  setTimeout(tick, 1000 - (now() % 1000));
}

async function showFirstScreen() {
  try {
    useRecord(await readToken());
  } catch {
    element("loading").hidden = true;
    return showError("broken");
  }
  if (record) lock();
  else await showFirstSetup();
  watchClock(refreshCode);
  tick();
}

/** What a change of the language does not show again by itself. */
function showAgain() {
  if (!unlocked) return;
  showCode(unlocked.code);
  refreshCode();
}

async function start() {
  takeTicket();
  initLanguage(showAgain);
  addListeners();
  watchUse();
  watchClipboard();
  followTabs(() => location.reload(), lockIfOpen);
  await showFirstScreen();
  dispatchEvent(new Event("app-started")); // boot.js waits for it
  watchUpdates();
}

start();

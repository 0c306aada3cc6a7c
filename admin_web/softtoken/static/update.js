// Brings new versions: registers the service worker, has it look for one, and starts the page again with the new one
// when nothing is lost by that. Never touches the stored token.

import { busy } from "./operation.js";
import { element } from "./page.js";
import { unlocked } from "./session.js";

const VERSION = new URL(import.meta.url).pathname.split("/")[2]; // of this page: /v/VERSION/update.js
const CHECK_MS = 3_600_000;
const RESTARTED = "restarted"; // in sessionStorage: when, in milliseconds since the epoch
const RESTART_INTERVAL_MS = 600_000; // while a bank upgrades, servers of two versions may answer in turns

let restartTimer = null;

/** The page's policy demands Trusted Types: the worker's URL has to come from the policy "worker" (site.py). */
function workerUrl() {
  const createScriptURL = (url) => {
    if (url !== "/sw.js") throw new TypeError("no other worker");
    return url;
  };
  const policy = globalThis.trustedTypes?.createPolicy("worker", { createScriptURL });
  return policy ? policy.createScriptURL("/sw.js") : "/sw.js";
}

/** Whether a new start would lose nothing: locked or not set up, nothing typed, nothing said that is to be read. */
function isIdle() {
  // A radio button always has a value, so a value alone says nothing.
  const changed = (input) => input.value !== input.defaultValue || input.checked !== input.defaultChecked;
  const typed = [...document.querySelectorAll("input")].some(changed);
  return !busy && !unlocked && !typed && element("error").hidden && !document.querySelector("dialog[open]");
}

function restartWhenIdle() {
  if (!isIdle()) return;
  try {
    if (Date.now() - Number(sessionStorage.getItem(RESTARTED)) < RESTART_INTERVAL_MS) return;
    sessionStorage.setItem(RESTARTED, String(Date.now()));
  } catch {
    return; // storage is forbidden: the next start brings the new version
  }
  clearInterval(restartTimer);
  location.reload();
}

function tellWorker() {
  navigator.serviceWorker.controller?.postMessage({ started: VERSION });
}

/** From now on. Call it when the app has started: the worker then drops the version before. */
export function watchUpdates() {
  const workers = navigator.serviceWorker;
  if (!workers) return;
  const url = workerUrl();
  const check = async () => {
    try {
      await (await workers.register(url, { updateViaCache: "none" })).update();
    } catch {
      // offline, or some file was of another version: at the next check
    }
  };
  let replaced = false;
  workers.addEventListener("controllerchange", () => {
    replaced = true;
    tellWorker();
  });
  workers.addEventListener("message", ({ data }) => {
    if (replaced && data?.serves !== VERSION) restartTimer ??= setInterval(restartWhenIdle, 1000);
  });
  document.addEventListener("visibilitychange", () => document.hidden || check());
  setInterval(() => document.hidden || check(), CHECK_MS);
  tellWorker();
  check();
}

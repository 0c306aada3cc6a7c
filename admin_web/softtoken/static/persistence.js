// Asks the browser to keep the stored token even when space runs short, and shows what it answered. Knows where a tab is
// the wrong place for a token. Never touches the token.

import { showPersistence } from "./page.js";

const PATIENCE_MS = 2_000; // until a browser that asks the customer counts as one that has not said

/**
 * Whether this is a tab of a phone or tablet of Apple's: there an app on the home screen has a storage of its own, and
 * the storage of a tab is emptied after seven days without use. `standalone` exists on their browsers alone.
 */
export function isAppleTab() {
  return navigator.standalone === false && navigator.maxTouchPoints > 0;
}

/**
 * Whether another app shows this page in a browser inside it, from which alone its tokens can be reached. Android's says
 * so ("wv"), Apple's leaves "Safari/" out; two that are common in Japan name themselves.
 */
export function isInsideApp() {
  const { userAgent } = navigator;
  return /; wv\)|\bLine\/|\bYJApp/.test(userAgent) || (isAppleTab() && !userAgent.includes(" Safari/"));
}

async function answer() {
  if (isAppleTab()) return "keptInTab";
  const { storage, vendor } = navigator;
  const isWebKit = vendor?.startsWith("Apple"); // also on a Mac; its rule of seven days needs no answer
  try {
    if ((await storage.persisted()) || (await storage.persist())) return "keptYes";
    return isWebKit ? "keptWhileUsed" : "keptNo";
  } catch {
    return isWebKit ? "keptWhileUsed" : "keptUnknown"; // it does not say, or cannot be asked
  }
}

/** Asks again, because the answer may change with use. Call it at each unlocking; a browser may ask the customer. */
export async function askToKeep() {
  const unanswered = setTimeout(() => showPersistence("keptUnknown"), PATIENCE_MS);
  const name = await answer();
  clearTimeout(unanswered);
  showPersistence(name);
}

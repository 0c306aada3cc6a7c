// Compares this device's clock with the server's, and tells when it is wrong.

import { element, showClockOffset } from "./page.js";
import { clockOffset } from "./server.js";

const TOLERANCE_MS = 30_000;

async function checkClock() {
  const offset = await clockOffset();
  element("offline").hidden = offset !== null || navigator.onLine;
  if (offset === null) return;
  const wrong = Math.abs(offset);
  showClockOffset(wrong > TOLERANCE_MS ? Math.round(wrong / 1000) : null);
}

/** Checks now, whenever the page is shown again, and when the network comes or goes. */
export function watchClock() {
  document.addEventListener("visibilitychange", () => document.hidden || checkClock());
  for (const event of ["online", "offline"]) addEventListener(event, checkClock);
  return checkClock();
}

// The right time: this device's clock, corrected by what the server's time shows. Knows when it may be wrong, and says
// so. Never sends anything but a question for the time.

import { element, showClockHint } from "./page.js";

const TOLERANCE_MS = 30_000; // a clock that is off by more is told of
const JUMP_MS = 2_000; // by which the clock may differ from the time that passed between two ticks
const MEASURE_AFTER_MS = 240_000;
const TIMEOUT_MS = 5_000;
const PLAUSIBLE = [Date.UTC(2024, 0), Date.UTC(2100, 0)];
const STORAGE_KEY = "clock"; // { offset, at }: the last measurement, and the right time then, both in milliseconds

let offset = 0; // milliseconds by which the right time is ahead of the device's clock
let state = "checking"; // "measured"; "jumped", the clock did since; or "remembered", from an earlier visit
let jumped = false; // since the last measurement
let lead = null; // of the device's clock over the time since the page was loaded, at the last tick
let measuredAt = -Infinity; // or tried, by performance.now()
let whenFoundOut = () => {};

/** The right time in milliseconds since the epoch, as well as it is known. */
export function now() {
  return Date.now() + offset;
}

/** Whether the time is being found out: no code is to be shown meanwhile, because it might be a wrong one. */
export function isChecking() {
  return state === "checking";
}

/**
 * Resolves to the milliseconds by which the server's clock is ahead of this device's. Null if there is no answer in
 * time, or one that is no time: a proxy or a login page of a network may answer anything.
 */
async function measureOffset() {
  try {
    const asked = performance.now();
    const options = { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS) };
    const response = await fetch("/time", options);
    const answer = response.ok ? await response.json() : null;
    const [received, device] = [performance.now(), Date.now()];
    const isTime = Number.isFinite(answer?.now) && answer.now > PLAUSIBLE[0] && answer.now < PLAUSIBLE[1];
    return isTime ? answer.now + (received - asked) / 2 - device : null;
  } catch {
    return null;
  }
}

/** Measures the offset. What was known before stays if it cannot be measured. */
async function measure() {
  measuredAt = performance.now();
  const measured = await measureOffset();
  if (measured !== null) {
    offset = measured;
    jumped = false;
    state = "measured";
    remember();
  } else if (state === "checking") {
    state = jumped ? "jumped" : "remembered";
  }
  element("offline").hidden = measured !== null || navigator.onLine || state === "jumped";
  showClockHint(...hint());
  whenFoundOut();
}

/** What to tell: the name of a text, and by how many milliseconds the clock is off. Null: nothing. */
function hint() {
  if (state === "jumped") return ["clockJumped", null];
  if (Math.abs(offset) <= TOLERANCE_MS) return [null, null];
  return [state === "measured" ? "clockOff" : "clockRemembered", Math.abs(offset)];
}

/** Call it every second: notices jumps of the clock and the end of sleep, and measures again every few minutes. */
export function tickClock() {
  const before = lead;
  lead = Date.now() - performance.now();
  const jump = before === null ? 0 : lead - before;
  if (Math.abs(jump) > JUMP_MS) onJump(jump);
  else if (performance.now() - measuredAt > MEASURE_AFTER_MS) measure();
}

/**
 * A step back is the clock's alone, so the time that passed tells how much of it to take back. A step forward may be
 * sleep, when the clock is right, or the clock's: only a measurement tells.
 */
function onJump(jump) {
  if (jump < 0) offset -= jump;
  jumped = true;
  state = "checking";
  measure();
}

function remember() {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify({ offset, at: now() }));
  } catch {
    // the browser may forbid storage
  }
}

/** A clock that is behind the last measurement was set back since. */
function recall() {
  try {
    const last = JSON.parse(localStorage.getItem(STORAGE_KEY));
    if (!Number.isFinite(last?.offset) || !Number.isFinite(last.at)) return;
    offset = last.offset;
    jumped = now() < last.at - TOLERANCE_MS;
  } catch {
    // as if there were none
  }
}

/**
 * From now on: measures at once, whenever the page is shown again, and when the network comes or goes. Calls `onFoundOut`
 * behind each measurement, whether it succeeded or not.
 */
export function watchClock(onFoundOut) {
  whenFoundOut = onFoundOut;
  recall();
  document.addEventListener("visibilitychange", () => document.hidden || measure());
  for (const event of ["online", "offline"]) addEventListener(event, measure);
  measure();
}

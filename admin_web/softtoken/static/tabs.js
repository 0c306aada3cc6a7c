// What the tabs of one browser tell each other: that the stored token was changed, or that it was locked. No secrets.

const channel = new BroadcastChannel("soft-token");

/** Tells the other tabs that the stored token was "changed" or "locked". */
export function tellTabs(what) {
  channel.postMessage(what);
}

/** Runs `onLocked` when another tab was locked, `onChanged` when it changed the stored token. */
export function followTabs(onChanged, onLocked) {
  channel.addEventListener("message", ({ data }) => (data === "locked" ? onLocked() : onChanged()));
}

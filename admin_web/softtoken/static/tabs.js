// What the tabs of one browser tell each other: that the stored token has changed. No secrets.

const channel = new BroadcastChannel("soft-token");

/** Tells the other tabs that the stored token has "changed". */
export function tellTabs(what) {
  channel.postMessage(what);
}

/** Starts again whenever another tab has changed the stored token. */
export function followTabs() {
  channel.addEventListener("message", () => location.reload());
}

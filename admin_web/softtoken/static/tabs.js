// What the tabs of one browser tell each other: that the stored token was changed, or that it was locked. No secrets. And that only one of them changes it.

const channel = new BroadcastChannel("soft-token");

/** Tells the other tabs that the stored token was "changed" or "locked". */
export function tellTabs(what) {
  channel.postMessage(what);
}

/** Another tab is making, changing or erasing the token. */
export class OtherTab extends Error {}

/** Runs what makes, changes or erases the token, in one tab at a time. Throws OtherTab. */
export async function alone(operation) {
  if (!navigator.locks) return operation(); // an older browser: the storage never overwrites a token
  return navigator.locks.request("soft-token", { ifAvailable: true }, (lock) => {
    if (!lock) throw new OtherTab();
    return operation();
  });
}

/** Runs `onLocked` when another tab was locked, `onChanged` when it changed the stored token. */
export function followTabs(onChanged, onLocked) {
  channel.addEventListener("message", ({ data }) => (data === "locked" ? onLocked() : onChanged()));
}

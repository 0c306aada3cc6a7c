// The passkey of a token that is being set up: created once, and kept before it is tried, so that a refusal leads to no
// second one.

import { bankName, inGroups, text } from "./page.js";
import { createPasskey, NoOutput, NoPrf, passkeyOutput } from "./passkey.js";
import { keepPasskey, pendingPasskey } from "./pending.js";
import { randomBytes } from "./sealing.js";
import { record } from "./session.js";

/**
 * Resolves to { lock, output } of this token's passkey: of the one that an earlier try created, else of a new one.
 * Throws NoPrf, or the browser's DOMException.
 */
export async function passkeyFor(tokenId) {
  let pending = await pendingPasskey();
  if (pending?.noPrf) throw new NoPrf();
  let output = null;
  if (!pending?.lock || pending.tokenId !== tokenId) {
    const user = pending?.user ?? randomBytes(16); // the same again: then it takes the place of the useless one
    const created = await createPasskey(user, names(tokenId));
    pending = { user, tokenId, lock: created.lock, noPrf: !created.prf };
    await keepPasskey(pending);
    if (!created.prf) throw new NoPrf();
    output = created.output;
  }
  try {
    return { lock: pending.lock, output: output ?? (await passkeyOutput(pending.lock)) };
  } catch (error) {
    if (!(error instanceof NoOutput)) throw error;
    await keepPasskey({ ...pending, noPrf: true });
    throw new NoPrf();
  }
}

/** The next passkey is a new one. */
export async function startAnotherPasskey() {
  const pending = await pendingPasskey();
  if (pending) await keepPasskey({ user: pending.user, tokenId: null, lock: null, noPrf: false });
}

/** Resolves to the name of the text (texts.js) about the passkey that an earlier try created; null: there is none. */
export async function pendingText() {
  const pending = await pendingPasskey().catch(() => undefined);
  if (!pending?.lock) return null;
  return pending.noPrf ? "noPrf" : "passkeyMade";
}

/** A second passkey of the same token has the time in its name: whoever deletes the first must not take the wrong one. */
function names(tokenId) {
  const made = record && new Date().toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const user = inGroups(tokenId) + (made ? ` (${made})` : "");
  return { rp: [text("title"), bankName()].filter(Boolean).join(" - "), user, display: `${text("title")} ${user}` };
}

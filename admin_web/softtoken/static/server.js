// The two things that are ever asked of the server: a new token, once; and the time. No code and no seed is sent.

export class Unreachable extends Error {}
export class TooMany extends Error {}

/** A new token and its seed, which the server does not show again. Throws Unreachable or TooMany. */
export async function askForToken() {
  const answer = await ask("/token", { method: "POST" });
  if (answer.status === 429) throw new TooMany();
  if (!answer.ok) throw new Unreachable(`the server answered ${answer.status}`);
  const { token_id: tokenId, seed, digits, period, enrol_by: enrolBy } = await answer.json();
  const token = { tokenId, digits, period, enrolBy };
  return { token, seed: Uint8Array.from(atob(seed), (letter) => letter.charCodeAt(0)) };
}

const SLOW = 10_000;

/** By how many milliseconds the server's clock is ahead of this device's; null: not known now. */
export async function clockAhead() {
  try {
    const before = Date.now();
    const answer = await ask("/time", {});
    const after = Date.now();
    if (!answer.ok || after - before > SLOW) return null;
    return (await answer.json()).now - (before + after) / 2;
  } catch {
    return null;
  }
}

async function ask(path, options) {
  try {
    return await fetch(path, { cache: "no-store", redirect: "error", referrerPolicy: "no-referrer", ...options });
  } catch (error) {
    throw new Unreachable(error.message);
  }
}

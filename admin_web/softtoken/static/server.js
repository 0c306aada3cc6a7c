// The request for a new token, once. Never sends a code, a seed or a PIN.

/** The server did not answer, or did not answer with a token. */
export class Unreachable extends Error {}

/** The server gives out no more tokens for now (429). */
export class TooManyRequests extends Error {}

/**
 * Resolves to { token: { tokenId, digits, period, enrolBy }, seed }: period in seconds, enrolBy in milliseconds since
 * the epoch, seed a Uint8Array. The server sends a seed only once; overwrite it after use.
 * Throws Unreachable or TooManyRequests.
 */
export async function requestToken() {
  const response = await request("/token", { method: "POST" });
  if (response.status === 429) throw new TooManyRequests();
  if (!response.ok) throw new Unreachable(`the server answered ${response.status}`);
  const { token_id: tokenId, seed, digits, period, enrol_by: enrolBy } = await response.json();
  const token = { tokenId, digits, period, enrolBy };
  return { token, seed: Uint8Array.from(atob(seed), (letter) => letter.charCodeAt(0)) };
}

async function request(path, options) {
  try {
    return await fetch(path, { cache: "no-store", redirect: "error", ...options });
  } catch (error) {
    throw new Unreachable(error.message);
  }
}

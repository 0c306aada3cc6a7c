// The request for a token. Never sends a code, a seed or a PIN.

import { base64url } from "./base64url.js";

/** No answer: the network, or the server, is not there. */
export class Unreachable extends Error {}

/** No whole answer in time. */
export class TooSlow extends Error {}

/** An answer that is no token: cut off, or somebody else's page. */
export class BadAnswer extends Error {}

/** The server cannot give out tokens now (5xx). */
export class NotNow extends Error {}

/** The server gives out no more tokens for now (429). */
export class TooManyRequests extends Error {}

/** The token of this key was enrolled, or sent too often, or a day ago (410): only another key gets one. */
export class KeyUsedUp extends Error {}

const LONGEST_MS = 20_000;
const TOKEN_ID = /^[A-Z]{2,8}\d{6,12}$/;

/**
 * Resolves to { token: { tokenId, digits, period, enrolBy }, seed }: period in seconds, enrolBy in milliseconds since
 * the epoch, seed a Uint8Array; overwrite it after use. The same `key` (Uint8Array) gets the same token again, so after
 * any failure but KeyUsedUp the same call uses up no other. `ticket`: the portal's, or an empty string.
 * Throws Unreachable, TooSlow, BadAnswer, NotNow, TooManyRequests or KeyUsedUp.
 */
export async function requestToken(key, ticket) {
  const body = new URLSearchParams({ key: base64url(key), ticket });
  const response = await answerTo("/token", { method: "POST", body });
  if (response.status === 429) throw new TooManyRequests();
  if (response.status === 410) throw new KeyUsedUp();
  if (response.status >= 500) throw new NotNow();
  if (response.status !== 200) throw new BadAnswer(`status ${response.status}`);
  try {
    return read(JSON.parse(response.text));
  } catch (error) {
    throw new BadAnswer(error.message);
  }
}

function read({ token_id: tokenId, seed, digits, period, enrol_by: enrolBy }) {
  const numbers = digits >= 6 && digits <= 8 && period >= 15 && period <= 120 && Number.isSafeInteger(enrolBy);
  if (!TOKEN_ID.test(tokenId) || !numbers) throw new TypeError("no token");
  const bytes = Uint8Array.from(atob(seed), (letter) => letter.charCodeAt(0));
  if (bytes.length < 16) throw new TypeError("no seed");
  return { token: { tokenId, digits, period, enrolBy }, seed: bytes };
}

/** The status and the whole text of an answer. The time limit is for both. */
async function answerTo(path, options) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), LONGEST_MS);
  try {
    const response = await fetch(path, { cache: "no-store", redirect: "error", signal: limit.signal, ...options });
    return { status: response.status, text: await response.text() };
  } catch (error) {
    throw limit.signal.aborted ? new TooSlow() : new Unreachable(error.message);
  } finally {
    clearTimeout(timer);
  }
}

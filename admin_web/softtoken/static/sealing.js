// A seed at rest: AES-GCM under a key from a passkey's PRF output or from a PIN. Never stores, never shows anything.
//
// A non-extractable CryptoKey would be simpler, but browsers write its bytes in clear into the profile; so only what is
// sealed here may be stored.

export class WrongKey extends Error {}

const ITERATIONS = 1_000_000;
const AES = { name: "AES-GCM", length: 256 };
const HKDF_INFO = new TextEncoder().encode("sekisho soft token: seed under a passkey, 1");

export function random(length) {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** What a PIN needs beside itself. Kept with the seal, so that it may grow later. */
export function newPinLock() {
  return { kind: "pin", salt: random(16), iterations: ITERATIONS };
}

/** PBKDF2 (RFC 8018): slow on purpose, and still only as good as the PIN. */
export async function keyFromPin(pin, lock) {
  const typed = await crypto.subtle.importKey("raw", new TextEncoder().encode(pin), "PBKDF2", false, ["deriveKey"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt: lock.salt, iterations: lock.iterations };
  return crypto.subtle.deriveKey(how, typed, AES, false, ["encrypt", "decrypt"]);
}

/** HKDF (RFC 5869) over the 32 bytes that the passkey gave. They are wiped. */
export async function keyFromPasskey(output, lock) {
  const secret = await crypto.subtle.importKey("raw", output, "HKDF", false, ["deriveKey"]);
  output.fill(0);
  const how = { name: "HKDF", hash: "SHA-256", salt: lock.salt, info: HKDF_INFO };
  return crypto.subtle.deriveKey(how, secret, AES, false, ["encrypt", "decrypt"]);
}

/** The record to be stored. */
export async function seal(seed, token, lock, key) {
  const iv = random(12);
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: label(token) }, key, seed);
  return { ...token, lock, iv, sealed: new Uint8Array(sealed) };
}

/** The seed of a record; wipe it after use. Throws WrongKey. */
export async function unseal(record, key) {
  const how = { name: "AES-GCM", iv: record.iv, additionalData: label(record) };
  try {
    return new Uint8Array(await crypto.subtle.decrypt(how, key, record.sealed));
  } catch (error) {
    throw new WrongKey(error.name);
  }
}

function label({ tokenId, digits, period }) {
  return new TextEncoder().encode(`sekisho soft token 1: ${tokenId} ${digits} ${period}`);
}

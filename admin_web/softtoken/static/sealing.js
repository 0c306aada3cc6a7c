// Seals a seed for storage: AES-GCM under a key from a passkey's PRF output or a PIN. Never stores or shows anything.
//
// Why not store a non-extractable CryptoKey: browsers write its bytes in clear into the profile folder.

/** The key does not open the record: a wrong PIN, or a damaged record. */
export class WrongKey extends Error {}

const ITERATIONS = 1_000_000;
const AES = { name: "AES-GCM", length: 256 };
const HKDF_INFO = new TextEncoder().encode("sekisho soft token: seed under a passkey, 1");

/** A Uint8Array of `length` random bytes. */
export function randomBytes(length) {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** Overwrites a secret (Uint8Array). */
export function wipe(secret) {
  secret.fill(0);
}

/**
 * A lock for a new PIN: { kind: "pin", form, salt, iterations }. `form`: "digits" or "phrase"; before there were phrases
 * it was not written. It is part of the record, so ITERATIONS may grow later.
 */
export function newPinLock(form) {
  return { kind: "pin", form, salt: randomBytes(16), iterations: ITERATIONS };
}

/** Resolves to the AES key of a normalised PIN (string) and its lock: PBKDF2-HMAC-SHA-256 (RFC 8018, section 5.2). */
export async function keyFromPin(pin, lock) {
  const password = await crypto.subtle.importKey("raw", new TextEncoder().encode(pin), "PBKDF2", false, ["deriveKey"]);
  const derivation = { name: "PBKDF2", hash: "SHA-256", salt: lock.salt, iterations: lock.iterations };
  return crypto.subtle.deriveKey(derivation, password, AES, false, ["encrypt", "decrypt"]);
}

/** Resolves to the AES key of a PRF output (Uint8Array, overwritten here) and its lock: HKDF-SHA-256 (RFC 5869). */
export async function keyFromPasskey(output, lock) {
  const secret = await crypto.subtle.importKey("raw", output, "HKDF", false, ["deriveKey"]);
  output.fill(0);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: lock.salt, info: HKDF_INFO };
  return crypto.subtle.deriveKey(derivation, secret, AES, false, ["encrypt", "decrypt"]);
}

/**
 * Resolves to the record to store: { tokenId, digits, period, enrolBy, lock, iv, sealed }.
 * `seed` is a Uint8Array, `token` the first four fields, `key` what keyFromPin() or keyFromPasskey() gave for `lock`.
 */
export async function seal(seed, token, lock, key) {
  const iv = randomBytes(12);
  const algorithm = { name: "AES-GCM", iv, additionalData: additionalData(token) };
  const sealed = await crypto.subtle.encrypt(algorithm, key, seed);
  return { ...token, lock, iv, sealed: new Uint8Array(sealed) };
}

/** Resolves to the seed of a record as a Uint8Array; overwrite it after use. Throws WrongKey. */
export async function unseal(record, key) {
  const algorithm = { name: "AES-GCM", iv: record.iv, additionalData: additionalData(record) };
  try {
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, record.sealed));
  } catch (error) {
    throw new WrongKey(error.name);
  }
}

/** Binds the seed to its token, so that a sealed seed cannot be put under another token ID. */
function additionalData({ tokenId, digits, period }) {
  return new TextEncoder().encode(`sekisho soft token 1: ${tokenId} ${digits} ${period}`);
}

// TOTP codes from a seed (RFC 6238) with WebCrypto. Pure: no clock, no page, no storage.

/** Resolves to a seed (Uint8Array) as an HMAC-SHA-1 CryptoKey that cannot be exported. */
export function importSeed(seed) {
  return crypto.subtle.importKey("raw", seed, { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
}

/** The time step of a moment (milliseconds since the epoch); `period` in seconds. RFC 6238, section 4.2. */
export function timeStep(ms, period) {
  return Math.floor(ms / 1000 / period);
}

/** Resolves to the code of a time step: a string of `digits` digits with leading zeros. RFC 4226, section 5.3. */
export async function codeForStep(key, step, digits) {
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(step));
  const mac = new DataView(await crypto.subtle.sign("HMAC", key, counter.buffer));
  const offset = mac.getUint8(mac.byteLength - 1) & 0x0f;
  const number = mac.getUint32(offset) & 0x7fffffff;
  return String(number % 10 ** digits).padStart(digits, "0");
}

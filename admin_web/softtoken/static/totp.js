// Codes from a seed: RFC 6238 over WebCrypto. No clock, no page, no storage; a seed becomes a key that nobody can read.

/** A seed's bytes as a key that signs and cannot be exported. */
export function importSeed(seed) {
  return crypto.subtle.importKey("raw", seed, { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
}

export function stepAt(ms, period) {
  return Math.floor(ms / 1000 / period);
}

/** The code of a step, with its leading zeros. */
export async function codeOf(key, step, digits) {
  const counter = new DataView(new ArrayBuffer(8));
  counter.setBigUint64(0, BigInt(step));
  const mac = new DataView(await crypto.subtle.sign("HMAC", key, counter.buffer));
  const at = mac.getUint8(mac.byteLength - 1) & 0x0f;
  const number = mac.getUint32(at) & 0x7fffffff;
  return String(number % 10 ** digits).padStart(digits, "0");
}

// A passkey of this device as a lock. Its PRF extension (WebAuthn level 3, section 10.1.4) gives 32 secret bytes.
// Sends nothing: no server verifies the signatures, only the PRF output is used.

import { randomBytes } from "./sealing.js";

/** This device's passkeys have no PRF extension. */
export class NoPrf extends Error {}

/** Whether this browser has WebAuthn at all. PRF support is known only after createPasskey(). */
export function passkeysAvailable() {
  return "PublicKeyCredential" in globalThis;
}

/**
 * Creates a passkey; `name` is what the browser shows. Resolves to { lock, output }: lock is
 * { kind: "passkey", credential, input, salt } for the record, output the PRF output (32 bytes).
 * Throws NoPrf, or the browser's DOMException (NotAllowedError if the person cancels).
 */
export async function createPasskey(name) {
  const input = randomBytes(32);
  const credential = await navigator.credentials.create({
    publicKey: {
      rp: { name },
      user: { id: randomBytes(16), name, displayName: name },
      challenge: randomBytes(32),
      pubKeyCredParams: [-7, -257].map((alg) => ({ type: "public-key", alg })), // ES256, RS256
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
      extensions: { prf: { eval: { first: input } } },
    },
  });
  const lock = { kind: "passkey", credential: new Uint8Array(credential.rawId), input, salt: randomBytes(16) };
  const prf = credential.getClientExtensionResults().prf;
  if (prf?.results?.first) return { lock, output: new Uint8Array(prf.results.first) };
  if (!prf?.enabled) throw new NoPrf();
  return { lock, output: await passkeyOutput(lock) }; // some authenticators evaluate the PRF only on get()
}

/** Resolves to the PRF output (32 bytes) of a lock of kind "passkey". Throws NoPrf or the browser's DOMException. */
export async function passkeyOutput(lock) {
  const credential = await navigator.credentials.get({
    publicKey: {
      challenge: randomBytes(32),
      allowCredentials: [{ type: "public-key", id: lock.credential }],
      userVerification: "required",
      extensions: { prf: { eval: { first: lock.input } } },
    },
  });
  const first = credential.getClientExtensionResults().prf?.results?.first;
  if (!first) throw new NoPrf();
  return new Uint8Array(first);
}

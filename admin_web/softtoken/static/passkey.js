// A passkey of this device as a lock: its PRF extension (WebAuthn level 3, section 10.1.4) gives 32 secret bytes.
// Nothing is sent anywhere: no server checks these signatures, only the bytes are wanted.

import { random } from "./vault.js";

/** This device's passkeys give no such bytes. */
export class NoPrf extends Error {}

export function mayHavePasskeys() {
  return "PublicKeyCredential" in globalThis;
}

/** A new passkey: its lock, and its 32 bytes. Throws NoPrf, or what the browser throws when somebody says no. */
export async function createPasskey(name) {
  const input = random(32);
  const credential = await navigator.credentials.create({
    publicKey: {
      rp: { name },
      user: { id: random(16), name, displayName: name },
      challenge: random(32),
      pubKeyCredParams: [-7, -257].map((alg) => ({ type: "public-key", alg })),
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
      extensions: { prf: { eval: { first: input } } },
    },
  });
  const lock = { kind: "passkey", credential: new Uint8Array(credential.rawId), input, salt: random(16) };
  const prf = credential.getClientExtensionResults().prf;
  if (prf?.results?.first) return { lock, output: new Uint8Array(prf.results.first) };
  if (!prf?.enabled) throw new NoPrf();
  return { lock, output: await askPasskey(lock) }; // some authenticators give the bytes only when they sign
}

/** The same 32 bytes again. */
export async function askPasskey(lock) {
  const credential = await navigator.credentials.get({
    publicKey: {
      challenge: random(32),
      allowCredentials: [{ type: "public-key", id: lock.credential }],
      userVerification: "required",
      extensions: { prf: { eval: { first: lock.input } } },
    },
  });
  const first = credential.getClientExtensionResults().prf?.results?.first;
  if (!first) throw new NoPrf();
  return new Uint8Array(first);
}

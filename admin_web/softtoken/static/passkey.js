// A passkey as a lock. Its PRF extension (WebAuthn level 3, section 10.1.4) gives 32 secret bytes.
// Sends nothing: no server verifies the signatures, only the PRF output is used.

import { base64url } from "./base64url.js";
import { randomBytes } from "./sealing.js";

/** This device's passkeys have no PRF extension. */
export class NoPrf extends Error {}

/** The passkey was confirmed, but no PRF output came with it: an older browser, or the passkey of another device. */
export class NoOutput extends Error {}

const BACKUP_ELIGIBLE = 0x08; // in the flags of the authenticator data (WebAuthn level 3, section 6.1)
const FLAGS_AT = 32;

/**
 * Resolves to what the browser says before anybody is asked (WebAuthn level 3, section 5.1.7): { possible, here }.
 * `possible` false: no passkey can protect a token here; `here` false: only one of another device can. An older browser
 * does not say, and is taken to be able.
 */
export async function passkeyAbility() {
  if (!("PublicKeyCredential" in globalThis)) return { possible: false, here: false };
  const said = await PublicKeyCredential.getClientCapabilities?.().catch(() => undefined);
  const here = said?.userVerifyingPlatformAuthenticator ?? said?.passkeyPlatformAuthenticator ?? true;
  return { possible: said?.["extension:prf"] !== false, here };
}

/**
 * Creates a passkey. `user`: 16 bytes; an authenticator keeps one passkey for them, the last. `names`: { rp, user,
 * display }, which the browser shows. Resolves to { lock, output, prf }: lock is { kind: "passkey", credential, input,
 * salt, transports, attachment, synced } for the record, output the PRF output (32 bytes) or null, prf whether the
 * passkey has the extension. Throws the browser's DOMException (NotAllowedError if the person cancels).
 */
export async function createPasskey(user, names) {
  const input = randomBytes(32);
  const credential = await navigator.credentials.create({
    publicKey: {
      rp: { name: names.rp },
      user: { id: user, name: names.user, displayName: names.display },
      challenge: randomBytes(32),
      pubKeyCredParams: [-7, -257].map((alg) => ({ type: "public-key", alg })), // ES256, RS256
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
      extensions: { prf: { eval: { first: input } } },
    },
  });
  const { response } = credential;
  const flags = response.getAuthenticatorData && new Uint8Array(response.getAuthenticatorData())[FLAGS_AT];
  const lock = {
    kind: "passkey",
    credential: new Uint8Array(credential.rawId),
    input,
    salt: randomBytes(16),
    transports: response.getTransports?.() ?? [],
    attachment: credential.authenticatorAttachment ?? null,
    synced: flags === undefined ? null : (flags & BACKUP_ELIGIBLE) !== 0,
  };
  const prf = credential.getClientExtensionResults().prf;
  const output = prf?.results?.first ? new Uint8Array(prf.results.first) : null;
  return { lock, output, prf: Boolean(output || prf?.enabled) };
}

/** Resolves to the PRF output (32 bytes) of a lock of kind "passkey". Throws NoOutput or the browser's DOMException. */
export async function passkeyOutput(lock) {
  const credential = await navigator.credentials.get({
    publicKey: {
      challenge: randomBytes(32),
      allowCredentials: [{ type: "public-key", id: lock.credential, transports: lock.transports ?? [] }],
      userVerification: "required",
      extensions: { prf: { eval: { first: lock.input } } },
    },
  });
  const first = credential.getClientExtensionResults().prf?.results?.first;
  if (!first) throw new NoOutput();
  return new Uint8Array(first);
}

/** Tells the device that the passkey of a lock is of no use any more, where the browser passes that on. */
export function disownPasskey(lock) {
  const signal = { rpId: location.hostname, credentialId: base64url(lock.credential) };
  globalThis.PublicKeyCredential?.signalUnknownCredential?.(signal).catch(() => {});
}

/** The name of the text (texts.js) that says where the passkey of a lock is; null: not known. */
export function whereText({ attachment, synced }) {
  if (attachment === "cross-platform") return "passkeyElsewhere";
  if (synced === true) return "passkeySynced";
  return synced === false ? "passkeyHere" : null;
}

// What a set-up that is not finished leaves for the next try, in all tabs and after a reload: the key of the request for
// a token, and the passkey that was created for it. Gone once the token is stored. Never holds a seed.

import { randomBytes } from "./sealing.js";
import { inTransaction } from "./storage.js";

/** The browser cannot store a token: private mode, a full disk, storage forbidden. Nothing was asked for. */
export class CannotStore extends Error {}

const ROOM = 2048; // bytes: more than a token needs

/**
 * Resolves to the key (Uint8Array) that stands for this device's request, the same until a token is stored. It is
 * written each time, with as much beside it as a token needs: so whether the browser can store is known before a token is
 * asked for. Throws CannotStore.
 */
export async function requestKey() {
  let kept = null;
  try {
    await inTransaction("readwrite", (store) => {
      const found = store.get("request");
      found.onsuccess = () => {
        kept = found.result?.key ?? randomBytes(32);
        store.put({ key: kept, room: new Uint8Array(ROOM) }, "request");
      };
      return found;
    });
  } catch (error) {
    throw new CannotStore(error?.name);
  }
  return kept;
}

/** The next request has another key. Throws DOMException. */
export function dropRequestKey() {
  return inTransaction("readwrite", (store) => store.delete("request"));
}

/**
 * Resolves to the passkey that was created and has no token yet: { user, tokenId, lock, noPrf }; else undefined.
 * Throws DOMException.
 */
export function pendingPasskey() {
  return inTransaction("readonly", (store) => store.get("passkey"));
}

/** Keeps it. Throws DOMException. */
export function keepPasskey(pending) {
  return inTransaction("readwrite", (store) => store.put(pending, "passkey"));
}

/** Forgets that there is one, so that the next try creates another. Throws DOMException. */
export function dropPasskey() {
  return inTransaction("readwrite", (store) => store.delete("passkey"));
}

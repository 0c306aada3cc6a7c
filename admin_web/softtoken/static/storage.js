// The record of this device's token, in IndexedDB: one record, sealed. Never stores a seed or its key in clear. Beside it
// lies what pending.js and tries.js keep.

const NAME = "soft-token";
const SETUP = ["request", "passkey", "tries"];

/** Another tab has stored a token since this one looked. */
export class AlreadyStored extends Error {}

function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("token");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * Runs `operation(store)`, which gives a request. Resolves to the request's result after the commit; `strict` waits until
 * it is on the disk. Throws DOMException.
 */
export async function inTransaction(mode, operation) {
  const database = await openDatabase();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction("token", mode, { durability: "strict" });
      const request = operation(transaction.objectStore("token"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? request.error);
    });
  } finally {
    database.close();
  }
}

/** Resolves to the stored record (its shape: seal() in sealing.js), or undefined. Throws DOMException. */
export function readToken() {
  return inTransaction("readonly", (store) => store.get("current"));
}

/**
 * Stores a record and never overwrites one; with it, the set-up is finished, and what it kept is deleted.
 * Throws AlreadyStored if there is one, or DOMException if the browser cannot store.
 */
export async function storeToken(record) {
  try {
    await inTransaction("readwrite", (store) => {
      const added = store.add(record, "current");
      for (const left of SETUP) store.delete(left);
      return added;
    });
  } catch (error) {
    throw error?.name === "ConstraintError" ? new AlreadyStored() : error;
  }
}

/**
 * Puts another record of the same token in the place of `before`.
 * Throws AlreadyStored if another tab has done so meanwhile, or DOMException.
 */
export async function replaceToken(before, record) {
  let same = true;
  await inTransaction("readwrite", (store) => {
    const found = store.get("current");
    found.onsuccess = () => {
      same = found.result !== undefined && String(found.result.iv) === String(before.iv);
      if (!same) return;
      store.put(record, "current");
      for (const left of SETUP) store.delete(left);
    };
    return found;
  });
  if (!same) throw new AlreadyStored();
}

/** Deletes the record, if there is one. Throws DOMException. */
export function deleteToken() {
  return inTransaction("readwrite", (store) => store.delete("current"));
}

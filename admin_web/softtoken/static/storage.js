// The record of this device's token, in IndexedDB: one record, sealed. Never stores a seed or a key in clear.

const NAME = "soft-token";

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

/** Resolves to the request's result after the commit; `strict` waits until it is on the disk. */
async function inTransaction(mode, operation) {
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
 * Stores a record and never overwrites one.
 * Throws AlreadyStored if there is one, or DOMException if the browser cannot store.
 */
export async function storeToken(record) {
  try {
    await inTransaction("readwrite", (store) => store.add(record, "current"));
  } catch (error) {
    throw error?.name === "ConstraintError" ? new AlreadyStored() : error;
  }
}

/** Deletes the record, if there is one. Throws DOMException. */
export function deleteToken() {
  return inTransaction("readwrite", (store) => store.delete("current"));
}

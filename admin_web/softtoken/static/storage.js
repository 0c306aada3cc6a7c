// The record of this device's token, in IndexedDB: one record, sealed. Never stores a seed or its key in clear. Beside it
// lies what pending.js and tries.js keep.

const NAME = "soft-token";
const SETUP = ["request", "passkey", "tries"];

/** Another tab has stored a token since this one looked. */
export class AlreadyStored extends Error {}

/** The token is not stored any more: the browser's data was cleared while the page was open. */
export class Erased extends Error {}

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
 * Throws Erased or AlreadyStored as checkStored() does, or DOMException.
 */
export function replaceToken(before, record) {
  return ifStored(before, "readwrite", (store) => {
    store.put(record, "current");
    for (const left of SETUP) store.delete(left);
  });
}

/** Deletes this record. Throws AlreadyStored if another tab has stored another one meanwhile, or DOMException. */
export async function deleteToken(record) {
  try {
    await ifStored(record, "readwrite", (store) => store.delete("current"));
  } catch (error) {
    if (!(error instanceof Erased)) throw error;
  }
}

/** Throws Erased if no record is stored, AlreadyStored if it is another one than this, or DOMException. */
export function checkStored(record) {
  return ifStored(record, "readonly", () => {});
}

async function ifStored(record, mode, operation) {
  const found = await inTransaction(mode, (store) => {
    const request = store.get("current");
    request.onsuccess = () => isSame(request.result, record) && operation(store);
    return request;
  });
  if (found === undefined) throw new Erased();
  if (!isSame(found, record)) throw new AlreadyStored();
}

/** Each sealing has an initialisation vector of its own. */
function isSame(stored, record) {
  return String(stored?.iv) === String(record.iv);
}

// The one record of this device, in IndexedDB. It holds a sealed seed and nothing that opens it.

const NAME = "soft-token";

/** Somebody (another tab) has put a token here meanwhile. */
export class Taken extends Error {}

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("token");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function inStore(mode, act) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction("token", mode, { durability: "strict" });
      const request = act(transaction.objectStore("token"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? request.error);
    });
  } finally {
    database.close();
  }
}

export function readToken() {
  return inStore("readonly", (store) => store.get("current"));
}

/** Throws Taken rather than overwrite a token that is there. */
export async function keepToken(record) {
  try {
    await inStore("readwrite", (store) => store.add(record, "current"));
  } catch (error) {
    throw error?.name === "ConstraintError" ? new Taken() : error;
  }
}

export function dropToken() {
  return inStore("readwrite", (store) => store.delete("current"));
}

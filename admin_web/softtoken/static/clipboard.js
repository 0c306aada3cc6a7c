// Copies to the clipboard, and clears a copied code after a while where the browser lets it. Never reads the clipboard
// unless the customer has allowed that before, and never clears what somebody else may have put there.

import { announce } from "./page.js";

const CLEAR_AFTER_MS = 60_000; // a code is good for no longer

let copiedCode = null; // { code, at, left }: at by performance.now(), left whether the page has lost the focus since

/** Copies a token ID, and says whether it could. */
export async function copyTokenId(tokenId) {
  copiedCode = null;
  await copy(tokenId);
}

/** Copies a code, and says whether it could. */
export async function copyCode(code) {
  if (await copy(code)) copiedCode = { code, at: performance.now(), left: !document.hasFocus() };
}

async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    announce("copied");
    return true;
  } catch {
    announce("notCopied");
    return false;
  }
}

/** Whether the clipboard may be read without a question to the customer. */
async function mayRead() {
  try {
    return (await navigator.permissions.query({ name: "clipboard-read" })).state === "granted";
  } catch {
    return false; // this browser does not know the permission
  }
}

/** Whether the clipboard still holds this code; where nobody can know, no. */
async function holds({ code, left }) {
  if (!left) return true;
  return (await mayRead()) && (await navigator.clipboard.readText()) === code;
}

/** Clears a copied code that is old enough. Call it every second, and at each click: some browsers want one. */
export async function clearOldCode() {
  const copied = copiedCode;
  if (!copied || performance.now() - copied.at < CLEAR_AFTER_MS || !document.hasFocus()) return;
  try {
    if (await holds(copied)) {
      await navigator.clipboard.writeText("");
      announce("clipboardCleared");
    }
  } catch {
    return; // at the next click
  }
  if (copied === copiedCode) copiedCode = null;
}

/** From now on, so that what another page has copied is never cleared. */
export function watchClipboard() {
  addEventListener("blur", () => { if (copiedCode) copiedCode.left = true; });
  addEventListener("click", clearOldCode);
}

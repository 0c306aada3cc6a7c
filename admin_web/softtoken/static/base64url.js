// Base64url without padding (RFC 4648, section 5). Pure.

/** The text of these bytes (Uint8Array, short). */
export function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}

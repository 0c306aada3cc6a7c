// The ticket that the portal gives its customer along in the link's fragment (#ticket=…). Never sends it.

const NAME = "ticket";
const FORM = /^#ticket=([A-Za-z0-9_-]{1,100})$/;

/** Takes the ticket out of the address, so that neither history nor bookmark keeps it; a reload of the tab does. */
export function takeTicket() {
  const found = FORM.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    sessionStorage.setItem(NAME, found[1]);
  } catch {
    // without a storage there will be no token either
  }
}

/** The ticket, or an empty string. */
export function ticket() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

/** Forgets the ticket, once it has got its token. */
export function dropTicket() {
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // there was none
  }
}

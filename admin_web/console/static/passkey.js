// Asks the browser for a passkey, or for a new one, and puts its answer into the form. It sends nothing by itself.
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const known = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

async function created(options) {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: known(options.excludeCredentials),
  };
  const made = await navigator.credentials.create({ publicKey });
  return { id: made.id, rawId: made.id, type: made.type, response: {
    clientDataJSON: text(made.response.clientDataJSON),
    attestationObject: text(made.response.attestationObject),
  } };
}

async function answered(options) {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    allowCredentials: known(options.allowCredentials),
  };
  const found = await navigator.credentials.get({ publicKey });
  return { id: found.id, rawId: found.id, type: found.type, response: {
    clientDataJSON: text(found.response.clientDataJSON),
    authenticatorData: text(found.response.authenticatorData),
    signature: text(found.response.signature),
  } };
}

for (const form of document.querySelectorAll("form.passkey")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const options = JSON.parse(form.dataset.options);
      const answer = await (form.dataset.kind === "create" ? created(options) : answered(options));
      form.elements.answer.value = JSON.stringify(answer);
      form.submit();
    } catch {
      form.querySelector(".wrong").hidden = false;
      button.disabled = false;
    }
  });
}

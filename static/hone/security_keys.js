// Security keys (WebAuthn): a button asks the browser for one, and the form takes what the key says to the server.
// The server writes what is asked for into data-options; data-ceremony says whether a key is made or used.

const form = document.querySelector("form[data-ceremony]");
const button = form?.querySelector("button");
const failure = form?.querySelector(".failure");

const ask = async () => {
  const options = JSON.parse(form.dataset.options).publicKey;
  if (form.dataset.ceremony === "create") {
    return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
  }
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
};

if (form) {
  // Only over HTTPS or on localhost, and in browsers of the last years. Until this script is there the button is off:
  // the form alone would send no key.
  const canAsk = Boolean(globalThis.PublicKeyCredential?.parseCreationOptionsFromJSON && navigator.credentials);
  button.disabled = !canAsk;
  form.querySelector(".unavailable").hidden = canAsk;
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    failure.hidden = true;
    button.disabled = true;
    try {
      form.elements.credential.value = JSON.stringify((await ask()).toJSON());
      form.submit();
    } catch {
      // Refused by the person, timed out, or no such key: the browser has said which.
      failure.hidden = false;
      button.disabled = false;
    }
  });
}

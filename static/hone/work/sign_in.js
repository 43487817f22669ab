// Signed out in the middle of work: sign in again on top of the page, which stays as it is.
"use strict";

hone.work.signIn = (() => {
  const dialog = document.getElementById("sign-in");
  const form = dialog.querySelector("form");
  const error = form.querySelector(".error");
  let done = () => {};

  const say = (sentence) => {
    error.textContent = sentence;
    error.hidden = !sentence;
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say("");
    const body = new URLSearchParams(new FormData(form));
    let response;
    try {
      response = await fetch(document.querySelector(".workplace").dataset.signIn, {
        method: "POST", body, credentials: "same-origin",
        headers: { "X-Requested-With": "XMLHttpRequest", "X-CSRFToken": hone.token() },
      });
    } catch {
      return say(gettext("No connection. Try again in a moment: nothing is lost."));
    }
    if (response.ok) {
      form.elements.password.value = "";
      dialog.close();
      hone.announce(gettext("Signed in again."));
      return done();
    }
    if (response.status === 429 || response.status === 503) return say(await response.text());
    say(response.status === 400 ? gettext("That password isn't right.")
      : gettext("Signing in here did not work. Use another tab, then come back and submit again."));
  });
  form.querySelector("[data-close]").addEventListener("click", () => dialog.close());

  // `then` is called when the person is signed in again.
  return (then) => {
    done = then;
    if (dialog.open) return;
    say("");
    dialog.showModal();
    form.elements.password.focus();
  };
})();

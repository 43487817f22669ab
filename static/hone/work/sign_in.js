// Signed out in the middle of work: sign in again on top of the page, which stays as it is.

import { Outcome, request } from "../fragments.js";
import { announce } from "../messages.js";

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
  const url = document.querySelector(".workplace").dataset.signIn;
  const body = new URLSearchParams(new FormData(form));
  // allauth answers requests of scripts by their status when it sees this header.
  const reply = await request(url, { method: "POST", body, headers: { "X-Requested-With": "XMLHttpRequest" } });
  if (reply.ok) {
    form.elements.password.value = "";
    dialog.close();
    announce(gettext("Signed in again."));
    return done();
  }
  if (reply.status === 0) return say(gettext("No connection. Try again in a moment: nothing is lost."));
  if (reply.outcome === Outcome.UNAVAILABLE && reply.sentence) return say(reply.sentence);
  say(reply.status === 400 ? gettext("That password isn't right.")
    : gettext("Signing in here did not work. Use another tab, then come back and submit again."));
});
form.querySelector("[data-close]").addEventListener("click", () => dialog.close());

// `then` is called when the person is signed in again.
export const signIn = (then) => {
  done = then;
  if (dialog.open) return;
  say("");
  dialog.showModal();
  form.elements.password.focus();
};

// On every page: what htmx asks for keeps to the protocol of fragments.js, and a failed request becomes a sentence that
// takes nothing away.

import { Outcome, csrfToken, isPlainText, outcomeOf, request } from "./fragments.js";
import { showNotice } from "./messages.js";
import "./prose.js";

// Times are written by the server in the reader's time zone, which is the browser's unless the account names one.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.split("; ").includes(`zone=${zone}`)) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
}

// What was entered before signing in again must still be accepted.
document.addEventListener("htmx:configRequest", (event) => {
  const token = csrfToken();
  if (!token) return;
  event.detail.headers["X-CSRFToken"] = token;
  delete event.detail.parameters.csrfmiddlewaretoken;
});

// A refusal that the server addressed to a place on the page is shown there, whatever its status.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.getResponseHeader("HX-Retarget")) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

const failure = (status, sentence) => {
  if (sentence && (status < 500 || status === 503)) return sentence;
  if (outcomeOf(status, false) === Outcome.SIGNED_OUT) {
    return gettext(
      "That isn’t allowed, or you were signed out meanwhile. "
      + "What you entered is still on this page: sign in again in another tab, then send it again.",
    );
  }
  if (status === 404) return gettext("That no longer exists. What you entered is still on this page.");
  const unanswered = gettext(
    "The server could not answer (%(status)s). "
    + "What you entered is still on this page: send it again in a moment.",
  );
  return interpolate(unanswered, { status }, true);
};

document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.elt.closest("[data-quiet]")) return;
  const { xhr } = event.detail;
  showNotice(failure(xhr.status, isPlainText(xhr.getResponseHeader("Content-Type")) ? xhr.responseText : ""), "error");
});

document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.elt.closest("[data-quiet]")) return;
  const unreached = gettext(
    "The server can’t be reached. "
    + "What you entered is still on this page: send it again when the connection is back.",
  );
  showNotice(unreached, "error");
});


// Colours change at once: nothing on the page has to be loaded again, or is lost.
document.addEventListener("click", (event) => {
  const button = event.target.closest(".preferences [name=theme]");
  if (!button) return;
  event.preventDefault();
  document.documentElement.dataset.theme = button.value;
  for (const other of button.parentElement.children) {
    if (other.name === "theme") other.setAttribute("aria-pressed", String(other === button));
  }
  const chosen = new FormData(button.form);
  chosen.set("theme", button.value);
  // A redirection back to this page would load it a second time.
  request(button.form.action, { method: "POST", body: chosen, redirect: "manual" });
});

// A field filled before htmx listened, on a slow network or by the browser on the way back, counts as typed now.
const differs = (control) => {
  if (control.type === "checkbox" || control.type === "radio") return control.checked !== control.defaultChecked;
  if (!control.options) return control.value !== control.defaultValue;
  const chosen = [...control.options].findIndex((option) => option.defaultSelected);
  return control.selectedIndex !== Math.max(0, chosen);
};
window.addEventListener("pageshow", () => {
  for (const follower of document.querySelectorAll("[hx-trigger^='input from:closest']")) {
    const fields = follower.closest("fieldset, form").querySelectorAll("input[name], select[name], textarea[name]");
    [...fields].find(differs)?.dispatchEvent(new Event("input", { bubbles: true }));
  }
});

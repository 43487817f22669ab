// On every page: speak to screen readers, and turn a failed request into a sentence that takes nothing away.
"use strict";

const hone = {
  announce(sentence) {
    const announcer = document.getElementById("announcer");
    announcer.textContent = "";
    // A later frame, so that the same sentence twice is spoken twice.
    requestAnimationFrame(() => { announcer.textContent = sentence; });
  },

  say(sentence, kind) {
    const notice = document.createElement("p");
    notice.className = `notice ${kind}`;
    notice.textContent = sentence;
    document.getElementById("messages").replaceChildren(notice);
    notice.scrollIntoView({ block: "nearest" });
  },

  // Signing in again in another tab makes a new one, so it is read anew for each request.
  token() { return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? ""; },
};

// Times are written by the server in the reader's time zone, which is the browser's unless the account names one.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.split("; ").includes(`zone=${zone}`)) {
  document.cookie = `zone=${zone}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
}

// What was entered before signing in again must still be taken.
document.addEventListener("htmx:configRequest", (event) => {
  const token = hone.token();
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

document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.elt.closest("[data-quiet]")) return;
  const { status, responseText } = event.detail.xhr;
  const plain = (event.detail.xhr.getResponseHeader("Content-Type") ?? "").startsWith("text/plain");
  if (plain && (status < 500 || status === 503)) hone.say(responseText, "error");
  else if (status === 403) hone.say(gettext("That isn’t allowed, or you were signed out meanwhile. What you entered is still on this page: sign in again in another tab, then send it again."), "error");
  else if (status === 404) hone.say(gettext("That is no longer there. What you entered is still on this page."), "error");
  else hone.say(interpolate(gettext("The server could not answer (%(status)s). What you entered is still on this page: send it again in a moment."), { status }, true), "error");
});

document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.elt.closest("[data-quiet]")) return;
  hone.say(gettext("The server can’t be reached. What you entered is still on this page: send it again when the connection is back."), "error");
});

// On a narrow screen the tabs scroll: begin where one is.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

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
  const token = hone.token();
  fetch(button.form.action, { method: "POST", body: chosen, redirect: "manual", headers: token ? { "X-CSRFToken": token } : {} });
});

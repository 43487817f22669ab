// The work pages' scripts share hone.work. First of them: which key does what, as the person chose.
"use strict";

// kinds: what a kind of task adds, {matches(form), make(task)}; make returns {question(), key(event, deed), filled()}, each optional.
hone.work = { kinds: [] };

hone.work.keys = (() => {
  const chosen = JSON.parse(document.getElementById("key-map").textContent); // {deed: key}, empty when switched off
  const deeds = new Map(Object.entries(chosen).filter(([, key]) => key !== "off").map(([deed, key]) => [key, deed]));
  const signs = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→" };

  return {
    on: deeds.size > 0,

    of(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return undefined;
      return deeds.get(event.key.length === 1 ? event.key.toLowerCase() : event.key);
    },

    // Writes the keys into the <kbd data-key=deed> of a page or fragment.
    label(root) {
      for (const place of root.querySelectorAll("kbd[data-key]")) {
        const key = chosen[place.dataset.key] ?? "off";
        place.textContent = signs[key] ?? (key.length === 1 ? key.toUpperCase() : key);
        place.hidden = key === "off";
        // On a button the key is no part of its name.
        const button = place.closest("button");
        if (button) {
          place.ariaHidden = "true";
          if (!place.hidden) button.setAttribute("aria-keyshortcuts", key);
        }
        const row = place.closest("dl > div");
        if (row) row.hidden = place.hidden;
      }
    },

    // The button's key as it is where the focus is: within a box Enter is a new line. In a chat Ctrl and Enter belong to
    // the box's own button.
    labelSubmit(form, focused) {
      const place = form?.querySelector(".submit kbd");
      if (!place) return;
      const inBox = Boolean(focused?.matches?.("textarea, select, input:is([type=text], [type=number], [type=search])"));
      const isChat = form.dataset.kind === "chat";
      const writes = inBox || (form.classList.contains("written") && !isChat);
      const key = chosen.submit ?? "off";
      place.textContent = writes ? "Ctrl+Enter" : key;
      place.hidden = isChat && inBox ? true : !writes && key === "off";
      place.closest("button").setAttribute("aria-keyshortcuts", writes ? "Control+Enter" : key);
      if (place.hidden) place.closest("button").removeAttribute("aria-keyshortcuts");
    },

    // In the list of keys, those of this kind of task.
    showFor(form) {
      for (const row of document.querySelectorAll("#keys [data-kinds]")) {
        const off = row.querySelector("kbd[data-key]") ? chosen[row.querySelector("kbd[data-key]").dataset.key] === "off" : !deeds.size;
        const lacks = row.dataset.needs && !form?.querySelector(row.dataset.needs);
        row.hidden = off || Boolean(lacks) || !row.dataset.kinds.split(" ").includes(form?.dataset.kind ?? "");
      }
    },
  };
})();

// Asks the server as htmx would, so that it answers with fragments and never with the sign-in page.
hone.work.request = (url, options = {}) =>
  fetch(url, {
    credentials: "same-origin",
    ...options,
    headers: { "HX-Request": "true", "X-CSRFToken": hone.token(), ...options.headers },
    signal: options.keepalive ? undefined : AbortSignal.timeout(30_000),
  });

// What this browser keeps for a person: it may be full, or forbidden altogether.
hone.work.store = {
  name(kind, rest = "") { return `hone.${kind}.${document.querySelector(".workplace").dataset.user}${rest}`; },
  get(name) {
    try { return JSON.parse(localStorage.getItem(name)); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(name, JSON.stringify(value)); return true; } catch { return false; }
  },
  remove(name) {
    try { localStorage.removeItem(name); } catch { /* nothing was kept there */ }
  },
};

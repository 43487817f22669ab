// Which key does what, as the person chose.

const chosen = JSON.parse(document.getElementById("key-map").textContent); // {action: key}, empty when switched off
const used = Object.entries(chosen).filter(([, key]) => key !== "off");
const actions = new Map(used.map(([action, key]) => [key, action]));
const SIGNS = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→" };

export const BOX = "textarea, select, input:is([type=text], [type=number], [type=search])";

export const areOn = actions.size > 0;

export const actionOf = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return undefined;
  return actions.get(event.key.length === 1 ? event.key.toLowerCase() : event.key);
};

// Writes the keys into the <kbd data-key=action> of a page or fragment.
export const label = (root) => {
  for (const place of root.querySelectorAll("kbd[data-key]")) {
    const key = chosen[place.dataset.key] ?? "off";
    place.textContent = SIGNS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
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
};

// The submit button's key for where the focus is: within a box Enter is a new line. In a chat Ctrl and Enter belong to
// the box's own button.
export const labelSubmit = (form, focused) => {
  const place = form?.querySelector(".submit kbd");
  if (!place) return;
  const inBox = Boolean(focused?.matches?.(BOX));
  const isChat = form.dataset.kind === "chat";
  const writes = inBox || (form.classList.contains("written") && !isChat);
  const key = chosen.submit ?? "off";
  place.textContent = writes ? "Ctrl+Enter" : key;
  place.hidden = isChat && inBox ? true : !writes && key === "off";
  place.closest("button").setAttribute("aria-keyshortcuts", writes ? "Control+Enter" : key);
  if (place.hidden) place.closest("button").removeAttribute("aria-keyshortcuts");
};

// In the list of keys, those of this kind of task.
export const showFor = (form) => {
  for (const row of document.querySelectorAll("#keys [data-kinds]")) {
    const place = row.querySelector("kbd[data-key]");
    const isOff = place ? chosen[place.dataset.key] === "off" : !actions.size;
    const lacks = row.dataset.needs && !form?.querySelector(row.dataset.needs);
    row.hidden = isOff || Boolean(lacks) || !row.dataset.kinds.split(" ").includes(form?.dataset.kind ?? "");
  }
};

// Forms that ask for text: how long it is, how it will look, examples as rows, and the keys of a chat.

import { announce } from "../messages.js";
import * as keys from "./keys.js";
import { toggleRaw } from "./layout.js";
import { countWords } from "./words.js";

const PREVIEW_DELAY = 500; // milliseconds without a change before the preview follows

// ---- length ----
function showLength(box) {
  const output = document.querySelector(`[data-count-of="${box.id}"]`);
  if (!output) return;
  const n = countWords(box.value);
  const characters = [...box.value].length;
  const inWords = interpolate(
    ngettext("%(n)s word", "%(n)s words", n),
    { n: n.toLocaleString(document.documentElement.lang) },
    true,
  );
  const inCharacters = interpolate(
    ngettext("%(n)s character", "%(n)s characters", characters),
    { n: characters.toLocaleString(document.documentElement.lang) },
    true,
  );
  output.textContent = `${inWords} · ${inCharacters}`;
}

// ---- preview ----
let previewTimer = 0;
const panelOf = (box) => document.querySelector(`[data-preview-of="${box.id}"]`);
const preview = (panel) => panel.querySelector(".prose").dispatchEvent(new Event("preview"));

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("[data-preview-of]") && event.target.open) preview(event.target);
}, true);

document.addEventListener("input", (event) => {
  if (!event.target.matches("#written")) return;
  showLength(event.target);
  const panel = panelOf(event.target);
  if (!panel?.open) return;
  clearTimeout(previewTimer);
  previewTimer = setTimeout(() => { if (panel.isConnected) preview(panel); }, PREVIEW_DELAY);
});

// ---- examples ----
function addExample(button) {
  const rows = [...button.closest("[data-examples]").querySelectorAll(".example")];
  const number = rows.length;
  if (number >= Number(button.closest("[data-examples]").dataset.most)) return;
  const row = rows.at(-1).cloneNode(true);
  row.querySelector("legend").textContent = interpolate(gettext("Example %(n)s"), { n: number + 1 }, true);
  for (const box of row.querySelectorAll("textarea")) {
    box.name = box.name.replace(/\d+$/, String(number));
    box.value = "";
    box.textContent = "";
  }
  rows.at(-1).after(row);
  row.querySelector("textarea").focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-add-example]");
  if (button) addExample(button);
});

// ---- kinds of task ----
const digitOf = (event) => {
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  return /^[0-9]$/.test(event.key) && keys.areOn && isPlain ? event.key : null;
};

// One response: a digit rates the criterion in focus, else the first that isn't rated, and goes on to the next.
export class Rating {
  constructor(task) { this.task = task; }

  scales() { return [...this.task.form.querySelectorAll(".scale")]; }

  unrated(after) {
    const scales = this.scales();
    const from = scales.indexOf(after) + 1;
    const inTurn = [...scales.slice(from), ...scales.slice(0, from)];
    return inTurn.find((scale) => !scale.querySelector("input:checked")?.value);
  }

  key(event, action) {
    const digit = digitOf(event);
    const scale = event.target.closest?.(".scale") ?? this.unrated(null);
    const stop = digit !== null && scale?.querySelector(`input[value="${digit}"]`);
    if (stop) {
      stop.click();
      stop.focus();
      this.unrated(scale)?.querySelector("input:checked, input")?.focus();
      return true;
    }
    if (action === "raw") {
      toggleRaw(this.task.form);
      return true;
    }
    if (action !== "rate" || !scale) return false;
    scale.querySelector("input:checked, input").focus();
    return true;
  }

  obstacle() {
    const left = this.scales()
      .filter((each) => !each.querySelector("input:checked")?.value)
      .map((each) => each.querySelector("legend").firstChild.textContent.trim());
    return left.length ? interpolate(gettext("Still to rate: %(criteria)s."), { criteria: left.join(", ") }, true) : "";
  }
}

// A text: what the server would refuse is said at once, before anything moves on.
export class Text {
  constructor(task) {
    this.box = task.form.elements.text;
    showLength(this.box);
  }

  filled() { showLength(this.box); }

  obstacle() { return this.box.value.trim() ? "" : gettext("Write something first, or skip the task."); }
}

// A chat: actions within it go to an address of their own, and what was in the box is no draft any more afterwards.
export class Chat {
  constructor(task) {
    this.task = task;
    this.box = task.form.elements.text;
    showLength(this.box);
    this.sender = task.form.querySelector('[data-sends="written"]');
    // What an action left in the box, as a response to be edited, is in no draft yet.
    queueMicrotask(() => { if (this.box.value) task.draft.changed(); });
  }

  filled() { showLength(this.box); }

  // The next turn of the same chat: to the box when the user speaks, else to what there is to choose from.
  goOn() {
    const next = this.task.form.querySelector(".next-turn");
    next.scrollIntoView({ block: "end" });
    const isUsers = this.sender.value === "say" || this.box.value;
    (isUsers ? this.box : this.task.form.querySelector("h1")).focus({ preventScroll: true });
  }

  key(event) {
    const digit = digitOf(event);
    const button = digit !== null && this.task.form.querySelector(`[data-digit="${digit}"]`);
    if (!button) return false;
    button.click();
    return true;
  }

  obstacle() {
    if (this.box.value.trim()) {
      return gettext("What is in the box isn't part of the chat yet. Send it first, or clear the box.");
    }
    if (this.sender.value !== "write") return "";
    return gettext("A chat ends with a response: choose or write one, or take back the last turn.");
  }
}

// In a chat Ctrl and Enter send what is in the box; the page's own keys would hand the whole chat in.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.target.id !== "written") return;
  const button = event.target.form?.querySelector('[data-sends="written"]');
  if (!button) return;
  event.preventDefault();
  button.click();
}, true);

let lastSaid = "";
document.addEventListener("htmx:load", (event) => {
  if (!event.target.matches?.("#candidates")) return;
  // Looked at again each second, but said only when it is new.
  const say = event.target.dataset.say ?? "";
  if (say && say !== lastSaid) announce(say);
  lastSaid = say;
});

// A task on the page: its form, its draft, the time spent on it, and what its kind adds.

import { Draft } from "./draft.js";
import { FormFields } from "./form_fields.js";
import * as keys from "./keys.js";

// crypto.randomUUID is there with HTTPS alone.
const randomDigit = (digit) => (digit ^ (Math.random() * 16 >> digit / 4)).toString(16);
const randomId = () => crypto.randomUUID?.() ?? "10000000-1000-4000-8000-100000000000".replace(/[018]/g, randomDigit);

export class Task {
  // kinds: {class of the form: what its kind of task adds}; on: what a Draft reports
  constructor(section, kinds, on) {
    this.section = section;
    this.form = section.querySelector("form[data-work]");
    this.id = section.dataset.task;
    this.lastQuestion = "";
    this.kind = {};
    keys.label(section);
    if (!this.form) return;
    this.draft = this.draftOf(on);
    this.countSeconds();
    const kind = Object.keys(kinds).find((name) => this.form.classList.contains(name));
    if (kind) this.kind = new kinds[kind](this);
    this.form.addEventListener("change", (event) => {
      // Sortable has a "change" event of its own, in the middle of a drag.
      if (event.target.matches("input, select, textarea")) this.changed();
    });
    this.form.addEventListener("input", () => this.changed());
    this.form.addEventListener("hone:filled", () => this.kind.filled?.());
    this.draft.restore();
  }

  draftOf(on) {
    const { draftUrl, draftVersion } = this.form.dataset;
    return new Draft({
      fields: new FormFields(this.form),
      url: draftUrl,
      version: Number(draftVersion) || 0,
      isSubmitted: this.form.querySelector("[data-judged]") !== null,
      on: { ...on, beforeSave: () => this.noteSeconds() },
    });
  }

  // Another task is on the screen from now on; this one may come back, bound to its form as it is.
  leave() {
    if (!this.form) return;
    this.kind.leave?.();
    this.noteSeconds();
    this.isAway = true;
    if (this.draft.dirty && !this.draft.ended) this.draft.save();
  }

  enter() {
    this.kind.enter?.();
    if (!this.form || !this.isAway) return;
    this.isAway = false;
    this.countedUntil = performance.now();
    if (!this.draft.ended) this.draft.check();
  }

  // A prompt that may upset, and its reader has not opened it: nothing is to be said about what nobody has read.
  get isCovered() { return this.form.querySelector(".veil:not([open])") !== null; }

  // Why it can't be submitted as it is, as a sentence; empty when it can.
  obstacle() {
    if (this.isCovered) return gettext("The prompt is still covered. Open it first, or skip the task.");
    return this.kind.obstacle?.() ?? "";
  }

  get refusal() { return this.form.querySelector("#refusal"); }

  get isTouched() { return Boolean(this.draft?.dirty) || this.isEdited === true; }

  changed() {
    this.lastQuestion = "";
    this.isEdited = true;
    this.refusal.textContent = "";
    this.draft.changed();
  }

  // What is easily a slip is asked about once; the second time it is meant. True when it may be sent.
  isConfirmed() {
    const question = this.kind.question?.() ?? "";
    if (!question || this.lastQuestion === question) return true;
    this.lastQuestion = question;
    this.refusal.textContent = question;
    return false;
  }

  // The form as what the outbox keeps.
  entry(submitter) {
    this.noteSeconds();
    const given = [...new FormData(this.form, submitter ?? undefined)];
    return {
      id: this.form.elements.client_id.value,
      url: this.form.getAttribute("action"),
      task: this.id,
      fields: given.filter(([name, value]) => name !== "csrfmiddlewaretoken" && typeof value === "string"),
      at: Date.now(),
    };
  }

  // What was refused or taken back before it was sent goes on as it was.
  reopen() {
    this.isSent = false;
    this.form.inert = false;
    this.section.removeAttribute("aria-busy");
    // Another id: it is no repetition of what was sent.
    this.form.elements.client_id.value = randomId();
    this.draft.resume();
    this.section.querySelector("h1")?.focus();
  }

  // Seconds with this page in sight; a draft that comes back brings its own.
  countSeconds() {
    this.seconds = Number(this.form.elements.seconds.value) || 0;
    this.countedUntil = performance.now();
    this.isInSight = document.visibilityState === "visible";
  }

  noteSeconds() {
    if (!this.form) return;
    const now = performance.now();
    if (this.isInSight && !this.isAway) this.seconds += (now - this.countedUntil) / 1000;
    this.countedUntil = now;
    this.isInSight = document.visibilityState === "visible";
    this.form.elements.seconds.value = this.seconds.toFixed(1);
  }

  // Opens one of the page's folded parts and goes there, or folds it again.
  toggle(details, control) {
    if (!details) return;
    if (details.open) return this.fold(details);
    this.origins ??= new WeakMap();
    this.origins.set(details, document.activeElement);
    details.open = true;
    details.querySelector(control)?.focus();
    if (!details.matches(".pop-up")) details.scrollIntoView({ block: "nearest" });
  }

  // Folds it and goes back to where its reader came from: on its summary, the next Enter would open it again.
  fold(details) {
    details.open = false;
    this.goBack(details);
  }

  goBack(details, from = null) {
    const origin = details && this.origins?.get(details);
    const canTakeFocus = origin?.isConnected && origin !== document.body && origin.checkVisibility();
    if (canTakeFocus) origin.focus({ preventScroll: true });
    else if (this.kind.home) this.kind.home(from);
    else this.section.querySelector("h1")?.focus({ preventScroll: true });
  }

  // Escape in a box: what is written stays, and the keys are the task's again.
  leaveBox(box) {
    const details = box.closest("details");
    if (details && !box.value.trim()) details.open = false;
    this.goBack(details, box);
  }
}

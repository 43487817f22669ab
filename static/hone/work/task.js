// A task on the page: its form, its draft, the time spent on it, and what its kind adds.
"use strict";

hone.work.Task = class {
  constructor(section, tell) {
    this.section = section;
    this.form = section.querySelector("form[data-work]");
    this.id = section.dataset.task;
    this.tell = tell;
    this.asked = "";
    this.kind = {};
    hone.work.keys.label(section);
    if (!this.form) return;
    this.draft = new hone.work.Draft(this.form, { ...tell, beforeSave: () => this.noteSeconds() });
    this.countSeconds();
    const kind = hone.work.kinds.find((candidate) => candidate.matches(this.form));
    this.kind = kind ? kind.make(this) : {};
    this.form.addEventListener("change", (event) => {
      // Sortable has a "change" event of its own, in the middle of a drag.
      if (event.target.matches("input, select, textarea")) this.changed();
    });
    this.form.addEventListener("input", () => this.changed());
    this.form.addEventListener("hone:filled", () => this.kind.filled?.());
    this.draft.restore();
  }

  // Another task is on the screen from now on; this one may come back, bound to its form as it is.
  leave() {
    if (!this.form) return;
    this.noteSeconds();
    this.isAway = true;
    if (this.draft.dirty && !this.draft.ended) this.draft.save();
  }

  enter() {
    if (!this.form || !this.isAway) return;
    this.isAway = false;
    this.since = performance.now();
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

  get touched() { return Boolean(this.draft?.dirty) || this.edited === true; }

  changed() {
    this.asked = "";
    this.edited = true;
    this.refusal.textContent = "";
    this.draft.changed();
  }

  // What is easily a slip is asked about once; the second time it is meant. True when it may be sent.
  mayBeSent() {
    const question = this.kind.question?.() ?? "";
    if (!question || this.asked === question) return true;
    this.asked = question;
    this.refusal.textContent = question;
    return false;
  }

  // The form as what the outbox keeps.
  entry(submitter) {
    this.noteSeconds();
    const fields = [...new FormData(this.form, submitter ?? undefined)].filter(([name, value]) => name !== "csrfmiddlewaretoken" && typeof value === "string");
    return { id: this.form.elements.client_id.value, url: this.form.getAttribute("action"), task: this.id, fields, at: Date.now() };
  }

  // Seconds with this page in sight; a draft that comes back brings its own.
  countSeconds() {
    this.spent = Number(this.form.elements.seconds.value) || 0;
    this.since = performance.now();
    this.inSight = document.visibilityState === "visible";
  }

  noteSeconds() {
    if (!this.form) return;
    const now = performance.now();
    if (this.inSight && !this.isAway) this.spent += (now - this.since) / 1000;
    this.since = now;
    this.inSight = document.visibilityState === "visible";
    this.form.elements.seconds.value = this.spent.toFixed(1);
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
    if (origin?.isConnected && origin !== document.body && origin.checkVisibility()) origin.focus({ preventScroll: true });
    else if (this.kind.home) this.kind.home(from);
    else this.section.querySelector("h1")?.focus({ preventScroll: true });
  }

  // Escape in a box: what is written stays, and the keys are the task's again.
  leaveBox(box) {
    const details = box.closest("details");
    if (details && !box.value.trim()) details.open = false;
    this.goBack(details, box);
  }
};

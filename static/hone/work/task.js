// A task on the page: its form, its draft, the time spent on it, and what its kind adds.
"use strict";

hone.work.Task = class {
  constructor(section, tell) {
    this.section = section;
    this.form = section.querySelector("form[data-work]");
    this.id = section.dataset.task;
    this.tell = tell;
    this.asked = "";
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
    if (this.inSight) this.spent += (now - this.since) / 1000;
    this.since = now;
    this.inSight = document.visibilityState === "visible";
    this.form.elements.seconds.value = this.spent.toFixed(1);
  }

  // Opens one of the page's folded parts and goes there, or folds it again.
  toggle(details, control) {
    if (!details) return;
    details.open = !details.open;
    (details.open ? details.querySelector(control) : details.querySelector("summary"))?.focus();
    if (details.open && !details.matches(".pop-up")) details.scrollIntoView({ block: "nearest" });
  }
};

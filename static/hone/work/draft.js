// What is being entered, kept at once in this browser and soon on the server. Drafts are numbered, so that an older one
// never takes the place of a newer one, and a page that is behind another says so instead of writing over it.
"use strict";

hone.work.Draft = class {
  static DELAY = 800; // milliseconds without a change before a draft goes to the server
  static PAGE = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  static LEFT_OUT = new Set(["csrfmiddlewaretoken", "client_id", "seconds", "rubric", "back", "report_reason", "report_note"]);

  // tell: {state(sentence), conflict(fields, keep, take), judged(), signedOut(), beforeSave()}
  constructor(form, tell) {
    this.form = form;
    this.tell = tell;
    this.url = form.dataset.draftUrl;
    this.version = this.base = Number(form.dataset.draftVersion) || 0;
    this.name = hone.work.store.name("draft", this.url);
    this.wasJudged = form.querySelector("[data-judged]") !== null;
    this.delay = 2_000;
  }

  fields() {
    return [...new FormData(this.form)].filter(([name, value]) => typeof value === "string" && !this.constructor.LEFT_OUT.has(name));
  }

  // Whether {name: [values]} is what the form holds; fields without a value don't count.
  holds(fields) {
    const flat = (pairs) => JSON.stringify(pairs.filter(([name, value]) => value && !this.constructor.LEFT_OUT.has(name)).sort());
    return flat(Object.entries(fields ?? {}).flatMap(([name, list]) => list.map((value) => [name, value]))) === flat(this.fields());
  }

  // Puts {name: [values]} or [[name, value], ...] into the form.
  fill(fields) {
    const values = Array.isArray(fields) ? fields : Object.entries(fields ?? {}).flatMap(([name, list]) => list.map((value) => [name, value]));
    const given = new Map();
    for (const [name, value] of values) given.set(name, [...(given.get(name) ?? []), value]);
    for (const control of this.form.elements) {
      if (!control.name || this.constructor.LEFT_OUT.has(control.name) || control.type === "hidden") continue;
      const list = given.get(control.name) ?? [];
      if (control.type === "radio") control.checked = list.length ? list.includes(control.value) : control.value === "";
      else if (control.type === "checkbox") control.checked = list.includes(control.value);
      else if (control.type !== "submit" && control.type !== "button") control.value = list.at(-1) ?? "";
    }
    for (const area of this.form.querySelectorAll("details textarea")) if (area.value) area.closest("details").open = true;
    this.form.dispatchEvent(new CustomEvent("hone:filled"));
  }

  // After a reload or a crash: what this browser has and the server hasn't.
  restore() {
    const kept = hone.work.store.get(this.name);
    if (!kept) return;
    if (JSON.stringify(kept.fields) === JSON.stringify(this.fields())) return hone.work.store.remove(this.name);
    const put = () => {
      this.fill(kept.fields);
      this.version = Math.max(this.version, kept.version);
      this.dirty = true;
      this.save();
    };
    if (kept.base === this.base) {
      put();
      this.tell.state(gettext("Brought back what had not been saved yet."));
    } else {
      this.tell.conflict(gettext("This browser has entries for this task that were never saved, and newer ones came from elsewhere. You see the newer ones."),
        [gettext("Show those of this browser"), put], [gettext("Keep what I see"), () => hone.work.store.remove(this.name)]);
    }
  }

  changed() {
    if (this.ended) return;
    this.dirty = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), this.constructor.DELAY);
    this.keepHere();
  }

  keepHere() {
    this.here = hone.work.store.set(this.name, { version: this.version + 1, base: this.base, fields: this.fields(), at: Date.now() });
  }

  async save({ keepalive = false } = {}) {
    clearTimeout(this.timer);
    if (!this.dirty || this.ended || !this.url) return;
    if (this.saving) { this.again = true; return; }
    this.saving = true;
    this.dirty = false;
    this.version += 1;
    this.tell.beforeSave();
    const body = new URLSearchParams(this.fields());
    body.set("seconds", this.form.elements.seconds?.value ?? "");
    body.set("draft_page", this.constructor.PAGE);
    body.set("draft_version", this.version);
    body.set("draft_base", this.base);
    let response = null;
    try {
      response = await hone.work.request(this.url, { method: "POST", body, keepalive: keepalive && body.toString().length < 60_000 });
    } catch { /* no connection: said below */ }
    this.saving = false;
    if (this.ended) return;
    if (response?.ok) this.took(await response.json());
    else await this.failed(response);
    if (this.again) { this.again = false; this.save(); }
  }

  took(answer) {
    this.delay = 2_000;
    if (answer.conflict) return this.conflict(answer);
    if (answer.over) return this.tell.state(gettext("This task was skipped; submitting it still works."));
    if (!answer.kept) {
      // It came after a newer one of this page's: what the form holds now goes out under the next number.
      this.version = Math.max(this.version, answer.version);
      this.dirty = true;
      return this.save();
    }
    this.base = this.version = Math.max(this.version, answer.version);
    if (!this.dirty) hone.work.store.remove(this.name);
    this.tell.state(answer.expired
      ? gettext("Your time for this task ran out. Your draft is saved, and you can still submit.")
      : gettext("Draft saved"));
  }

  async failed(response) {
    this.dirty = true;
    if (response && (response.status === 401 || response.status === 403)) {
      this.tell.state(gettext("Kept in this browser until you are signed in."));
      return this.tell.signedOut();
    }
    if (response && response.status < 500 && response.status !== 408 && response.status !== 429) {
      const answer = await response.json().catch(() => ({}));
      return this.tell.state(interpolate(gettext("Draft not saved: %(reason)s"), { reason: answer.error ?? response.status }, true));
    }
    this.tell.state(this.here ? gettext("No connection: kept in this browser.") : gettext("No connection: kept on this page only. Leave it open."));
    this.timer = setTimeout(() => this.save(), this.delay);
    this.delay = Math.min(this.delay * 2, 30_000);
  }

  conflict(answer) {
    if (this.holds(answer.draft)) {
      // This page's own, sent as it was left, or the same by another way.
      this.base = this.version = answer.version;
      this.dirty = false;
      hone.work.store.remove(this.name);
      return this.tell.state(gettext("Draft saved"));
    }
    this.dirty = true;
    const mine = this.fields();
    const settle = (fields) => {
      this.base = Math.max(this.base, answer.version);
      this.version = Math.max(this.version, this.base);
      if (fields) this.fill(fields);
      this.dirty = true;
      this.save();
    };
    this.tell.conflict(gettext("This task was changed in another window or on another device. You see what you entered here."),
      [gettext("Keep what I see"), () => settle(null)],
      [gettext("Show the other"), () => {
        settle(answer.draft ?? {});
        this.tell.conflict(gettext("You see what was entered in the other window."), [gettext("Go back to what I had here"), () => settle(mine)], [gettext("Keep this"), () => {}]);
      }]);
  }

  // Back on this page: was the task changed or submitted elsewhere meanwhile?
  async check() {
    if (this.ended || this.saving || !this.url) return;
    const { version } = this;
    let now;
    try {
      const response = await hone.work.request(this.url);
      if (response.status === 401) return this.tell.signedOut();
      if (!response.ok) return;
      now = await response.json();
    } catch { return; }
    if (this.ended) return;
    if (now.judged && !this.wasJudged) {
      this.wasJudged = true;
      return this.tell.judged();
    }
    // A draft of this page went out meanwhile: the answer is about the time before it.
    if (this.saving || this.version !== version) return;
    if (now.version <= this.base || now.page === this.constructor.PAGE || now.judged) return;
    if (this.dirty) return this.conflict(now);
    this.base = this.version = now.version;
    this.fill(now.draft ?? {});
    this.tell.state(gettext("Brought up to date with your other window."));
  }

  // Submitted: nothing more is written. `forget` when the server has it.
  end() {
    this.ended = true;
    clearTimeout(this.timer);
  }

  forget() { hone.work.store.remove(this.name); }

  resume() {
    this.ended = false;
    this.changed();
  }
};

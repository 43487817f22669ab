// What is being entered, kept at once in this browser and soon on the server. Drafts are numbered, so that an older one
// never takes the place of a newer one, and a page that is behind another says so instead of writing over it.

import { Outcome, request } from "../fragments.js";
import { areEqual } from "./form_fields.js";
import * as store from "./store.js";

const PAGE = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
const LONGEST_KEEPALIVE = 60_000; // characters; browsers refuse a body of more than 64 KiB after the page is gone

export class Draft {
  static DELAY = 800; // milliseconds without a change before a draft goes to the server
  static RETRY = 2_000; // milliseconds before the first retry; doubled for each further one
  static LONGEST_RETRY = 30_000;

  // fields: {read(), fill(fields), seconds}, as FormFields has them
  // version: the number of the server's draft; url: where drafts go, nothing is kept without one
  // on: {state(sentence), conflict(sentence, ...[label, action]), submittedElsewhere(), signedOut(), beforeSave()}
  constructor({ fields, url, version = 0, isSubmitted = false, on }) {
    this.fields = fields;
    this.url = url;
    this.on = on;
    this.version = version; // of the newest draft that was sent
    this.base = version; // of the newest one known to be on the server
    this.isSubmitted = isSubmitted;
    this.key = store.key("draft", url);
    this.delay = this.constructor.RETRY;
    this.dirty = this.ended = this.isSaving = this.isChangedWhileSaving = false;
  }

  // After a reload or a crash: what this browser has and the server hasn't.
  restore() {
    const kept = store.get(this.key);
    if (!kept) return;
    if (JSON.stringify(kept.fields) === JSON.stringify(this.fields.read())) return store.remove(this.key);
    const bringBack = () => {
      this.fields.fill(kept.fields);
      this.version = Math.max(this.version, kept.version);
      this.dirty = true;
      this.save();
    };
    if (kept.base === this.base) {
      bringBack();
      this.on.state(gettext("Unsaved entries restored."));
    } else {
      this.on.conflict(
        gettext(
          "This browser has entries for this task that were never saved, and newer ones came from elsewhere. "
          + "You see the newer ones.",
        ),
        [gettext("Show this browser’s entries"), bringBack],
        [gettext("Keep what I see"), () => this.forget()],
      );
    }
  }

  changed() {
    if (this.ended) return;
    this.dirty = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), this.constructor.DELAY);
    const kept = { version: this.version + 1, base: this.base, fields: this.fields.read(), at: Date.now() };
    this.isKeptHere = store.set(this.key, kept);
  }

  // keepalive: the page is going away, and the request has to outlive it
  async save({ keepalive = false } = {}) {
    clearTimeout(this.timer);
    if (!this.dirty || this.ended || !this.url) return;
    if (this.isSaving) { this.isChangedWhileSaving = true; return; }
    this.isSaving = true;
    this.dirty = false;
    this.version += 1;
    this.on.beforeSave();
    const body = new URLSearchParams(this.fields.read());
    body.set("seconds", this.fields.seconds);
    body.set("draft_page", PAGE);
    body.set("draft_version", this.version);
    body.set("draft_base", this.base);
    const isShort = body.toString().length < LONGEST_KEEPALIVE;
    const reply = await request(this.url, { method: "POST", body, keepalive: keepalive && isShort });
    this.isSaving = false;
    if (this.ended) return;
    if (reply.ok) this.saved(reply.data);
    else this.failed(reply);
    if (this.isChangedWhileSaving) { this.isChangedWhileSaving = false; this.save(); }
  }

  // receipt: {kept, conflict, over, expired, version, draft}, the server's
  saved(receipt) {
    this.delay = this.constructor.RETRY;
    if (receipt.conflict) return this.conflict(receipt);
    if (receipt.over) return this.on.state(gettext("This task was skipped; submitting it still works."));
    if (!receipt.kept) {
      // It came after a newer one of this page: what the form holds now goes out under the next number.
      this.version = Math.max(this.version, receipt.version);
      this.dirty = true;
      return this.save();
    }
    this.base = this.version = Math.max(this.version, receipt.version);
    if (!this.dirty) this.forget();
    this.on.state(receipt.expired
      ? gettext("Your time for this task ran out. Your draft is saved, and you can still submit.")
      : gettext("Draft saved"));
  }

  failed(reply) {
    this.dirty = true;
    // Whatever a 403 says: a draft is the labeler's own, so that they are not who they were.
    if (reply.outcome === Outcome.SIGNED_OUT || reply.status === 403) {
      this.on.state(gettext("Kept in this browser until you are signed in."));
      return this.on.signedOut();
    }
    if (reply.outcome === Outcome.REFUSED) {
      const reason = reply.data.error ?? reply.status;
      return this.on.state(interpolate(gettext("Draft not saved: %(reason)s"), { reason }, true));
    }
    this.on.state(
      this.isKeptHere
        ? gettext("No connection: kept in this browser.")
        : gettext("No connection: kept on this page only. Leave it open."),
    );
    this.timer = setTimeout(() => this.save(), this.delay);
    this.delay = Math.min(this.delay * 2, this.constructor.LONGEST_RETRY);
  }

  // other: {version, draft} of the server, written by another page
  conflict(other) {
    if (areEqual(other.draft, this.fields.read())) {
      // This page's own, sent as it was left, or the same by another way.
      this.base = this.version = other.version;
      this.dirty = false;
      this.forget();
      return this.on.state(gettext("Draft saved"));
    }
    this.dirty = true;
    const mine = this.fields.read();
    const resolve = (fields) => {
      this.base = Math.max(this.base, other.version);
      this.version = Math.max(this.version, this.base);
      if (fields) this.fields.fill(fields);
      this.dirty = true;
      this.save();
    };
    this.on.conflict(
      gettext("This task was changed in another window or on another device. You see what you entered here."),
      [gettext("Keep what I see"), () => resolve(null)],
      [gettext("Show the other version"), () => {
        resolve(other.draft ?? {});
        this.on.conflict(
          gettext("You see the version of the other window."),
          [gettext("Back to my version"), () => resolve(mine)],
          [gettext("Keep this version"), () => {}],
        );
      }]);
  }

  // Back on this page: was the task changed or submitted elsewhere meanwhile?
  async check() {
    if (this.ended || this.isSaving || !this.url) return;
    const { version } = this;
    const reply = await request(this.url);
    if (reply.status === 401) return this.on.signedOut();
    if (!reply.ok || this.ended) return;
    const now = reply.data;
    if (now.judged && !this.isSubmitted) {
      this.isSubmitted = true;
      return this.on.submittedElsewhere();
    }
    // A draft of this page went out meanwhile: the reply is about the time before it.
    if (this.isSaving || this.version !== version) return;
    if (!(now.version > this.base) || now.page === PAGE || now.judged) return;
    if (this.dirty) return this.conflict(now);
    this.base = this.version = now.version;
    this.fields.fill(now.draft ?? {});
    this.on.state(gettext("Updated from your other window."));
  }

  // Submitted: nothing more is written. `forget` when the server has it.
  end() {
    this.ended = true;
    clearTimeout(this.timer);
  }

  forget() { store.remove(this.key); }

  resume() {
    this.ended = false;
    this.changed();
  }
}

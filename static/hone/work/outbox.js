// What was submitted and has not been acknowledged yet. It is kept in this browser and sent again until the server has
// it; a submission carries its own id, so that one which arrives twice counts once.

import { Outcome, request } from "../fragments.js";
import * as store from "./store.js";

export class Outbox {
  static ORPHANED = 15_000; // milliseconds after which the page that wrote an entry is taken to be gone
  static RETRY = 1_000; // milliseconds before the first retry; doubled for each further one
  static LONGEST_RETRY = 30_000;

  // An entry is {id, url, task, fields: [[name, value], ...], at}; `isLeftOver` says that an earlier page wrote it.
  // on: {acknowledged(entry, reply), refused(entry, sentence), waiting(entries), signedOut()}
  constructor(on) {
    this.on = on;
    this.key = store.key("outbox");
    this.delay = this.constructor.RETRY;
    this.entries = this.stored()
      .filter((entry) => Date.now() - entry.at > this.constructor.ORPHANED)
      .map((entry) => ({ ...entry, isLeftOver: true }));
  }

  stored() { return store.get(this.key) ?? []; }

  put(entry) {
    this.entries.push(entry);
    store.set(this.key, [...this.stored(), entry]);
    return this.flush();
  }

  drop(id) {
    this.entries = this.entries.filter((entry) => entry.id !== id);
    const rest = this.stored().filter((entry) => entry.id !== id);
    if (rest.length) store.set(this.key, rest);
    else store.remove(this.key);
  }

  // Sends what is there, one after the other in the order of submission.
  async flush() {
    clearTimeout(this.timer);
    if (this.isSending) return;
    this.isSending = true;
    try {
      while (this.entries.length && await this.send(this.entries[0])) this.delay = this.constructor.RETRY;
    } finally {
      this.isSending = false;
    }
  }

  // True when there is nothing left to do about the entry.
  async send(entry) {
    const reply = await request(entry.url, { method: "POST", body: new URLSearchParams(entry.fields) });
    if (reply.outcome === Outcome.UNAVAILABLE) return this.retryLater(reply.retryAfter);
    if (reply.outcome === Outcome.SIGNED_OUT) {
      this.on.waiting(this.entries);
      this.on.signedOut();
      return false;
    }
    this.drop(entry.id);
    if (reply.ok) this.on.acknowledged(entry, reply);
    else this.on.refused(entry, reply.sentence || gettext("The server refused it."));
    return true;
  }

  // seconds: how long the server asks to be left alone
  retryLater(seconds = 0) {
    const longest = this.constructor.LONGEST_RETRY;
    this.on.waiting(this.entries);
    this.timer = setTimeout(() => this.flush(), Math.max(this.delay, Math.min(seconds * 1_000, longest)));
    this.delay = Math.min(this.delay * 2, longest);
    return false;
  }
}

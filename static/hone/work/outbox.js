// What was submitted and has not been acknowledged yet. It is kept in this browser and sent again until the server has
// it; a submission carries its own id, so that one which arrives twice counts once.
"use strict";

hone.work.Outbox = class {
  static ORPHANED = 15_000; // milliseconds after which the page that wrote an entry is taken to be gone

  // tell: {answered(entry, response, text), refused(entry, sentence), waiting(entries), signedOut()}
  constructor(tell) {
    this.tell = tell;
    this.name = hone.work.store.name("outbox");
    this.entries = [];
    this.delay = 1_000;
    const orphaned = this.stored().filter((entry) => Date.now() - entry.at > this.constructor.ORPHANED);
    this.entries.push(...orphaned.map((entry) => ({ ...entry, left: true })));
    window.addEventListener("online", () => this.flush());
  }

  stored() { return hone.work.store.get(this.name) ?? []; }

  put(entry) {
    this.entries.push(entry);
    hone.work.store.set(this.name, [...this.stored(), entry]);
    return this.flush();
  }

  drop(id) {
    this.entries = this.entries.filter((entry) => entry.id !== id);
    const left = this.stored().filter((entry) => entry.id !== id);
    if (left.length) hone.work.store.set(this.name, left);
    else hone.work.store.remove(this.name);
  }

  async flush() {
    clearTimeout(this.timer);
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.entries.length && await this.send(this.entries[0])) this.delay = 1_000;
    } finally {
      this.busy = false;
    }
  }

  // True when there is nothing left to do about the entry.
  async send(entry) {
    let response, text;
    try {
      response = await hone.work.request(entry.url, { method: "POST", body: new URLSearchParams(entry.fields) });
      text = await response.text();
    } catch {
      return this.later();
    }
    const plain = (response.headers.get("Content-Type") ?? "").startsWith("text/plain");
    if (response.ok) {
      this.drop(entry.id);
      this.tell.answered(entry, response, text);
      return true;
    }
    if (response.status === 401 || (response.status === 403 && !plain)) {
      this.tell.waiting(this.entries);
      this.tell.signedOut();
      return false;
    }
    if (response.status >= 500 || response.status === 429 || response.status === 408) return this.later(Number(response.headers.get("Retry-After")) || 0);
    this.drop(entry.id);
    this.tell.refused(entry, plain ? text : gettext("The server did not take it."));
    return true;
  }

  // seconds: how long the server asks to be left alone
  later(seconds = 0) {
    this.tell.waiting(this.entries);
    this.timer = setTimeout(() => this.flush(), Math.max(this.delay, Math.min(seconds, 30) * 1_000));
    this.delay = Math.min(this.delay * 2, 30_000);
    return false;
  }
};

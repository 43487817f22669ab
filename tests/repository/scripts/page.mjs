// What the modules under test find around them in a browser: storage, cookies, messages, and a server that a test plays.

import { mock } from "node:test";

export const LABELER = "7";

// localStorage with room for `room` characters; 0 is a full or a forbidden one
export class Storage {
  #kept = new Map();

  constructor(room = Infinity) { this.room = room; }

  get length() { return this.#kept.size; }

  getItem(name) { return this.#kept.get(name) ?? null; }

  setItem(name, value) {
    if (value.length > this.room) throw new DOMException("full", "QuotaExceededError");
    this.#kept.set(name, value);
  }

  removeItem(name) { this.#kept.delete(name); }
}

const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });

export const makePage = ({ storage = new Storage() } = {}) => {
  define("localStorage", storage);
  define("document", { cookie: "csrftoken=token", querySelector: () => ({ dataset: { user: LABELER } }) });
  define("gettext", (text) => text);
  define("ngettext", (one, many, n) => (n === 1 ? one : many));
  define("interpolate", (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]));
  return storage;
};

// A server that keeps every request until the test replies to it.
export class Server {
  requests = [];

  constructor() {
    define("fetch", (url, { method = "GET", body, headers }) => new Promise((resolve, reject) => {
      const fields = Object.fromEntries(body ?? []);
      this.requests.push({ url, method, fields, headers, resolve, reject });
    }));
  }

  get last() { return this.requests.at(-1); }

  // The bodies so far, this field of each.
  sent(name) { return this.requests.map(({ fields }) => fields[name]); }

  async reply(body, { status = 200, type = "application/json", headers = {}, to = this.last } = {}) {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    to.resolve(new Response(text, { status, headers: { "Content-Type": type, ...headers } }));
    await settle();
  }

  async disconnect({ from = this.last } = {}) {
    from.reject(new TypeError("Failed to fetch"));
    await settle();
  }
}

// Lets everything that is due now happen, timers excepted.
export const settle = async () => { for (let turn = 0; turn < 20; turn += 1) await Promise.resolve(); await new Promise((resolve) => { setImmediate(resolve); }); };

export const pass = async (milliseconds) => {
  mock.timers.tick(milliseconds);
  await settle();
};

export const startClock = () => mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_800_000_000_000 });
export const stopClock = () => mock.timers.reset();

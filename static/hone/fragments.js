// Requests of scripts to the server and what comes back: one protocol for the modules here and for htmx.
// docs/architecture.md, "Fragments", describes it; annotate/views/work/responses.py is the server's side.

const TIMEOUT = 30_000; // milliseconds
const TASK_HEADER = "X-Hone-Task";
const REDIRECT_HEADER = "HX-Redirect";

// What a status means, for requests of these modules and of htmx alike.
export const Outcome = {
  OK: "ok",
  SIGNED_OUT: "signed out", // sign in again, then send the same request again
  UNAVAILABLE: "unavailable", // no connection, or a busy server: send it again later
  REFUSED: "refused", // the same request would be refused again
};

export const outcomeOf = (status, isPlainText) => {
  if (status >= 200 && status < 400) return Outcome.OK;
  // A 403 in plain text has a reason of its own; Django's page for a lost session has none.
  if (status === 401 || (status === 403 && !isPlainText)) return Outcome.SIGNED_OUT;
  if (status === 0 || status === 408 || status === 429 || status >= 500) return Outcome.UNAVAILABLE;
  return Outcome.REFUSED;
};

export const isPlainText = (contentType) => (contentType ?? "").startsWith("text/plain");

// Signing in again in another tab makes a new token, so it is read anew for each request.
export const csrfToken = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";

export class Reply {
  #page = null;

  // headers: anything with get(name); status 0 when nothing came back
  constructor({ status = 0, headers = new Map(), text = "" } = {}) {
    const plain = isPlainText(headers.get("Content-Type"));
    this.status = status;
    this.text = text;
    this.outcome = outcomeOf(status, plain);
    this.sentence = plain ? text : ""; // for the person, in their language
    this.retryAfter = Number(headers.get("Retry-After")) || 0; // seconds
    this.redirect = headers.get(REDIRECT_HEADER) ?? ""; // the page to go to, in place of fragments
    this.task = headers.get(TASK_HEADER) ?? ""; // the assignment that the labeler holds now, whether or not it was sent
  }

  get ok() { return this.outcome === Outcome.OK; }

  // The JSON body as an object, {} when there is none.
  get data() {
    try { return JSON.parse(this.text) ?? {}; } catch { return {}; }
  }

  // The element of this id, ready to be put into the page; null when the reply has none.
  fragment(id) {
    this.#page ??= new DOMParser().parseFromString(this.text, "text/html");
    const found = this.#page.getElementById(id);
    return found && document.adoptNode(found);
  }
}

// Never throws: a request that fails on its way is a Reply with the outcome UNAVAILABLE.
export const request = async (url, options = {}) => {
  try {
    const response = await fetch(url, {
      credentials: "same-origin",
      ...options,
      headers: { "HX-Request": "true", "X-CSRFToken": csrfToken(), ...options.headers },
      signal: options.keepalive ? undefined : AbortSignal.timeout(TIMEOUT),
    });
    return new Reply({ status: response.status, headers: response.headers, text: await response.text() });
  } catch {
    return new Reply();
  }
};

// Puts an element in another's place and lets htmx bind what it asks for.
export const swap = (current, next) => {
  current.replaceWith(next);
  htmx.process(next);
};

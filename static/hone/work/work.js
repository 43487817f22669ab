// The work page: one task on the screen, the one after it rendered ahead, and what was submitted on its way to the
// server. Submitting puts the next task on the screen at once. The one before is kept until the server has acknowledged
// it, so that a refusal or an undo brings it back as it was.

import { Outcome, request, swap } from "../fragments.js";
import { announce } from "../messages.js";
import { enrich } from "../prose.js";
import { Board } from "./board.js";
import { hideChoice, offerChoice } from "./choice.js";
import * as frame from "./frame.js";
import * as keys from "./keys.js";
import { visibleRange } from "./layout.js";
import { Outbox } from "./outbox.js";
import { keepUndo, putReceipt, receiptChanged, receiptLine, showReceipt, undoButton } from "./receipt.js";
import { signIn } from "./sign_in.js";
import { Task } from "./task.js";
import { Chat, Rating, Text } from "./writing.js";

// By the class of the form; the first that fits.
const KINDS = { board: Board, rate: Rating, chat: Chat, written: Text };
const PAUSE = 350; // milliseconds after a task appeared in which a second submit is taken for the end of a double click
const place = document.querySelector(".workplace");
const PRESENCE = 5 * 60_000; // milliseconds after its last sign for which a person is taken to be reading
// Milliseconds after which a task that is only being read renews its lease: twice before a short one runs out.
const KEEP_ALIVE = Math.min(PRESENCE, (Number(place.dataset.leaseMinutes) * 60_000) / 3);
const bar = document.getElementById("outbox");
const draftState = document.getElementById("draft-state");
const submitted = new Map(); // submission's id -> the task it came from
const bound = new WeakMap(); // <section> -> its task: one that comes back to the screen is bound to its form already
let task = null;
let ahead = null; // the <section> of the task after this one
let fetching = null; // while it is on its way
let shownAt = 0;

const section = () => document.getElementById("work");
const title = () => section().querySelector("h1")?.textContent.trim() ?? "";

const choose = (sentence, ...options) => {
  // The focus would stay on a button that is out of sight, and keys pressed before the browser notices would be lost.
  offerChoice(sentence, options, { beforeAction: () => task?.goBack(null) });
};

const signedOut = () => signIn(() => {
  outbox.flush();
  task?.draft?.save();
});

const showOutbox = (sentence, level = "") => {
  bar.textContent = sentence;
  bar.className = `small ${level}`;
  bar.hidden = !sentence;
};

// ---- the task on the screen ----
const taskOf = (now) => {
  // What comes late about a task that left the screen is not said of the one that is there.
  const ifShown = (action) => (...given) => { if (section() === now) action(...given); };
  return new Task(now, KINDS, {
    state: ifShown((sentence) => {
      // That all is well is for the eye alone: it would be said between any two ranks.
      if (sentence !== draftState.textContent && sentence !== gettext("Draft saved")) announce(sentence);
      draftState.textContent = sentence;
    }),
    conflict: ifShown(choose),
    signedOut,
    submittedElsewhere: ifShown(() => choose(
      gettext(
        "You have submitted this task in another window. "
        + "What you enter here can still be submitted: it becomes a revision.",
      ),
      [gettext("Next task"), () => location.assign(place.dataset.work)],
      [gettext("Stay here"), () => {}],
    )),
  });
};

const begin = ({ focus = false } = {}) => {
  const now = section();
  if (task?.section === now) return;
  const former = task;
  former?.leave();
  draftState.textContent = "";
  hideChoice();
  // Fetched before the submit that has put the same task on the screen: a second copy would come after it.
  if (ahead?.dataset.task === now.dataset.task) ahead = null;
  task = bound.get(now) ?? taskOf(now);
  bound.set(now, task);
  task.enter();
  shownAt = performance.now();
  frame.watch(now);
  if (focus && former?.id && former.id === task.id) task.kind.goOn?.();
  else if (focus) {
    window.scrollTo(0, 0);
    now.querySelector("h1")?.focus({ preventScroll: true });
  }
  showSubmitKey();
  fetchAhead();
};

// Within a box Enter is a new line, so the button names the keys that submit from there.
const showSubmitKey = () => keys.labelSubmit(task?.form, document.activeElement);
for (const name of ["focusin", "focusout"]) document.addEventListener(name, () => queueMicrotask(showSubmitKey));

const show = (next) => {
  swap(section(), next);
  enrich(next);
  begin({ focus: true });
};

const fetchAhead = async () => {
  // A revision has nothing after it, and reviewers get one task at a time.
  if (!place.dataset.ahead) return;
  if (ahead || fetching || !task?.form || task.form.querySelector("[data-judged], [name=back]")) return;
  fetching = request(place.dataset.ahead);
  const reply = await fetching;
  fetching = null;
  const found = reply.ok ? reply.fragment("work") : null; // without a connection it is asked for after the next submit
  if (found?.querySelector("form") && found.dataset.task !== section().dataset.task) ahead = found;
};

// Whether the task has been on the screen for long enough that a submit is meant for it.
const acceptsSubmit = () => performance.now() - shownAt >= PAUSE;

// What tests in a browser may ask (docs/pages.md); the pages themselves never read it.
globalThis.hone = { acceptsSubmit, visibleRange };

// ---- submitting ----
const submit = (submitter) => {
  if (!task?.form || task.isSent || !acceptsSubmit()) return;
  const obstacle = task.obstacle();
  if (obstacle) {
    task.refusal.textContent = obstacle;
    return;
  }
  if (!task.form.reportValidity() || !task.isConfirmed()) return;
  const entry = task.entry(submitter);
  task.isSent = true;
  task.draft.end();
  submitted.set(entry.id, task);
  if (ahead) {
    entry.fields.push(["shown", ahead.dataset.task]);
    const next = ahead;
    ahead = null;
    show(next);
  } else {
    task.form.inert = true;
    task.section.setAttribute("aria-busy", "true");
  }
  showReceipt(receiptLine(gettext("Saving…"), "muted small"));
  outbox.put(entry);
};

const takeSubmitted = (id) => {
  const former = submitted.get(id);
  submitted.delete(id);
  return former;
};

const acknowledged = (entry, reply) => {
  takeSubmitted(entry.id)?.draft.forget();
  showOutbox(entry.isLeftOver ? gettext("A submission kept in this browser has been sent.") : "");
  if (reply.redirect) return location.assign(reply.redirect);
  if (outbox.entries.length || entry.isLeftOver) return;
  const receipt = reply.fragment("receipt");
  if (receipt) putReceipt(receipt, title());
  const next = reply.fragment("work");
  const isElsewhere = reply.task !== task.section.dataset.task && !task.isTouched;
  if (next && (task.isSent || isElsewhere)) show(next);
  else fetchAhead();
};

const refused = (entry, sentence) => {
  const former = takeSubmitted(entry.id);
  showOutbox("");
  showReceipt();
  if (!former) {
    const refused = gettext("A submission kept in this browser was refused: %(reason)s");
    return choose(interpolate(refused, { reason: sentence }, true), [gettext("OK"), () => {}]);
  }
  const back = () => {
    bringBack(former);
    task.refusal.textContent = sentence;
  };
  if (task === former || !task.isTouched) return back();
  const refused = interpolate(gettext("The previous task was refused: %(reason)s"), { reason: sentence }, true);
  choose(refused, [gettext("Go back to it"), back]);
};

const waiting = (entries) => {
  const kept = ngettext(
    "No connection. %(n)s submission is kept in this browser and is sent as soon as the server answers.",
    "No connection. %(n)s submissions are kept in this browser and are sent as soon as the server answers.",
    entries.length,
  );
  showOutbox(interpolate(kept, { n: entries.length }, true), "warn");
  const last = entries.at(-1);
  const former = last && submitted.get(last.id);
  if (!former) return;
  showReceipt(undoButton(() => {
    outbox.drop(last.id);
    submitted.delete(last.id);
    showOutbox("");
    showReceipt(receiptLine(gettext("Undone: it was not sent.")));
    bringBack(former);
  }));
};

const outbox = new Outbox({ acknowledged, refused, waiting, signedOut });
addEventListener("online", () => outbox.flush());

// The task before comes back as it was; the one on the screen waits behind it.
const bringBack = (former) => {
  if (former !== task) {
    if (task.form) ahead = task.section;
    section().replaceWith(former.section);
    begin();
  }
  former.reopen();
};

// ---- undo ----
const undo = async (url) => {
  keepUndo();
  if (task.draft?.dirty) await task.draft.save();
  const reply = await request(url, { method: "POST" });
  const warn = (words) => showOutbox(words, "warn");
  if (reply.status === 0) return warn(gettext("No connection: it could not be undone. You can change it later."));
  if (reply.outcome === Outcome.SIGNED_OUT) return signedOut();
  if (!reply.ok) return warn(reply.sentence || gettext("It could not be undone. You can change it later."));
  ahead = task.form ? task.section : null;
  const receipt = reply.fragment("receipt");
  const back = reply.fragment("work");
  showReceipt(...receipt.childNodes);
  frame.showDone(Number(receipt.dataset.done));
  show(back);
  announce(document.querySelector("#receipt .done")?.textContent.trim() ?? "");
};

// ---- events ----
document.addEventListener("submit", (event) => {
  if (event.target.matches("form[data-undo]")) {
    event.preventDefault();
    undo(event.target.action);
  } else if (task?.form && event.target === task.form && !event.submitter?.hasAttribute("formaction")) {
    event.preventDefault();
    submit(event.submitter);
  }
});

const press = () => task.form.querySelector(".submit").click();

const ACTIONS = {
  submit: (event) => {
    if (event.target.closest("button, summary, a, input[type=checkbox]")) return false;
    press();
    return true;
  },
  comment: () => task.toggle(task.form.querySelector(".comment"), "textarea"),
  guidelines: () => task.toggle(document.querySelector("#guidelines details"), ".guidelines-text"),
  skip: () => task.toggle(task.form.querySelector("[data-panel=skip]"), "input"),
  report: () => task.toggle(task.form.querySelector("[data-panel=report]"), "input"),
  undo: () => document.querySelector("#receipt form[data-undo] button, #receipt button[data-undo]")?.click(),
  prompt: () => frame.togglePrompt(),
  help: () => {
    keys.showFor(task.form);
    document.getElementById("keys").showModal();
  },
};

const escape = (event) => {
  const open = task.form.querySelector(".pop-up[open]");
  const box = event.target.closest("textarea");
  if (open) task.fold(open);
  else if (box && task.form.contains(box)) task.leaveBox(box);
};

document.addEventListener("keydown", (event) => {
  if (!task?.form || event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
  const inPlace = document.activeElement === document.body || event.target.closest(".workplace, #main, .work-bar");
  if (!inPlace) return;
  if (event.key === "Escape") return escape(event);
  const popUp = event.target.closest(".pop-up[open]");
  if (popUp) {
    // A form's Enter presses its first button, which would hand in the ranking.
    if (event.key === "Enter" && !event.target.closest("textarea, summary, button")) {
      event.preventDefault();
      popUp.querySelector("button").click();
    }
    return;
  }
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    return press();
  }
  if (event.target.closest(keys.BOX)) return;
  const action = keys.actionOf(event);
  if (!task.isCovered && task.kind.key?.(event, action)) return event.preventDefault();
  if (action && ACTIONS[action] && ACTIONS[action](event) !== false) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const { action } = event.target.closest("button[data-action]")?.dataset ?? {};
  if (!action) return;
  if (ACTIONS[action]) ACTIONS[action](event);
  else if (task?.form && !task.isCovered) task.kind.key?.(event, action);
});

document.addEventListener("visibilitychange", () => {
  task?.noteSeconds?.();
  if (document.visibilityState === "visible") task?.draft?.check();
  else task?.draft?.save({ keepalive: true });
});
window.addEventListener("focus", () => task?.draft?.check());
window.addEventListener("pagehide", () => task?.draft?.save({ keepalive: true }));

// Reading for a long time is work too.
let lastSign = Date.now();
for (const name of ["pointermove", "keydown", "scroll"]) {
  document.addEventListener(name, () => { lastSign = Date.now(); }, { passive: true, capture: true });
}
setInterval(() => {
  if (task?.draft && !task.isSent && document.visibilityState === "visible" && Date.now() - lastSign < PRESENCE) {
    task.draft.dirty = true;
    task.draft.save();
  }
}, KEEP_ALIVE);

// What htmx brings in the task's place: after a skip, at each turn of a chat, and when the empty page found work. The
// server has then what was in the form, so the draft ends with the request and is forgotten before the next task looks
// for what this browser had kept.
const replacesTask = ({ detail }) => detail.target?.id === "work" && Boolean(task?.form);
document.addEventListener("htmx:beforeRequest", (event) => { if (replacesTask(event)) task.draft.end(); });
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!replacesTask(event) || !event.detail.shouldSwap) return;
  task.draft.end();
  task.draft.forget();
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful || !task?.form?.contains(event.detail.elt)) return;
  if (task.draft.ended && !task.isSent) task.draft.resume();
});
document.addEventListener("htmx:afterSwap", () => {
  if (task?.section === section()) return;
  if (task?.id !== section().dataset.task) ahead = null;
  begin({ focus: true });
  receiptChanged(title());
});

keys.label(document);
begin();
outbox.flush();

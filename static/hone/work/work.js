// The work page: one task on the screen, the one after it rendered ahead, and what was submitted on its way to the server.
// Submitting puts the next task on the screen at once. The one before is kept until the server has acknowledged it, so
// that a refusal or an undo brings it back as it was.
"use strict";

(() => {
  const UNDO_SECONDS = 5;
  const PAUSE = 350; // milliseconds after a task appeared in which a second submit is taken for the end of a double click
  const KEEP_ALIVE = 5 * 60_000; // how often a task that is only being read renews its lease
  const place = document.querySelector(".workplace");
  const bar = document.getElementById("outbox");
  const draftState = document.getElementById("draft-state");
  const choice = document.getElementById("choice");
  const retired = new Map(); // submission's id -> the task it came from
  const begun = new WeakMap(); // <section> -> its task: one that comes back to the screen is bound to its form already
  let task = null;
  let ahead = null; // the <section> of the task after this one
  let asking = null; // while it is on its way
  let shownAt = 0;
  let undoTimer = 0;

  const section = () => document.getElementById("work");
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");

  // ---- one choice at a time, above the task ----
  const choose = (sentence, ...options) => {
    const said = document.createElement("span");
    said.textContent = sentence;
    choice.replaceChildren(said, ...options.map(([label, deed]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button small";
      button.textContent = label;
      button.addEventListener("click", () => {
        choice.hidden = true;
        // The focus would stay on a button that is out of sight, and keys pressed before the browser notices would be lost.
        task?.goBack(null);
        deed();
      });
      return button;
    }));
    choice.hidden = false;
  };

  const signedOut = () => hone.work.signIn(() => {
    outbox.flush();
    task?.draft?.save();
  });

  const say = (sentence, level = "") => {
    bar.textContent = sentence;
    bar.className = `small ${level}`;
    bar.hidden = !sentence;
  };

  // ---- the task on the screen ----
  const taskOf = (now) => {
    // What comes late about a task that left the screen is not said of the one that is there.
    const ofThis = (deed) => (...given) => { if (section() === now) deed(...given); };
    return new hone.work.Task(now, {
      state: ofThis((sentence) => {
        // That all is well is for the eye alone: it would be said between any two ranks.
        if (sentence !== draftState.textContent && sentence !== gettext("Draft saved")) hone.announce(sentence);
        draftState.textContent = sentence;
      }),
      conflict: ofThis(choose),
      signedOut,
      judged: ofThis(() => choose(gettext("You have submitted this task in another window. What you enter here can still be submitted: it becomes a revision."),
        [gettext("Go on with the next task"), () => location.assign(place.dataset.work)], [gettext("Stay here"), () => {}])),
    });
  };

  const begin = ({ focus = false } = {}) => {
    const now = section();
    if (task?.section === now) return;
    const former = task;
    former?.leave();
    draftState.textContent = "";
    choice.hidden = true;
    task = begun.get(now) ?? taskOf(now);
    begun.set(now, task);
    task.enter();
    shownAt = performance.now();
    hone.work.frame.watch(now);
    if (focus && former?.id && former.id === task.id) task.kind.goOn?.();
    else if (focus) {
      window.scrollTo(0, 0);
      now.querySelector("h1")?.focus({ preventScroll: true });
    }
    showSubmitKey();
    fetchAhead();
  };

  // Within a box Enter is a new line, so the button names the keys that submit from there.
  const showSubmitKey = () => hone.work.keys.labelSubmit(task?.form, document.activeElement);
  for (const name of ["focusin", "focusout"]) document.addEventListener(name, () => queueMicrotask(showSubmitKey));

  const show = (next) => {
    section().replaceWith(next);
    htmx.process(next);
    hone.enrich(next);
    begin({ focus: true });
  };

  const fetchAhead = () => {
    // A revision has nothing after it.
    if (ahead || asking || !task?.form || task.form.querySelector("[data-judged], [name=back]")) return;
    asking = hone.work.request(place.dataset.ahead)
      .then(async (response) => {
        if (response.status !== 200) return;
        const found = parse(await response.text()).getElementById("work");
        if (!found?.querySelector("form") || found.dataset.task === section().dataset.task) return;
        ahead = document.adoptNode(found);
      })
      .catch(() => {}) // no connection: it is asked for again after the next submit
      .finally(() => { asking = null; });
  };

  // ---- handing in ----
  const receipt = (...parts) => {
    clearTimeout(undoTimer);
    document.getElementById("receipt").replaceChildren(...parts);
  };

  const line = (sentence, kind = "done") => {
    const p = document.createElement("p");
    p.className = kind;
    p.textContent = sentence;
    return p;
  };

  // Whether the task has been on the screen for long enough that a submit is meant for it.
  hone.work.isSettled = () => performance.now() - shownAt >= PAUSE;

  const submit = (submitter) => {
    if (!task?.form || task.sent || !hone.work.isSettled()) return;
    const obstacle = task.obstacle();
    if (obstacle) {
      task.refusal.textContent = obstacle;
      return;
    }
    if (!task.form.reportValidity() || !task.mayBeSent()) return;
    const entry = task.entry(submitter);
    task.sent = true;
    task.draft.end();
    retired.set(entry.id, task);
    if (ahead) {
      entry.fields.push(["shown", ahead.dataset.task]);
      const next = ahead;
      ahead = null;
      show(next);
    } else {
      task.form.inert = true;
      task.section.setAttribute("aria-busy", "true");
    }
    receipt(line(gettext("Saving…"), "muted small"));
    outbox.put(entry);
  };

  const outbox = new hone.work.Outbox({
    answered(entry, response, text) {
      const former = retired.get(entry.id);
      retired.delete(entry.id);
      former?.draft.forget();
      say(entry.left ? gettext("What this browser had kept from before is submitted now.") : "");
      const go = response.headers.get("X-Hone-Go");
      if (go) return location.assign(go);
      if (outbox.entries.length || entry.left) return;
      const page = parse(text);
      const said = page.getElementById("receipt");
      if (said) showReceipt(said);
      const next = page.getElementById("work");
      const waiting = task.sent;
      const strayed = response.headers.get("X-Hone-Task") !== task.section.dataset.task && !task.touched;
      if (next && (waiting || strayed)) show(document.adoptNode(next));
      else fetchAhead();
    },

    refused(entry, sentence) {
      const former = retired.get(entry.id);
      retired.delete(entry.id);
      say("");
      receipt();
      if (!former) return choose(interpolate(gettext("What this browser had kept from before was not taken: %(reason)s"), { reason: sentence }, true), [gettext("Good"), () => {}]);
      const back = () => {
        bringBack(former);
        task.refusal.textContent = sentence;
      };
      if (task === former || !task.touched) back();
      else choose(interpolate(gettext("The task before this one was not taken: %(reason)s"), { reason: sentence }, true), [gettext("Go back to it"), back]);
    },

    waiting(entries) {
      say(interpolate(ngettext(
        "No connection. %(n)s submission is kept in this browser and is sent as soon as the server answers.",
        "No connection. %(n)s submissions are kept in this browser and are sent as soon as the server answers.", entries.length), { n: entries.length }, true), "warn");
      const last = retired.get(entries.at(-1).id);
      if (last && entries.length) receipt(undoButton(() => {
        outbox.drop(entries.at(-1).id);
        retired.delete(entries.at(-1).id);
        say("");
        receipt(line(gettext("Taken back: it was not sent.")));
        bringBack(last);
      }));
    },

    signedOut,
  });

  // The task before comes back as it was; the one on the screen waits behind it.
  const bringBack = (former) => {
    if (former !== task) {
      if (task.form) ahead = task.section;
      section().replaceWith(former.section);
      begin();
    }
    former.sent = false;
    former.form.inert = false;
    former.section.removeAttribute("aria-busy");
    // Another id: what was refused or taken back is no repetition of it.
    former.form.elements.client_id.value = crypto.randomUUID?.() ?? "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) => (digit ^ (Math.random() * 16 >> digit / 4)).toString(16));
    former.draft.resume();
    former.section.querySelector("h1")?.focus();
  };

  // ---- undo ----
  const undoButton = (deed) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = gettext("Undo");
    button.dataset.undo = "";
    button.addEventListener("click", deed);
    return button;
  };

  const showReceipt = (said) => {
    hone.work.frame.showDone(Number(said.dataset.done));
    const parts = [...document.adoptNode(said).childNodes];
    receipt(...parts);
    const shown = document.getElementById("receipt");
    hone.work.keys.label(shown);
    const title = section().querySelector("h1")?.textContent ?? "";
    hone.announce(`${shown.querySelector(".done")?.textContent ?? ""} ${title}`.trim());
    expireUndo();
  };

  const expireUndo = () => {
    clearTimeout(undoTimer);
    undoTimer = setTimeout(() => document.querySelector("#receipt form[data-undo]")?.remove(), UNDO_SECONDS * 1000);
  };

  const undo = async (url) => {
    clearTimeout(undoTimer);
    if (task.draft?.dirty) await task.draft.save();
    let response, text;
    try {
      response = await hone.work.request(url, { method: "POST" });
      text = await response.text();
    } catch {
      return say(gettext("No connection: it could not be undone. You can change it under My work later."), "warn");
    }
    if (response.status === 401) return signedOut();
    if (!response.ok) return say((response.headers.get("Content-Type") ?? "").startsWith("text/plain") ? text : gettext("It could not be undone. You can change it under My work."), "warn");
    const page = parse(text);
    const back = page.getElementById("work");
    ahead = task.form ? task.section : null;
    const said = page.getElementById("receipt");
    hone.work.frame.showDone(Number(said.dataset.done));
    receipt(...document.adoptNode(said).childNodes);
    show(document.adoptNode(back));
    hone.announce(document.querySelector("#receipt .done")?.textContent ?? "");
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

  const deeds = {
    submit: (event) => {
      if (event.target.closest("button, summary, a, input[type=checkbox]")) return false;
      press();
      return true;
    },
    comment: () => task.toggle(task.form.querySelector(".comment"), "textarea"),
    guidelines: () => task.toggle(document.querySelector("#guidelines details"), ".guidelines-text"),
    skip: () => task.toggle(task.form.querySelector("[data-panel=skip]"), "input"),
    report: () => task.toggle(task.form.querySelector("[data-panel=report]"), "input"),
    undo: () => {
      const way = document.querySelector("#receipt form[data-undo] button, #receipt button[data-undo]");
      way?.click();
    },
    prompt: () => hone.work.frame.togglePrompt(),
    help: () => {
      hone.work.keys.showFor(task.form);
      document.getElementById("keys").showModal();
    },
  };

  document.addEventListener("keydown", (event) => {
    if (!task?.form || event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    const inPlace = document.activeElement === document.body || event.target.closest(".workplace, #main, .work-bar");
    if (!inPlace) return;
    const popUp = event.target.closest(".pop-up[open]");
    if (event.key === "Escape") {
      const open = task.form.querySelector(".pop-up[open]");
      const box = event.target.closest("textarea");
      if (open) task.fold(open);
      else if (box && task.form.contains(box)) task.leaveBox(box);
      return;
    }
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
    if (event.target.closest("textarea, select, input:is([type=text], [type=number], [type=search])")) return;
    const deed = hone.work.keys.of(event);
    if (!task.isCovered && task.kind.key?.(event, deed)) return event.preventDefault();
    if (deed && deeds[deed] && deeds[deed](event) !== false) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-deed]");
    if (!button) return;
    const deed = button.dataset.deed;
    if (deeds[deed]) deeds[deed](event);
    else if (task?.form && !task.isCovered) task.kind.key?.(event, deed);
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
  for (const name of ["pointermove", "keydown", "scroll"]) document.addEventListener(name, () => { lastSign = Date.now(); }, { passive: true, capture: true });
  setInterval(() => {
    if (task?.draft && !task.sent && document.visibilityState === "visible" && Date.now() - lastSign < KEEP_ALIVE) {
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
    if (!event.detail.successful && task?.form?.contains(event.detail.elt) && task.draft.ended && !task.sent) task.draft.resume();
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (task?.section === section()) return;
    if (task?.id !== section().dataset.task) ahead = null;
    begin({ focus: true });
    hone.work.frame.showDone(Number(document.getElementById("receipt").dataset.done));
    expireUndo();
    hone.announce(`${document.querySelector("#receipt .done")?.textContent ?? ""} ${section().querySelector("h1")?.textContent ?? ""}`.trim());
  });

  hone.work.keys.label(document);
  begin();
  outbox.flush();
})();

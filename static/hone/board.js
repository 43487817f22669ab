// The ranking board. The radio buttons of the form are the truth: keys and drags set them, the tiers in the dock show them.
"use strict";

(() => {
  const DRAFT_DELAY = 800; // milliseconds without a change before a draft goes to the server

  class Board {
    constructor(form) {
      this.form = form;
      this.answers = [...form.querySelectorAll(".answer")];
      this.lastRanked = null;
      this.asked = "";
      this.fillTiers();
      this.showRanks();
      this.countSeconds();
      form.addEventListener("change", (event) => {
        // Sortable has a "change" event of its own, in the middle of a drag.
        if (event.target.matches("input, select, textarea")) this.changed(event.target);
      });
      form.addEventListener("input", () => this.keepDraft());
      form.addEventListener("focusin", () => this.showRanks());
      form.addEventListener("htmx:confirm", (event) => this.beforeRequest(event));
    }

    // ---- ranks ----
    radios(answer) { return [...answer.querySelectorAll(".ranks input")]; }

    rank(answer) { return this.radios(answer).find((radio) => radio.checked)?.value ?? ""; }

    setRank(answer, rank) {
      const radio = this.radios(answer).find((candidate) => candidate.value === String(rank));
      if (!radio) return;
      radio.checked = true;
      this.changed(radio);
    }

    changed(control) {
      const answer = control.closest?.(".answer");
      if (answer && control.name.startsWith("rank-")) {
        this.lastRanked = answer;
        hone.announce(this.sentence(answer));
      }
      this.asked = "";
      this.form.querySelector("#refusal").textContent = "";
      this.showRanks();
      this.keepDraft();
    }

    sentence(answer) {
      const rank = this.rank(answer);
      if (!rank) return `${answer.dataset.letter} is not ranked.`;
      const tied = this.answers.filter((other) => other !== answer && this.rank(other) === rank).map((other) => other.dataset.letter);
      const left = this.answers.filter((other) => !this.rank(other)).length;
      return `${answer.dataset.letter} is ${rank}${tied.length ? `, tied with ${tied.join(" and ")}` : ""}. ${left ? `${left} not ranked.` : "All ranked."}`;
    }

    active() { return document.activeElement.closest?.(".answer"); }

    focus(answer) {
      const radio = this.radios(answer).find((candidate) => candidate.checked) ?? this.radios(answer)[0];
      radio.focus({ preventScroll: true });
      answer.scrollIntoView({ block: "nearest" });
    }

    nextUnranked(after) {
      const start = this.answers.indexOf(after) + 1;
      const order = [...this.answers.slice(start), ...this.answers.slice(0, start)];
      return order.find((answer) => !this.rank(answer));
    }

    // ---- the dock ----
    fillTiers() {
      this.chips = new Map(this.answers.map((answer) => {
        const chip = document.createElement("li");
        chip.className = "chip";
        chip.dataset.id = answer.dataset.id;
        chip.textContent = answer.dataset.letter;
        return [answer, chip];
      }));
      for (const tier of this.form.querySelectorAll(".tier ul")) {
        Sortable.create(tier, {
          group: "answers",
          animation: 0,
          onAdd: (event) => {
            const answer = this.answers.find((candidate) => candidate.dataset.id === event.item.dataset.id);
            this.setRank(answer, tier.dataset.rank);
            this.focus(answer);
          },
        });
      }
    }

    showRanks() {
      const active = this.active();
      for (const answer of this.answers) {
        const chip = this.chips.get(answer);
        const tier = this.form.querySelector(`.tier ul[data-rank="${this.rank(answer)}"]`);
        if (chip.parentElement !== tier) tier.append(chip);
        chip.classList.toggle("active", answer === active);
      }
    }

    // ---- keys ----
    key(event) {
      const skip = event.target.closest(".skip > .card");
      if (skip) {
        // A form's Enter presses its first button, which would hand in the ranking.
        if (event.key === "Enter") { event.preventDefault(); skip.querySelector("button").click(); }
        return;
      }
      const field = event.target.closest("textarea, select, input[type=text]");
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return this.submit(event);
      if (field || event.ctrlKey || event.metaKey || event.altKey) return;
      const answer = this.active() ?? this.nextUnranked() ?? this.answers[0];
      const at = this.answers.indexOf(answer);
      const shown = this.active() !== null;
      if (/^[1-9]$/.test(event.key)) {
        if (Number(event.key) > this.answers.length) return;
        event.preventDefault();
        this.setRank(answer, event.key);
        this.focus(this.nextUnranked(answer) ?? answer);
      } else if (event.key === "0" || event.key === "Backspace") {
        event.preventDefault();
        this.setRank(answer, "");
        this.focus(answer);
      } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
        event.preventDefault();
        const step = !shown ? 0 : event.key === "ArrowRight" ? 1 : -1;
        this.focus(this.answers[(at + step + this.answers.length) % this.answers.length]);
      } else if (shown && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
        event.preventDefault();
        const rank = Number(this.rank(answer)) || (event.key === "ArrowUp" ? this.answers.length + 1 : 0);
        const next = rank + (event.key === "ArrowUp" ? -1 : 1);
        if (next >= 1 && next <= this.answers.length) this.setRank(answer, next);
        this.focus(answer);
      } else if (event.key === "Enter") {
        if (!event.target.closest("button, summary, a, input[type=checkbox]")) this.submit(event);
      } else {
        this.letter(event, answer);
      }
    }

    letter(event, answer) {
      const deeds = {
        t: () => {
          if (!this.lastRanked || this.lastRanked === answer || !this.rank(this.lastRanked)) return;
          const with_ = this.rank(this.lastRanked);
          this.setRank(answer, with_);
          this.focus(this.nextUnranked(answer) ?? answer);
        },
        u: () => this.form.querySelector("[name=all_unacceptable]").click(),
        c: () => this.open(".comment", "textarea"),
        g: () => this.open(".guidelines", "summary"),
        s: () => this.open(".skip", "input"),
        "?": () => document.getElementById("keys").showModal(),
      };
      const deed = deeds[event.key.toLowerCase()];
      if (!deed) return;
      event.preventDefault();
      deed();
    }

    open(selector, control) {
      const details = this.form.querySelector(selector);
      if (!details) return;
      details.open = !details.open;
      (details.open ? details.querySelector(control) : details.querySelector("summary")).focus();
    }

    // ---- handing in ----
    submit(event) {
      event.preventDefault();
      this.form.requestSubmit(this.form.querySelector(".submit"));
    }

    // What is easily a slip is asked about once; the second time it is meant.
    question() {
      if (this.form.querySelector("[name=all_unacceptable]").checked) return "";
      const unranked = this.answers.filter((answer) => !this.rank(answer)).map((answer) => answer.dataset.letter);
      const ranked = this.answers.length - unranked.length;
      if (ranked < 2) return "";
      if (unranked.length) return `${unranked.join(" and ")} ${unranked.length > 1 ? "are" : "is"} not ranked. Submit again if you mean it so.`;
      const asShown = this.answers.every((answer, index) => this.rank(answer) === String(index + 1));
      if (asShown && this.answers.length > 2) return "This is exactly the order in which the answers were shown. Submit again if you mean it so.";
      return "";
    }

    beforeRequest(event) {
      if (event.target !== this.form) return;
      this.noteSeconds();
      const question = this.question();
      if (question && this.asked !== question) {
        event.preventDefault();
        this.asked = question;
        this.form.querySelector("#refusal").textContent = question;
        return;
      }
      clearTimeout(this.draftTimer);
    }

    keepDraft() {
      clearTimeout(this.draftTimer);
      this.draftTimer = setTimeout(() => {
        if (!this.form.isConnected) return;
        this.noteSeconds();
        this.form.dispatchEvent(new Event("keep-draft"));
      }, DRAFT_DELAY);
    }

    // Seconds with this page in sight; a draft that comes back brings its own.
    countSeconds() {
      this.spent = Number(this.form.elements.seconds.value) || 0;
      this.since = performance.now();
      this.inSight = document.visibilityState === "visible";
    }

    noteSeconds() {
      const now = performance.now();
      if (this.inSight) this.spent += (now - this.since) / 1000;
      this.since = now;
      this.inSight = document.visibilityState === "visible";
      this.form.elements.seconds.value = this.spent.toFixed(1);
    }
  }

  let board = null;

  const begin = (moveFocus) => {
    const form = document.getElementById("board");
    if (board?.form === form) return;
    board = form ? new Board(form) : null;
    if (!moveFocus) return;
    const work = document.getElementById("work");
    window.scrollTo(0, 0);
    const title = work.querySelector("h1");
    title.focus({ preventScroll: true });
    hone.announce(`${work.dataset.note ?? ""} ${title.textContent}`);
  };

  document.documentElement.classList.add("scripted");
  document.addEventListener("keydown", (event) => {
    if (!board || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") board.form.querySelector(".skip").open = false;
    else if (document.activeElement === document.body || event.target.closest("#work, #main")) board.key(event);
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-action=help]")) document.getElementById("keys").showModal();
    const chip = event.target.closest(".chip");
    if (chip && board) board.focus(board.answers.find((answer) => answer.dataset.id === chip.dataset.id));
  });
  document.addEventListener("visibilitychange", () => board?.noteSeconds());
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "work" || event.target.id === "work") begin(true);
  });
  begin(false);
})();

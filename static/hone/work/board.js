// The ranking board. The radio buttons of the form are the truth: keys, drags and buttons set them, the tiers show them.
"use strict";

hone.work.Board = class {
  static PAUSE = 200; // milliseconds without a letter before the changes of an improved response are shown anew

  constructor(task) {
    this.task = task;
    this.form = task.form;
    this.answers = [...this.form.querySelectorAll(".answer")];
    this.layout = new hone.work.Layout(this.form);
    this.lastRanked = null;
    this.fillTiers();
    this.showRanks();
    this.showFlags();
    this.form.addEventListener("change", (event) => {
      if (event.target.matches(".ranks input")) this.ranked(event.target);
      else if (event.target.matches(".flags input")) this.showFlags();
      else if (event.target.name === "preference") this.preferred(event.target);
      else if (event.target.name === "improved_from") this.bringText();
    });
    this.form.addEventListener("input", (event) => {
      if (event.target.name !== "improved_text") return;
      clearTimeout(this.changes);
      this.changes = setTimeout(() => this.showChanges(), this.constructor.PAUSE);
    });
    this.form.querySelector(".improve")?.addEventListener("toggle", () => this.showChanges());
    this.form.addEventListener("focusin", () => this.showRanks());
    this.form.addEventListener("click", (event) => {
      const step = event.target.closest(".step");
      if (step) this.move(step.closest(".answer"), step.dataset.step === "better" ? -1 : 1);
      const chip = event.target.closest(".chip");
      if (chip) this.focus(this.answerOf(chip));
    });
  }

  // ---- ranks ----
  answerOf(element) { return this.answers.find((answer) => answer.dataset.id === element.dataset.id); }

  radios(answer) { return [...answer.querySelectorAll(".ranks input")]; }

  rank(answer) { return this.radios(answer).find((radio) => radio.checked)?.value ?? ""; }

  letters(answers) {
    return new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" }).format(answers.map((answer) => answer.dataset.letter));
  }

  setRank(answer, rank) {
    const radio = this.radios(answer).find((candidate) => candidate.value === String(rank));
    if (!radio || radio.checked) return;
    radio.checked = true;
    radio.dispatchEvent(new Event("change", { bubbles: true }));
  }

  ranked(radio) {
    const answer = radio.closest(".answer");
    this.lastRanked = answer;
    this.dropPreference();
    this.showRanks();
    hone.announce(this.sentence(answer));
  }

  // A key or button of one step. From nowhere, better means last and worse means first.
  move(answer, by) {
    const rank = Number(this.rank(answer)) || (by < 0 ? this.answers.length + 1 : 0);
    if (rank + by >= 1 && rank + by <= this.answers.length) this.setRank(answer, rank + by);
  }

  sentence(answer) {
    const letter = answer.dataset.letter, rank = this.rank(answer);
    if (!rank) return interpolate(gettext("%(letter)s is not ranked."), { letter }, true);
    const tied = this.answers.filter((other) => other !== answer && this.rank(other) === rank);
    const left = this.answers.filter((other) => !this.rank(other)).length;
    const first = tied.length
      ? interpolate(gettext("%(letter)s is %(rank)s, tied with %(others)s."), { letter, rank, others: this.letters(tied) }, true)
      : interpolate(gettext("%(letter)s is %(rank)s."), { letter, rank }, true);
    const rest = left ? interpolate(ngettext("%(n)s not ranked.", "%(n)s not ranked.", left), { n: left }, true) : gettext("All ranked.");
    return `${first} ${rest}`;
  }

  // ---- a pair's scale: order and margin in one ----
  preferred(stop) {
    const [better] = stop.value.split(":");
    for (const answer of this.answers) {
      const rank = stop.value === "tie" || answer.dataset.id === better ? "1" : "2";
      this.radios(answer).find((radio) => radio.value === rank).checked = true;
    }
    this.showRanks();
  }

  dropPreference() {
    const stop = this.form.querySelector("[name=preference]:checked");
    if (stop) stop.checked = false;
  }

  // ---- where one is ----
  active() { return document.activeElement?.closest?.(".answer") ?? null; }

  focus(answer) {
    const radio = this.radios(answer).find((candidate) => candidate.checked) ?? this.radios(answer)[0];
    radio.focus({ preventScroll: true });
    this.layout.show(answer);
  }

  // Where keys go on after a box was left.
  home(box) { this.focus(box?.closest(".answer") ?? this.nextUnranked() ?? this.answers[0]); }

  nextUnranked(after) {
    const start = this.answers.indexOf(after) + 1;
    return [...this.answers.slice(start), ...this.answers.slice(0, start)].find((answer) => !this.rank(answer));
  }

  best() {
    const ranked = this.answers.filter((answer) => this.rank(answer));
    return ranked.sort((one, other) => this.rank(one) - this.rank(other))[0];
  }

  // ---- the tiers ----
  fillTiers() {
    this.chips = new Map(this.answers.map((answer) => {
      const chip = document.createElement("li");
      chip.className = "chip";
      chip.dataset.id = answer.dataset.id;
      chip.textContent = answer.dataset.letter;
      return [answer, chip];
    }));
    const mark = (on) => this.form.classList.toggle("dragging", on);
    for (const tier of this.form.querySelectorAll(".tier ul")) {
      Sortable.create(tier, { group: "answers", animation: 0, onStart: () => mark(true), onEnd: () => mark(false), onAdd: (event) => this.dropped(event.item, tier) });
    }
    // A whole answer is dragged by its head. What travels is a copy; the answer stays where it is.
    Sortable.create(this.form.querySelector(".answers"), {
      group: { name: "answers", pull: "clone", put: false }, sort: false, animation: 0, draggable: ".answer", handle: ".answer > header",
      filter: "input, label, button", preventOnFilter: false, forceFallback: true, fallbackOnBody: true, fallbackClass: "dragged", fallbackTolerance: 4,
      onStart: () => mark(true),
      onClone: () => { this.before = new Map(this.answers.map((answer) => [answer, this.rank(answer)])); },
      // After Sortable has finished with what it moved.
      onEnd: ({ item, to }) => { mark(false); setTimeout(() => this.homecoming(item, to)); },
    });
  }

  // Sortable has put the answer itself into the tier and a copy into its place, and two radio buttons of one name can't
  // both be chosen: everything goes back as it was, and the answer gets its rank.
  homecoming(answer, tier) {
    this.form.querySelector(".answers").replaceChildren(...this.answers);
    for (const each of this.answers) {
      for (const radio of this.radios(each)) radio.checked = radio.value === (this.before?.get(each) ?? "");
    }
    if (tier.matches(".tier ul")) this.dropped(answer, tier);
    else this.showRanks();
  }

  dropped(item, tier) {
    if (!item.classList.contains("chip") && item.parentElement === tier) return; // its homecoming follows
    const answer = this.answerOf(item);
    this.setRank(answer, tier.dataset.rank);
    this.showRanks();
    this.focus(answer);
  }

  showRanks() {
    const active = this.active();
    for (const answer of this.answers) {
      const chip = this.chips.get(answer);
      const tier = this.form.querySelector(`.tier ul[data-rank="${this.rank(answer)}"]`);
      if (chip.parentElement !== tier) tier.append(chip);
      chip.classList.toggle("active", answer === active);
      answer.classList.toggle("is-ranked", this.rank(answer) !== "");
    }
  }

  // ---- reading aids ----
  text(answer) { return answer.querySelector(".raw pre").textContent; }

  openDiff() {
    const all = this.answers.map((answer) => ({ letter: answer.dataset.letter, text: this.text(answer) }));
    const left = this.best() ?? this.answers[0];
    const active = this.active();
    const right = active && active !== left ? active : this.answers.find((answer) => answer !== left);
    hone.work.diff.open(all, left.dataset.letter, right.dataset.letter);
  }

  // ---- the best one as it should be ----
  improve() {
    const details = this.form.querySelector(".improve");
    if (!details) return; // an exam asks for the order alone
    if (!details.open) {
      const from = this.form.elements.improved_from;
      if (!from.value) from.value = (this.best() ?? this.active() ?? this.answers[0]).dataset.id;
      this.bringText();
    }
    this.task.toggle(details, "textarea");
  }

  bringText() {
    const area = this.form.elements.improved_text;
    const answer = this.answers.find((candidate) => candidate.dataset.id === this.form.elements.improved_from.value);
    const untouched = !area.value.trim() || this.answers.some((candidate) => this.text(candidate) === area.value);
    if (answer && untouched) area.value = this.text(answer);
    this.showChanges();
  }

  // The original beside the box, and what became of it, word by word.
  showChanges() {
    const panel = this.form.querySelector(".improve[open]");
    if (!panel) return;
    const answer = this.answers.find((candidate) => candidate.dataset.id === this.form.elements.improved_from.value);
    const original = answer ? this.text(answer) : "";
    const written = this.form.elements.improved_text.value.replaceAll("\r\n", "\n");
    panel.querySelector("[data-improve=original]").textContent = original;
    panel.querySelector("[data-improve=changes]").replaceChildren(
      ...(answer ? hone.work.diff.marked(hone.work.diff.pieces(original, written), ["removed", "added"]) : []));
  }

  // ---- what hone.work asks ----
  filled() {
    this.showRanks();
    this.showFlags();
    this.showChanges();
  }

  // How many flags are set, where their list may be folded.
  showFlags() {
    for (const list of this.form.querySelectorAll(".flag-list")) {
      const count = list.querySelectorAll("input:checked").length;
      const place = list.querySelector("[data-flag-count]");
      place.textContent = count;
      place.hidden = !count;
    }
  }

  question() {
    if (this.form.elements.all_unacceptable.checked) return "";
    const unranked = this.answers.filter((answer) => !this.rank(answer));
    if (this.answers.length - unranked.length < 2) return "";
    if (unranked.length) {
      return interpolate(ngettext("%(letters)s is not ranked. Submit again if you mean it so.", "%(letters)s are not ranked. Submit again if you mean it so.", unranked.length),
        { letters: this.letters(unranked) }, true);
    }
    const asShown = this.answers.every((answer, index) => this.rank(answer) === String(index + 1));
    return asShown && this.answers.length > 2 ? gettext("This is exactly the order in which the answers were shown. Submit again if you mean it so.") : "";
  }

  // What the server would refuse is said at once, before anything moves on.
  obstacle() {
    const ranked = this.answers.filter((answer) => this.rank(answer)).length;
    return ranked >= 2 || this.form.elements.all_unacceptable.checked ? ""
      : gettext("Rank at least two answers (equal ones may share a tier), mark all as unacceptable, or skip the task.");
  }

  // True when the key was meant for the board.
  key(event, deed) {
    const answer = this.active() ?? this.nextUnranked() ?? this.answers[0];
    const shown = this.active() !== null;
    const scale = event.target.closest?.(".scale");
    if (scale && /^[0-9]$/.test(event.key)) {
      const stop = scale.querySelector(`input[value="${event.key}"]`);
      stop?.click();
      return Boolean(stop);
    }
    if (hone.work.keys.on && /^[1-9]$/.test(event.key) && Number(event.key) <= this.answers.length) {
      this.setRank(answer, event.key);
      this.focus(this.nextUnranked(answer) ?? answer);
      return true;
    }
    // Within a row of ratings, arrows and space belong to the browser.
    if (scale && event.key.startsWith("Arrow")) return false;
    const deeds = {
      clear: () => { this.setRank(answer, ""); this.focus(answer); },
      next: () => this.step(answer, shown ? 1 : 0),
      previous: () => this.step(answer, shown ? -1 : 0),
      better: () => shown && (this.move(answer, -1), this.focus(answer), true),
      worse: () => shown && (this.move(answer, 1), this.focus(answer), true),
      tie: () => {
        if (!this.lastRanked || this.lastRanked === answer || !this.rank(this.lastRanked)) return;
        this.setRank(answer, this.rank(this.lastRanked));
        this.focus(this.nextUnranked(answer) ?? answer);
      },
      unacceptable: () => this.form.elements.all_unacceptable.click(),
      rate: () => [...answer.querySelectorAll(".scale input:checked, .scale input, .typed input, .flag-list > summary")].at(0)?.focus(),
      note: () => this.task.toggle(answer.querySelector(".note"), "textarea"),
      improve: () => this.improve(),
      diff: () => this.openDiff(),
      raw: () => hone.work.toggleRaw(this.form),
      layout: () => this.layout.next(),
    };
    if (!Object.hasOwn(deeds, deed)) return false;
    return deeds[deed]() !== false;
  }

  step(answer, by) {
    const at = this.answers.indexOf(answer);
    this.focus(this.answers[(at + by + this.answers.length) % this.answers.length]);
  }
};

hone.work.kinds.push({ matches: (form) => form.classList.contains("board"), make: (task) => new hone.work.Board(task) });

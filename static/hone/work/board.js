// The ranking board. The radio buttons of the form are the truth: keys, drags and buttons set them, the tiers show
// them.

import { announce } from "../messages.js";
import { compare } from "./diff.js";
import { limitation, markedNodes, openDiff } from "./diff_dialog.js";
import * as keys from "./keys.js";
import { Layout, toggleRaw } from "./layout.js";

// What a response is rated by, in the order of the page.
const RATED = ".scale input:checked, .scale input, .typed input, .flag-list > summary";

export class Board {
  static PAUSE = 200; // milliseconds without a letter before the changes of an improved response are shown anew

  constructor(task) {
    this.task = task;
    this.form = task.form;
    this.responses = [...this.form.querySelectorAll(".response")];
    this.layout = new Layout(this.form);
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
      if (step) this.move(step.closest(".response"), step.dataset.step === "better" ? -1 : 1);
      const chip = event.target.closest(".chip");
      if (chip) this.focus(this.responseOf(chip));
    });
  }

  // ---- ranks ----
  responseOf(element) { return this.responses.find((response) => response.dataset.id === element.dataset.id); }

  radios(response) { return [...response.querySelectorAll(".ranks input")]; }

  rank(response) { return this.radios(response).find((radio) => radio.checked)?.value ?? ""; }

  letters(responses) {
    const list = new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" });
    return list.format(responses.map((response) => response.dataset.letter));
  }

  setRank(response, rank) {
    const radio = this.radios(response).find((candidate) => candidate.value === String(rank));
    if (!radio || radio.checked) return;
    radio.checked = true;
    radio.dispatchEvent(new Event("change", { bubbles: true }));
  }

  ranked(radio) {
    const response = radio.closest(".response");
    this.lastRanked = response;
    this.dropPreference();
    this.showRanks();
    announce(this.sentence(response));
  }

  // A key or button of one step. From nowhere, better means last and worse means first.
  move(response, by) {
    const rank = Number(this.rank(response)) || (by < 0 ? this.responses.length + 1 : 0);
    if (rank + by >= 1 && rank + by <= this.responses.length) this.setRank(response, rank + by);
  }

  sentence(response) {
    const letter = response.dataset.letter, rank = this.rank(response);
    if (!rank) return interpolate(gettext("%(letter)s is not ranked."), { letter }, true);
    const tied = this.responses.filter((other) => other !== response && this.rank(other) === rank);
    const left = this.responses.filter((other) => !this.rank(other)).length;
    const words = tied.length
      ? gettext("%(letter)s is %(rank)s, tied with %(others)s.")
      : gettext("%(letter)s is %(rank)s.");
    const first = interpolate(words, { letter, rank, others: this.letters(tied) }, true);
    const rest = left
      ? interpolate(ngettext("%(n)s not ranked.", "%(n)s not ranked.", left), { n: left }, true)
      : gettext("All ranked.");
    return `${first} ${rest}`;
  }

  // ---- a pair's scale: order and margin in one ----
  preferred(stop) {
    const [better] = stop.value.split(":");
    for (const response of this.responses) {
      const rank = stop.value === "tie" || response.dataset.id === better ? "1" : "2";
      this.radios(response).find((radio) => radio.value === rank).checked = true;
    }
    this.showRanks();
  }

  dropPreference() {
    const stop = this.form.querySelector("[name=preference]:checked");
    if (stop) stop.checked = false;
  }

  // ---- where one is ----
  active() { return document.activeElement?.closest?.(".response") ?? null; }

  focus(response) {
    const radio = this.radios(response).find((candidate) => candidate.checked) ?? this.radios(response)[0];
    radio.focus({ preventScroll: true });
    this.layout.show(response);
  }

  // Where keys go on after a box was left.
  home(box) { this.focus(box?.closest(".response") ?? this.nextUnranked() ?? this.responses[0]); }

  nextUnranked(after) {
    const start = this.responses.indexOf(after) + 1;
    return [...this.responses.slice(start), ...this.responses.slice(0, start)].find((response) => !this.rank(response));
  }

  best() {
    const ranked = this.responses.filter((response) => this.rank(response));
    return ranked.sort((one, other) => this.rank(one) - this.rank(other))[0];
  }

  // ---- the tiers ----
  fillTiers() {
    this.chips = new Map(this.responses.map((response) => {
      const chip = document.createElement("li");
      chip.className = "chip";
      chip.dataset.id = response.dataset.id;
      chip.textContent = response.dataset.letter;
      return [response, chip];
    }));
  }

  enter() {
    const mark = (on) => this.form.classList.toggle("dragging", on);
    this.draggable = [...this.form.querySelectorAll(".tier ul")].map((tier) => Sortable.create(tier, {
      group: "responses", animation: 0, onStart: () => mark(true), onEnd: () => mark(false),
      onAdd: (event) => this.dropped(event.item, tier),
    }));
    // A whole response is dragged by its head. What travels is a copy; the response stays where it is.
    this.draggable.push(Sortable.create(this.form.querySelector(".responses"), {
      group: { name: "responses", pull: "clone", put: false }, sort: false, animation: 0,
      draggable: ".response", handle: ".response > header", filter: "input, label, button", preventOnFilter: false,
      forceFallback: true, fallbackOnBody: true, fallbackClass: "dragged", fallbackTolerance: 4,
      onStart: () => mark(true),
      onClone: () => { this.before = new Map(this.responses.map((response) => [response, this.rank(response)])); },
      // After Sortable has finished with what it moved.
      onEnd: ({ item, to }) => { mark(false); setTimeout(() => this.putBack(item, to)); },
    }));
  }

  // Sortable lists every element that it was given until it is told to let go: each task of the day would stay in
  // memory with all of its page.
  leave() {
    for (const each of this.draggable) each.destroy();
  }

  // Sortable has put the response itself into the tier and a copy into its place, and two radio buttons of one name
  // can't both be chosen: everything goes back as it was, and the response gets its rank.
  putBack(response, tier) {
    this.form.querySelector(".responses").replaceChildren(...this.responses);
    for (const each of this.responses) {
      for (const radio of this.radios(each)) radio.checked = radio.value === (this.before?.get(each) ?? "");
    }
    if (tier.matches(".tier ul")) this.dropped(response, tier);
    else this.showRanks();
  }

  dropped(item, tier) {
    if (!item.classList.contains("chip") && item.parentElement === tier) return; // its putBack follows
    const response = this.responseOf(item);
    this.setRank(response, tier.dataset.rank);
    this.showRanks();
    this.focus(response);
  }

  showRanks() {
    const active = this.active();
    for (const response of this.responses) {
      const chip = this.chips.get(response);
      const tier = this.form.querySelector(`.tier ul[data-rank="${this.rank(response)}"]`);
      if (chip.parentElement !== tier) tier.append(chip);
      chip.classList.toggle("active", response === active);
      response.classList.toggle("is-ranked", this.rank(response) !== "");
    }
  }

  // ---- reading aids ----
  text(response) { return response.querySelector(".raw pre").textContent; }

  openDiff() {
    const all = this.responses.map((response) => ({ letter: response.dataset.letter, text: this.text(response) }));
    const left = this.best() ?? this.responses[0];
    const active = this.active();
    const right = active && active !== left ? active : this.responses.find((response) => response !== left);
    openDiff(all, left.dataset.letter, right.dataset.letter);
  }

  // ---- the best one as it should be ----
  improve() {
    const details = this.form.querySelector(".improve");
    if (!details) return; // an exam asks for the order alone
    if (!details.open) {
      const from = this.form.elements.improved_from;
      if (!from.value) from.value = (this.best() ?? this.active() ?? this.responses[0]).dataset.id;
      this.bringText();
    }
    this.task.toggle(details, "textarea");
  }

  improvedResponse() {
    const id = this.form.elements.improved_from.value;
    return this.responses.find((candidate) => candidate.dataset.id === id);
  }

  bringText() {
    const area = this.form.elements.improved_text;
    const response = this.improvedResponse();
    const untouched = !area.value.trim() || this.responses.some((candidate) => this.text(candidate) === area.value);
    if (response && untouched) area.value = this.text(response);
    this.showChanges();
  }

  // The original beside the box, and what became of it, word by word.
  showChanges() {
    const panel = this.form.querySelector(".improve[open]");
    if (!panel) return;
    const response = this.improvedResponse();
    const original = response ? this.text(response) : "";
    const written = this.form.elements.improved_text.value.replaceAll("\r\n", "\n");
    panel.querySelector("[data-improve=original]").textContent = original;
    const { unit, parts } = response ? compare(original, written) : { unit: "word", parts: [] };
    panel.querySelector("[data-improve=changes]").replaceChildren(...markedNodes(parts, ["removed", "added"]));
    const facts = panel.querySelector("[data-improve=facts]");
    facts.textContent = limitation(unit);
    facts.hidden = !facts.textContent;
  }

  // ---- what the page asks ----
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
    const unranked = this.responses.filter((response) => !this.rank(response));
    if (this.responses.length - unranked.length < 2) return "";
    if (unranked.length) {
      const sentence = ngettext(
        "%(letters)s is not ranked. Submit again to confirm.",
        "%(letters)s are not ranked. Submit again to confirm.",
        unranked.length,
      );
      return interpolate(sentence, { letters: this.letters(unranked) }, true);
    }
    const asShown = this.responses.every((response, index) => this.rank(response) === String(index + 1));
    if (!asShown || this.responses.length <= 2) return "";
    return gettext("This is exactly the order in which the responses were shown. Submit again to confirm.");
  }

  // What the server would refuse is said at once, before anything moves on.
  obstacle() {
    const ranked = this.responses.filter((response) => this.rank(response)).length;
    if (ranked >= 2 || this.form.elements.all_unacceptable.checked) return "";
    return gettext(
      "Rank at least two responses (equal ones may share a tier), mark all as unacceptable, or skip the task.",
    );
  }

  // True when the key was meant for the board.
  key(event, action) {
    const response = this.active() ?? this.nextUnranked() ?? this.responses[0];
    const shown = this.active() !== null;
    const scale = event.target.closest?.(".scale");
    if (scale && /^[0-9]$/.test(event.key)) {
      const stop = scale.querySelector(`input[value="${event.key}"]`);
      stop?.click();
      return Boolean(stop);
    }
    if (keys.areOn && /^[1-9]$/.test(event.key) && Number(event.key) <= this.responses.length) {
      this.setRank(response, event.key);
      this.focus(this.nextUnranked(response) ?? response);
      return true;
    }
    // Within a row of ratings, arrows and space belong to the browser.
    if (scale && event.key.startsWith("Arrow")) return false;
    const actions = {
      clear: () => { this.setRank(response, ""); this.focus(response); },
      next: () => this.step(response, shown ? 1 : 0),
      previous: () => this.step(response, shown ? -1 : 0),
      better: () => shown && (this.move(response, -1), this.focus(response), true),
      worse: () => shown && (this.move(response, 1), this.focus(response), true),
      tie: () => {
        if (!this.lastRanked || this.lastRanked === response || !this.rank(this.lastRanked)) return;
        this.setRank(response, this.rank(this.lastRanked));
        this.focus(this.nextUnranked(response) ?? response);
      },
      unacceptable: () => this.form.elements.all_unacceptable.click(),
      rate: () => response.querySelector(RATED)?.focus(),
      note: () => this.task.toggle(response.querySelector(".note"), "textarea"),
      improve: () => this.improve(),
      diff: () => this.openDiff(),
      raw: () => toggleRaw(this.form),
      layout: () => this.layout.next(),
    };
    if (!Object.hasOwn(actions, action)) return false;
    return actions[action]() !== false;
  }

  step(response, by) {
    const at = this.responses.indexOf(response);
    this.focus(this.responses[(at + by + this.responses.length) % this.responses.length]);
  }
}

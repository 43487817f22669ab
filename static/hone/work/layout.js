// How the answers stand: columns, a stack, or panes of the window's height that scroll together. Kept in this browser.
"use strict";

// What is seen of the page between the head that stays and the dock that stays, in pixels from the window's top.
hone.work.sight = () => {
  const edge = (selector, side, otherwise) => {
    const found = document.querySelector(selector);
    return found && getComputedStyle(found).position === "sticky" ? found.getBoundingClientRect()[side] : otherwise;
  };
  const head = Math.max(edge(".masthead", "bottom", 0), edge("#work .work-head", "bottom", 0));
  return { from: head, to: edge("#work .dock", "top", window.innerHeight) };
};

// Shows each text as it was written, or drawn again.
hone.work.toggleRaw = (form) => {
  const shown = form.classList.toggle("as-written");
  for (const details of form.querySelectorAll("details.raw")) details.open = shown;
  form.querySelector("[data-deed=raw]")?.setAttribute("aria-pressed", String(shown));
};

hone.work.Layout = class {
  static NAMES = ["columns", "stack", "panes"];
  static ENOUGH = 96; // pixels of an answer, its head and a line or two, by which it counts as in sight

  constructor(form) {
    this.answers = form.querySelector(".answers");
    this.select = form.querySelector("[data-layout]");
    this.texts = [...this.answers.querySelectorAll(".text")];
    this.set(hone.work.store.get(hone.work.store.name("layout")) ?? "columns");
    this.select.addEventListener("change", (event) => {
      event.stopPropagation(); // it is no part of the draft
      this.choose(this.select.value);
    });
    for (const text of this.texts) text.addEventListener("scroll", () => this.follow(text));
  }

  set(name) {
    const known = this.constructor.NAMES.includes(name) ? name : "columns";
    this.answers.dataset.layout = this.select.value = known;
    for (const text of this.texts) {
      if (known === "panes") text.tabIndex = 0;
      else text.removeAttribute("tabindex");
    }
  }

  choose(name) {
    this.set(name);
    hone.work.store.set(hone.work.store.name("layout"), this.answers.dataset.layout);
  }

  next() {
    const names = this.constructor.NAMES;
    this.choose(names[(names.indexOf(this.answers.dataset.layout) + 1) % names.length]);
    hone.announce(this.select.selectedOptions[0].textContent);
  }

  // Moves the answers alone, and only when this one is out of sight: prompt and state stay where they are.
  show(answer) {
    const { top, bottom, left, right } = answer.getBoundingClientRect();
    const row = this.answers.getBoundingClientRect();
    if (left < row.left - 1 || right > row.right + 1) this.answers.scrollBy({ left: left - row.left });
    const { from, to } = hone.work.sight();
    const enough = Math.min(this.constructor.ENOUGH, bottom - top);
    if (bottom < from + enough || top > to - enough) window.scrollBy({ top: top - from - 8 });
  }

  // The others go to the same share of their height; the ones that were moved so don't move on others.
  follow(text) {
    if (this.answers.dataset.layout !== "panes" || (this.led && this.led !== text)) return;
    this.led = text;
    clearTimeout(this.rest);
    this.rest = setTimeout(() => { this.led = null; }, 120);
    const share = text.scrollTop / Math.max(1, text.scrollHeight - text.clientHeight);
    for (const other of this.texts) {
      if (other !== text) other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    }
  }
};

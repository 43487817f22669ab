// How the answers stand: columns, a stack, or panes of the window's height that scroll together. Kept in this browser.
"use strict";

hone.work.Layout = class {
  static NAMES = ["columns", "stack", "panes"];

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

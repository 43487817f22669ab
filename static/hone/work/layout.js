// How the responses are laid out: columns, a stack, or panes of the window's height that scroll together. Kept in this
// browser.

import { announce } from "../messages.js";
import * as store from "./store.js";

// What is seen of the page between the head that stays and the dock that stays, in pixels from the window's top.
export const visibleRange = () => {
  const edge = (selector, side, otherwise) => {
    const found = document.querySelector(selector);
    return found && getComputedStyle(found).position === "sticky" ? found.getBoundingClientRect()[side] : otherwise;
  };
  const head = Math.max(edge(".masthead", "bottom", 0), edge("#work .work-head", "bottom", 0));
  return { from: head, to: edge("#work .dock", "top", window.innerHeight) };
};

// Shows each text as it was written, or drawn again.
export const toggleRaw = (form) => {
  const shown = form.classList.toggle("as-written");
  for (const details of form.querySelectorAll("details.raw")) details.open = shown;
  form.querySelector("[data-action=raw]")?.setAttribute("aria-pressed", String(shown));
};

export class Layout {
  static NAMES = ["columns", "stack", "panes"];
  static LEAST_IN_SIGHT = 96; // pixels of an response, its head and a line or two, by which it counts as in sight

  constructor(form) {
    this.responses = form.querySelector(".responses");
    this.select = form.querySelector("[data-layout]");
    this.texts = [...this.responses.querySelectorAll(".text")];
    this.set(store.get(store.key("layout")) ?? "columns");
    this.select.addEventListener("change", (event) => {
      event.stopPropagation(); // it is no part of the draft
      this.choose(this.select.value);
    });
    for (const text of this.texts) text.addEventListener("scroll", () => this.follow(text));
  }

  set(name) {
    const known = this.constructor.NAMES.includes(name) ? name : "columns";
    this.responses.dataset.layout = this.select.value = known;
    for (const text of this.texts) {
      if (known === "panes") text.tabIndex = 0;
      else text.removeAttribute("tabindex");
    }
  }

  choose(name) {
    this.set(name);
    store.set(store.key("layout"), this.responses.dataset.layout);
  }

  next() {
    const names = this.constructor.NAMES;
    this.choose(names[(names.indexOf(this.responses.dataset.layout) + 1) % names.length]);
    announce(this.select.selectedOptions[0].textContent);
  }

  // Moves the responses alone, and only when this one is out of sight: prompt and state stay where they are.
  show(response) {
    const { top, bottom, left, right } = response.getBoundingClientRect();
    const row = this.responses.getBoundingClientRect();
    if (left < row.left - 1 || right > row.right + 1) this.responses.scrollBy({ left: left - row.left });
    const { from, to } = visibleRange();
    const enough = Math.min(this.constructor.LEAST_IN_SIGHT, bottom - top);
    if (bottom < from + enough || top > to - enough) window.scrollBy({ top: top - from - 8 });
  }

  // The others go to the same share of their height; the ones that were moved so don't move on others.
  follow(text) {
    if (this.responses.dataset.layout !== "panes" || (this.led && this.led !== text)) return;
    this.led = text;
    clearTimeout(this.rest);
    this.rest = setTimeout(() => { this.led = null; }, 120);
    const share = text.scrollTop / Math.max(1, text.scrollHeight - text.clientHeight);
    for (const other of this.texts) {
      if (other !== text) other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    }
  }
}

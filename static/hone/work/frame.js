// The work page's frame: the line above, the prompt and the dock stay in sight, and what scrolls between them knows how
// high they are. How far one is, and which parts one keeps folded.

import * as store from "./store.js";

const root = document.documentElement;
const masthead = document.querySelector(".masthead");
const progress = document.getElementById("progress");
const total = Number(progress?.querySelector("progress")?.max) || 0;
const parts = () => ({
  bar: masthead,
  head: document.querySelector("#work .work-head"),
  dock: document.querySelector("#work .dock"),
});

const measure = () => {
  for (const [name, part] of Object.entries(parts())) {
    const stays = part && getComputedStyle(part).position === "sticky";
    root.style.setProperty(`--${name}`, `${stays ? Math.ceil(part.getBoundingClientRect().height) : 0}px`);
  }
  for (const prompt of document.querySelectorAll("#work .prompt")) {
    const box = prompt.querySelector(".prompt-text-box"), button = prompt.querySelector("[data-action=prompt]");
    if (!box || !button) continue;
    const isCut = box.scrollHeight > box.clientHeight + 1;
    button.hidden = !isCut && !prompt.closest(".whole");
    // What scrolls must be reached by keyboard.
    if (isCut) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
// Leaving the page saves the draft; the task itself goes back to the queue.
document.querySelector(".kind-choice select")?.addEventListener("change", (event) => event.target.form.requestSubmit());

const sizes = new ResizeObserver(measure);
addEventListener("resize", measure);

// Another task is on the screen.
export const watch = (section) => {
  sizes.disconnect();
  for (const part of Object.values(parts())) if (part) sizes.observe(part);
  for (const part of section.querySelectorAll("details[data-remember]")) {
    const name = store.key("folded", `.${part.dataset.remember}`);
    // Where there is little room it begins folded: each scale shows its two ends in any case.
    part.open = !(store.get(name) ?? matchMedia("(max-width: 45.99rem)").matches);
    part.querySelector("summary").addEventListener("click", () => store.set(name, part.open));
  }
  measure();
};

// The whole prompt, or again as much as leaves room for the responses.
export const togglePrompt = () => {
  const head = document.querySelector("#work .work-head");
  const button = head?.querySelector("[data-action=prompt]");
  if (!button) return;
  const isWhole = head.classList.toggle("whole");
  button.setAttribute("aria-expanded", String(isWhole));
  button.textContent = isWhole ? gettext("Fold the prompt") : gettext("Whole prompt");
  measure();
  if (isWhole) window.scrollTo(0, 0);
};

// done: how many were submitted lately, as the server counts them.
export const showDone = (done) => {
  if (!progress || !(done >= 0)) return;
  progress.querySelector("[data-done]").textContent = done;
  const bar = progress.querySelector("progress");
  if (bar) bar.value = Math.min(done, total);
};

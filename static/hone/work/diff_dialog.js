// Two responses side by side, with what differs between them marked.

import { compare, sharedPortion } from "./diff.js";

const dialog = document.getElementById("diff");
const side = (name) => dialog.querySelector(`[data-side=${name}]`);
const choice = (name) => dialog.querySelector(`[data-diff=${name}]`);
const percent = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
let responses = [];

// Parts as nodes: those that are the same, and of the others these sorts.
export const markedNodes = (parts, sorts) => {
  const kept = parts.filter(([sort]) => sort === "same" || sorts.includes(sort));
  return kept.map(([sort, text]) => {
    if (sort === "same") return document.createTextNode(text);
    const mark = document.createElement(sort === "removed" ? "del" : "ins");
    mark.textContent = text;
    return mark;
  });
};

// How the two were compared, where it wasn't word by word.
export const limitation = (unit) => ({
  word: "",
  line: gettext("The texts differ too much for a comparison word by word. Whole lines are compared."),
})[unit] ?? gettext("The texts are too long and too different to be compared.");

const summary = ({ unit, parts }) => {
  if (unit === null) return limitation(unit);
  const isSame = parts.every(([sort]) => sort === "same");
  const share = percent.format(sharedPortion(parts));
  const found = isSame
    ? gettext("The two are the same, word for word.")
    : interpolate(gettext("%(share)s is the same."), { share }, true);
  return `${found} ${limitation(unit)}`.trim();
};

const show = () => {
  const text = (name) => responses.find((response) => response.letter === choice(name).value).text;
  const comparison = compare(text("left"), text("right"));
  for (const [name, own] of [["left", "removed"], ["right", "added"]]) {
    const label = interpolate(gettext("Response %(letter)s"), { letter: choice(name).value }, true);
    side(name).setAttribute("aria-label", label);
    side(name).replaceChildren(...markedNodes(comparison.parts, [own]));
  }
  document.getElementById("diff-facts").textContent = summary(comparison);
};

dialog.addEventListener("change", show);
// The two sides scroll together, by share of their height.
for (const [name, other] of [["left", "right"], ["right", "left"]]) {
  side(name).addEventListener("scroll", () => {
    const from = side(name), to = side(other);
    const room = from.scrollHeight - from.clientHeight;
    const goal = room > 0 ? Math.round((from.scrollTop / room) * (to.scrollHeight - to.clientHeight)) : 0;
    if (Math.abs(to.scrollTop - goal) > 1 && from.matches(":hover, :focus")) to.scrollTop = goal;
  });
}

// all: [{letter, text}]; left and right: the letters to begin with.
export const openDiff = (all, left, right) => {
  responses = all;
  for (const [name, letter] of [["left", left], ["right", right]]) {
    const option = (own) => new Option(own, own, false, own === letter);
    choice(name).replaceChildren(...all.map((response) => option(response.letter)));
  }
  show();
  dialog.showModal();
};

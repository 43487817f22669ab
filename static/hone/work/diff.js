// Two texts compared word by word: the shortest list of changes, by jsdiff.

import { diffArrays } from "../../vendor/diff/array.js";
import { segments } from "./words.js";

// jsdiff's work grows with the square of the changes: these bound it to some tenths of a second.
const MOST_CHANGES = 2_500;
const TIMEOUT = 250; // milliseconds a unit, on a slow machine

const UNITS = {
  word: (text) => segments(text).map(({ segment }) => segment),
  line: (text) => text.match(/[^\n]*\n|[^\n]+/g) ?? [],
};

// {unit, parts}: the parts are [["same" | "removed" | "added", text], ...], neighbours of one sort joined; the unit
// that was compared is "word", for texts that differ in too many words "line", and null when they were not compared at
// all.
export const compare = (left, right) => {
  for (const [unit, split] of Object.entries(UNITS)) {
    const changes = diffArrays(split(left), split(right), { maxEditLength: MOST_CHANGES, timeout: TIMEOUT });
    if (!changes) continue;
    const sort = (change) => (change.added ? "added" : change.removed ? "removed" : "same");
    return { unit, parts: changes.map((change) => [sort(change), change.value.join("")]).filter(([, text]) => text) };
  }
  return { unit: null, parts: [["removed", left], ["added", right]] };
};

// The share of the characters that both have, between 0 and 1.
export const sharedPortion = (parts) => {
  const length = (some) => some.reduce((sum, [, text]) => sum + text.length, 0);
  return length(parts.filter(([sort]) => sort === "same")) / (length(parts) || 1);
};

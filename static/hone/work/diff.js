// Two texts word by word: the longest common subsequence of their words; Chinese and Japanese by character.
"use strict";

hone.work.diff = (() => {
  const TOKEN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{M}\p{N}_'’]+|\s+|[^\p{L}\p{M}\p{N}\s]/gu;
  const LINE = /[^\n]*\n|[^\n]+/g;
  const MOST_CELLS = 16_000_000; // of the table, two bytes each; longer texts are compared line by line

  // [["same" | "removed" | "added", text], ...], neighbours of one sort joined.
  const pieces = (left, right, split = TOKEN) => {
    const a = left.match(split) ?? [];
    const b = right.match(split) ?? [];
    let start = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
    let end = 0;
    while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
    const rows = a.length - start - end, columns = b.length - start - end;
    if (rows * columns > MOST_CELLS && split === TOKEN) return pieces(left, right, LINE);
    const found = [];
    const add = (sort, text) => {
      if (found.at(-1)?.[0] === sort) found.at(-1)[1] += text;
      else if (text) found.push([sort, text]);
    };
    add("same", a.slice(0, start).join(""));
    if (rows * columns > MOST_CELLS) {
      add("removed", a.slice(start, start + rows).join(""));
      add("added", b.slice(start, start + columns).join(""));
    } else {
      // length[i][j]: of the longest common subsequence of what follows i and j.
      const width = columns + 1;
      const length = new Uint16Array((rows + 1) * width);
      for (let i = rows - 1; i >= 0; i -= 1) {
        for (let j = columns - 1; j >= 0; j -= 1) {
          length[i * width + j] = a[start + i] === b[start + j]
            ? length[(i + 1) * width + j + 1] + 1
            : Math.max(length[(i + 1) * width + j], length[i * width + j + 1]);
        }
      }
      let i = 0, j = 0;
      while (i < rows || j < columns) {
        if (i < rows && j < columns && a[start + i] === b[start + j]) { add("same", a[start + i]); i += 1; j += 1; }
        else if (j >= columns || (i < rows && length[(i + 1) * width + j] >= length[i * width + j + 1])) { add("removed", a[start + i]); i += 1; }
        else { add("added", b[start + j]); j += 1; }
      }
    }
    add("same", end ? a.slice(a.length - end).join("") : "");
    return found;
  };

  const dialog = document.getElementById("diff");
  const side = (name) => dialog.querySelector(`[data-side=${name}]`);
  const choice = (name) => dialog.querySelector(`[data-diff=${name}]`);
  const percent = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
  let answers = [];

  // Pieces as nodes: those that are the same, and of the others these sorts.
  const marked = (found, sorts) => found.filter(([sort]) => sort === "same" || sorts.includes(sort)).map(([sort, piece]) => {
    if (sort === "same") return document.createTextNode(piece);
    const mark = document.createElement(sort === "removed" ? "del" : "ins");
    mark.textContent = piece;
    return mark;
  });

  const show = () => {
    const text = (name) => answers.find((answer) => answer.letter === choice(name).value).text;
    const found = pieces(text("left"), text("right"));
    for (const [name, own] of [["left", "removed"], ["right", "added"]]) {
      side(name).setAttribute("aria-label", interpolate(gettext("Answer %(letter)s"), { letter: choice(name).value }, true));
      side(name).replaceChildren(...marked(found, [own]));
    }
    const all = found.reduce((sum, [, piece]) => sum + piece.length, 0);
    const same = found.reduce((sum, [sort, piece]) => sum + (sort === "same" ? piece.length : 0), 0);
    document.getElementById("diff-facts").textContent = all === same
      ? gettext("The two are the same, word for word.")
      : interpolate(gettext("%(share)s is the same."), { share: percent.format(same / (all || 1)) }, true);
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

  return {
    pieces,
    marked,
    // all: [{letter, text}]; left and right: the letters to begin with.
    open(all, left, right) {
      answers = all;
      for (const [name, letter] of [["left", left], ["right", right]]) {
        choice(name).replaceChildren(...all.map((answer) => new Option(answer.letter, answer.letter, false, answer.letter === letter)));
      }
      show();
      dialog.showModal();
    },
  };
})();

import assert from "node:assert/strict";
import { test } from "node:test";

import { compare, sharedPortion } from "../../../static/hone/work/diff.js";
import { countWords, segments } from "../../../static/hone/work/words.js";

const LIMIT = 10; // seconds of processor time, which a loaded machine doesn't stretch

const secondsOf = (action) => {
  const before = process.cpuUsage();
  action();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
};

// Words that another seed gives in another order.
const noise = (characters, seed) => {
  let text = "", state = seed;
  while (text.length < characters) {
    state = (state * 48271) % 2147483647;
    text += `${(state % 5000).toString(36)} `;
  }
  return text.slice(0, characters);
};

test("English is compared word by word, spaces and signs being words of their own", () => {
  assert.deepEqual(compare("Ten minutes in hot water.", "Ten minutes in cold water, slowly."), {
    unit: "word",
    parts: [["same", "Ten minutes in "], ["removed", "hot"], ["added", "cold"], ["same", " water"], ["added", ", slowly"], ["same", "."]],
  });
});

test("Chinese is compared by words, which it writes without spaces", () => {
  assert.deepEqual(compare("我喜欢喝咖啡。", "我喜欢喝绿茶。").parts, [["same", "我喜欢喝"], ["removed", "咖啡"], ["added", "绿茶"], ["same", "。"]]);
});

test("no text and equal texts", () => {
  assert.deepEqual(compare("", "").parts, []);
  assert.deepEqual(compare("", "a").parts, [["added", "a"]]);
  assert.deepEqual(compare("a\r\nb", "a\r\nb").parts, [["same", "a\r\nb"]]);
});

test("the parts make up both texts, to the character", () => {
  const texts = ["", "a", " a  b\n\n c", "一二三。四五", "e\u0301 \u{1F469}\u200D\u{1F4BB}!", "‮abc", "x".repeat(1200), `${"y ".repeat(600)}z`];
  for (const left of texts) {
    for (const right of texts) {
      const { parts } = compare(left, right);
      const without = (sort) => parts.filter(([own]) => own !== sort).map(([, text]) => text).join("");
      assert.deepEqual([without("added"), without("removed")], [left, right]);
    }
  }
});

test("two long texts without anything in common are compared by lines, soon", () => {
  const left = noise(60_000, 1), right = noise(60_000, 2);
  let comparison;
  assert.ok(secondsOf(() => { comparison = compare(left, right); }) < LIMIT);
  assert.deepEqual(comparison, { unit: "line", parts: [["removed", left], ["added", right]] });
});

test("texts that differ in too many lines as well are shown unmarked", () => {
  const left = "a b\n".repeat(20_000), right = "a c\n".repeat(20_000);
  let comparison;
  assert.ok(secondsOf(() => { comparison = compare(left, right); }) < LIMIT);
  assert.deepEqual(comparison, { unit: null, parts: [["removed", left], ["added", right]] });
});

test("a small change in a long text is found word by word", () => {
  const left = noise(60_000, 1), middle = left.indexOf(" ", 30_000);
  const { unit, parts } = compare(left, `${left.slice(0, middle)} here${left.slice(middle)}`);
  assert.equal(unit, "word");
  assert.equal(parts.filter(([sort]) => sort === "added").map(([, text]) => text.trim()).join(""), "here");
  assert.ok(sharedPortion(parts) > 0.999);
});

test("the share of what both have is counted in characters", () => {
  assert.equal(sharedPortion([["same", "abc"], ["removed", "d"]]), 0.75);
  assert.equal(sharedPortion([]), 0);
});

test("words are counted in texts of any length, soon", () => {
  assert.equal(countWords("Ten minutes, in hot water."), 5);
  assert.equal(countWords("我喜欢喝咖啡。"), 4);
  assert.equal(countWords(""), 0);
  const long = "word and ".repeat(60_000);
  let count = 0;
  assert.ok(secondsOf(() => { count = countWords(long); }) < LIMIT);
  assert.equal(count, 120_000);
  assert.equal(segments(long).map(({ segment }) => segment).join(""), long);
});

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Draft } from "../../../static/hone/work/draft.js";
import { LABELER, Server, Storage, makePage, pass, settle, startClock, stopClock } from "./page.mjs";

const URL = "/p/kindness/work/5/draft";
const KEY = `hone.draft.${LABELER}${URL}`;

class Fields {
  seconds = "12.0";

  constructor(text) { this.text = text; }

  read() { return [["comment", this.text]]; }

  fill(fields) { this.text = Array.isArray(fields) ? fields[0][1] : fields.comment?.at(-1) ?? ""; }
}

const makeDraft = ({ text = "", ...options } = {}) => {
  const said = { states: [], conflicts: [], signedOut: 0, elsewhere: 0 };
  const fields = new Fields(text);
  const draft = new Draft({
    fields, url: URL, ...options,
    on: {
      state: (sentence) => said.states.push(sentence),
      conflict: (sentence, ...choices) => said.conflicts.push(Object.fromEntries([["sentence", sentence], ...choices])),
      signedOut: () => { said.signedOut += 1; },
      submittedElsewhere: () => { said.elsewhere += 1; },
      beforeSave: () => {},
    },
  });
  const write = (value) => { fields.text = value; draft.changed(); };
  return { draft, fields, said, write };
};

const receipt = (version, more = {}) => ({ kept: true, conflict: false, over: false, expired: false, version, draft: null, ...more });

let server;
let storage;
beforeEach(() => {
  startClock();
  storage = makePage();
  server = new Server();
});
afterEach(stopClock);

test("a change is in this browser at once, on the server after a pause, and then in the browser no more", async () => {
  const { draft, said, write } = makeDraft({ version: 3 });
  write("one");
  const { at, ...kept } = JSON.parse(storage.getItem(KEY));
  assert.deepEqual(kept, { version: 4, base: 3, fields: [["comment", "one"]] });
  await pass(Draft.DELAY - 1);
  assert.equal(server.requests.length, 0);
  await pass(1);
  const { comment, seconds, draft_version: number, draft_base: base } = server.last.fields;
  assert.deepEqual({ comment, seconds, number, base }, { comment: "one", seconds: "12.0", number: "4", base: "3" });
  assert.equal(server.last.headers["X-CSRFToken"], "token");
  await server.reply(receipt(4));
  assert.deepEqual([draft.version, draft.base, draft.dirty, storage.length], [4, 4, false, 0]);
  assert.deepEqual(said.states, ["Draft saved"]);
});

test("one draft is on its way at a time, and what changed meanwhile follows under the next number", async () => {
  const { draft, write } = makeDraft();
  write("one");
  await pass(Draft.DELAY);
  write("two");
  await pass(Draft.DELAY);
  write("three");
  await pass(Draft.DELAY);
  assert.deepEqual(server.sent("comment"), ["one"]);
  await server.reply(receipt(1));
  assert.deepEqual(server.sent("comment"), ["one", "three"]);
  assert.deepEqual([server.sent("draft_version"), server.sent("draft_base")], [["1", "2"], ["0", "1"]]);
  assert.notEqual(storage.getItem(KEY), null);
  await server.reply(receipt(2));
  assert.deepEqual([draft.dirty, storage.length], [false, 0]);
});

test("a draft that came after a newer one of its page is sent again under a number beyond that", async () => {
  const { draft, write } = makeDraft();
  write("one");
  await pass(Draft.DELAY);
  await server.reply(receipt(6, { kept: false }));
  assert.deepEqual(server.sent("draft_version"), ["1", "7"]);
  await server.reply(receipt(7));
  assert.deepEqual([draft.version, draft.base, server.requests.length], [7, 7, 2]);
});

test("a stale draft asks, and keeping it writes over the newer one knowingly", async () => {
  const { said, write } = makeDraft({ version: 2 });
  write("mine");
  await pass(Draft.DELAY);
  await server.reply(receipt(9, { kept: false, conflict: true, draft: { comment: ["theirs"] } }));
  assert.equal(server.requests.length, 1);
  said.conflicts[0]["Keep what I see"]();
  assert.deepEqual([server.last.fields.comment, server.last.fields.draft_base, server.last.fields.draft_version], ["mine", "9", "10"]);
});

test("a stale draft can give way to the newer one, and come back", async () => {
  const { fields, said, write } = makeDraft({ version: 2 });
  write("mine");
  await pass(Draft.DELAY);
  await server.reply(receipt(9, { kept: false, conflict: true, draft: { comment: ["theirs"] } }));
  said.conflicts[0]["Show the other version"]();
  assert.equal(fields.text, "theirs");
  assert.deepEqual([server.last.fields.comment, server.last.fields.draft_base], ["theirs", "9"]);
  await server.reply(receipt(10));
  said.conflicts[1]["Back to my version"]();
  assert.equal(fields.text, "mine");
  assert.deepEqual([server.last.fields.comment, server.last.fields.draft_base], ["mine", "10"]);
});

test("a conflict with the very same entries is none", async () => {
  const { draft, said, write } = makeDraft({ version: 2 });
  write("mine");
  await pass(Draft.DELAY);
  await server.reply(receipt(9, { kept: false, conflict: true, draft: { comment: ["mine"] } }));
  assert.deepEqual([said.conflicts, said.states, draft.base, draft.dirty], [[], ["Draft saved"], 9, false]);
});

test("after a crash what the server never had is put back and sent", async () => {
  const before = makeDraft({ version: 2 });
  before.write("unsaved");
  const { draft, fields, said } = makeDraft({ version: 2 });
  draft.restore();
  assert.equal(fields.text, "unsaved");
  assert.deepEqual([server.last.fields.comment, server.last.fields.draft_version], ["unsaved", "4"]);
  assert.deepEqual(said.states, ["Unsaved entries restored."]);
});

test("what a crash left behind doesn't take the place of what came from elsewhere since", async () => {
  makeDraft({ version: 2 }).write("unsaved");
  const { draft, fields, said } = makeDraft({ version: 5, text: "newer" });
  draft.restore();
  assert.deepEqual([fields.text, server.requests.length, said.conflicts.length], ["newer", 0, 1]);
  said.conflicts[0]["Keep what I see"]();
  assert.equal(storage.length, 0);
});

test("without a connection it is tried again after 2, 4, 8 ... and at most 30 seconds", async () => {
  const { said, write } = makeDraft();
  write("one");
  await pass(Draft.DELAY);
  await server.disconnect();
  assert.deepEqual(said.states, ["No connection: kept in this browser."]);
  for (const seconds of [2, 4, 8, 16, 30, 30]) {
    const before = server.requests.length;
    await pass(seconds * 1_000 - 1);
    assert.equal(server.requests.length, before);
    await pass(1);
    assert.equal(server.requests.length, before + 1);
    await server.reply("<h1>busy</h1>", { status: 503, type: "text/html" });
  }
  // Each attempt has a number of its own: one that was lost on its way back may have arrived.
  assert.deepEqual(server.sent("draft_version"), ["1", "2", "3", "4", "5", "6", "7"]);
  await pass(30_000);
  await server.reply(receipt(8));
  write("two");
  await pass(Draft.DELAY);
  await server.disconnect();
  await pass(2_000);
  assert.equal(server.requests.length, 10);
});

test("where this browser keeps nothing the page says so", async () => {
  for (const full of [new Storage(0), { getItem() { throw new Error("forbidden"); }, setItem() { throw new Error("forbidden"); }, removeItem() { throw new Error("forbidden"); } }]) {
    makePage({ storage: full });
    const { draft, said, write } = makeDraft();
    draft.restore();
    write("one");
    await pass(Draft.DELAY);
    await server.disconnect();
    assert.deepEqual(said.states, ["No connection: kept on this page only. Leave it open."]);
    await pass(Draft.RETRY);
    await server.reply(receipt(2));
    assert.deepEqual([said.states.at(-1), draft.dirty], ["Draft saved", false]);
  }
});

test("signed out, it waits in this browser; refused, it says why and isn't sent again by itself", async () => {
  const { said, write } = makeDraft();
  write("one");
  await pass(Draft.DELAY);
  await server.reply("You have been signed out.", { status: 401, type: "text/plain" });
  assert.deepEqual([said.signedOut, said.states], [1, ["Kept in this browser until you are signed in."]]);
  assert.notEqual(storage.getItem(KEY), null);
  write("two");
  await pass(Draft.DELAY);
  await server.reply({ error: "Too long." }, { status: 400 });
  assert.equal(said.states.at(-1), "Draft not saved: Too long.");
  await pass(60_000);
  assert.equal(server.requests.length, 2);
});

test("back on the page: what another window wrote comes in, unless something was entered here", async () => {
  const untouched = makeDraft({ version: 1 });
  untouched.draft.check();
  await server.reply({ version: 4, page: "another", draft: { comment: ["theirs"] }, judged: false });
  assert.deepEqual([untouched.fields.text, untouched.draft.base], ["theirs", 4]);
  const touched = makeDraft({ version: 1 });
  touched.write("mine");
  touched.draft.check();
  await server.reply({ version: 4, page: "another", draft: { comment: ["theirs"] }, judged: false });
  assert.deepEqual([touched.fields.text, touched.said.conflicts.length], ["mine", 1]);
});

test("back on the page: a task that another window submitted is said once", async () => {
  const { draft, said } = makeDraft({ version: 1 });
  for (let visit = 0; visit < 2; visit += 1) {
    draft.check();
    await server.reply({ version: 1, page: "another", draft: null, judged: true });
  }
  assert.equal(said.elsewhere, 1);
});

test("once submitted nothing is written any more, whatever is still on its way", async () => {
  const { draft, said, write } = makeDraft();
  write("one");
  await pass(Draft.DELAY);
  draft.end();
  await server.reply(receipt(1));
  draft.forget();
  write("two");
  await pass(60_000);
  assert.deepEqual([server.requests.length, said.states, storage.length], [1, [], 0]);
  draft.resume();
  await pass(Draft.DELAY);
  assert.equal(server.last.fields.comment, "two");
  await settle();
});

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Outbox } from "../../../static/hone/work/outbox.js";
import { LABELER, Server, Storage, makePage, pass, startClock, stopClock } from "./page.mjs";

const KEY = `hone.outbox.${LABELER}`;
const entry = (id) => ({ id, url: `/p/kindness/work/${id}/submit`, task: id, fields: [["client_id", id]], at: Date.now() });
const kept = (storage) => (JSON.parse(storage.getItem(KEY)) ?? []).map(({ id }) => id);

const makeOutbox = () => {
  const said = { acknowledged: [], refused: [], waiting: [], signedOut: 0 };
  const outbox = new Outbox({
    acknowledged: ({ id, isLeftOver = false }, reply) => said.acknowledged.push([id, reply.task, isLeftOver]),
    refused: ({ id }, sentence) => said.refused.push([id, sentence]),
    waiting: (entries) => said.waiting.push(entries.map(({ id }) => id)),
    signedOut: () => { said.signedOut += 1; },
  });
  return { outbox, said };
};

let server;
let storage;
beforeEach(() => {
  startClock();
  storage = makePage();
  server = new Server();
});
afterEach(stopClock);

test("submissions go out one after the other in their order, and are kept until each is acknowledged", async () => {
  const { outbox, said } = makeOutbox();
  for (const id of ["1", "2", "3"]) outbox.put(entry(id));
  assert.deepEqual([server.sent("client_id"), kept(storage)], [["1"], ["1", "2", "3"]]);
  await server.reply("", { headers: { "X-Hone-Task": "9" } });
  assert.deepEqual([server.sent("client_id"), kept(storage)], [["1", "2"], ["2", "3"]]);
  await server.reply("");
  await server.reply("");
  assert.deepEqual(said.acknowledged, [["1", "9", false], ["2", "", false], ["3", "", false]]);
  assert.deepEqual([server.requests.length, storage.length], [3, 0]);
});

test("without a connection the first is tried again, with growing delays, and the others wait for it", async () => {
  const { outbox, said } = makeOutbox();
  outbox.put(entry("1"));
  outbox.put(entry("2"));
  await server.disconnect();
  assert.deepEqual(said.waiting, [["1", "2"]]);
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    const before = server.requests.length;
    await pass(seconds * 1_000 - 1);
    assert.equal(server.requests.length, before);
    await pass(1);
    assert.equal(server.last.fields.client_id, "1");
    await server.disconnect();
  }
  await pass(30_000);
  await server.reply("");
  assert.equal(server.last.fields.client_id, "2");
  await server.disconnect();
  // What went well starts the delays again.
  await pass(1_000);
  await server.reply("");
  assert.deepEqual([said.acknowledged.map(([id]) => id), storage.length], [["1", "2"], 0]);
});

test("a busy server is left alone for as long as it asks, and for half a minute at most", async () => {
  for (const [asked, seconds] of [["7", 7], ["3600", 30]]) {
    const { outbox } = makeOutbox();
    const before = server.requests.length;
    outbox.put(entry(asked));
    await server.reply("Too many.", { status: 429, type: "text/plain", headers: { "Retry-After": asked } });
    await pass(seconds * 1_000 - 1);
    assert.equal(server.requests.length, before + 1);
    await pass(1);
    assert.equal(server.requests.length, before + 2);
    await server.reply("");
  }
});

test("what is taken back before it was sent is never sent", async () => {
  const { outbox, said } = makeOutbox();
  outbox.put(entry("1"));
  await server.disconnect();
  outbox.put(entry("2"));
  await server.disconnect();
  outbox.drop("2");
  assert.deepEqual(kept(storage), ["1"]);
  await pass(30_000);
  await server.reply("");
  await pass(60_000);
  assert.deepEqual([said.acknowledged.map(([id]) => id), server.sent("client_id")], [["1"], ["1", "1", "1"]]);
});

test("a refusal is said with its reason, and the next one goes out", async () => {
  const { outbox, said } = makeOutbox();
  outbox.put(entry("1"));
  outbox.put(entry("2"));
  await server.reply("Rank at least two.", { status: 409, type: "text/plain; charset=utf-8" });
  assert.deepEqual([said.refused, kept(storage), server.last.fields.client_id], [[["1", "Rank at least two."]], ["2"], "2"]);
  await server.reply("<h1>Not found</h1>", { status: 404, type: "text/html" });
  assert.deepEqual(said.refused[1], ["2", "The server refused it."]);
});

test("signed out, everything waits until it is flushed again", async () => {
  const { outbox, said } = makeOutbox();
  outbox.put(entry("1"));
  await server.reply("<h1>Forbidden</h1>", { status: 403, type: "text/html" });
  await pass(60_000);
  assert.deepEqual([said.signedOut, server.requests.length, kept(storage)], [1, 1, ["1"]]);
  outbox.flush();
  await server.reply("");
  assert.deepEqual(said.acknowledged, [["1", "", false]]);
});

test("what a page left behind is sent by the next one, unless that page may still be there", async () => {
  storage.setItem(KEY, JSON.stringify([{ ...entry("old"), at: Date.now() - Outbox.ORPHANED - 1 }, entry("fresh")]));
  const { outbox, said } = makeOutbox();
  outbox.flush();
  await server.reply("");
  assert.deepEqual([said.acknowledged, kept(storage), server.requests.length], [[["old", "", true]], ["fresh"], 1]);
});

test("where this browser keeps nothing a submission is sent all the same", async () => {
  makePage({ storage: new Storage(0) });
  const { outbox, said } = makeOutbox();
  outbox.put(entry("1"));
  await server.disconnect();
  await pass(1_000);
  await server.reply("");
  assert.deepEqual(said.acknowledged, [["1", "", false]]);
});

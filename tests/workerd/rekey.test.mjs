// Entries that are moved to new keys, in phases with KV's delay between them.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { TOMORROW, assertEntries, withoutMarkers } from "./harness/entries.mjs";

const HEADERS = { migrations: "rekeyed" };
const AT_ONCE = { migrations: "rekeyed-at-once" };

/** Users whose values are of every kind, some with metadata, some with an expiration; and what is none of them. */
const USERS = [
  { key: "other", value: "not a user" },
  ...Array.from({ length: 40 }, (_, number) => ({ key: `user_${String(number).padStart(3, "0")}`, value: `${number}` })),
  { key: "user_binary", base64: "/wD+gA==", metadata: { raw: true }, expiration: TOMORROW },
  { key: "user_bom", value: "\uFEFF{}", metadata: "begins with a byte order mark" },
  { key: "user_empty", value: "" },
  { key: "user_expires", value: "soon enough", expiration: TOMORROW + 7 },
  { key: "user_grüße", value: "ä", metadata: ["ö", null, 1.5] },
  { key: `user_${"x".repeat(507)}`, value: "the longest key" },
];

/** The same under their new keys. */
const MOVED = USERS.map(({ key, ...rest }) => ({ key: key.replace(/^user_/, "user:"), ...rest }));

const data = async (client) => withoutMarkers(await client.worker.dump());

/** Checks that an answer asks to wait until KV shows everywhere what was written. */
function assertWaits(answer, phase = "wait") {
  const { progress } = assertAnswer(answer, 202);
  assert.equal(progress.phase, phase);
  const retryAfter = Number(answer.headers.get("retry-after"));
  assert.ok(retryAfter >= 80 && retryAfter <= 91, `Retry-After: ${retryAfter}`);
  return retryAfter;
}

test("entries are copied, and deleted only when the copies have been there for KV's delay", async (t) => {
  const client = await serveSpecimen(t, { namespace: USERS });
  const both = [...USERS, ...MOVED.filter(({ key }) => key !== "other")];
  const byKey = (entries) => entries.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));

  let ahead = assertWaits(await client.migrate(HEADERS));
  assertEntries(await data(client), byKey(both), "copied, and nothing deleted");
  const [waiting] = assertAnswer(await client.status(HEADERS));
  assert.deepEqual([waiting.state, waiting.progress.phase], ["running", "wait"]);

  assertWaits(await client.migrate({ ...HEADERS, "clock-ahead": "2" }));
  assertEntries(await data(client), byKey(both), "who comes too soon changes nothing");

  ahead += assertWaits(await client.migrate({ ...HEADERS, "clock-ahead": String(ahead) }));
  assertEntries(await data(client), MOVED, "only now the old keys are deleted");
  const last = await client.migrate({ ...HEADERS, "clock-ahead": String(ahead) });
  assert.deepEqual(assertAnswer(last).ran, ["001_rekey"]);
  assertEntries(await data(client), MOVED);
});

test("a rollback moves them back in the same phases", async (t) => {
  const client = await serveSpecimen(t, { namespace: USERS });
  assertAnswer((await client.migrateToEnd(AT_ONCE)).at(-1));
  assertEntries(await data(client), MOVED);

  const answers = await client.rollbackToEnd("001_rekey", HEADERS, 10);
  assert.equal(assertAnswer(answers.pop()).rolledBack, "001_rekey");
  assert.equal(answers.length, 2, "a wait before the sweep, and one before the check");
  for (const answer of answers) assertWaits(answer);
  assertEntries(await client.worker.dump(), USERS, "as they were, and no marker");
});

test("a re-key that is under way can be rolled back", async (t) => {
  const client = await serveSpecimen(t, { namespace: USERS });
  assertWaits(await client.migrate(HEADERS));
  const answers = await client.rollbackToEnd("001_rekey", HEADERS, 10);
  assert.equal(assertAnswer(answers.pop()).rolledBack, "001_rekey");
  for (const answer of answers) assertWaits(answer);
  assertEntries(await client.worker.dump(), USERS, "as they were, and no marker");
});

test("over many requests, with a budget that is used up in every phase", async (t) => {
  const client = await serveSpecimen(t, { namespace: USERS });
  const answers = await client.migrateToEnd({ ...AT_ONCE, budget: "25" });
  assert.deepEqual(assertAnswer(answers.pop()).ran, ["001_rekey"]);
  const phases = new Set(answers.map((answer) => assertAnswer(answer, 202).progress.phase));
  for (const phase of ["copy", "sweep"]) assert.ok(phases.has(phase), `paused in ${[...phases]}, not in ${phase}`);
  assertEntries(await data(client), MOVED);
});

test("what the service changes meanwhile is not lost", async (t) => {
  const client = await serveSpecimen(t, { namespace: USERS });
  let ahead = assertWaits(await client.migrate(HEADERS));
  const kv = await client.worker.kv();
  await kv.put("user_000", "changed under the old key", { metadata: "changed" });
  await kv.put("user:001", "newer, under the new key");
  await kv.delete("user_002");
  await kv.delete("user:002");
  await kv.put("user_new", "there was none", { metadata: "new" });

  const answers = [];
  do {
    answers.push(await client.migrate({ ...HEADERS, "clock-ahead": String(ahead) }));
    ahead += Number(answers.at(-1).headers.get("retry-after"));
    assert.ok(answers.length < 20, "it does not come to an end");
  } while (answers.at(-1).status === 202);
  assert.deepEqual(assertAnswer(answers.at(-1)).ran, ["001_rekey"]);

  const expected = MOVED.filter(({ key }) => key !== "user:002").map((entry) => {
    if (entry.key === "user:000") return { key: entry.key, value: "changed under the old key", metadata: "changed" };
    if (entry.key === "user:001") return { key: entry.key, value: "newer, under the new key" };
    return entry;
  });
  expected.splice(-1, 0, { key: "user:new", value: "there was none", metadata: "new" });
  assertEntries(await data(client), expected);
});

test("collisions are refused with a list of them, and nothing is changed", async (t) => {
  const users = [
    { key: "user:ada", value: "somebody else" },
    { key: "user_Ada", value: "1", metadata: 1 },
    { key: "user_Bob", value: "2" },
    { key: "user_bob", value: "3", expiration: TOMORROW },
    { key: "user_eve", value: "4" },
  ];
  const client = await serveSpecimen(t, { namespace: users });
  const headers = { migrations: "rekeyed-alike" };
  // What is at a new key may only be seen later than what was at the old one: it looks twice.
  const answers = await client.migrateToEnd(headers);
  const { detail } = assertProblem(answers.pop(), 500, "migration-failed");
  for (const answer of answers) assertWaits(answer);
  assert.match(detail, /2 of the entries cannot have their new keys/);
  assert.match(detail, /`user_Ada` would get the key `user:ada`, at which there is something else/);
  assert.match(detail, /`user_bob` would get the key `user:bob`, which another entry gets as well/);
  assert.ok(!detail.includes("user_eve"), detail);
  assertEntries(await data(client), users, "nothing is changed");
  assert.equal(assertAnswer(await client.status(headers))[0].state, "failed");

  const kv = await client.worker.kv();
  await kv.delete("user:ada");
  await kv.delete("user_bob");
  const mended = await client.migrateToEnd(headers, 200);
  assert.deepEqual(assertAnswer(mended.at(-1)).ran, ["001_rekey"], "when there is room for all");
  const keys = (await data(client)).map(({ key }) => key);
  assert.deepEqual(keys, ["user:ada", "user:bob", "user:eve"]);
});

/**
 * The two numbers of the key in a checkpoint. Behind its first line and eight bytes it has its change as text and perhaps
 * a limit, as postcard writes them. Then its state begins, with the key.
 */
function hashKey(checkpoint) {
  let at = checkpoint.indexOf("\n") + 1 + 8;
  const change = Number(number());
  assert.equal(checkpoint.toString("utf8", at, at + change), "re-key user_", "the start of the checkpoint is another one");
  at += change;
  if (checkpoint[at++] === 1) number();
  return [number(), number()];

  /** Seven bits a byte, the lowest first, and one that says whether there are more. */
  function number() {
    for (let [value, shift] = [0n, 0n]; ; shift += 7n) {
      value |= BigInt(checkpoint[at] & 127) << shift;
      if (checkpoint[at++] < 128) return value;
    }
  }
}

test("the hashes in a checkpoint have a random key, another one for each re-key", async (t) => {
  const keys = [];
  for (let number = 0; number < 2; number += 1) {
    const client = await serveSpecimen(t, { namespace: USERS });
    assertWaits(await client.migrate(HEADERS));
    const [marker] = (await client.worker.dump()).filter(({ key }) => key.startsWith("migration_"));
    keys.push(...hashKey(Buffer.from(marker.base64, "base64")));
  }
  assert.equal(new Set(keys).size, 4, `what crypto.getRandomValues drew is not random: ${keys}`);
});

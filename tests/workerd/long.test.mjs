// Migrations that outlive one request.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { TOMORROW, assertEntries, customers, seen, timesSeen, withoutMarkers } from "./harness/entries.mjs";

/** What a Worker may do in a request on the free plan. */
const LIMIT = 1_000;

/** All answers but the last say that there is more to do, and the last that there is not. Gives their bodies. */
function assertCarriedOn(answers, requests) {
  assert.equal(answers.length, requests, `it took ${answers.length} requests`);
  const bodies = answers.map((answer, index) => assertAnswer(answer, index + 1 < requests ? 202 : 200));
  for (const [index, { operations }] of bodies.entries()) {
    assert.ok(operations < LIMIT, `request ${index + 1} made ${operations} operations`);
  }
  assert.equal(answers.at(-1).headers.get("retry-after"), null);
  return bodies;
}

function isGrowing(numbers) {
  return numbers.every((number, index) => index === 0 || numbers[index - 1] < number);
}

test("a backfill over 2,000 entries goes on from request to request", async (t) => {
  const entries = customers(2_000);
  const client = await serveSpecimen(t, { namespace: entries });
  const headers = { migrations: "seen" };

  const answers = [assertedFirst(await client.migrate(headers))];
  const [between] = assertAnswer(await client.status(headers, "?require=up-to-date"), 409);
  assert.deepEqual([between.run, between.state, "error" in between], [false, "running", false]);
  assert.deepEqual(between.progress, { ...answers[0].json.progress, ...recordedLater(between.progress) });
  assert.equal(await client.isRunForTypeScript("001_seen"), false, "not before it is finished");

  answers.push(...(await client.migrateToEnd(headers, 1)));
  const bodies = assertCarriedOn(answers, 3);
  for (const answer of answers.slice(0, -1)) assert.equal(answer.headers.get("retry-after"), "1");
  const progress = bodies.slice(0, -1).map((body) => body.progress);
  assert.ok(isGrowing(progress.map(({ done }) => done)), "it gets further with every request");
  assert.deepEqual(progress.map(({ requests }) => requests), [1, 2]);
  for (const { phase, direction, failed } of progress) {
    assert.deepEqual([phase, direction, failed], ["entries", "up", 0]);
  }

  const last = bodies.at(-1);
  assert.deepEqual([last.ran, last.remaining, "progress" in last], [["001_seen"], [], false]);
  const [applied] = assertAnswer(await client.status(headers, "?require=up-to-date"));
  assert.deepEqual([applied.state, "progress" in applied], ["applied", false]);
  assert.ok(applied.operations > entries.length, `${applied.operations} operations, of all its requests`);
  assertEntries(withoutMarkers(await client.worker.dump()), seen(entries), "each once, with all it had");
});

/** What a first answer of 202 says. */
function assertedFirst(answer) {
  const { ran, remaining, progress } = assertAnswer(answer, 202);
  assert.deepEqual([ran, remaining], [[], ["001_seen"]]);
  assert.ok(progress.done > 0 && progress.done < LIMIT, `${progress.done} entries`);
  assert.match(progress.startedAt, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  return answer;
}

/** What can have changed between the checkpoint and the answer. */
function recordedLater({ operations, durationMs, entriesPerSecond, checkpointAt }) {
  return { operations, durationMs, entriesPerSecond, checkpointAt };
}

test("a caller who requires that all is up to date gets 503 until it is", async (t) => {
  const client = await serveSpecimen(t, { namespace: customers(60) });
  const headers = { migrations: "seen", budget: "40" };
  const answers = [];
  do {
    const clock = { "clock-ahead": String(answers.length) };
    answers.push(await client.send("POST", "/migrate?require=up-to-date", { ...headers, ...clock }));
  } while (answers.at(-1).status === 503);

  assert.ok(answers.length >= 2, `it took ${answers.length} requests`);
  assert.deepEqual(assertAnswer(answers.pop()).ran, ["001_seen"]);
  for (const answer of answers) {
    const problem = assertProblem(answer, 503, "unfinished");
    assert.equal(answer.headers.get("retry-after"), "1");
    assert.deepEqual([problem.migration, problem.ran, problem.skipped], ["001_seen", [], []]);
  }
});

test("a backfill knows how many entries there are", async (t) => {
  const client = await serveSpecimen(t, { namespace: customers(60) });
  const [first] = await client.migrateToEnd({ migrations: "seen-reversible", budget: "40" });
  assert.equal(assertAnswer(first, 202).progress.total, 60);
});

test("a rollback over many entries goes on from request to request", async (t) => {
  const entries = customers(60);
  const client = await serveSpecimen(t, { namespace: entries });
  const headers = { migrations: "seen-reversible", budget: "40" };
  const up = await client.migrateToEnd(headers);
  assertAnswer(up.at(-1));

  const first = await client.rollback("001_seen", { ...headers, "clock-ahead": "10" });
  const { progress, ...report } = assertAnswer(first, 202);
  assert.equal(first.headers.get("retry-after"), "1");
  assert.deepEqual(["rolledBack" in report, progress.direction, progress.phase], [false, "down", "entries"]);
  const [between] = assertAnswer(await client.status(headers));
  assert.deepEqual([between.run, between.state, between.progress.direction], [false, "running", "down"]);

  const rest = await client.rollbackToEnd("001_seen", headers, 11);
  assert.equal(assertAnswer(rest.at(-1)).rolledBack, "001_seen");
  assertEntries(await client.worker.dump(), seen(entries, () => 0), "as they were, and no marker");
});

test("entries of every kind are changed over several requests, and keep what they have", async (t) => {
  const bytes = (...values) => Buffer.from(values).toString("base64");
  const few = Array.from({ length: 30 }, (_, number) => ({ key: `data_${number}`, value: "few" }));
  const entries = [
    ...few,
    { key: "4", value: "the prefix itself" },
    { key: "42", value: "an integer" },
    { key: "43", value: "another", metadata: [1, null], expiration: TOMORROW },
    { key: "4294967295", value: "no index of an array" },
    { key: "__proto__", value: "a prototype", metadata: { of: "all" } },
    { key: "__proto__x", value: "begins alike" },
    { key: "data_empty", value: "" },
    { key: "data_grüße", value: "ä", metadata: "ö" },
    { key: "data_😀", value: "beyond the first plane" },
    { key: "data_\uFFFD", value: "before it in UTF-16, behind it in UTF-8" },
    { key: `data_${"x".repeat(507)}`, value: "the longest key" },
    { key: "data_not_utf8", base64: bytes(0xff, 0x00, 0xfe), metadata: { raw: true }, expiration: TOMORROW },
    { key: "data_cut_off", base64: bytes(0xc3) },
    { key: "other_1", value: "not theirs" },
  ].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  const client = await serveSpecimen(t, { namespace: entries });
  const answers = await client.migrateToEnd({ migrations: "marked data_ 4 __", budget: "20" });
  assert.ok(answers.length >= 3, `it took ${answers.length} requests`);
  assertAnswer(answers.at(-1));

  const mark = ({ key, value, base64, ...rest }) => {
    if (key === "other_1") return { key, value, ...rest };
    if (base64 === undefined) return { key, value: `${value}!`, ...rest };
    return { key, base64: Buffer.concat([Buffer.from(base64, "base64"), Buffer.from("!")]).toString("base64"), ...rest };
  };
  assertEntries(withoutMarkers(await client.worker.dump()), entries.map(mark));
});

test("an entry that expires too soon to be written with its own expiration still expires", async (t) => {
  const soon = Math.floor(Date.now() / 1000) + 62;
  const client = await serveSpecimen(t, { namespace: [{ key: "data_1", value: "", metadata: "kept", expiration: soon }] });
  assertAnswer(await client.migrate({ migrations: "marked data_", "clock-ahead": "10" }));
  const [entry] = await client.worker.dump();
  assert.deepEqual([entry.value, entry.metadata], ["!", "kept"]);
  assert.ok(entry.expiration >= soon && entry.expiration <= soon + 60, `${entry.expiration - soon} seconds later`);
});

test("a fold gathers an index over several requests, and writes it once", async (t) => {
  const entries = Array.from({ length: 600 }, (_, number) => ({
    key: `mod_${String(number).padStart(4, "0")}`,
    // One in three has to be read by itself.
    ...(number % 3 === 0 ? { base64: "/w==" } : { value: "mod" }),
    metadata: `customer ${number % 120}`,
  }));
  const client = await serveSpecimen(t, { namespace: entries });
  const answers = await client.migrateToEnd({ migrations: "indexed", budget: "90" });
  assert.ok(answers.length >= 4, `it took ${answers.length} requests`);
  const phases = answers.slice(0, -1).map((answer) => assertAnswer(answer, 202).progress.phase);
  assert.deepEqual([...new Set(phases)], ["entries", "write"]);
  assertAnswer(answers.at(-1));

  const index = Object.fromEntries(
    withoutMarkers(await client.worker.dump())
      .filter(({ key }) => key.startsWith("mods_of_"))
      .map(({ key, value }) => [key, JSON.parse(value)]),
  );
  const expected = {};
  for (const { key, metadata } of entries) (expected[`mods_of_${metadata}`] ??= []).push(key);
  assert.deepEqual(index, expected);
});

test("an up that needs more than a whole budget fails, and says what to do", async (t) => {
  const client = await serveSpecimen(t);
  const headers = { migrations: "puts 950" };
  const problem = assertProblem(await client.migrate(headers), 500, "migration-failed");
  assert.match(problem.detail, /^Migration 001_puts failed: it needs more than the 900 KV operations .*backfill/);
  const [status] = assertAnswer(await client.status(headers));
  assert.deepEqual([status.run, status.state], [false, "failed"]);
});

test("an up that needs more than is left gets a whole budget with the next request", async (t) => {
  const client = await serveSpecimen(t);
  const answers = await client.migrateToEnd({ migrations: "puts 300 700" });
  const [first, second] = assertCarriedOn(answers, 2);
  assert.deepEqual([first.ran, first.remaining, "progress" in first], [["001_puts"], ["002_puts"], false]);
  assert.deepEqual([second.skipped, second.ran], [["001_puts"], ["002_puts"]]);

  const another = await serveSpecimen(t);
  const failing = await another.migrateToEnd({ migrations: "puts 30 95", budget: "90" });
  assert.deepEqual(failing.map(({ status }) => status), [202, 500]);
  assert.match(assertProblem(failing[1], 500, "migration-failed").detail, /002_puts failed: .*backfill/);
});

test("a backfill that fails at an entry is carried on from there when it is mended", async (t) => {
  const entries = customers(400);
  const fatal = 350;
  const client = await serveSpecimen(t, { namespace: entries });
  const failing = { migrations: `seen-but ${entries[fatal].key}`, budget: "300" };

  const answers = await client.migrateToEnd(failing);
  assert.deepEqual(answers.map(({ status }) => status), [202, 500]);
  const problem = assertProblem(answers[1], 500, "migration-failed");
  assert.equal(problem.detail, `Migration 001_seen failed: at the entry \`${entries[fatal].key}\`: boom`);
  const [failed] = assertAnswer(await client.status(failing));
  assert.deepEqual([failed.state, failed.progress.done, failed.progress.phase], ["failed", fatal, "entries"]);
  assert.equal(failed.error, `at the entry \`${entries[fatal].key}\`: boom`);

  const again = assertProblem(await client.migrate({ ...failing, "clock-ahead": "2" }), 500, "migration-failed");
  assert.equal(again.detail, problem.detail, "it begins with the entry that failed");
  const untilThen = timesSeen(withoutMarkers(await client.worker.dump()));
  assert.deepEqual(untilThen.slice(0, fatal + 1), [...Array(fatal).fill(1), 0], "none before it is repeated");

  const [mended] = await client.migrateToEnd({ migrations: "seen" }, 4);
  assert.deepEqual(assertAnswer(mended).ran, ["001_seen"]);
  const times = timesSeen(withoutMarkers(await client.worker.dump()));
  assert.deepEqual(times.slice(0, fatal + 1), Array(fatal + 1).fill(1), "none before it is repeated");
  assert.ok(times.every((number) => number >= 1), "none behind it is left out");
});

test("a panic in the middle of a backfill loses no entry", async (t) => {
  const entries = customers(300);
  const client = await serveSpecimen(t, { namespace: entries });
  const answers = await client.migrateToEnd({ migrations: `seen-panicking ${entries[280].key}`, budget: "200" });
  assert.deepEqual(answers.map(({ status }) => status), [202, 500]);

  // After one that ended so, a request may do less.
  const mended = await client.migrateToEnd({ migrations: "seen" }, 4);
  assert.deepEqual(assertAnswer(mended.at(-1)).ran, ["001_seen"]);
  const times = timesSeen(withoutMarkers(await client.worker.dump()));
  const done = answers[0].json.progress.done;
  assert.deepEqual(times.slice(0, done), Array(done).fill(1), "what was recorded is not repeated");
  assert.ok(times.every((number) => number >= 1), "none is left out");
});

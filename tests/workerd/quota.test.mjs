// The free plan's daily quota of KV is used up in the middle of a run.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { serveCoordinated } from "./harness/coordinated.mjs";
import { assertEntries, customers, seen, timesSeen, withoutMarkers } from "./harness/entries.mjs";

const ENTRIES = customers(60);
const SEEN = { migrations: "seen" };
const DAY = 24 * 60 * 60;

/** The namespace, with what is left of a quota. */
const holding = (left) => [...ENTRIES, { key: "quota", value: JSON.stringify(left) }];

const withoutQuota = (entries) => withoutMarkers(entries).filter(({ key }) => key !== "quota");

/** Asserts that `Retry-After` leads to 00:00 UTC, or a little later. */
function assertLeadsToMidnight({ headers }) {
  const after = Number(headers.get("retry-after"));
  const past = (Math.ceil(Date.now() / 1_000) + after) % DAY;
  const isMidnight = past < 5 || past > DAY - 5 || Math.abs(past - 600) < 5;
  assert.ok(isMidnight, `${after} seconds lead to ${past} seconds past midnight`);
}

test("a backfill waits for the next day, and no failure is recorded", async (t) => {
  const client = await serveSpecimen(t, { namespace: holding({ put: 20 }), kvWrapper: "quota.mjs" });
  const answer = await client.migrate(SEEN);
  const { quotaExhausted, remaining, progress } = assertAnswer(answer, 202);
  assert.deepEqual([quotaExhausted, remaining], [true, ["001_seen"]]);
  assert.ok(progress.total === 60, JSON.stringify(progress));
  assertLeadsToMidnight(answer);
  const [status] = assertAnswer(await client.status(SEEN));
  assert.deepEqual([status.state === "failed", status.error], [false, undefined]);

  const again = await client.send("POST", "/migrate?require=up-to-date", SEEN);
  const problem = assertProblem(again, 503, "quota-exhausted");
  assert.equal(problem.migration, "001_seen");
  assertLeadsToMidnight(again);

  await (await client.worker.kv()).delete("quota");
  const answers = await client.migrateToEnd(SEEN);
  assert.deepEqual(assertAnswer(answers.at(-1)).ran, ["001_seen"]);
  const after = withoutQuota(await client.worker.dump());
  const times = timesSeen(after);
  assert.ok(times.every((number) => number === 1 || number === 2), `after the last checkpoint, twice: ${times}`);
  assertEntries(after, seen(ENTRIES, (index) => times[index]));
});

test("a ledger that cannot be listed says when it can", async (t) => {
  const client = await serveSpecimen(t, { namespace: holding({ list: 0 }), kvWrapper: "quota.mjs" });
  for (const answer of [await client.migrate(SEEN), await client.status(SEEN)]) {
    const { detail } = assertProblem(answer, 503, "quota-exhausted");
    assert.match(detail, /KV list of `migration_.*` failed: the daily quota is used up/);
    assertLeadsToMidnight(answer);
  }
});

test("a coordinator waits for the next day, loses nothing, and tries at once when it is asked to", async (t) => {
  const options = { namespace: holding({ put: 20 }), kvWrapper: "quota.mjs" };
  const client = await serveCoordinated(t, { migrations: "seen" }, options);
  const answer = await client.run("?wait=true");
  assert.equal(assertAnswer(answer, 202).quotaExhausted, true);
  assertLeadsToMidnight(answer);
  const waiting = await client.only();
  assert.deepEqual([waiting.state, waiting.error], ["running", undefined]);
  assert.match(waiting.retryAt, /T00:[01]0:/);
  assert.ok(waiting.progress.done > 0, "its checkpoint is a row");

  await (await client.worker.kv()).delete("quota");
  assert.deepEqual(assertAnswer(await client.run("?wait=true")).ran, ["001_seen"]);
  assertEntries(withoutQuota(await client.worker.dump()), seen(ENTRIES));
  const outcomes = (await client.history()).map(({ outcome, failedAttempts }) => [outcome, failedAttempts]);
  assert.deepEqual(outcomes, [["finished", 0], ["unfinished", 0]]);
});

test("a coordinator makes no more writes a day than it may", async (t) => {
  const settings = { migrations: "seen", "writes-per-day": "20" };
  const client = await serveCoordinated(t, settings, { namespace: ENTRIES });
  const changed = async () => timesSeen(withoutMarkers(await client.worker.dump())).filter((times) => times > 0).length;
  for (const time of ["first", "second"]) {
    const answer = await client.run("?wait=true");
    assert.equal(assertAnswer(answer, 202).quotaExhausted, true);
    assertLeadsToMidnight(answer);
    assert.equal(await changed(), 18, `two are kept for copies of markers: ${time}`);
  }
});

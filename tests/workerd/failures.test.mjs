// Migrations that fail, panic, or never come back.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";

const MENDED = { migrations: "mended" };
const ALL = ["001_first", "002_second", "003_third"];

test("a failing migration between two good ones, then mended", async (t) => {
  const client = await serveSpecimen(t);
  const problem = assertProblem(await client.migrate({ migrations: "failing" }), 500, "migration-failed");
  assert.equal(problem.detail, "Migration 002_second failed: boom");
  assert.deepEqual([problem.migration, problem.ran, problem.skipped], ["002_second", ["001_first"], []]);
  assert.equal(await client.value("half"), "done", "what it wrote before it failed stays");
  assert.equal(await client.value("done/003_third"), null, "what is behind it is not tried");
  assert.equal(await client.isRunForTypeScript("002_second"), false);

  const status = assertAnswer(await client.status({ migrations: "failing" }));
  assert.deepEqual(status.map(({ state }) => state), ["applied", "failed", "pending"]);
  assert.equal(status[1].error, "boom");

  const again = assertProblem(await client.migrate({ migrations: "failing" }), 500, "migration-failed");
  assert.deepEqual([again.ran, again.skipped], [[], ["001_first"]]);

  const mended = assertAnswer(await client.migrate(MENDED));
  assert.deepEqual([mended.ran, mended.skipped], [["002_second", "003_third"], ["001_first"]]);
  assert.equal(await client.value("done/001_first"), "1", "it ran once");
});

test("the console tells what happens, and no value", async (t) => {
  const client = await serveSpecimen(t);
  await client.migrate({ migrations: "failing" });
  const expected = [
    "[Migration] Running 001_first: Does 001_first",
    "[Migration] ✓ Completed 001_first",
    "[Migration] Running 002_second: Fails half-way",
    "[Migration] ✗ Migration 002_second failed: boom",
  ];
  // The console reaches the test by way of a pipe: it can be a moment behind the answer.
  while (client.logLines.length < expected.length) await new Promise(setImmediate);
  assert.deepEqual(client.logLines, expected);
});

test("a down that fails leaves the migration applied", async (t) => {
  const client = await serveSpecimen(t);
  const headers = { migrations: "failing-down" };
  await client.migrate(headers);
  const problem = assertProblem(await client.rollback("001_first", headers), 500, "rollback-failed");
  assert.equal(problem.detail, "Rollback of migration 001_first failed: boom");
  assert.equal(await client.isRunForTypeScript("001_first"), true);
});

test("a migration that is inserted before applied ones runs, and is flagged", async (t) => {
  const client = await serveSpecimen(t);
  await client.migrate(MENDED);
  const report = assertAnswer(await client.migrate({ migrations: "inserted" }));
  assert.deepEqual([report.ran, report.outOfOrder], [["001_inserted"], ["001_inserted"]]);
  const [, { outOfOrder }] = assertAnswer(await client.status({ migrations: "inserted" }));
  assert.equal(outOfOrder, true, "the status shows it later, too");
  const removed = assertAnswer(await client.migrate({ migrations: "removed" }));
  assert.deepEqual(removed.missing, ["001_inserted", "002_second"]);
  const status = await client.status({ migrations: "removed" });
  assert.equal(status.headers.get("kv-migrations-unregistered"), "missing=2, unfinished=0");
  const complete = await client.status({ migrations: "inserted" });
  assert.equal(complete.headers.get("kv-migrations-unregistered"), null, "all are registered");
});

test("a migration that failed and was taken off the list is reported as unfinished", async (t) => {
  const client = await serveSpecimen(t);
  await client.migrate({ migrations: "failing" });
  const report = assertAnswer(await client.migrate({ migrations: "removed" }));
  assert.deepEqual([report.missing, report.unfinished], [[], ["002_second"]]);
  const status = await client.status({ migrations: "removed" });
  assert.equal(status.headers.get("kv-migrations-unregistered"), "missing=0, unfinished=1");
});

test("what a backfill passed over stays in the status, and counts say what it did", async (t) => {
  const client = await serveSpecimen(t);
  const kv = await client.worker.kv();
  for (const name of ["ada", "bob", "cyd"]) await kv.put(`customer_${name}`, "{}");
  const headers = { migrations: "seen-skipping customer_bob" };
  const [detail] = assertAnswer(await client.migrate(headers)).details;
  const entries = { seen: 3, changed: 2, moved: 0, left: 1 };
  assert.deepEqual([detail.entries, detail.failedEntries], [entries, [{ key: "customer_bob", reason: "boom" }]]);
  const [status] = assertAnswer(await client.status(headers));
  assert.deepEqual([status.entries, status.failed, status.failedKeys], [entries, 1, ["customer_bob"]]);
});

test("a backfill that finds no entry is applied, and the report warns", async (t) => {
  const client = await serveSpecimen(t);
  const report = assertAnswer(await client.migrate({ migrations: "seen" }));
  assert.deepEqual(report.details[0].entries, { seen: 0, changed: 0, moved: 0, left: 0 });
  assert.match(report.warnings.join(), /^Migration 001_seen is applied, but found no entry\./);
});

test("a migration that panics fails its request, marks nothing, and the next request works", async (t) => {
  const client = await serveSpecimen(t);
  const answer = await client.migrate({ migrations: "panicking" });
  assert.equal(answer.status, 500, answer.text);
  assert.equal(await client.value("half"), "done", "it had begun");
  assert.equal(await client.isRunForTypeScript("002_second"), false);

  const status = assertAnswer(await client.status({ migrations: "panicking" }));
  assert.deepEqual(status.map(({ run }) => run), [true, false, false]);
  assert.deepEqual(assertAnswer(await client.migrate(MENDED)).ran, ["002_second", "003_third"]);
});

test("the guard of a run that never came back is free after its time", async (t) => {
  const client = await serveSpecimen(t);
  const stuck = await client.migrate({ migrations: "stuck" });
  assert.notEqual(stuck.status, 200, stuck.text);
  assert.equal(await client.value("half"), "done", "it had begun");

  const running = assertAnswer(await client.status({ migrations: "stuck" }));
  assert.deepEqual(running.map(({ state }) => state), ["applied", "running", "pending"]);
  for (const answer of [
    await client.migrate(MENDED),
    await client.rollback("001_first", MENDED),
    await client.migrate({ ...MENDED, "clock-ahead": "30" }),
  ]) {
    assertProblem(answer, 409, "run-in-progress");
    const retryAfter = Number(answer.headers.get("retry-after"));
    assert.ok(retryAfter >= 1 && retryAfter <= 60, `Retry-After: ${retryAfter}`);
  }

  const free = assertAnswer(await client.migrate({ ...MENDED, "clock-ahead": "61" }));
  assert.deepEqual(free.ran, ["002_second", "003_third"]);
  assert.deepEqual(assertAnswer(await client.migrate({ ...MENDED, "clock-ahead": "61" })).skipped, ALL);
});

test("a client that hangs up in the middle does not leave the door locked", async (t) => {
  const client = await serveSpecimen(t);
  const hangUp = new AbortController();
  const hung = client.send("POST", "/migrate", { migrations: "slow" }, { signal: hangUp.signal });
  while ((await client.value("half")) === null) await new Promise(setImmediate);
  hangUp.abort();
  await assert.rejects(hung, { name: "AbortError" });

  const next = await client.migrate({ ...MENDED, "clock-ahead": "61" });
  assert.deepEqual(assertAnswer(next).ran, ["002_second", "003_third"]);
});

for (const [name, options] of Object.entries({
  "missing": {},
  "text": { bindings: { MY_SERVICE_KV: "text" } },
  "a number": { bindings: { MY_SERVICE_KV: 1 } },
  "an object": { bindings: { MY_SERVICE_KV: { list: "x" } } },
  "an R2 bucket": { r2Buckets: ["MY_SERVICE_KV"] },
  "a D1 database": { d1Databases: ["MY_SERVICE_KV"] },
  "a Durable Object": { durableObjects: { MY_SERVICE_KV: { className: "Stranger", useSQLite: true } } },
})) {
  test(`a KV binding that is ${name} is an answer that says what to write`, async (t) => {
    const client = await serveSpecimen(t, { kvNamespaces: ["OTHER"], ...options });
    for (const answer of [await client.status(), await client.migrate(), await client.rollback("001_first")]) {
      const problem = assertProblem(answer, 500, "no-kv-binding");
      assert.match(problem.detail, /`MY_SERVICE_KV`/);
      assert.match(problem.help, /\[\[kv_namespaces\]\]/);
      assert.equal(answer.headers.get("retry-after"), null, "asking again does not help");
    }
    assertProblem(await client.migrate({ authorization: null }), 401, "unauthorized");
  });
}

test("a key that a visitor chose cannot forge a line of the log", async (t) => {
  const key = "customer_x\n[Migration] ✓ Completed 002_forged\u001b[2J";
  const client = await serveSpecimen(t, { namespace: [{ key, value: "no JSON" }] });
  assertProblem(await client.migrate({ migrations: "seen" }), 500, "migration-failed");
  while (client.logLines.length < 2) await new Promise(setImmediate);
  assert.equal(client.logLines.length, 2, "it begins and fails");
  assert.ok(client.logLines[1].includes("customer_x\\u{a}[Migration] ✓ Completed 002_forged\\u{1b}[2J"), client.logLines[1]);
});

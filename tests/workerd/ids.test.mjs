// Ids that need percent-encoding, or that JavaScript would take for something else.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";

const IDS = ["a b", "grüße", "50%", "a/b", "?#&+", "1", "__proto__", "status"];
const migrations = "odd-ids";

test("odd ids run, are reported and are rolled back", async (t) => {
  const client = await serveSpecimen(t);
  assert.deepEqual(assertAnswer(await client.migrate({ migrations })).ran, IDS);
  assert.deepEqual(assertAnswer(await client.status({ migrations })).map(({ id }) => id), IDS);
  for (const id of IDS) {
    assert.equal(await client.isRunForTypeScript(id), true, id);
    assert.equal(assertAnswer(await client.rollback(id, { migrations })).rolledBack, id);
    assert.equal(await client.value(`migration_my-service_${id}`), null, id);
    assert.equal(await client.value(`done/${id}`), null, id);
  }
  assert.deepEqual(assertAnswer(await client.migrate({ migrations })).ran, IDS);
});

test("an id must be encoded, and is decoded once", async (t) => {
  const client = await serveSpecimen(t);
  await client.migrate({ migrations });
  assertProblem(await client.send("POST", "/migrations/a/b/rollback", { migrations }), 404, "not-found");
  assertProblem(await client.send("POST", "/migrations/50%2525/rollback", { migrations }), 404, "unknown-migration");
  assertProblem(await client.send("POST", "/migrations/%FF/rollback", { migrations }), 404, "not-found");
});

test("ids that cannot be one are refused before anything runs", async (t) => {
  const client = await serveSpecimen(t);
  for (const scenario of ["empty-id", "duplicate", `id ${"x".repeat(501)}`, "id .."]) {
    assertProblem(await client.migrate({ migrations: scenario }), 500, "invalid-registration");
  }
  const longest = "x".repeat(512 - "migration_my-service_".length);
  const answer = await client.migrate({ migrations: `id ${longest}x` });
  assert.match(assertProblem(answer, 500, "invalid-registration").detail, /513 bytes long/);
  assert.deepEqual(await client.worker.dump(), []);
});

test("a marker's key of 512 bytes works to the end", async (t) => {
  const client = await serveSpecimen(t);
  const longest = "x".repeat(512 - "migration_my-service_".length);
  const migrations = `id ${longest}`;
  assert.deepEqual(assertAnswer(await client.migrate({ migrations })).ran, [longest]);
  assert.deepEqual(assertAnswer(await client.migrate({ migrations })).skipped, [longest]);
  assertAnswer(await client.rollback(longest, { migrations }));
});

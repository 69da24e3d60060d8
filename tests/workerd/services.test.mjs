// Several services in one namespace.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";

test("one prefix that is the beginning of another", async (t) => {
  const client = await serveSpecimen(t);
  const auth = { prefix: "auth", migrations: "removed" };
  const authV2 = { prefix: "auth_v2", migrations: "mended" };

  assertAnswer(await client.migrate(authV2));
  const status = assertAnswer(await client.status(auth));
  assert.deepEqual(status.map(({ state }) => state), ["pending", "pending"]);
  const report = assertAnswer(await client.migrate(auth));
  assert.deepEqual([report.ran.length, report.missing], [2, []]);

  assertAnswer(await client.rollback("001_first", auth));
  assert.deepEqual(assertAnswer(await client.status(authV2)).map(({ run }) => run), [true, true, true]);
});

test("two services that give their migrations the same key", async (t) => {
  const client = await serveSpecimen(t);
  const a = { prefix: "a", migrations: "id b_c" };
  const aB = { prefix: "a_b", migrations: "id c" };
  assert.deepEqual(assertAnswer(await client.migrate(a)).ran, ["b_c"]);
  const before = await client.worker.dump();

  for (const answer of [await client.status(aB), await client.migrate(aB), await client.rollback("c", aB)]) {
    const { detail } = assertProblem(answer, 409, "foreign-marker");
    for (const name of ["`migration_a_b_c`", "`a_b`", "`a`"]) assert.ok(detail.includes(name), detail);
  }
  assert.deepEqual(await client.worker.dump(), before, "nothing was changed");
  assert.deepEqual(assertAnswer(await client.migrate(a)).skipped, ["b_c"]);
});

test("a prefix that is mistyped is refused, and nothing runs again", async (t) => {
  const client = await serveSpecimen(t);
  const auth = { prefix: "auth", migrations: "mended" };
  const mistyped = { prefix: "auht", migrations: "mended" };
  assertAnswer(await client.migrate(auth));
  const before = await client.worker.dump();

  const problem = assertProblem(await client.migrate(mistyped), 409, "another-prefix");
  for (const name of ["`auht`", "`auth`", 'with_other_service("auth")']) {
    assert.ok(problem.detail.includes(name), problem.detail);
  }
  assert.ok(problem.help.includes("with_runner"), problem.help);
  assert.deepEqual(await client.worker.dump(), before, "nothing was changed");
});

test("a service that begins with the migrations of another says so, and runs", async (t) => {
  const client = await serveSpecimen(t);
  const auth = { prefix: "auth", migrations: "removed" };
  const mods = { prefix: "mods", migrations: "mended" };
  assertAnswer(await client.migrate(auth));
  assertProblem(await client.migrate(mods), 409, "another-prefix");
  const report = assertAnswer(await client.migrate({ ...mods, "other-service": "auth" }));
  assert.equal(report.ran.length, 3);
  assert.deepEqual(assertAnswer(await client.migrate(mods)).ran, [], "it has begun");
});

test("a prefix that is mistyped when a namespace is taken over is refused", async (t) => {
  const client = await serveSpecimen(t);
  const kv = await client.worker.kv();
  const metadata = { runAt: "2026-11-22T10:48:28.706Z" };
  for (const id of ["001_first", "002_second"]) await kv.put(`migration_auth_${id}`, "true", { metadata });
  const problem = assertProblem(await client.migrate({ prefix: "aut", migrations: "mended" }), 409, "another-prefix");
  assert.ok(problem.detail.includes("`auth`"), problem.detail);
});

// Several services in one namespace.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";

test("one prefix that is the beginning of another", async (t) => {
  const client = await serveSpecimen(t);
  const auth = { prefix: "auth", migrations: "mended" };
  const authV2 = { prefix: "auth_v2", migrations: "mended" };

  assertAnswer(await client.migrate(authV2));
  const status = assertAnswer(await client.status(auth));
  assert.deepEqual(status.map(({ state }) => state), ["pending", "pending", "pending"]);
  const report = assertAnswer(await client.migrate(auth));
  assert.deepEqual([report.ran.length, report.missing], [3, []]);

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

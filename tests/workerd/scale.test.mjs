// More migrations than one page of a list holds.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, serveSpecimen } from "./harness/client.mjs";

test("1,500 migrations, which take several requests", async (t) => {
  const client = await serveSpecimen(t);
  const headers = { migrations: "many" };
  const ids = Array.from({ length: 1_500 }, (_, number) => String(number).padStart(4, "0"));

  const answers = await client.migrateToEnd(headers);
  assert.equal(answers.length, 4, `it took ${answers.length} requests: none is begun when half of the budget is spent`);
  const reports = answers.map((answer, index) => assertAnswer(answer, index < 3 ? 202 : 200));
  for (const [index, { ran, skipped, remaining, operations }] of reports.entries()) {
    assert.deepEqual([...skipped, ...ran, ...remaining], ids, `request ${index + 1} leaves none out`);
    assert.deepEqual(skipped, reports.slice(0, index).flatMap((before) => before.ran), "it goes on where the last ended");
    assert.ok(operations < 1_000, `request ${index + 1} made ${operations} operations`);
  }

  const { ran, skipped, operations } = assertAnswer(await client.migrate(headers));
  assert.deepEqual([ran, skipped], [[], ids]);
  assert.equal(operations, 2, "two pages");

  const status = assertAnswer(await client.status(headers, "?require=up-to-date"));
  assert.deepEqual(status.map(({ id }) => id), ids);
});

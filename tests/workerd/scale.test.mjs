// More migrations than one page of a list holds.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, serveSpecimen } from "./harness/client.mjs";

test("1,500 migrations", async (t) => {
  const client = await serveSpecimen(t);
  const headers = { migrations: "many" };
  const ids = Array.from({ length: 1_500 }, (_, number) => String(number).padStart(4, "0"));

  const first = assertAnswer(await client.migrate(headers));
  assert.deepEqual(first.ran, ids);
  assert.equal(first.operations, 1 + 1_500, "one list, and a marker for each");

  const second = assertAnswer(await client.migrate(headers));
  assert.deepEqual([second.ran, second.skipped], [[], ids]);
  assert.equal(second.operations, 2, "two pages");

  const status = assertAnswer(await client.status(headers, "?require=up-to-date"));
  assert.deepEqual(status.map(({ id }) => id), ids);
});

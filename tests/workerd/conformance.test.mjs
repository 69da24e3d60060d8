// The suite that the in-memory store passes natively, on the KV binding of a Worker.
import assert from "node:assert/strict";
import { test } from "node:test";

import { serveSpecimen } from "./harness/client.mjs";

test("both ways to a KV binding conform", async (t) => {
  const client = await serveSpecimen(t);
  const { text } = await client.send("POST", "/conformance");
  const cases = text.trim().split("\n");
  assert.ok(cases.length >= 2 * 16, `only ${cases.length} cases ran`);
  assert.deepEqual(cases.filter((line) => !line.endsWith(": ok")), []);
});

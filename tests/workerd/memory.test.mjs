// How much memory of WebAssembly migrations take, which never shrinks, whatever they work on. A Worker has 128 MB for all its
// requests, and what it reads and writes is in the memory of JavaScript too.
import assert from "node:assert/strict";
import { test } from "node:test";

import { CASES, memoryOf } from "./bench/memory.mjs";
import { rust } from "./bench/subject.mjs";

const large = await rust("large");

for (const measured of CASES) {
  const { title, max, maxCheckpoint = Infinity } = measured;
  test(`${title}: at most ${max / 1e6} MB of memory`, async (t) => {
    const { status, memory, checkpoint, operations } = await memoryOf(large, measured);
    t.diagnostic(`${memory} bytes, a checkpoint of ${checkpoint}, ${operations} operations`);
    assert.equal(status, measured.migrations === "re-key" ? 202 : 200, "a re-key waits before it deletes");
    assert.ok(memory > 0 && memory <= max, `${memory} bytes`);
    assert.ok(checkpoint <= maxCheckpoint, `a checkpoint of ${checkpoint} bytes`);
  });
}

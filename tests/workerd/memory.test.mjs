// How much memory of WebAssembly a backfill takes, which never shrinks, whatever the size of its values.
import assert from "node:assert/strict";
import { test } from "node:test";

import { backfill } from "./bench/own-work.mjs";
import { Subject, rust } from "./bench/subject.mjs";

/**
 * A Worker has 128 MB for all its requests, and the values are in the memory of JavaScript too. Values of 1 MB take 19 to 21 MB, as
 * they happen to meet.
 */
const MAX_MEMORY = 24_000_000;

const VALUES = [
  { records: 1_000, bytes: 1_000 },
  { records: 400, bytes: 40_000 },
  { records: 150, bytes: 250_000 },
  { records: 40, bytes: 1_000_000 },
];

for (const { records, bytes } of VALUES) {
  test(`a backfill of values of ${bytes} bytes takes at most ${MAX_MEMORY} bytes of memory`, async (t) => {
    const subject = await Subject.start("memory", await rust("measured"), { hasStub: true });
    t.after(() => subject.stop());
    const { wasmMemory, operations } = await backfill(subject, "backfill", { records, bytes });
    t.diagnostic(`${wasmMemory} bytes, ${operations.getBulk} bulk reads`);
    assert.ok(wasmMemory > 0 && wasmMemory <= MAX_MEMORY, `${wasmMemory} bytes`);
  });
}

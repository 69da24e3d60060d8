// The KV operations that docs/benchmarks.md tells of: the same measurements, of less.
import assert from "node:assert/strict";
import { test } from "node:test";

import { backfills, requests } from "./bench/backfill.mjs";
import { idle, pending } from "./bench/ledger.mjs";
import { Subject, rust, typescript } from "./bench/subject.mjs";

const ONCE = { times: 1 };
const NONE = { list: 0, get: 0, getBulk: 0, put: 0, delete: 0 };

async function start(t, name, modules) {
  const subject = await Subject.start(name, modules);
  t.after(() => subject.stop());
  return subject;
}

const both = async (t) => [await start(t, "rust", await rust("measured")), await start(t, "typescript", await typescript())];

/** The markers are those of the TypeScript runner: their values are read, 100 at a time. */
const reads = (markers) => Math.ceil(markers / 100);

test("what has run is known from one list for each 1,000 markers, and a read for each 100 that are not ours", async (t) => {
  const subjects = await both(t);
  const rows = await idle([subjects, subjects], { registered: [10, 1_000, 2_001], latencies: [0], limits: ONCE });
  const kinds = rows.map(({ what, registered, rust, typescript }) => [what, registered, rust.kinds, typescript.kinds]);
  const expected = (registered, lists) =>
    ["status", "idle"].map((what) => [what, registered, { ...NONE, list: lists, getBulk: reads(registered) }, { ...NONE, get: registered }]);
  assert.deepEqual(kinds, [...expected(10, 1), ...expected(1_000, 1), ...expected(2_001, 3)]);
});

test("a migration that puts one key costs a list and two puts", async (t) => {
  const rows = await pending(await both(t), { runs: [[100, 1], [100, 10], [0, 20]], latencies: [0], limits: ONCE });
  for (const { registered, pending, rust, typescript } of rows) {
    const applied = registered - pending;
    // Where nothing is applied, the run looks at other prefixes too.
    const list = 1 + pending + (applied === 0 ? 1 : 0);
    assert.deepEqual(rust.kinds, { ...NONE, list, getBulk: reads(applied), put: 2 * pending }, `${pending} pending`);
    assert.deepEqual(typescript.kinds, { ...NONE, get: registered, put: 2 * pending }, `${pending} pending in TypeScript`);
  }
});

test("a backfill makes next to no more operations than it must", async () => {
  const [ours, theirs] = [await rust("measured"), await typescript()];
  const ways = [
    { way: "rust", modules: ours, migrations: "backfill" },
    { way: "one by one", modules: theirs, migrations: "backfill one by one" },
    { way: "in pages", modules: theirs, migrations: "backfill in pages" },
  ];
  const [first, oneByOne, inPages] = await backfills(ways, [{ records: 300, latencies: [0] }]);

  const { least, took, kinds } = first;
  assert.equal(least, 1 + 3 + 300);
  // A run of more than two seconds also records how far it is.
  const checkpoints = Math.floor(took / 1_000);
  assert.deepEqual({ ...kinds, put: 0 }, { ...NONE, list: 4, get: 1, getBulk: 4 }, "the ledger's list, one for other prefixes, one to count, and a look at the marker; and one read of four, which tells how large values are");
  assert.ok(kinds.put >= 301 && kinds.put <= 302 + checkpoints, `${kinds.put} puts for 300 records and a marker`);
  assert.deepEqual(oneByOne.kinds, { ...NONE, list: 1, get: 301, put: 301 });
  assert.deepEqual(inPages.kinds, { ...NONE, list: 3, get: 301, put: 301 });
});

test("a backfill at the default budget takes as many requests as it has to", async (t) => {
  const [row] = await requests(await start(t, "rust", await rust("measured")), [1_000]);
  assert.equal(row.requests, 2);
  assert.equal(row.least, 1_011);
  assert.ok(row.operations <= row.least + 15, `${row.operations} operations`);
});

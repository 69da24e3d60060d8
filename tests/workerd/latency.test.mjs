// How long a migration takes where every KV operation takes 10 ms: ours, and the loop that services write today.
//
// `RECORDS=10000 node --test --test-timeout=600000 latency.test.mjs` measures with more records.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, serveSpecimen } from "./harness/client.mjs";
import { assertEntries, customers, seen, withoutMarkers } from "./harness/entries.mjs";

const RECORDS = Number(process.env.RECORDS ?? 300);
const MILLISECONDS = 10;
const CONNECTIONS = 6;

const LISTS = Math.ceil(RECORDS / 1_000);

/** The operations that no backfill can do without: the lists, the reads of 100 values each, and the writes. */
const NEEDED = LISTS + Math.ceil(RECORDS / 100) + RECORDS;

test(`${RECORDS} records, ${MILLISECONDS} ms for every KV operation`, async (t) => {
  const records = customers(RECORDS);
  const client = await serveSpecimen(t, { namespace: records });
  const latency = { latency: String(MILLISECONDS) };

  const [usual, usualTime] = await timed(() => client.send("POST", "/usual", latency));
  assert.equal(usual.text, `${RECORDS}`, "it changes every record");

  const headers = { ...latency, migrations: "seen", budget: String(2 * NEEDED) };
  const [answer, time] = await timed(() => client.migrate(headers));
  const { ran, operations } = assertAnswer(answer);
  assert.deepEqual(ran, ["001_seen"], "in one request");
  assertEntries(withoutMarkers(await client.worker.dump()), seen(records, () => 2), "each changed once by either");

  // An operation takes longer than it is asked to, by what the machine needs for it: the loop, which makes one after
  // the other, tells how long.
  const each = usualTime / (LISTS + 2 * RECORDS);
  const allowed = (NEEDED * each) / CONNECTIONS;
  t.diagnostic(`the usual loop: ${seconds(usualTime)}; a backfill: ${seconds(time)}, ${(usualTime / time).toFixed(1)} times as fast`);
  // A run of more than two seconds records how far it is, and waits a second until it can write its marker again.
  t.diagnostic(
    `at ${each.toFixed(1)} ms an operation, six connections allow ${seconds(allowed)} (at ${MILLISECONDS} ms ` +
      `${seconds((NEEDED * MILLISECONDS) / CONNECTIONS)}): it took ${Math.round((time / allowed - 1) * 100)} % more`,
  );

  // Of time nothing is asserted: it depends on the machine. These are what it follows from. Its entries are counted first,
  // the first checkpoints follow each other in less than two seconds, and on a slow machine fewer values are read at once.
  const ledger = 8 + Math.ceil(time / 2_000);
  const allowedOperations = NEEDED * 1.05 + LISTS + ledger;
  assert.ok(operations >= NEEDED && operations <= allowedOperations, `${operations} operations, of which ${NEEDED} are needed`);
});

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
}

const seconds = (milliseconds) => `${(milliseconds / 1_000).toFixed(2)} s`;

// What a backfill costs a Worker beside KV's own time: the calls of JavaScript for each record.
import assert from "node:assert/strict";
import { test } from "node:test";

import { callsOfRecord } from "./bench/own-work.mjs";
import { rust } from "./bench/subject.mjs";

/** Each call costs more than most of what is done between two of them. */
const MAX_CALLS = 12;

const measured = { way: "measured", modules: await rust("measured"), migrations: "backfill" };

test(`a backfill calls JavaScript at most ${MAX_CALLS} times for a record`, async (t) => {
  const calls = await callsOfRecord(measured, 1_000);
  const number = Object.values(calls).reduce((sum, each) => sum + each, 0);
  t.diagnostic(`${number.toFixed(1)} calls: ${JSON.stringify(calls)}`);
  assert.ok(calls.send >= 1, "the put of the record is one of them");
  assert.ok(number <= MAX_CALLS, `${number} calls for each record: ${JSON.stringify(calls)}`);
});

// The file of JavaScript by which the routes call KV, on a KV that answers what no local one holds.

import assert from "node:assert/strict";
import { test } from "node:test";

import { send } from "../../crates/kv-migrations-routes/src/platform/kv.js";

const LIST = 2;
const NO_LIMIT = -1;

test("an expiration that 32 bits do not hold is a late one, not an early one", async () => {
  const late = 99_999_999_999; // in the year 5138, which only Cloudflare's API can set
  const keys = [{ name: "late", expiration: late }, { name: "ü", metadata: { a: 1 }, expiration: 2_000_000_000 }, { name: "never" }];
  const kv = { list: async () => ({ keys, list_complete: true }) };
  const { numbers } = await send(kv, LIST, "", new Uint8Array(), undefined, NO_LIMIT);
  const expirations = [2, 5, 8].map((place) => Uint32Array.of(numbers[place])[0]);
  assert.deepEqual(expirations, [2 ** 32 - 1, 2_000_000_000, 0]);
});

// A server that is killed in the middle of a migration, and started again on what it had stored.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer } from "./harness/client.mjs";
import { TOMORROW, assertEntries, customers, timesSeen, withoutMarkers } from "./harness/entries.mjs";
import { Storage } from "./harness/storage.mjs";

/** The most requests until a run gets to a point: those after one that was killed do less. */
const MAX_REQUESTS = 10;

/** Waits until a run has sent this operation, which is never answered. */
async function hangs(client, worker, operation, headers) {
  const send = async () => {
    for (let number = 0; number < MAX_REQUESTS; number++) await client.migrate({ ...headers, hang: operation });
  };
  send().catch(() => {});
  await worker.told(/^hung at /m);
}

test("in the middle of a backfill", async (t) => {
  const entries = customers(300);
  const storage = new Storage(t, entries);
  const headers = { migrations: "seen", budget: "150" };
  const later = { ...headers, "clock-ahead": "2" };
  let done;
  await storage.untilKilled(async (client, worker) => {
    done = assertAnswer(await client.migrate(headers), 202).progress.done;
    await hangs(client, worker, "put 60 customer_", later);
  });

  const client = await storage.serve();
  assert.equal(assertAnswer(await client.status(later))[0].state, "running", "as it was recorded");
  const answers = await client.migrateToEnd(headers, 4);
  assert.deepEqual(assertAnswer(answers.at(-1)).ran, ["001_seen"]);
  const times = timesSeen(withoutMarkers(await client.worker.dump()));
  assert.deepEqual(times.slice(0, done), Array(done).fill(1), "what was recorded is not repeated");
  const repeated = times.filter((number) => number === 2).length;
  assert.ok(times.every((number) => number === 1 || number === 2), "none is left out");
  assert.ok(repeated <= 60 + 6, `${repeated} were repeated, and about 60 were done since it was recorded`);
});

test("in every phase of a re-key", async (t) => {
  const users = Array.from({ length: 150 }, (_, number) => ({
    key: `user_${String(number).padStart(3, "0")}`,
    ...(number % 7 === 0 ? { base64: Buffer.from([0xff, number]).toString("base64") } : { value: `user ${number}` }),
    ...(number % 3 === 0 && { metadata: { number } }),
    ...(number % 5 === 0 && { expiration: TOMORROW }),
  }));
  const moved = users.map(({ key, ...rest }) => ({ key: key.replace("user_", "user:"), ...rest }));
  const storage = new Storage(t, users);
  let ahead = 0;
  const headers = (more) => ({ migrations: "rekeyed", "clock-ahead": String(ahead), ...more });
  const pauses = async (client, phase, more) => {
    const passed = [];
    while (passed.at(-1) !== phase) {
      assert.ok(passed.length < MAX_REQUESTS, `it has only come to ${passed}`);
      const answer = await client.migrate(headers(more));
      passed.push(assertAnswer(answer, 202).progress.phase);
      ahead += Number(answer.headers.get("retry-after"));
    }
  };

  await storage.untilKilled((...served) => hangs(...served, "bulk-get 2 user:", headers()));
  await storage.untilKilled(async (client, worker) => {
    await pauses(client, "copy", { budget: "100" });
    await hangs(client, worker, "put 40 user:", headers());
  });
  await storage.untilKilled((client) => pauses(client, "wait"));
  await storage.untilKilled(async (client, worker) => {
    await pauses(client, "sweep", { budget: "60" });
    await hangs(client, worker, "delete 40 user_", headers());
  });
  await storage.untilKilled(async (client, worker) => {
    await pauses(client, "wait");
    await hangs(client, worker, "list 1 user_", headers());
  });
  await storage.untilKilled((...served) => hangs(...served, "put 1 migration_", headers()));

  const client = await storage.serve();
  assert.deepEqual(assertAnswer(await client.migrate(headers())).ran, ["001_rekey"]);
  assertEntries(withoutMarkers(await client.worker.dump()), moved, "none is lost, and none is left behind");
});

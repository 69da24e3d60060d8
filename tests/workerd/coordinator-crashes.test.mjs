// Whatever ends the instance of a coordinator's object, the next one carries on.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { assertAnswer } from "./harness/client.mjs";
import { OBJECTS, coordinated, coordinatedClient, serveCoordinated, until } from "./harness/coordinated.mjs";
import { customers, timesSeen, withoutMarkers } from "./harness/entries.mjs";
import { ENTRIES, SEEN, applied, assertEachOnce } from "./harness/several-steps.mjs";
import { Storage } from "./harness/storage.mjs";

describe("what ends an instance", { concurrency: 3 }, () => {
  test("SIGKILL in the middle of a backfill over 20,000 entries", async (t) => {
    const entries = customers(20_000);
    const settings = { migrations: "seen", budget: "4000" };
    const storage = new Storage(t, entries, OBJECTS);
    let done;
    await storage.untilKilled(async (served) => {
      const client = coordinatedClient(served);
      assertAnswer(await client.run(), 202);
      const going = ({ progress }) => progress?.done > 8_000;
      ({ done } = (await until(() => client.only(), going)).progress);
    }, coordinated(settings));

    const client = await storage.serve(coordinated(settings));
    await applied(client);
    const times = timesSeen(withoutMarkers(await client.worker.dump()));
    assert.deepEqual(times.slice(0, done), Array(done).fill(1), "what was recorded is not repeated");
    assert.ok(times.every((number) => number === 1 || number === 2), "none is left out");
    const [entry] = await coordinatedClient(client).history();
    assert.deepEqual([entry.outcome, entry.ran], ["finished", ["001_seen"]]);
  });

  test("SIGKILL while it is paused", async (t) => {
    const storage = new Storage(t, ENTRIES, OBJECTS);
    await storage.untilKilled(async (served) => {
      const client = coordinatedClient(served);
      assertAnswer(await client.run(), 202);
      await until(() => client.ask("pause", "001_seen"), ({ status }) => status === 200);
    }, coordinated(SEEN));
    const client = coordinatedClient(await storage.serve(coordinated(SEEN)));
    assert.equal((await client.only()).state, "paused");
    assertAnswer(await client.ask("resume", "001_seen"));
    await applied(client);
    await assertEachOnce(client);
  });

  test("a panic in a later step", async (t) => {
    const settings = { ...SEEN, migrations: `seen-breaking ${ENTRIES[100].key}` };
    const client = await serveCoordinated(t, settings, { namespace: ENTRIES });
    const { done } = assertAnswer(await client.run(), 202).progress;
    const kv = await client.worker.kv();
    // The alarm that panics is not the last.
    await until(() => kv.get("customer_00099"), (value) => JSON.parse(value).seen === 1);
    await sleep(2_000);
    await kv.put("mended", "");
    await applied(client);
    const times = timesSeen(withoutMarkers(await client.worker.dump()).filter(({ key }) => key !== "mended"));
    assert.deepEqual(times.slice(0, done), Array(done).fill(1));
    assert.ok(times.every((number) => number === 1 || number === 2), "none is left out");
  });

  test("a panic in the first step", async (t) => {
    const client = await serveCoordinated(t, { migrations: `seen-breaking ${ENTRIES[5].key}` }, { namespace: ENTRIES });
    const answer = await client.run();
    assert.ok([500, 503].includes(answer.status), "the caller gets an answer at once");
    await (await client.worker.kv()).put("mended", "");
    await applied(client);
  });
});

test("a deploy without the coordinator stops what it began, and one with it goes on", async (t) => {
  const storage = new Storage(t, ENTRIES, OBJECTS);
  await storage.untilKilled(async (served) => {
    assertAnswer(await coordinatedClient(served).run(), 202);
  }, coordinated(SEEN));
  await storage.untilKilled(async (client) => {
    const before = await client.status(SEEN);
    await sleep(18_000);
    assert.deepEqual((await client.status(SEEN)).json, before.json, "no alarm goes on");
  }, coordinated({ ...SEEN, coordinated: "no" }));
  const client = coordinatedClient(await storage.serve(coordinated(SEEN)));
  assert.equal((await client.only()).state, "running");
  await applied(client);
  const times = timesSeen(withoutMarkers(await client.worker.dump()));
  assert.ok(times.every((number) => number === 1 || number === 2));
});

test("what is applied while the coordinator is gone is not applied again", async (t) => {
  const storage = new Storage(t, ENTRIES, OBJECTS);
  await storage.untilKilled(async (served) => {
    assertAnswer(await coordinatedClient(served).run(), 202);
  }, coordinated(SEEN));
  await storage.untilKilled(async (client) => {
    assertAnswer((await client.migrateToEnd(SEEN, 2)).at(-1));
  }, coordinated({ ...SEEN, coordinated: "no" }));
  const client = coordinatedClient(await storage.serve(coordinated(SEEN)));
  await until(() => client.only(), ({ state }) => state === "applied");
  await assertEachOnce(client);
});

// The compatibility dates and flags that a service can have: the oldest and the newest, with and without Node's API.
import assert from "node:assert/strict";
import { test } from "node:test";

import { supportedCompatibilityDate as NEWEST_DATE } from "miniflare";

import { assertAnswer, serveSpecimen } from "./harness/client.mjs";
import { OBJECTS, coordinated, coordinatedClient } from "./harness/coordinated.mjs";
import { assertEntries, customers, seen, withoutMarkers } from "./harness/entries.mjs";

/** What docs/mounting.md names. Before it, a response of the `http` crate cannot be made. */
const OLDEST_DATE = "2022-11-30";

/** Long enough for all of it; a timer that never fires would wait for the limit of all tests. */
const timeout = 60_000;

for (const date of [OLDEST_DATE, NEWEST_DATE]) {
  for (const flags of [[], ["nodejs_compat"]]) {
    const options = { compatibilityDate: date, compatibilityFlags: flags };

    test(`runs, waits and rolls back at ${date} with [${flags}]`, { timeout }, async (t) => {
      const records = customers(30);
      const client = await serveSpecimen(t, { namespace: records, ...options });
      // Each operation waits for a timer, and after two seconds the run waits until it can write its marker again.
      const headers = { migrations: "seen-reversible", latency: "250" };
      assert.deepEqual(assertAnswer(await client.migrate(headers)).ran, ["001_seen"]);
      assertEntries(withoutMarkers(await client.worker.dump()), seen(records, () => 1));
      assertAnswer(await client.rollback("001_seen", { migrations: "seen-reversible" }));
      assertEntries(withoutMarkers(await client.worker.dump()), seen(records, () => 0));
    });

    test(`a coordinator runs at ${date} with [${flags}]`, { timeout }, async (t) => {
      const records = customers(30);
      const bindings = coordinated({ migrations: "seen", budget: "40" });
      const specimen = await serveSpecimen(t, { namespace: records, objects: OBJECTS, bindings, ...options });
      const client = coordinatedClient(specimen);
      assert.deepEqual(assertAnswer(await client.run("?wait=true")).ran, ["001_seen"]);
      assertEntries(withoutMarkers(await client.worker.dump()), seen(records, () => 1));
    });
  }
}

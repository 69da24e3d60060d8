// What docs/coordinator.md has for pipelines with a coordinator, to the letter, run by `sh`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer } from "./harness/client.mjs";
import { serveCoordinated } from "./harness/coordinated.mjs";
import { assertEntries, customers, seen, withoutMarkers } from "./harness/entries.mjs";
import { run, scriptsOf } from "./harness/scripts.mjs";

const [pipeline] = scriptsOf("coordinator.md", "In a pipeline");
const ENTRIES = customers(150);
const SEEN = { migrations: "seen", budget: "60" };
const COORDINATED = { coordinator: "yes" };
const expecting = (last) => ({ replace: [["last=002_with_args", `last=${last}`]] });

test("carries a long migration to its end", async (t) => {
  const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
  const { code, output, calls } = await run(t, pipeline, client.worker.url, COORDINATED, expecting("001_seen"));
  assert.equal(code, 0, output);
  assertEntries(withoutMarkers(await client.worker.dump()), seen(ENTRIES), "all is applied");
  assert.deepEqual(calls, ["git rev-parse --short HEAD"], "in one request");
  assert.equal((await client.history())[0].by, "deploy ");
});

test("waits behind a run in progress, and has nothing to do then", async (t) => {
  const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
  assertAnswer(await client.run(), 202);
  const { code, output } = await run(t, pipeline, client.worker.url, COORDINATED, expecting("001_seen"));
  assert.equal(code, 0, output);
  assertEntries(withoutMarkers(await client.worker.dump()), seen(ENTRIES), "all is applied");
});

test("waits for the release that it expects, and runs nothing meanwhile", async (t) => {
  const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
  const { code, output, calls } = await run(t, pipeline, client.worker.url, COORDINATED, expecting("002_later"));
  assert.notEqual(code, 0);
  assert.equal(calls.filter((call) => call === "sleep 5").length, 10);
  assert.match(output, /does not register `002_later`/);
  assertEntries(await client.worker.dump(), ENTRIES, "and nothing ran");
});

for (const [name, settings, headers, token] of [
  ["a migration that fails", { migrations: "failing" }, COORDINATED],
  ["a wrong token", { migrations: "failing" }, COORDINATED, "wrong"],
  ["an answer of something else", SEEN, { mount: "layer /elsewhere" }],
]) {
  test(`fails with ${name}`, async (t) => {
    const client = await serveCoordinated(t, settings);
    const { code, output, calls } = await run(t, pipeline, client.worker.url, headers, { token, ...expecting("001_first") });
    assert.notEqual(code, 0, output);
    assert.deepEqual(calls, ["git rev-parse --short HEAD"], "it is not tried again");
  });
}

test("ends where the writes of the day are used up, and says so", async (t) => {
  const client = await serveCoordinated(t, { ...SEEN, "writes-per-day": "20" }, { namespace: ENTRIES });
  const { code, output } = await run(t, pipeline, client.worker.url, COORDINATED, expecting("001_seen"));
  assert.equal(code, 75, output);
});

test("gives up where nobody answers", async (t) => {
  const { code, calls } = await run(t, pipeline, new URL("http://127.0.0.1:1"));
  assert.notEqual(code, 0);
  assert.equal(calls.filter((call) => call === "sleep 5").length, 10);
});

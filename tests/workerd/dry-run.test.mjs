// Dry runs: what they tell is what a run does, they write nothing, and a coordinator says what is applied.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { readPlaces, entriesAtStart, BY_COUNTRY, INDEX, NORMALISE } from "./demo/places.mjs";
import { Client, TOKEN, assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { serveCoordinated, until } from "./harness/coordinated.mjs";
import { ENTRIES, SEEN } from "./harness/several-steps.mjs";
import { startWorker } from "./harness/worker.mjs";

const GAZETTEER = fileURLToPath(new URL("../../examples/gazetteer", import.meta.url));
const [FIRST, SECOND, THIRD] = ["001_first", "002_second", "003_third"];
const DRY = { "dry-run": "yes" };

const dryRun = (client, query = "", headers = {}) => client.send("POST", `/migrations/dry-run${query}`, headers);

/** Every entry of a namespace of texts, with all that KV keeps of it. */
async function entriesOf(worker) {
  const entries = [];
  for await (const entry of worker.texts()) entries.push(entry);
  return entries;
}

/** The same but the markers, by its key. */
const withoutMarkers = (entries) =>
  new Map(entries.filter(({ key }) => !key.startsWith("migration_")).map((entry) => [entry.key, entry]));

test("a dry run of the gazetteer tells each write of the run, and writes nothing", async (t) => {
  const tomorrow = Math.floor(Date.now() / 1_000) + 86_400;
  const places = [...entriesAtStart(readPlaces(2_000))];
  const namespace = places.map(([key, { value }], number) => ({
    key,
    value: JSON.stringify(value),
    ...(number % 7 === 0 && { expiration: tomorrow }),
    ...(number % 5 === 0 && { metadata: { imported: number } }),
  }));
  const bindings = { MIGRATIONS_TOKEN: TOKEN, KV_DELAY_SECONDS: "1", OPERATIONS: "20000" };
  const worker = await startWorker(GAZETTEER, { namespace, bindings });
  t.after(() => worker.stop());
  const client = new Client(worker);

  const before = await entriesOf(worker);
  const report = assertAnswer(await dryRun(client, "?show=10000&values=true"));
  assert.deepEqual(await entriesOf(worker), before, "not a byte has changed");
  assert.deepEqual([report.complete, report.remaining], [true, []]);
  assert.deepEqual(report.migrations.map(({ id }) => id), [NORMALISE, BY_COUNTRY, INDEX]);
  assert.deepEqual(report.migrations.flatMap(({ findings }) => findings), []);
  const [normalise, byCountry, index] = report.migrations;
  assert.deepEqual([normalise.writes, byCountry.writes, byCountry.deletes], [2_000, 2_000, 2_000]);
  assert.ok(report.operationsSent < report.operations && report.operationsSent <= 20_000, JSON.stringify(report.operationsSent));

  // What it told is applied to what there was, one change after another.
  const expected = withoutMarkers(before);
  for (const { changes, moreChanges } of [normalise, byCountry, index]) {
    assert.equal(moreChanges, undefined);
    for (const { key, operation, before, after } of changes) {
      assert.deepEqual(before, told(expected.get(key)), key);
      if (operation === "delete") expected.delete(key);
      else expected.set(key, entry(key, after));
    }
  }
  for (let answer; answer?.status !== 200; await sleep(1_000 * Number(answer.headers.get("retry-after")))) {
    answer = await client.send("POST", "/migrate");
    assert.ok([200, 202].includes(answer.status), answer.text);
  }
  const found = withoutMarkers(await entriesOf(worker));
  assert.deepEqual([...found.keys()].sort(), [...expected.keys()].sort());
  for (const [key, entry] of found) assert.deepEqual(told(entry), told(expected.get(key)), key);
});

/** An entry as a dry run tells it. */
function told(entry) {
  if (entry === undefined) return undefined;
  const { value, metadata, expiration } = entry;
  return {
    bytes: Buffer.byteLength(value),
    ...(metadata !== undefined && metadata !== null && { metadata: JSON.stringify(metadata) }),
    ...(expiration !== undefined && { expiration }),
    value,
  };
}

/** The reverse. */
function entry(key, { value, metadata, expiration }) {
  return { key, value, ...(metadata !== undefined && { metadata: JSON.parse(metadata) }), ...(expiration !== undefined && { expiration }) };
}

test("without a coordinator the markers say what is pending", async (t) => {
  const client = await serveSpecimen(t);
  const headers = { ...DRY, migrations: "mended" };
  assertAnswer(await client.send("POST", `/migrations/${FIRST}/mark`, headers));
  const before = await client.worker.dump();
  const report = assertAnswer(await dryRun(client, "", headers));
  assert.deepEqual(report.migrations.map(({ id }) => id), [SECOND, THIRD]);
  assert.deepEqual([report.complete, report.requests], [true, 1]);
  assert.deepEqual(await client.worker.dump(), before);
  assert.deepEqual(JSON.parse((await client.send("GET", "/client/dry-run", headers)).text), report, "the client is told the same");
  assert.deepEqual(client.logLines.filter((line) => line.includes(SECOND)), [], "no line tells of a run");
  assertProblem(await dryRun(client, "", { migrations: "mended" }), 404, "not-found");
  assertProblem(await client.send("POST", "/migrate?dry-run=true", headers), 400, "invalid-query");
});

test("a dry run takes the full token, and no body", async (t) => {
  const client = await serveSpecimen(t, { bindings: { MIGRATIONS_STATUS_TOKEN: "reads-only" } });
  const asked = { ...DRY, authorization: "Bearer reads-only" };
  assertProblem(await dryRun(client, "", asked), 403, "read-only-token");
  assertProblem(await dryRun(client, "", { ...DRY, authorization: "Bearer nothing" }), 401, "unauthorized");
  assertProblem(await client.send("POST", "/migrations/dry-run", DRY, { body: "{}" }), 400, "unexpected-content");
});

test("a failure is told, and is not recorded", async (t) => {
  const client = await serveSpecimen(t);
  const headers = { ...DRY, migrations: "failing" };
  const report = assertAnswer(await dryRun(client, "", headers));
  assert.deepEqual([report.complete, report.stopped, report.remaining], [false, "failed", [SECOND, THIRD]]);
  assert.match(report.migrations[1].error, /./);
  const status = assertAnswer(await client.status(headers));
  assert.deepEqual(status.map(({ state }) => state), ["pending", "pending", "pending"]);
});

test("with a coordinator its object says what is applied, and that a run is in progress", async (t) => {
  const client = await serveCoordinated(t, { ...DRY, migrations: "mended" });
  assertAnswer(await client.send("POST", `/migrations/${FIRST}/mark`));
  // What the copies in KV say does not matter.
  const kv = await client.worker.kv();
  await until(() => client.isRunForTypeScript(FIRST), Boolean);
  await kv.delete(`migration_my-service_${FIRST}`);
  const report = assertAnswer(await dryRun(client));
  assert.deepEqual(report.migrations.map(({ id }) => id), [SECOND, THIRD]);
  assert.equal(report.inProgress, undefined);
  assert.deepEqual(JSON.parse((await client.send("GET", "/client/dry-run")).text).migrations, report.migrations);
  assert.deepEqual(assertAnswer(await client.run()).ran, [SECOND, THIRD]);
  assert.deepEqual(assertAnswer(await dryRun(client)).migrations, []);
});

test("a dry run beside a run of a coordinator says so, and resumes from the copy of its checkpoint", async (t) => {
  const client = await serveCoordinated(t, { ...DRY, ...SEEN }, { namespace: ENTRIES });
  assertAnswer(await client.run(), 202);
  const report = assertAnswer(await dryRun(client, "?values=true"));
  assert.equal(report.inProgress, "001_seen");
  assert.deepEqual(report.migrations.map(({ id }) => id), ["001_seen"]);
  await until(() => client.only(), ({ state }) => state === "applied");
});

// Runs beside the requests for the routes: by a `Runner`, and by the client of the routes, as in a cron trigger.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { serveCoordinated, until } from "./harness/coordinated.mjs";

const GATED = { migrations: "gated" };

const isRunning = ({ json }) => json[0].state === "running";

async function open(client) {
  await (await client.worker.kv()).put("go", "");
}

const run = async (client, headers) => JSON.parse((await client.send("POST", "/runner", headers)).text);

test("a Runner on the same KV does not run beside the routes", async (t) => {
  const client = await serveSpecimen(t);
  const request = client.migrate(GATED);
  await until(() => client.status(GATED), isRunning);
  assert.match((await run(client, GATED)).error, /run is in progress/);
  assert.deepEqual((await run(client, { prefix: "other" })).ran, ["001_first"], "another service has another lock");
  await open(client);
  assert.deepEqual(assertAnswer(await request).ran, ["001_gated"]);
});

test("the routes do not run beside a Runner on the same KV", async (t) => {
  const client = await serveSpecimen(t);
  const cron = run(client, GATED);
  await until(() => client.status(GATED), isRunning);
  assertProblem(await client.migrate(GATED), 409, "run-in-progress");
  assertProblem(await client.migrate({ ...GATED, store: "handed-over" }), 409, "run-in-progress");
  await open(client);
  assert.deepEqual((await cron).ran, ["001_gated"]);
});

const ask = async (client, path, headers) => JSON.parse((await client.send("POST", `/client/${path}`, headers)).text);

test("the client of the routes needs no token of its caller, and shares the lock", async (t) => {
  const client = await serveSpecimen(t);
  const none = { authorization: null, label: "cron" };
  assert.deepEqual((await ask(client, "plan", none)).steps.map((step) => step.id), ["001_first"]);
  assert.equal((await ask(client, "migrate/unknown", none)).problem, "urn:kv-migrations:problem:unknown-migration");
  const only = await ask(client, "migrate/001_first", none);
  assert.deepEqual([only.ran, only.to], [["001_first"], "001_first"]);
  await ask(client, "rollback/001_first", none);
  assert.deepEqual((await ask(client, "migrate", none)).ran, ["001_first"]);
  assert.equal((await ask(client, "status", none))[0].run, true);
  assert.equal((await ask(client, "rollback/001_first", none)).rolledBack, "001_first");
  const refused = await ask(client, "rollback/001_first", none);
  assert.deepEqual([refused.status, refused.problem], [409, "urn:kv-migrations:problem:not-run"]);
  assert.match(refused.error, /Migration 001_first has not been run - cannot rollback/);

  const request = client.migrate(GATED);
  await until(() => client.status(GATED), isRunning);
  assert.equal((await ask(client, "migrate", { ...none, ...GATED })).problem, "urn:kv-migrations:problem:run-in-progress");
  await open(client);
  assertAnswer(await request);
});

async function assertClientCorrects(client) {
  const id = "001_first";
  assert.equal((await ask(client, `mark/${id}`, { label: "cron" })).state, "applied");
  assert.deepEqual((await ask(client, "migrate", {})).ran, [], "what is marked does not run");
  assert.equal((await ask(client, `reset/${id}`, {})).problem, "urn:kv-migrations:problem:already-applied");
  assert.equal((await ask(client, `unmark/${id}`, {})).state, "pending");
  assert.equal((await ask(client, `reset/${id}`, {})).state, "pending");
  const { marked, remaining } = await ask(client, `baseline/${id}`, {});
  assert.deepEqual([marked, remaining], [[id], []]);
  assert.equal((await ask(client, "baseline/unknown", {})).problem, "urn:kv-migrations:problem:unknown-migration");
}

test("the client marks, unmarks, resets and makes a baseline", async (t) => {
  await assertClientCorrects(await serveSpecimen(t));
});

test("with a coordinator the client has the object mark, unmark, reset and make a baseline", async (t) => {
  const client = await serveCoordinated(t);
  await assertClientCorrects(client);
  const asked = (await client.history()).map(({ action, by }) => [action, by]);
  assert.deepEqual(asked.filter(([action]) => action === "mark"), [["mark", "cron"]]);
});

test("with a coordinator the client asks the object", async (t) => {
  const client = await serveCoordinated(t);
  const report = await ask(client, "migrate", { authorization: null, label: "cron & 50 %" });
  assert.deepEqual([report.ran, report.remaining], [["001_first"], []]);
  assert.equal((await client.history())[0].action, "migrate");
  assert.equal((await client.history())[0].by, "cron & 50 %");
  assert.equal((await ask(client, "status", {}))[0].run, true);
  assert.deepEqual((await ask(client, "plan", {})).steps, []);
  assert.equal((await ask(client, "rollback/001_first", {})).rolledBack, "001_first");
});

test("the object asks a guard about the client too", async (t) => {
  const client = await serveCoordinated(t, { access: "guard" });
  const denied = await ask(client, "migrate", {});
  assert.deepEqual([denied.status, denied.problem], [500, "urn:kv-migrations:problem:coordinator-denied"]);
  assert.deepEqual((await ask(client, "migrate", { session: "theme=dark; session=admin" })).ran, ["001_first"]);
});

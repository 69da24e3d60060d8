// Taking over the namespace that the TypeScript runner left, and the way back.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, recordedFields, serve, serveSpecimen } from "./harness/client.mjs";
import { namespace, responses } from "./harness/fixtures.mjs";

const SERVICES = [
  { prefix: "authz", migrations: "fixture-authz" },
  { prefix: "mods", migrations: "fixture-mods" },
  { prefix: "customer", migrations: "fixture-customer" },
];

/** The run times that the fixture's markers hold, by key. */
const RUN_AT = Object.fromEntries(namespace.map(({ key, metadata }) => [key, metadata?.runAt]));

test("a service that is all applied: recorded answers, and not a byte of the namespace changed", async (t) => {
  const client = await serve(t, "examples/quickstart", { namespace });
  const status = assertAnswer(await client.status());
  assert.deepEqual(recordedFields(status), responses["GET /my-service/status"].body);
  for (const { id, runAt, state } of status) {
    assert.deepEqual([state, runAt], ["applied", RUN_AT[`migration_my-service_${id}`]]);
  }
  const report = assertAnswer(await client.migrate());
  assert.deepEqual([report.ran, report.skipped], [[], ["001_add_feature", "002_with_args"]]);
  assert.deepEqual(await client.worker.dump(), namespace);
});

test("the other services are as the TypeScript runner reported them", async (t) => {
  const client = await serveSpecimen(t, { namespace });
  // `Does …` stands for descriptions that differ from service to service.
  const shape = (status) => status.map(({ id, run }) => ({ id, run }));
  for (const { prefix, migrations } of SERVICES.slice(1)) {
    const status = assertAnswer(await client.status({ prefix, migrations }));
    assert.deepEqual(shape(status), shape(responses[`GET /${prefix}/status`].body), prefix);
  }
  const [authz] = SERVICES;
  const status = assertAnswer(await client.status(authz));
  assert.deepEqual(shape(status).map(({ id }) => id), responses["POST /authz/migrate"].body.ran);
  assert.equal(status[0].run, true);
  assert.deepEqual(await client.worker.dump(), namespace, "looking changes nothing");
});

test("a marker without metadata counts as run, one with the value false does not", async (t) => {
  const client = await serveSpecimen(t, { namespace });
  const [, , customer] = SERVICES;
  const status = assertAnswer(await client.status(customer));
  assert.deepEqual(recordedFields(status), responses["GET /customer/status"].body);
  assert.deepEqual(assertAnswer(await client.migrate(customer)).ran, ["002_fix_broken_keys"]);
});

test("a marker of the TypeScript runner that an operator set to false in the dashboard runs again", async (t) => {
  const client = await serve(t, "examples/quickstart", { namespace });
  const [key, runAt] = ["migration_my-service_001_add_feature", RUN_AT["migration_my-service_001_add_feature"]];
  await (await client.worker.kv()).put(key, "false", { metadata: { runAt } });
  const [first, second] = assertAnswer(await client.status());
  assert.deepEqual([first.run, first.state, second.run], [false, "pending", true]);
  assert.deepEqual(assertAnswer(await client.migrate()).ran, ["001_add_feature"]);
});

test("a byte order mark before true is not true, as for the TypeScript runner", async (t) => {
  const client = await serve(t, "examples/quickstart");
  await (await client.worker.kv()).put("migration_my-service_001_add_feature", "\uFEFFtrue");
  assert.equal(assertAnswer(await client.status())[0].run, false);
  assert.deepEqual(assertAnswer(await client.migrate()).ran, ["001_add_feature", "002_with_args"]);
});

test("what failed for the TypeScript runner fails with the same words", async (t) => {
  const client = await serveSpecimen(t, { namespace });
  const [, mods] = SERVICES;
  const recorded = responses["POST /mods/migrate"];
  const problem = assertProblem(await client.migrate(mods), recorded.status, "migration-failed");
  assert.equal(problem.detail, recorded.text);
});

test("application data is left alone, to the byte, whatever runs", async (t) => {
  const client = await serveSpecimen(t, { namespace });
  for (const service of SERVICES) await client.migrate(service);
  const isMarker = ({ key }) => key.startsWith("migration_");
  const written = new Set(["half"]);
  const application = (entries) =>
    entries.filter((entry) => !isMarker(entry) && !entry.key.startsWith("done/") && !written.has(entry.key));
  assert.deepEqual(application(await client.worker.dump()), application(namespace));
  const others = (entries) => entries.filter(({ key }) => key.startsWith("migration_my-service_"));
  assert.deepEqual(others(await client.worker.dump()), others(namespace), "another service's markers");
});

test("the way back: the TypeScript runner reads what this one wrote", async (t) => {
  const client = await serve(t, "examples/quickstart");
  const { ran } = assertAnswer(await client.migrate());
  for (const id of ran) {
    // What it does: `(await kv.get(key)) === 'true'`, and `metadata.runAt`.
    const { value, metadata } = await (await client.worker.kv()).getWithMetadata(`migration_my-service_${id}`);
    assert.equal(value === "true", true, id);
    assert.equal(new Date(metadata.runAt).toISOString(), metadata.runAt, id);
  }
  assertAnswer(await client.rollback("001_add_feature"));
  assert.equal(await client.isRunForTypeScript("001_add_feature"), false);
});

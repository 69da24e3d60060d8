// Migrations of another namespace than the service's own: both are real ones.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { TOMORROW, assertEntries } from "./harness/entries.mjs";

const OWN = "MY_SERVICE_KV";
const OTHER = "OLD_KV";
const kvNamespaces = [OWN, OTHER];

/** Keys and values of every kind, in the order of their bytes. */
const ENTRIES = [
  { key: "1", value: "a key that no bulk get reads" },
  { key: "__proto__", value: "nor this one" },
  { key: "binary", base64: "/wD+gA==", metadata: { raw: true }, expiration: TOMORROW },
  { key: "bom", value: "\uFEFF{}", metadata: "begins with a byte order mark" },
  { key: "empty", value: "" },
  { key: "grüße", value: "ä", metadata: ["ö", null, 1.5] },
  { key: "migration_notes", value: "no marker" },
  ...Array.from({ length: 40 }, (_, number) => ({ key: `user_${String(number).padStart(3, "0")}`, value: `${number}` })),
  { key: "x".repeat(512), value: "the longest key" },
];

const WITHOUT_NOTES = ENTRIES.filter(({ key }) => key !== "migration_notes");

/** A marker that the service has left in its old namespace. */
const OLD_MARKER = { key: "migration_my-service_000_before", value: "true", metadata: { runAt: "2026-01-01T00:00:00.000Z" } };

const byKey = (entries) => entries.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
const names = (entries) => entries.map(({ key }) => key);
const isOwnMarker = ({ key }) => key.startsWith("migration_my-service_");
const own = async (client) => (await client.worker.dump()).filter((entry) => !isOwnMarker(entry));
const other = (client) => client.worker.dump(OTHER);

async function serveWithOld(t, entries = ENTRIES, options = {}) {
  const client = await serveSpecimen(t, { kvNamespaces, ...options });
  await client.worker.load(byKey([...entries, OLD_MARKER]), OTHER);
  return client;
}

for (const [name, budget] of [["", undefined], [" over many requests", "30"]]) {
  test(`all entries of the old namespace are moved into the service's own${name}`, async (t) => {
    const client = await serveWithOld(t);
    const headers = { migrations: `moved-from ${OTHER}`, ...(budget && { budget }) };
    const answers = await client.migrateToEnd(headers);
    assert.deepEqual(assertAnswer(answers.at(-1)).ran, ["001_moved"]);
    if (budget) assert.ok(answers.length > 4, `it took ${answers.length} requests`);
    assertEntries(await own(client), ENTRIES);
    assertEntries(await other(client), [OLD_MARKER], "only the marker stays");

    const rolledBack = assertAnswer((await client.rollbackToEnd("001_moved", headers)).at(-1));
    assert.equal(rolledBack.rolledBack, "001_moved");
    // In the service's own namespace it may be the marker of another service.
    assert.deepEqual(names(await own(client)), ["migration_notes"]);
    assertEntries(await other(client), byKey([...WITHOUT_NOTES, OLD_MARKER]));
  });
}

test("all entries are moved into another namespace, and what may be a marker stays", async (t) => {
  const client = await serveSpecimen(t, { kvNamespaces, namespace: ENTRIES });
  const { ran, warnings } = assertAnswer((await client.migrateToEnd({ migrations: `moved-into ${OTHER}` })).at(-1));
  assert.deepEqual(ran, ["001_moved"]);
  assert.match(warnings.join(), /left out 1 keys that begin with `migration_`/);
  assertEntries(await other(client), WITHOUT_NOTES);
  assert.deepEqual(names(await own(client)), ["migration_notes"]);
  assert.ok(await client.isRunForTypeScript("001_moved"), "the marker is in the service's own namespace");
});

test("a backfill copies the entries of the old namespace", async (t) => {
  const client = await serveWithOld(t);
  assert.deepEqual(assertAnswer(await client.migrate({ migrations: `copied-from ${OTHER}` })).ran, ["001_copied"]);
  assertEntries(await own(client), ENTRIES);
  assertEntries(await other(client), byKey([...ENTRIES, OLD_MARKER]));
});

for (const scenario of ["moved-from", "moved-into", "copied-from"]) {
  for (const [binding, expected] of [
    ["NO_KV", /the Worker has no KV binding `NO_KV`: give a KV namespace this `binding` under \[\[kv_namespaces\]\]/],
    ["API_URL", /the binding `API_URL` is not a KV namespace/],
  ]) {
    test(`${scenario} ${binding}, which is no namespace, changes nothing and says what to write`, async (t) => {
      const client = await serveSpecimen(t, { kvNamespaces, namespace: ENTRIES });
      const problem = assertProblem(await client.migrate({ migrations: `${scenario} ${binding}` }), 500, "migration-failed");
      assert.match(problem.detail, expected);
      assertEntries(await own(client), ENTRIES);
    });
  }
}

test("two bindings of one namespace are noticed, and nothing is deleted", async (t) => {
  const client = await serveSpecimen(t, { kvNamespaces: { [OWN]: "same", [OTHER]: "same" }, namespace: ENTRIES });
  for (const scenario of ["moved-from", "moved-into"]) {
    const headers = { migrations: `${scenario} ${OTHER}` };
    const { detail } = assertProblem(await client.migrate(headers), 500, "migration-failed");
    assert.match(detail, /in the same namespace: two bindings are of one/);
    assertEntries(await own(client), ENTRIES);
    assertAnswer(await client.send("POST", "/migrations/001_moved/reset", headers));
  }
});

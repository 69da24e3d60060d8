// The migrations of docs/long-migrations.md that copy entries out of KV: to a real D1 database, and to a real object.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { withoutMarkers } from "./harness/entries.mjs";

const entries = (prefix, number, value) =>
  Array.from({ length: number }, (_, index) => ({ key: `${prefix}${String(index).padStart(4, "0")}`, value: value(index) }));

const users = (number) => entries("user_", number, (index) => JSON.stringify({ name: `Ada ${index} "ü"` }));
const carts = (number) => entries("cart_", number, (index) => `${index} apples`);

const TABLE = "CREATE TABLE users (id TEXT PRIMARY KEY, profile TEXT CHECK (profile <> 'malformed'))";

async function serveD1(t, namespace) {
  const client = await serveSpecimen(t, { namespace, d1Databases: { DB: "users" } });
  const db = await client.worker.d1("DB");
  await db.exec(TABLE);
  const rows = async () => (await db.prepare("SELECT id AS key, profile AS value FROM users ORDER BY id").all()).results;
  return { client, db, rows };
}

const values = (entries) => entries.map(({ key, value }) => ({ key, value }));

test("the documentation shows what is tested here", () => {
  const page = readFileSync(new URL("../../docs/long-migrations.md", import.meta.url), "utf8");
  const directory = new URL("workers/specimen/src/out_of_kv/", import.meta.url);
  const files = readdirSync(directory);
  assert.equal(files.length, 2);
  for (const file of files) {
    assert.ok(page.includes(`\`\`\`rust\n${readFileSync(new URL(file, directory), "utf8")}\`\`\``), file);
  }
});

test("users are copied to D1 in batches, with all that is in their values", async (t) => {
  const namespace = users(1_250);
  const { client, rows } = await serveD1(t, namespace);
  const { ran, operations } = assertAnswer(await client.migrate({ migrations: "to-d1" }));
  assert.deepEqual(ran, ["011_users_to_d1"]);
  assert.deepEqual(await rows(), values(namespace));
  // 13 batches of D1, 13 reads in bulk, lists, and the markers.
  assert.ok(operations >= 26 && operations < 50, `${operations} operations`);
  assert.deepEqual(values(withoutMarkers(await client.worker.dump())), values(namespace), "KV keeps them");
});

test("a batch that D1 refuses inserts nothing, is named by its keys, and is copied once that is mended", async (t) => {
  const namespace = users(250);
  namespace[123].value = "malformed";
  const { client, rows } = await serveD1(t, namespace);
  const headers = { migrations: "to-d1" };
  const { detail } = assertProblem(await client.migrate(headers), 500, "migration-failed");
  assert.match(detail, /^Migration 011_users_to_d1 failed: at the batch of 100 entries from `user_0100` to `user_0199`: D1: /);
  assert.match(detail, /CHECK constraint failed/);
  assert.deepEqual(await rows(), values(namespace.slice(0, 100)));

  namespace[123].value = "mended";
  await (await client.worker.kv()).put("user_0123", "mended");
  assertAnswer(await client.migrate(headers));
  assert.deepEqual(await rows(), values(namespace));
});

test("a copy to D1 with a budget for a few batches goes on from request to request", async (t) => {
  const namespace = users(900);
  const { client, rows } = await serveD1(t, namespace);
  const answers = await client.migrateToEnd({ migrations: "to-d1", budget: "12" });
  assertAnswer(answers.at(-1));
  assert.ok(answers.length > 2, `it took ${answers.length} requests`);
  assert.deepEqual(await rows(), values(namespace));
});

test("carts are copied to an object in batches", async (t) => {
  const namespace = carts(350);
  const client = await serveSpecimen(t, { namespace, objects: { CARTS: "Carts" } });
  const stored = async () => (await (await client.worker.object("CARTS", "all")).fetch("https://carts/")).json();
  assert.deepEqual(assertAnswer(await client.migrate({ migrations: "to-object" })).ran, ["012_carts_to_object"]);
  assert.deepEqual((await stored()).map(({ id, cart }) => ({ key: id, value: cart })), values(namespace));
});

test("a batch that the object refuses is named by its keys", async (t) => {
  const namespace = carts(120);
  namespace[110].value = "";
  const client = await serveSpecimen(t, { namespace, objects: { CARTS: "Carts" } });
  const { detail } = assertProblem(await client.migrate({ migrations: "to-object" }), 500, "migration-failed");
  const reason = "at the batch of 20 entries from `cart_0100` to `cart_0119`: the object answered 400";
  assert.equal(detail.split(" failed: ")[1].slice(0, reason.length), reason);
});

// Who reaches a coordinator, and what is said where none can be reached.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

import { assertAnswer, assertProblem } from "./harness/client.mjs";
import { coordinated, serveCoordinated, until } from "./harness/coordinated.mjs";
import { ENTRIES, MARKER, SEEN } from "./harness/several-steps.mjs";

const ROUTES = [
  ["GET", "/migrations/status"],
  ["GET", "/migrations/history"],
  ["GET", "/migrations/plan"],
  ["POST", "/migrate"],
  ["POST", "/migrations/baseline?to=001_first"],
  ...["rollback", "reset", "mark", "unmark", "pause", "resume", "cancel"].map((action) => ["POST", `/migrations/001_first/${action}`]),
];

/** The header that says what a Worker, or an object, registers. */
const RELEASE = "kv-migrations-release";

/** What the specimen's object is called. */
const OBJECT = "MY_SERVICE_KV/my-service";

test("without access the object is not even woken", async (t) => {
  const objectsPersist = mkdtempSync(path.join(tmpdir(), "objects-"));
  t.after(() => rmSync(objectsPersist, { recursive: true }));
  const stored = () => readdirSync(objectsPersist, { recursive: true }).filter((name) => /[0-9a-f]{64}\.sqlite$/.test(name));
  const client = await serveCoordinated(t, {}, { objectsPersist });
  for (const [method, route] of ROUTES) {
    for (const authorization of [null, "Bearer wrong"]) {
      assertProblem(await client.send(method, route, { authorization }), 401, "unauthorized");
    }
    const more = route.includes("?") ? "&" : "?";
    assertProblem(await client.send(method, `${route}${more}x`), 400, "invalid-query");
  }
  assertProblem(await client.send("GET", "/migrate"), 405, "method-not-allowed");
  assert.deepEqual(stored(), []);
  assertAnswer(await client.run());
  assert.ok(stored().length > 0, "with access it is");
});

test("without a secret nobody has access", async (t) => {
  const client = await serveCoordinated(t, {}, { bindings: { MIGRATIONS_TOKEN: undefined } });
  for (const [method, route] of ROUTES) {
    assertProblem(await client.send(method, route), 403, "access-not-configured");
  }
});

test("a token for the status reads by way of the object too, and does nothing else", async (t) => {
  const client = await serveCoordinated(t, {}, { bindings: { MIGRATIONS_STATUS_TOKEN: "ci" } });
  const ci = { authorization: "Bearer ci" };
  for (const [method, route] of ROUTES) {
    const answer = await client.send(method, route, ci);
    if (method === "GET") assert.equal(answer.status, 200, answer.text);
    else assertProblem(answer, 403, "read-only-token");
  }
  assert.equal(assertAnswer(await client.send("GET", "/migrations/plan", ci)).access, "read");
  assert.equal(assertAnswer(await client.send("GET", "/migrations/plan")).access, "full");
});

test("a Worker that has the object's stub needs the token too", async (t) => {
  const client = await serveCoordinated(t);
  const named = { object: OBJECT, "kv-migrations-coordinator": "MY%5FSERVICE%5FKV%2Fmy%2Dservice" };
  for (const [method, route] of ROUTES) {
    for (const authorization of [null, "Bearer wrong"]) {
      assertProblem(await client.send(method, `/stub${route}`, { ...named, authorization }), 401, "unauthorized");
    }
  }
  assert.deepEqual(await client.worker.dump(), []);
  const denied = await client.send("POST", "/stub/migrate", { ...named, authorization: null });
  assert.equal(denied.headers.get(RELEASE), null, "what it registers is told to nobody without access");

  const refusal = await client.send("POST", "/stub/migrate", named);
  assert.deepEqual(assertProblem(refusal, 503, "release-mismatch").registered, ["001_first"]);
  assert.deepEqual(await client.worker.dump(), [], "a caller must be of its release");
  const asked = { ...named, [RELEASE]: refusal.headers.get(RELEASE) };
  assert.deepEqual(assertAnswer(await client.send("POST", "/stub/migrate", asked)).ran, ["001_first"]);
});

test("an object of another name or id runs nothing, for any caller and any route", async (t) => {
  const client = await serveCoordinated(t);
  const rightHeader = { "kv-migrations-coordinator": "MY%5FSERVICE%5FKV%2Fmy%2Dservice" };
  for (const headers of [
    { object: OBJECT },
    { object: "other", "kv-migrations-coordinator": "other" },
    { object: "other", ...rightHeader },
    { object: `${OBJECT}2`, ...rightHeader },
    { id: "unique", ...rightHeader },
  ]) {
    for (const [method, route] of ROUTES) {
      assertProblem(await client.send(method, `/stub${route}`, headers), 500, "wrong-coordinator");
    }
  }
  assert.deepEqual(await client.worker.dump(), []);
  const byId = { object: OBJECT, id: "named", ...rightHeader };
  const refusal = await client.send("POST", "/stub/migrate", byId);
  assertProblem(refusal, 503, "release-mismatch");
  const asked = { ...byId, [RELEASE]: refusal.headers.get(RELEASE) };
  assert.deepEqual(assertAnswer(await client.send("POST", "/stub/migrate", asked)).ran, ["001_first"]);
});

test("open access is open here and there", async (t) => {
  const client = await serveCoordinated(t, { access: "open" });
  assertAnswer(await client.migrate({ authorization: null }));
});

test("a guard of the service is asked here and there, and sees the same", async (t) => {
  const client = await serveCoordinated(t, { access: "guard" });
  const named = { object: OBJECT, "kv-migrations-coordinator": "MY%5FSERVICE%5FKV%2Fmy%2Dservice" };
  for (const [method, route] of ROUTES) {
    for (const headers of [{}, { authorization: null, cookie: "session=visitor" }]) {
      assertProblem(await client.send(method, route, headers), 403, "forbidden");
      assertProblem(await client.send(method, `/stub${route}`, { ...named, ...headers }), 403, "forbidden");
    }
  }
  assert.deepEqual(await client.worker.dump(), []);
  for (const headers of [
    { cookie: "theme=dark; session=admin" },
    { "cf-access-jwt-assertion": "signed" },
    // Sent as UTF-8, one character for each byte.
    { "x-name": Buffer.from("Zo\u00eb", "utf8").toString("latin1") },
  ]) {
    assertAnswer(await client.status({ ...headers, authorization: null }));
  }
  // Headers that belong to the connection, or that only a Worker may send, do not get in the way.
  const more = { cookie: "theme=dark; session=admin", "kv-migrations-coordinator": "other", [RELEASE]: "other", te: "trailers" };
  assert.deepEqual(assertAnswer(await client.send("POST", "/migrate", { ...more, "content-length": "0" })).ran, ["001_first"]);
});

test("a page of another site changes nothing by way of the coordinator", async (t) => {
  const client = await serveCoordinated(t, { access: "open" });
  const forged = { authorization: null, origin: "https://evil.example.com", "sec-fetch-site": "cross-site" };
  for (const [method, route] of ROUTES.filter(([method]) => method === "POST")) {
    assertProblem(await client.send(method, route, forged), 403, "cross-site-request");
    const named = { object: OBJECT, "kv-migrations-coordinator": "MY%5FSERVICE%5FKV%2Fmy%2Dservice" };
    assertProblem(await client.send(method, `/stub${route}`, { ...named, ...forged }), 403, "cross-site-request");
  }
  assert.deepEqual(await client.worker.dump(), []);
});

test("a head that is too large for the object is refused whole, not cut", async (t) => {
  const client = await serveCoordinated(t);
  const cookies = Object.fromEntries(Array.from({ length: 10 }, (_, number) => [`x-${number}`, "x".repeat(6_600)]));
  assertProblem(await client.send("GET", "/migrations/status", cookies), 431, "head-too-large");
});

test("any of several secrets", async (t) => {
  const client = await serveCoordinated(t, { access: "OLD NEW" }, { bindings: { OLD: "old", NEW: "new" } });
  for (const token of ["old", "new"]) assertAnswer(await client.migrate({ authorization: `Bearer ${token}` }));
  assertProblem(await client.run(), 401, "unauthorized");
});

for (const [name, bindings, objects] of [
  ["missing", {}, {}],
  ["a variable", { MIGRATIONS: "on" }, {}],
]) {
  test(`a binding that is ${name}`, async (t) => {
    const client = await serveCoordinated(t, {}, { objects, bindings });
    const problem = assertProblem(await client.run(), 500, "no-coordinator");
    assert.match(problem.detail, /Durable Object binding `MIGRATIONS`/);
    for (const name of ["[[durable_objects.bindings]]", "new_sqlite_classes"]) assert.ok(problem.help.includes(name));
    assert.deepEqual(await client.worker.dump(), []);
  });
}

test("a binding that is a KV namespace", async (t) => {
  const kvNamespaces = ["MY_SERVICE_KV", "MIGRATIONS"];
  const client = await serveCoordinated(t, {}, { objects: {}, kvNamespaces });
  assertProblem(await client.run(), 500, "no-coordinator");
});

for (const [name, MIGRATIONS] of [["the coordinator of another service", "Others"], ["no coordinator", "Stranger"]]) {
  test(`a class that is ${name}`, async (t) => {
    const client = await serveCoordinated(t, {}, { objects: { MIGRATIONS } });
    for (const [method, route] of ROUTES) {
      const problem = assertProblem(await client.send(method, route), 500, "wrong-coordinator");
      assert.match(problem.detail, /`MIGRATIONS`.*`MY_SERVICE_KV\/my-service`/);
    }
    assert.deepEqual(await client.worker.dump(), []);
  });
}

test("a class without SQLite", async (t) => {
  const durableObjects = { MIGRATIONS: { className: "Migrations", useSQLite: false } };
  const client = await serveCoordinated(t, {}, { durableObjects });
  for (const [method, route] of ROUTES) {
    const answer = await client.send(method, route);
    const problem = assertProblem(answer, 500, "coordinator-without-sqlite");
    for (const name of ["new_sqlite_classes", "new_classes"]) assert.ok(problem.help.includes(`\`${name}\``));
    assert.equal(answer.headers.get("retry-after"), null, "asking again does not help");
  }
  assert.deepEqual(await client.worker.dump(), []);
});

test("an object without its KV binding", async (t) => {
  const client = await serveCoordinated(t, {}, { kvNamespaces: ["OTHER"] });
  for (const [method, route] of ROUTES) {
    assertProblem(await client.send(method, route), 500, "no-kv-binding");
  }
});

/** The object's class in a Worker of its own, which has these variables. */
function inAnotherWorker(bindings) {
  const objects = { className: "Migrations", useSQLite: true };
  const other = { name: "objects", bindings, kvNamespaces: ["MY_SERVICE_KV"], durableObjects: { OWN: objects } };
  return { durableObjects: { MIGRATIONS: { ...objects, scriptName: "objects" } }, others: [other] };
}

for (const [name, secrets] of Object.entries({ "lacks the secret": {}, "has another secret": { MIGRATIONS_TOKEN: "other" } })) {
  test(`a class in another Worker that ${name}`, async (t) => {
    const client = await serveCoordinated(t, {}, inAnotherWorker({ ...coordinated({}), ...secrets }));
    for (const [method, route] of ROUTES) {
      const problem = assertProblem(await client.send(method, route), 500, "coordinator-denied");
      assert.match(problem.detail, /`MIGRATIONS`/);
      assert.match(problem.help, /wrangler secret put NAME --name WORKER/);
    }
    assert.deepEqual(await client.worker.dump(), []);
  });
}

test("a class in another Worker with the same secret", async (t) => {
  const client = await serveCoordinated(t, {}, inAnotherWorker({ ...coordinated({}), MIGRATIONS_TOKEN: "dev-token" }));
  assert.deepEqual(assertAnswer(await client.run()).ran, ["001_first"]);
  assertProblem(await client.send("POST", "/migrate", { authorization: "Bearer wrong" }), 401, "unauthorized");
});

test("an object that an alarm has woken answers, although nothing tells it its name", async (t) => {
  const persistent = ["objects", "kv"].map((name) => mkdtempSync(path.join(tmpdir(), `${name}-`)));
  t.after(() => persistent.forEach((directory) => rmSync(directory, { recursive: true })));
  const [objectsPersist, kvPersist] = persistent;
  const options = { ...inAnotherWorker({ ...coordinated(SEEN), MIGRATIONS_TOKEN: "dev-token" }), objectsPersist, kvPersist };
  const before = await serveCoordinated(t, SEEN, { ...options, namespace: ENTRIES });
  assertAnswer(await before.run(), 202);
  await before.worker.stop();

  // No request reaches the object before the alarm has taken the last step.
  const client = await serveCoordinated(t, SEEN, options);
  await until(() => client.value(MARKER), (value) => value === "true");
  // KV shows the marker a moment before the run has ended.
  await until(async () => assertAnswer(await client.status())[0].state, (state) => state === "applied");

  const rightHeader = { "kv-migrations-coordinator": "MY%5FSERVICE%5FKV%2Fmy%2Dservice" };
  for (const headers of [{ object: "other", ...rightHeader }, { id: "unique", ...rightHeader }]) {
    assertProblem(await client.send("POST", "/stub/migrate", headers), 500, "wrong-coordinator");
  }
});

test("a Worker without KV, whose object has it", async (t) => {
  const options = inAnotherWorker({ ...coordinated({}), MIGRATIONS_TOKEN: "dev-token" });
  const client = await serveCoordinated(t, {}, { ...options, kvNamespaces: ["OTHER"] });
  assert.deepEqual(assertAnswer(await client.run()).ran, ["001_first"]);
});

test("with `disallow_importable_env` the object has its environment by itself", async (t) => {
  const compatibilityFlags = ["disallow_importable_env"];
  const client = await serveCoordinated(t, { env: "handed-over" }, { compatibilityFlags });
  assert.deepEqual(assertAnswer(await client.run()).ran, ["001_first"]);
});

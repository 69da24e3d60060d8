// Runs that a Durable Object coordinates.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, recordedFields, serve } from "./harness/client.mjs";
import { OBJECTS, serveCoordinated, until } from "./harness/coordinated.mjs";
import { assertEntries, customers, seen, withoutMarkers } from "./harness/entries.mjs";
import { namespace, responses } from "./harness/fixtures.mjs";

test("the storage of an object keeps the contract of a coordinator's", async (t) => {
  const client = await serveCoordinated(t, {}, { objects: { ROWS: "Rows" } });
  assert.equal((await client.send("POST", "/rows")).text, "ok");
});

test("a run, a status and a rollback, and the history of them", async (t) => {
  const client = await serveCoordinated(t, { migrations: "mended" });
  const states = async () => assertAnswer(await client.status()).map(({ state }) => state);
  assert.deepEqual(await states(), ["pending", "pending", "pending"]);
  assert.deepEqual(await client.history(), []);
  assert.equal((await client.status({}, "?require=up-to-date")).status, 409);

  const report = assertAnswer(await client.run("?by=deploy%204711"));
  assert.deepEqual([report.ran, report.remaining], [["001_first", "002_second", "003_third"], []]);
  assert.deepEqual(await states(), ["applied", "applied", "applied"]);
  assertAnswer(await client.status({}, "?require=up-to-date"));
  assert.deepEqual(assertAnswer(await client.run()).skipped, report.ran);

  assert.equal(assertAnswer(await client.rollback("002_second")).rolledBack, "002_second");
  assert.deepEqual(await states(), ["applied", "pending", "applied"]);
  assert.equal(await client.value("done/002_second"), null);

  const told = (await client.history()).map(({ action, by, outcome, ran, migration }) => [action, by, outcome, ran, migration]);
  assert.deepEqual(told, [
    ["rollback", undefined, "finished", [], "002_second"],
    ["migrate", "deploy 4711", "finished", report.ran, undefined],
  ]);
  const head = await client.send("HEAD", "/migrations/history");
  assert.deepEqual([head.status, head.text], [200, ""]);
});

for (const mount of ["bare /", "bare /admin", "nest /admin", "layer /", "layer /admin", "front /", "fetch /", "fetch /admin"]) {
  test(`mounted as ${mount}`, async (t) => {
    const client = await serveCoordinated(t);
    const base = mount.split(" ")[1].replace(/\/$/, "");
    const ask = (method, path) => client.send(method, `${base}${path}`, { mount });
    assert.deepEqual(assertAnswer(await ask("POST", "/migrate?by=me")).ran, ["001_first"]);
    assert.equal(assertAnswer(await ask("GET", "/migrations/status"))[0].state, "applied");
    assert.equal(assertAnswer(await ask("GET", "/migrations/history"))[0].by, "me");
    assertProblem(await ask("POST", "/migrations/001_first/resume"), 409, "not-paused");
    assert.equal(assertAnswer(await ask("POST", "/migrations/001_first/rollback")).rolledBack, "001_first");
    const { status, lines } = await client.sendForEvents(`${base}/migrate`, { mount });
    const told = [];
    for await (const line of lines) told.push(JSON.parse(line));
    assert.deepEqual([status, told.map(({ event, verdict }) => event ?? verdict)], [200, ["started", "applied", "finished"]]);
  });
}

test("ids of every kind", async (t) => {
  const client = await serveCoordinated(t, { migrations: "odd-ids" });
  const ids = ["a b", "grüße", "50%", "a/b", "?#&+", "1", "__proto__", "status"];
  assert.deepEqual(assertAnswer(await client.run()).ran, ids);
  assert.deepEqual(assertAnswer(await client.status()).map(({ id, run }) => [id, run]), ids.map((id) => [id, true]));
  for (const id of ids) assert.equal(assertAnswer(await client.rollback(id)).rolledBack, id);
});

test("markers are copied to KV as the TypeScript runner writes them", async (t) => {
  const client = await serveCoordinated(t);
  assertAnswer(await client.run());
  const kv = await client.worker.kv();
  const { value, metadata } = await kv.getWithMetadata("migration_my-service_001_first");
  assert.equal(value, "true");
  assert.equal(new Date(metadata.runAt).toISOString(), metadata.runAt);
  assert.equal((await client.only()).runAt, metadata.runAt);
  assertAnswer(await client.rollback("001_first"));
  assert.equal(await client.value("migration_my-service_001_first"), null);
});

test("a marker that KV refuses is copied later, and the run is finished all the same", async (t) => {
  const refuse = { key: "refuse", value: "" };
  const client = await serveCoordinated(t, { refuse: "migration_" }, { namespace: [refuse] });
  assert.deepEqual(assertAnswer(await client.run()).ran, ["001_first"]);
  assert.equal((await client.only()).state, "applied");
  assert.equal(await client.isRunForTypeScript("001_first"), false);
  await (await client.worker.kv()).delete("refuse");
  assert.deepEqual(assertAnswer(await client.run()).skipped, ["001_first"]);
  assert.equal(await client.isRunForTypeScript("001_first"), true);
});

for (const [prefix, migrations] of [["authz", "fixture-authz"], ["customer", "fixture-customer"], ["mods", "fixture-mods"]]) {
  test(`what the TypeScript runner applied for ${prefix} is applied`, async (t) => {
    const client = await serveCoordinated(t, { prefix, migrations }, { namespace });
    const status = assertAnswer(await client.status());
    const recorded = responses[`GET /${prefix}/status`]?.body ?? responses["POST /authz/migrate"].body.ran.map((id) => ({ id, run: true }));
    assert.deepEqual(status.map(({ id, run }) => ({ id, run })), recorded.map(({ id, run }) => ({ id, run })));
    assert.deepEqual(await client.worker.dump(), namespace, "looking changes nothing");

    const wasRun = status.filter(({ run }) => run).map(({ id }) => id);
    const answer = await client.run();
    const skipped = answer.status === 200 ? assertAnswer(answer).skipped : assertProblem(answer, 500, "migration-failed").skipped;
    assert.deepEqual(skipped, wasRun, "nothing of it runs again");
  });
}

test("from runs without a coordinator to runs with one, and back again", async (t) => {
  const client = await serveCoordinated(t, { migrations: "mended" });
  const plain = { coordinator: null };
  assertAnswer(await client.migrate({ ...plain, migrations: "good" }));
  assert.deepEqual(assertAnswer(await client.status()).map(({ run }) => run), [true, false, false]);
  const report = assertAnswer(await client.run());
  assert.deepEqual([report.skipped, report.ran], [["001_first"], ["002_second", "003_third"]]);

  const without = { ...plain, migrations: "mended" };
  assert.deepEqual(assertAnswer(await client.migrate(without)).ran, []);
  assertAnswer(await client.rollback("003_third", without));
  assertAnswer(await client.migrate(without));
  for (const id of ["001_first", "002_second", "003_third"]) assert.equal(await client.value(`done/${id}`), "1", id);
  assert.deepEqual(assertAnswer(await client.run()).ran, [], "and with one again");
});

test("a backfill that began without a coordinator is carried on by one, and the other way round", async (t) => {
  const entries = customers(200);
  const settings = { migrations: "seen", budget: "60", latency: "40" };
  const client = await serveCoordinated(t, settings, { namespace: entries });
  const plain = { coordinator: null, ...settings };
  const { done } = assertAnswer(await client.migrate(plain), 202).progress;
  assert.equal((await client.only()).progress.done, done);

  assertAnswer(await client.run(), 202);
  const paused = await until(() => client.ask("pause", "001_seen"), ({ status, json }) => status === 200 && json.state === "paused");
  assert.ok(paused.json.progress.done > done, "it goes on from there");
  assert.ok(paused.json.progress.done < entries.length, "it is paused in the middle");

  const answers = await client.migrateToEnd(plain, 5);
  assertAnswer(answers.at(-1));
  assertEntries(withoutMarkers(await client.worker.dump()), seen(entries), "each once");
});

test("of a hundred runs at once, one runs", async (t) => {
  const client = await serveCoordinated(t, { migrations: "mended" });
  const answers = await Promise.all(Array.from({ length: 100 }, (_, number) => client.run(`?by=caller%20${number}`)));
  for (const id of ["001_first", "002_second", "003_third"]) assert.equal(await client.value(`done/${id}`), "1", id);

  const began = (await client.history()).find(({ ran }) => ran.length > 0).startedAt;
  const done = answers.filter(({ status }) => status === 200).map(({ json }) => json.ran.length);
  assert.equal(done.filter((ran) => ran === 3).length, 1, "one of them ran all");
  const refused = answers.filter(({ status }) => status !== 200);
  assert.ok(refused.length > 0, "some came while it ran");
  for (const answer of refused) {
    const problem = assertProblem(answer, 409, "run-in-progress");
    assert.match(problem.by, /^caller \d+$/);
    assert.ok(problem.since >= began, "it says which");
    assert.ok(Number(answer.headers.get("retry-after")) > 0);
  }
});

test("a run that waits begins when the one before it has ended", async (t) => {
  const client = await serveCoordinated(t, { migrations: "gated" });
  const first = client.run("?by=first");
  await until(() => client.only(), ({ state }) => state === "running");
  const waiting = client.send("POST", "/migrate?wait=true&by=second");
  const refused = assertProblem(await client.run(), 409, "run-in-progress");
  assert.deepEqual([refused.by, refused.migration], ["first", "001_gated"]);
  assertProblem(await client.ask("pause", "001_gated"), 409, "not-resumable");
  assertProblem(await client.rollback("001_gated"), 409, "run-in-progress");

  await (await client.worker.kv()).put("go", "on");
  assert.deepEqual(assertAnswer(await first).ran, ["001_gated"]);
  assert.deepEqual(assertAnswer(await waiting).skipped, ["001_gated"]);
});

test("a failure is answered, and is in the status and in the history", async (t) => {
  const client = await serveCoordinated(t, { migrations: "failing" });
  const problem = assertProblem(await client.run("?by=me"), 500, "migration-failed");
  assert.deepEqual([problem.migration, problem.ran], ["002_second", ["001_first"]]);
  const [first, second, third] = assertAnswer(await client.status());
  assert.deepEqual([first.state, second.state, third.state], ["applied", "failed", "pending"]);
  assert.equal(second.error, "boom");
  const [entry] = await client.history();
  assert.deepEqual([entry.outcome, entry.migration, entry.failedAttempts], ["failed", "002_second", 1]);

  assert.equal(assertAnswer(await client.ask("reset", "002_second", "?by=me")).state, "pending");
  assertProblem(await client.ask("reset", "001_first"), 409, "already-applied");
  assertProblem(await client.ask("reset", "unknown"), 404, "unknown-migration");
  const [reset] = await client.history();
  assert.deepEqual([reset.action, reset.by, reset.migration, reset.outcome], ["reset", "me", "002_second", "finished"]);

  assertProblem(await client.rollback("001_first/"), 404, "unknown-migration");
  assertProblem(await client.rollback("002_second"), 409, "irreversible");
  assertProblem(await client.ask("pause", "unknown"), 404, "unknown-migration");
  assert.match(assertProblem(await client.ask("cancel", "002_second"), 409, "not-running").help, /reset/);
  assertProblem(await client.ask("resume", "002_second"), 409, "not-paused");
});

test("invalid migrations", async (t) => {
  const client = await serveCoordinated(t, { migrations: "duplicate" });
  assertProblem(await client.status(), 500, "invalid-registration");
  assertProblem(await client.run(), 500, "invalid-registration");
});

test("queries", async (t) => {
  const client = await serveCoordinated(t, { migrations: "mended" });
  for (const query of ["?wait", "?wait=1", "?by=", "?by=a&by=b", "?by=%0A", `?by=${"x".repeat(201)}`, "?dry-run"]) {
    assertProblem(await client.run(query), 400, "invalid-query");
  }
  assertProblem(await client.ask("rollback", "001_first", "?require=up-to-date"), 400, "invalid-query");
  assertProblem(await client.send("GET", "/migrations/history?by=me"), 400, "invalid-query");
  assert.deepEqual(await client.worker.dump(), [], "nothing was done");
  assertAnswer(await client.run("?require=up-to-date&by=%C3%BC&wait=true"));
  assertAnswer(await client.ask("rollback", "001_first", "?wait=true&by=me"));
  assert.deepEqual((await client.history()).map(({ by }) => by), ["me", "ü"]);

  const plain = { coordinator: null };
  for (const query of ["?wait=true", "?wait=true&require=up-to-date"]) {
    const problem = assertProblem(await client.send("POST", `/migrate${query}`, plain), 400, "invalid-query");
    assert.match(problem.detail, /`wait` needs a coordinator/);
  }
});

test("methods, and paths that are there only with a coordinator", async (t) => {
  const client = await serveCoordinated(t);
  const wrong = [["GET", "/migrate"], ["POST", "/migrations/history"], ["GET", "/migrations/001_first/pause"]];
  for (const [method, path] of wrong) assertProblem(await client.send(method, path), 405, "method-not-allowed");
  for (const [method, path] of [["GET", "/migrations/history"], ...["pause", "resume", "cancel"].map((name) => ["POST", `/migrations/001_first/${name}`])]) {
    const answer = await client.send(method, path, { mount: "layer /", coordinator: null });
    assert.equal(answer.text, `own ${method} ${path} `, "it goes to the service");
  }
});

test("a service beside others in one namespace", async (t) => {
  const client = await serveCoordinated(t, { prefix: "auth", migrations: "mended" });
  assertAnswer(await client.migrate({ coordinator: null, prefix: "auth_v2", migrations: "inserted" }));
  assert.deepEqual(assertAnswer(await client.status()).map(({ state }) => state), ["pending", "pending", "pending"]);
  assert.equal(assertAnswer(await client.run()).ran.length, 3);
});

test("the example takes over the namespace of a TypeScript runner, and not a byte of it is changed", async (t) => {
  const client = await serve(t, "examples/coordinated", { namespace, objects: OBJECTS });
  const status = assertAnswer(await client.status());
  assert.deepEqual(recordedFields(status), responses["GET /my-service/status"].body);
  const report = assertAnswer(await client.migrate());
  assert.deepEqual([report.ran, report.skipped], [[], ["001_add_feature", "002_with_args"]]);
  assert.deepEqual(await client.worker.dump(), namespace);

  const fresh = await serve(t, "examples/coordinated", { objects: OBJECTS });
  assert.deepEqual(assertAnswer(await fresh.migrate()).ran, ["001_add_feature", "002_with_args"]);
  for (const id of ["001_add_feature", "002_with_args"]) assert.ok(await fresh.isRunForTypeScript(id), id);
});

// A run that is told event by event, line by line, while it goes on.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertProblem, serve, serveSpecimen } from "./harness/client.mjs";
import { customers, timesSeen, withoutMarkers } from "./harness/entries.mjs";

const NDJSON = { accept: "application/x-ndjson" };

function assertStreamed(answer) {
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "application/x-ndjson");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  return answer.lines;
}

/** All that is told, read to the end: every line is JSON. */
async function readAll(answer) {
  const told = [];
  for await (const line of assertStreamed(answer)) told.push(JSON.parse(line));
  return told;
}

const names = (events) => events.map(({ event, id }) => `${event} ${id}`);

for (const mount of ["bare /", "nest /admin", "layer /", "front /", "fetch /", "fetch /admin"]) {
  test(`mounted as ${mount}, lines arrive while the run goes on`, async (t) => {
    const client = await serveSpecimen(t);
    const path = `${mount.split(" ")[1].replace(/\/$/, "")}/migrate`;
    const lines = assertStreamed(await client.sendForEvents(path, { mount, migrations: "gated" }));

    const first = JSON.parse((await lines.next()).value);
    assert.deepEqual(first, { event: "started", id: "001_gated", description: "Waits for a key" });
    assert.equal(await client.isRunForTypeScript("001_gated"), false, "it goes on");
    await (await client.worker.kv()).put("go", "on");

    const told = [];
    for await (const line of lines) told.push(JSON.parse(line));
    assert.deepEqual(names(told.slice(0, -1)), ["applied 001_gated"]);
    assert.equal(typeof told[0].durationMs, "number");
    const { verdict, status, report } = told.at(-1);
    assert.deepEqual([verdict, status, report.ran, report.remaining], ["finished", 200, ["001_gated"], []]);
    assert.equal(await client.isRunForTypeScript("001_gated"), true);
  });
}

for (const example of ["quickstart", "worker-router"]) {
  test(`${example} tells its events`, async (t) => {
    const client = await serve(t, `examples/${example}`);
    const told = await readAll(await client.sendForEvents("/migrate"));
    const ids = ["001_add_feature", "002_with_args"];
    assert.deepEqual(names(told.slice(0, -1)), ids.flatMap((id) => [`started ${id}`, `applied ${id}`]));
    assert.deepEqual([told.at(-1).verdict, told.at(-1).report.ran], ["finished", ids]);

    const again = await readAll(await client.sendForEvents("/migrate"));
    assert.deepEqual(again.map(({ verdict, report }) => [verdict, report.skipped]), [["finished", ids]]);
  });
}

test("progress is told, and a run that is not finished says when to carry on", async (t) => {
  const client = await serveSpecimen(t, { namespace: customers(100) });
  // Six operations at once, and more than eighty of them: more than a second, however fast the machine is.
  const headers = { migrations: "seen", budget: "100", latency: "100" };
  const told = await readAll(await client.sendForEvents("/migrate", headers));

  const progress = told.filter(({ event }) => event === "progress").map((event) => event.progress);
  assert.ok(progress.length >= 1, "it took more than a second");
  assert.ok(progress.every(({ phase, direction }) => phase === "entries" && direction === "up"));
  assert.deepEqual(names(told.filter(({ event }) => event !== "progress").slice(0, -1)), [
    "started 001_seen",
    "paused 001_seen",
  ]);
  const { verdict, status, retryAfter, report } = told.at(-1);
  assert.deepEqual([verdict, status, retryAfter], ["unfinished", 202, 1]);
  assert.deepEqual([report.ran, report.remaining], [[], ["001_seen"]]);
  const done = [...progress, report.progress].map((progress) => progress.done);
  assert.ok(done.every((number, index) => index === 0 || done[index - 1] <= number), `done: ${done}`);
  assert.ok(done.at(-1) > 0 && done.at(-1) < 100, `done: ${done}`);
});

test("a run that fails ends with the problem", async (t) => {
  const client = await serveSpecimen(t);
  const told = await readAll(await client.sendForEvents("/migrate", { migrations: "failing" }));
  assert.deepEqual(names(told.slice(0, -1)), [
    "started 001_first",
    "applied 001_first",
    "started 002_second",
    "failed 002_second",
  ]);
  assert.equal(told.at(-2).error, "boom");
  const { verdict, status, problem } = told.at(-1);
  assert.deepEqual([verdict, status], ["failed", 500]);
  assert.deepEqual([problem.type, problem.status], ["urn:kv-migrations:problem:migration-failed", 500]);
  assert.deepEqual([problem.detail, problem.ran], ["Migration 002_second failed: boom", ["001_first"]]);
});

for (const mount of ["bare /", "fetch /"]) {
  test(`mounted as ${mount}, a run that panics ends without a verdict`, async (t) => {
    const entries = customers(50);
    const client = await serveSpecimen(t, { namespace: entries });
    const headers = { mount, migrations: `seen-panicking ${entries[30].key}` };
    const told = await readAll(await client.sendForEvents("/migrate", headers));
    const unlessSlow = told.filter(({ event }) => event !== "progress");
    assert.deepEqual(names(unlessSlow), ["started 001_seen"], "and nothing more");

    // The run after one that was cut off does less.
    const verdicts = [];
    while (verdicts.at(-1) !== "finished") {
      assert.ok(verdicts.length < 10, `it ends, and not with ${verdicts}`);
      verdicts.push((await readAll(await client.sendForEvents("/migrate", { mount, migrations: "seen" }))).at(-1).verdict);
    }
    const times = timesSeen(withoutMarkers(await client.worker.dump()));
    assert.ok(times.every((number) => number >= 1), "none is left out");
  });
}

test("a second run beside one that is told is refused in its verdict", async (t) => {
  const client = await serveSpecimen(t);
  const lines = assertStreamed(await client.sendForEvents("/migrate", { migrations: "gated" }));
  await lines.next();
  const second = await readAll(await client.sendForEvents("/migrate", { migrations: "gated" }));
  assert.deepEqual(second.map(({ verdict, status }) => [verdict, status]), [["failed", 409]]);
  assert.equal(second[0].problem.type, "urn:kv-migrations:problem:run-in-progress");
  assertProblem(await client.migrate({ migrations: "gated" }), 409, "run-in-progress");
  await (await client.worker.kv()).put("go", "on");
  for await (const line of lines) JSON.parse(line);
});

test("who hangs up in the middle does not leave the door locked", async (t) => {
  const client = await serveSpecimen(t);
  const hangUp = new AbortController();
  const answer = await client.sendForEvents("/migrate", { migrations: "gated" }, { signal: hangUp.signal });
  await answer.lines.next();
  hangUp.abort();
  const next = await client.sendForEvents("/migrate", { migrations: "mended", "clock-ahead": "61" });
  assert.equal((await readAll(next)).at(-1).verdict, "finished");
});

test("what is refused before the run begins is answered as it is without events", async (t) => {
  const client = await serveSpecimen(t);
  const migrate = (headers, query = "") => client.send("POST", `/migrate${query}`, { ...NDJSON, ...headers });
  for (const mount of ["bare /", "fetch /"]) {
    assertProblem(await migrate({ mount, authorization: null }), 401, "unauthorized");
    assertProblem(await migrate({ mount, authorization: "Bearer wrong" }), 401, "unauthorized");
    assertProblem(await migrate({ mount, access: "UNSET" }), 403, "access-not-configured");
    assertProblem(await migrate({ mount }, "?require=all"), 400, "invalid-query");
    assertProblem(await migrate({ mount, migrations: "duplicate" }), 500, "invalid-registration");
  }
  assert.deepEqual(await client.worker.dump(), [], "nothing ran");
});

test("only a run is told, and only to who asks for it by name", async (t) => {
  const client = await serveSpecimen(t);
  for (const accept of ["*/*", "application/json", "application/x-ndjson;q=0"]) {
    const { headers } = await client.migrate({ accept });
    assert.equal(headers.get("content-type"), "application/json", accept);
  }
  assert.equal((await client.status(NDJSON)).headers.get("content-type"), "application/json");
  assert.equal((await client.rollback("001_first", NDJSON)).headers.get("content-type"), "application/json");
});

// Requests that change what is recorded, without running anything: in every state, with and without a coordinator.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { serveCoordinated, until } from "./harness/coordinated.mjs";
import { ENTRIES, SEEN } from "./harness/several-steps.mjs";

const [FIRST, SECOND, THIRD] = ["001_first", "002_second", "003_third"];

const WAYS = {
  "without a coordinator": async (t, settings) => {
    const client = await serveSpecimen(t);
    return { client, send: (method, path) => client.send(method, path, settings) };
  },
  "with a coordinator": async (t, settings) => {
    const client = await serveCoordinated(t, settings);
    return { client, send: (method, path) => client.send(method, path) };
  },
};

for (const [way, start] of Object.entries(WAYS)) {
  describe(way, () => {
    const serve = async (t, settings) => {
      const { client, send } = await start(t, settings);
      const post = (path) => send("POST", path);
      const states = async () => assertAnswer(await send("GET", "/migrations/status")).map(({ state }) => state);
      /** Once what the object has written is copied to KV. */
      const isRunInKv = (id, isRun) =>
        until(() => client.isRunForTypeScript(id), (told) => told === isRun).then(() => undefined);
      return { client, send, post, states, isRunInKv };
    };

    test("what is pending is marked, and does not run; what is applied is unmarked, and runs again", async (t) => {
      const { client, post, states, isRunInKv } = await serve(t, { migrations: "mended" });
      const marked = assertAnswer(await post(`/migrations/${SECOND}/mark?by=deploy%201`));
      assert.deepEqual([marked.id, marked.run, marked.state], [SECOND, true, "applied"]);
      await isRunInKv(SECOND, true);
      assert.deepEqual(assertAnswer(await post(`/migrations/${SECOND}/mark`)), marked, "it stays as it is");
      assert.deepEqual(assertAnswer(await post("/migrate")).ran, [FIRST, THIRD]);
      assert.equal(await client.value(`done/${SECOND}`), null);

      const unmarked = assertAnswer(await post(`/migrations/${FIRST}/unmark?by=me`));
      assert.deepEqual([unmarked.run, unmarked.state, unmarked.runAt], [false, "pending", undefined]);
      await isRunInKv(FIRST, false);
      assert.deepEqual(await states(), ["pending", "applied", "applied"]);
      assert.deepEqual(assertAnswer(await post("/migrate")).ran, [FIRST]);
    });

    test("what failed is marked as done by hand", async (t) => {
      const { post, states } = await serve(t, { migrations: "failing" });
      assertProblem(await post("/migrate"), 500, "migration-failed");
      assert.deepEqual(await states(), ["applied", "failed", "pending"]);
      assertProblem(await post(`/migrations/${SECOND}/unmark`), 409, "not-run");
      assert.equal(assertAnswer(await post(`/migrations/${SECOND}/mark`)).state, "applied");
      assert.deepEqual(assertAnswer(await post("/migrate")).ran, [THIRD]);
    });

    test("a baseline marks up to a migration, once", async (t) => {
      const { post, states, isRunInKv } = await serve(t, { migrations: "mended" });
      const report = assertAnswer(await post(`/migrations/baseline?to=${SECOND}&by=me`));
      assert.deepEqual([report.marked, report.beyond, report.remaining], [[FIRST, SECOND], [THIRD], []]);
      assert.deepEqual(await states(), ["applied", "applied", "pending"]);
      const again = assertAnswer(await post(`/migrations/baseline?to=${SECOND}`));
      assert.deepEqual([again.marked, again.skipped], [undefined, [FIRST, SECOND]]);
      await isRunInKv(SECOND, true);
      assert.deepEqual(assertAnswer(await post("/migrate")).ran, [THIRD]);
    });

    test("what cannot be changed is refused", async (t) => {
      const { client, send, post } = await serve(t, { migrations: "mended" });
      assertProblem(await post(`/migrations/${FIRST}/unmark`), 409, "not-run");
      for (const path of ["unknown/mark", "unknown/unmark", "baseline?to=unknown"]) {
        assertProblem(await post(`/migrations/${path}`), 404, "unknown-migration");
      }
      for (const path of [`${FIRST}/mark?by=`, `${FIRST}/mark?wait=true`, "baseline", "baseline?steps=1", "baseline?to="]) {
        assertProblem(await post(`/migrations/${path}`), 400, "invalid-query");
      }
      assertProblem(await send("GET", `/migrations/${FIRST}/mark`), 405, "method-not-allowed");
      assertProblem(await send("GET", `/migrations/baseline?to=${FIRST}`), 405, "method-not-allowed");
      assert.equal(await client.isRunForTypeScript(FIRST), false);
    });
  });
}

test("a migration that is half done is marked, and its checkpoint goes", async (t) => {
  const client = await serveSpecimen(t, { namespace: ENTRIES });
  const mark = () => client.send("POST", "/migrations/001_seen/mark", SEEN);
  assertAnswer(await client.migrate(SEEN), 202);
  const [before] = assertAnswer(await client.status(SEEN));
  assert.equal(before.state, "running");
  const marked = assertAnswer(await mark());
  assert.deepEqual([marked.state, marked.progress], ["applied", undefined]);
  assert.deepEqual(assertAnswer(await client.migrate(SEEN)).ran, []);
});

test("a migration that was removed is unmarked by its id, and who marked another stands in its marker", async (t) => {
  const client = await serveSpecimen(t);
  assertAnswer(await client.migrate({ migrations: "mended" }));
  const removed = { migrations: "removed" };
  assertProblem(await client.send("POST", `/migrations/${SECOND}/mark`, removed), 404, "unknown-migration");
  assert.equal(assertAnswer(await client.send("POST", `/migrations/${SECOND}/unmark`, removed)).state, "pending");
  assert.equal(await client.value(`migration_my-service_${SECOND}`), null);

  const mended = { migrations: "mended" };
  assertAnswer(await client.send("POST", `/migrations/${SECOND}/mark?by=deploy%201`, mended));
  const { metadata } = await (await client.worker.kv()).getWithMetadata(`migration_my-service_${SECOND}`);
  assert.equal(metadata.by, "deploy 1");
  const lines = client.logLines.filter((line) => line.includes("as deploy 1 asked"));
  assert.equal(lines.length, 1, client.logLines.join("\n"));
});

test("a coordinator refuses a mark during a run, and its history says who marked what", async (t) => {
  const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
  assertAnswer(await client.run(), 202);
  for (const path of ["001_seen/mark", "001_seen/unmark", "baseline?to=001_seen"]) {
    const problem = assertProblem(await client.send("POST", `/migrations/${path}`), 409, "run-in-progress");
    assert.equal(problem.migration, "001_seen");
  }
  await client.ask("pause", "001_seen");
  await until(() => client.only(), ({ state }) => state === "paused");
  assert.equal(assertAnswer(await client.ask("mark", "001_seen", "?by=me")).state, "applied");
  const told = (await client.history()).map(({ action, by, outcome, migration }) => [action, by, outcome, migration]);
  assert.deepEqual(told, [
    ["mark", "me", "finished", "001_seen"],
    ["migrate", undefined, "cancelled", "001_seen"],
  ]);
});

// Every row of docs/reference/http.md, on both examples.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { assertAnswer, assertProblem, recordedFields, serve } from "./harness/client.mjs";
import { namespace, responses } from "./harness/fixtures.mjs";

const FIRST = "001_add_feature";
const SECOND = "002_with_args";

for (const example of ["quickstart", "worker-router"]) {
  describe(example, () => {
    const start = (t) => serve(t, `examples/${example}`);

    test("status lists what is registered, in order", async (t) => {
      const client = await start(t);
      const status = assertAnswer(await client.status());
      assert.deepEqual(status, [
        { id: FIRST, run: false, description: "Add new feature to system", state: "pending", reversible: true, kind: "plain", resumable: false },
        {
          id: SECOND,
          run: false,
          description: "Migration that uses environment variables",
          state: "pending",
          reversible: false,
          kind: "plain",
          resumable: false,
        },
      ]);
    });

    test("migrate runs what is pending, once", async (t) => {
      const client = await start(t);
      const first = assertAnswer(await client.migrate());
      assert.deepEqual([first.ran, first.skipped], [[FIRST, SECOND], []]);
      assert.deepEqual(first.details.map(({ id }) => id), [FIRST, SECOND]);
      assert.equal(await client.value("feature_enabled"), "true");
      assert.equal(await client.value("api_url"), "https://api.example.com");

      const second = assertAnswer(await client.migrate());
      assert.deepEqual([second.ran, second.skipped], [[], [FIRST, SECOND]]);
      assert.equal(second.operations, 1, "one list");
    });

    test("status says when each was applied", async (t) => {
      const client = await start(t);
      const before = Date.now();
      await client.migrate();
      for (const entry of assertAnswer(await client.status())) {
        assert.equal(entry.state, "applied");
        assert.match(entry.runAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        const runAt = Date.parse(entry.runAt);
        assert.ok(before - 1000 <= runAt && runAt <= Date.now() + 1000, entry.runAt);
      }
    });

    test("a migration that failed is reset, and one that is applied is not", async (t) => {
      const client = await serve(t, `examples/${example}`, { bindings: { API_URL: undefined } });
      const reset = (id) => client.send("POST", `/migrations/${id}/reset`);
      assertProblem(await client.migrate(), 500, "migration-failed");
      assert.equal(assertAnswer(await client.status())[1].state, "failed");
      const status = assertAnswer(await reset(SECOND));
      assert.deepEqual([status.id, status.run, status.state, status.error], [SECOND, false, "pending", undefined]);
      assert.deepEqual(assertAnswer(await client.status())[1], status);
      assert.equal(await client.value(`migration_my-service_${SECOND}`), null);

      assertAnswer(await reset(SECOND));
      assert.equal(assertProblem(await reset(FIRST), 409, "already-applied").migration, FIRST);
      assert.equal(await client.isRunForTypeScript(FIRST), true);
      assertProblem(await reset("unknown"), 404, "unknown-migration");
      assertProblem(await client.send("GET", `/migrations/${FIRST}/reset`), 405, "method-not-allowed");
    });

    test("a release that does not have the expected migration refuses, and does nothing", async (t) => {
      const client = await start(t);
      const ask = (method, path) => client.send(method, path);
      for (const query of ["?expect=003_later", "?expect=003_later&require=up-to-date", "?require=up-to-date&expect=003_later"]) {
        for (const [method, path] of [["GET", "/migrations/status"], ["POST", "/migrate"]]) {
          const answer = await ask(method, path + query);
          const { detail } = assertProblem(answer, 503, "release-mismatch");
          assert.match(detail, /does not register `003_later`.*its last migration is `002_with_args`/);
          assert.ok(Number(answer.headers.get("retry-after")) > 0, "it says when to ask again");
        }
      }
      assert.deepEqual(await client.worker.dump(), []);

      assertAnswer(await ask("GET", `/migrations/status?expect=${FIRST}`));
      assertAnswer(await ask("POST", `/migrate?require=up-to-date&expect=${SECOND}`));
      assertAnswer(await ask("GET", `/migrations/status?expect=${SECOND}&require=up-to-date`));
      assertProblem(await ask("POST", `/migrations/${FIRST}/rollback?expect=${FIRST}`), 400, "invalid-query");
    });

    test("a status that is required to be up to date is 409 until it is", async (t) => {
      const client = await start(t);
      const pending = assertAnswer(await client.status({}, "?require=up-to-date"), 409);
      assert.deepEqual(pending.map(({ run }) => run), [false, false]);
      await client.migrate();
      const applied = assertAnswer(await client.status({}, "?require=up-to-date"), 200);
      assert.deepEqual(applied.map(({ run }) => run), [true, true]);
    });

    test("rollback makes the down and takes the marker away", async (t) => {
      const client = await start(t);
      await client.migrate();
      const report = assertAnswer(await client.rollback(FIRST));
      assert.equal(report.rolledBack, FIRST);
      assert.equal(await client.value("feature_enabled"), null);
      assert.equal(await client.value(`migration_my-service_${FIRST}`), null);
      assert.deepEqual(assertAnswer(await client.migrate()).ran, [FIRST]);
    });

    test("rollback of what has not run is 409", async (t) => {
      const problem = assertProblem(await (await start(t)).rollback(FIRST), 409, "not-run");
      assert.equal(problem.detail, `Migration ${FIRST} has not been run - cannot rollback`);
      assert.equal(problem.migration, FIRST);
    });

    test("rollback of what has no down is 409, and changes nothing", async (t) => {
      const client = await start(t);
      await client.migrate();
      const before = await client.worker.dump();
      const problem = assertProblem(await client.rollback(SECOND), 409, "irreversible");
      assert.equal(problem.detail, `Migration ${SECOND} does not implement down() - cannot rollback`);
      assert.deepEqual(await client.worker.dump(), before);
    });

    test("rollback of an unknown id is 404", async (t) => {
      assertProblem(await (await start(t)).rollback("unknown"), 404, "unknown-migration");
    });

    test("the wrong method is 405 and says which is right", async (t) => {
      const client = await start(t);
      const rows = [
        ["POST", "/migrations/status", "GET, HEAD"],
        ["GET", "/migrate", "POST"],
        ["DELETE", "/migrate", "POST"],
        ["PROPFIND", "/migrations/status", "GET, HEAD"],
        ["GET", `/migrations/${FIRST}/rollback`, "POST"],
      ];
      for (const [method, path, allow] of rows) {
        const answer = await client.send(method, path);
        assertProblem(answer, 405, "method-not-allowed");
        assert.equal(answer.headers.get("allow"), allow, `${method} ${path}`);
      }
      assert.deepEqual(await client.worker.dump(), [], "nothing ran");
    });

    test("HEAD of a status is its head", async (t) => {
      const client = await start(t);
      const answer = await client.send("HEAD", "/migrations/status?require=up-to-date");
      assert.deepEqual([answer.status, answer.text], [409, ""]);
      assert.equal(answer.headers.get("content-type"), "application/json");
      assert.equal(answer.headers.get("cache-control"), "no-store");
    });

    test("a query that is not known is refused, and nothing runs", async (t) => {
      const client = await start(t);
      assertProblem(await client.status({}, "?require=up_to_date"), 400, "invalid-query");
      assertProblem(await client.send("POST", "/migrate?dry-run=1"), 400, "invalid-query");
      assert.deepEqual(await client.worker.dump(), []);
    });

    test("without access nothing is told and nothing is done", async (t) => {
      const client = await start(t);
      for (const [method, path] of [
        ["GET", "/migrations/status"],
        ["POST", "/migrate"],
        ["POST", `/migrations/${FIRST}/rollback`],
        ["POST", "/migrations/unknown/rollback"],
        ["GET", "/migrate"],
      ]) {
        const answer = await client.send(method, path, { authorization: "Bearer wrong" });
        assertProblem(answer, 401, "unauthorized");
        assert.match(answer.headers.get("www-authenticate"), /^Bearer /);
        assert.ok(!answer.text.includes(FIRST) && !answer.text.includes(SECOND), answer.text);
      }
      assert.deepEqual(await client.worker.dump(), []);
    });

    test("the service's own routes are as they were", async (t) => {
      const client = await start(t);
      const answer = await client.send("GET", "/", { authorization: null });
      assert.deepEqual([answer.status, answer.text], [200, "my-service is up\n"]);
      assert.equal((await client.send("GET", "/migrations/status/")).status, 404);
      assert.equal((await client.send("GET", "/nothing")).status, 404);
    });

    test("a namespace of the TypeScript runner is taken over", async (t) => {
      const client = await serve(t, `examples/${example}`, { namespace });
      assert.deepEqual(recordedFields(assertAnswer(await client.status())), responses["GET /my-service/status"].body);
    });
  });
}

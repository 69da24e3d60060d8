// A Worker and its coordinator's object of two releases: as during a deploy, and for all of a gradual one.
import assert from "node:assert/strict";
import { test } from "node:test";

import { TOKEN, assertAnswer, assertProblem } from "./harness/client.mjs";
import { OBJECTS, coordinated, serveCoordinated } from "./harness/coordinated.mjs";

const OLD = "good";
const NEW = "mended";

/** Starts a Worker with these migrations whose object belongs to another Worker, with those. */
function serveReleases(t, worker, object) {
  const other = { name: "object", objects: OBJECTS, bindings: { MIGRATIONS_TOKEN: TOKEN, ...coordinated({ migrations: object }) } };
  const objects = { MIGRATIONS: { className: "Migrations", scriptName: "object" } };
  return serveCoordinated(t, { migrations: worker }, { objects, others: [other] });
}

const GUARDED = [
  ["POST", "/migrate"],
  ["POST", "/migrate?wait=true&require=up-to-date&by=me"],
  ["GET", "/migrations/status"],
  ["GET", "/migrations/status?require=up-to-date"],
  ["POST", "/migrations/001_first/rollback"],
  ["POST", "/migrations/001_first/resume"],
];

for (const [name, worker, object, registered, difference] of [
  ["an older object", NEW, OLD, ["001_first"], "Only the Worker registers `002_second`, `003_third`."],
  ["a newer object", OLD, NEW, ["001_first", "002_second", "003_third"], "Only the object registers `002_second`, `003_third`."],
  ["an object without a migration in the middle", "mended", "removed", ["001_first", "003_third"], "Only the Worker registers `002_second`."],
  ["an object that has the same in another order", "mended", "reordered", ["001_first", "003_third", "002_second"], "in another order"],
]) {
  test(`a Worker that reaches ${name} is told so, and nothing is done`, async (t) => {
    const client = await serveReleases(t, worker, object);
    for (const [method, path] of GUARDED) {
      const answer = await client.send(method, path);
      const problem = assertProblem(answer, 503, "release-mismatch");
      assert.ok(problem.detail.includes(difference), problem.detail);
      assert.deepEqual(problem.registered, registered, path);
      assert.ok(Number(answer.headers.get("retry-after")) > 0, "it says when to ask again");
      assert.equal(answer.headers.get("kv-migrations-release"), null);
    }
    const events = await client.sendForEvents("/migrate");
    assert.equal(events.status, 503, "before anything is told");
    assert.deepEqual(await client.worker.dump(), [], "nothing ran");

    assert.deepEqual(await client.history(), [], "what only looks, or stops something, is not refused");
    for (const action of ["pause", "cancel"]) assertProblem(await client.ask(action, "001_first"), 409, "not-running");
    assert.equal(assertAnswer(await client.ask("reset", "001_first")).state, "pending");
  });
}

test("a Worker whose object is of the same release, in another Worker, migrates", async (t) => {
  const client = await serveReleases(t, NEW, NEW);
  assert.equal(assertAnswer(await client.run("?wait=true&expect=003_third")).ran.length, 3);
  assertAnswer(await client.status({}, "?require=up-to-date&expect=003_third"));
});

test("the release that answers is refused if it does not have the expected migration", async (t) => {
  const client = await serveReleases(t, OLD, OLD);
  for (const [method, path] of [["POST", "/migrate?wait=true"], ["GET", "/migrations/status?require=up-to-date"]]) {
    const answer = await client.send(method, `${path}&expect=003_third`);
    assert.match(assertProblem(answer, 503, "release-mismatch").detail, /does not register `003_third`/);
    assert.ok(Number(answer.headers.get("retry-after")) > 0);
  }
  assert.deepEqual(await client.worker.dump(), []);
});

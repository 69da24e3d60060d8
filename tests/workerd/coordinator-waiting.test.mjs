// Many callers who wait for a coordinator's run.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem } from "./harness/client.mjs";
import { serveCoordinated, until } from "./harness/coordinated.mjs";

test("two hundred runs that wait end with all applied, and few runs", async (t) => {
  const client = await serveCoordinated(t, { migrations: "mended" });
  const answers = await Promise.all(Array.from({ length: 200 }, (_, number) => client.run(`?wait=true&by=caller%20${number}`)));
  for (const id of ["001_first", "002_second", "003_third"]) assert.equal(await client.value(`done/${id}`), "1", id);
  for (const answer of answers) assert.deepEqual(assertAnswer(answer).remaining, []);
  const [run, ...others] = await client.history();
  assert.deepEqual([run.ran.length, others.length], [3, 0], "one of them had something to do");
  assert.match(run.by, /^caller \d+$/);
  const shared = answers.filter(({ json }) => json.ran.length === 3).length;
  assert.ok(shared >= 1 && shared - 1 <= (run.joined ?? 0), `${shared} had its answer, and ${run.joined} shared it`);
});

test("a thousand runs that wait behind one in progress share the next one, and its failure", async (t) => {
  const client = await serveCoordinated(t, { migrations: "gated-failing", budget: "1000000" });
  const first = client.run("?by=first");
  await until(() => client.only(), ({ state }) => state === "running");
  const waiting = [];
  while (waiting.length < 1_000) {
    for (let more = 0; more < 50; more++) waiting.push(client.run(`?wait=true&by=caller%20${waiting.length}`));
    // Not all at once: workerd closes a connection whose head it was too busy to read for 15 seconds. When a later request
    // is answered, it has read these.
    await client.history();
  }
  await (await client.worker.kv()).put("go", "on");
  for (const answer of [await first, ...(await Promise.all(waiting))]) {
    assert.equal(assertProblem(answer, 500, "migration-failed").migration, "002_failing");
  }
  const [last, ...others] = await client.history();
  const shared = [last, ...others].filter(({ by }) => by !== "first");
  assert.ok(last.number <= 4 && shared.length === last.number - 1, `each run has failed, and there are few: ${JSON.stringify(shared)}`);
  assert.equal(shared.reduce((sum, { joined = 0 }) => sum + 1 + joined, 0), 1_000, "each of them counts once");
});

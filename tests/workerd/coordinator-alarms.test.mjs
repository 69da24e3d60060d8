// Runs that take more than one step: the alarms of the coordinator's object carry on with them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { assertAnswer, assertProblem } from "./harness/client.mjs";
import { serveCoordinated, until } from "./harness/coordinated.mjs";
import { assertEntries, seen, timesSeen, withoutMarkers } from "./harness/entries.mjs";
import { ENTRIES, MARKER, SEEN, applied, assertEachOnce } from "./harness/several-steps.mjs";

describe("a backfill", { concurrency: 4 }, () => {
  test("goes on without another request", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    const first = await client.run("?by=deploy");
    const { remaining, progress } = assertAnswer(first, 202);
    assert.deepEqual(remaining, ["001_seen"]);
    assert.ok(Number(first.headers.get("retry-after")) > 0);
    assert.ok(progress.done > 0 && progress.done < ENTRIES.length);

    const busy = assertProblem(await client.run(), 409, "run-in-progress");
    assert.deepEqual([busy.by, busy.migration, busy.progress.direction], ["deploy", "001_seen", "up"]);
    await applied(client);
    await assertEachOnce(client);
    const [entry] = await client.history();
    assert.deepEqual([entry.by, entry.outcome, entry.ran], ["deploy", "finished", ["001_seen"]]);
    assert.ok(entry.steps > 2, `${entry.steps} steps`);
    assert.ok(entry.operations > ENTRIES.length);
  });

  test("shows in the status how far it is", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    assertAnswer(await client.run(), 202);
    const done = [];
    const last = await until(() => client.only(), ({ state, progress }) => {
      if (progress) done.push(progress.done);
      return state === "applied";
    });
    assert.equal(last.run, true);
    assert.ok(done.length > 2 && done.every((number, index) => index === 0 || done[index - 1] <= number), `${done}`);
    assert.ok(new Set(done).size > 1, "it grows");
  });

  test("is waited for to its end, and by those who come later", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    const first = client.run("?wait=true");
    await until(() => client.only(), ({ state }) => state === "running");
    const [one, two] = await Promise.all([first, client.run("?wait=true&require=up-to-date")]);
    assert.deepEqual([assertAnswer(one).ran, assertAnswer(two).skipped], [["001_seen"], ["001_seen"]]);
    await assertEachOnce(client);
  });

  test("that is required to be up to date is 503 while it goes on", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    const problem = assertProblem(await client.run("?require=up-to-date"), 503, "unfinished");
    assert.match(problem.help, /continues by itself/);
    await applied(client);
    // KV shows the marker a moment before the run has ended.
    await until(() => client.run("?require=up-to-date"), ({ status }) => status !== 409);
    assertAnswer(await client.run("?require=up-to-date"));
  });

  test("is told line by line until it has ended", async (t) => {
    const client = await serveCoordinated(t, { ...SEEN, latency: "120" }, { namespace: ENTRIES });
    const { status, headers, lines } = await client.sendForEvents("/migrate");
    assert.deepEqual([status, headers.get("content-type")], [200, "application/x-ndjson"]);
    const told = [JSON.parse((await lines.next()).value)];
    const refused = await client.sendForEvents("/migrate");
    assert.deepEqual([refused.status, refused.headers.get("content-type")], [409, "application/problem+json"]);
    const waiting = client.sendForEvents("/migrate?wait=true");
    for await (const line of lines) told.push(JSON.parse(line));

    const names = told.map(({ event, verdict }) => event ?? verdict);
    assert.equal(names[0], "started");
    assert.ok(names.filter((name) => name === "paused").length >= 2, `${names}`);
    assert.ok(names.includes("progress"), `${names}`);
    assert.deepEqual(names.slice(-2), ["applied", "finished"]);
    assert.deepEqual(told.at(-1).report.ran, ["001_seen"]);

    const theirs = [];
    for await (const line of (await waiting).lines) theirs.push(JSON.parse(line));
    const last = theirs.at(-1);
    assert.deepEqual([last.verdict, last.report.skipped], ["finished", ["001_seen"]], "after it");
  });

  test("continues when its caller has hung up", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    const gone = new AbortController();
    const asked = client.send("POST", "/migrate?wait=true", {}, { signal: gone.signal });
    await until(() => client.only(), ({ state }) => state === "running");
    gone.abort();
    await assert.rejects(asked);
    await applied(client);
    await assertEachOnce(client);
  });

  test("is rolled back by alarms too", async (t) => {
    const client = await serveCoordinated(t, { ...SEEN, migrations: "seen-reversible" }, { namespace: ENTRIES });
    assertAnswer(await client.run("?wait=true"));
    const first = assertAnswer(await client.rollback("001_seen"), 202);
    assert.equal(first.progress?.direction, "down");
    await until(() => client.only(), ({ state }) => state === "pending");
    assertEntries(withoutMarkers(await client.worker.dump()), seen(ENTRIES, () => 0));
    assert.equal(await until(() => client.value(MARKER), (value) => value === null), null);
  });

  test("is paused, and resumed", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    assertAnswer(await client.run("?by=deploy"), 202);
    const { json } = await until(() => client.ask("pause", "001_seen", "?by=me"), ({ status }) => status === 200);
    assert.equal(json.state, "paused");
    const { done } = json.progress;
    await sleep(3_000);
    assert.deepEqual((await client.only()).progress.done, done, "it stands still");
    const refused = assertProblem(await client.run("?wait=true"), 409, "run-paused");
    assert.deepEqual([refused.by, refused.migration], ["deploy", "001_seen"]);
    assertProblem(await client.rollback("001_seen"), 409, "run-paused");
    assert.equal((await client.history())[0].outcome, "paused");

    assertAnswer(await client.ask("resume", "001_seen", "?by=me"));
    assertProblem(await client.ask("resume", "001_seen"), 409, "not-paused");
    await applied(client);
    await assertEachOnce(client);
    const [entry] = await client.history();
    assert.deepEqual(entry.interventions.map(({ action, by }) => [action, by]), [["pause", "me"], ["resume", "me"]]);
  });

  test("is cancelled, and started over", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    assertAnswer(await client.run(), 202);
    const waiting = client.run("?wait=true&by=next");
    const cancelled = await client.ask("cancel", "001_seen", "?by=me");
    assert.ok([200, 202].includes(cancelled.status), cancelled.text);
    assert.deepEqual(assertAnswer(await waiting).ran, ["001_seen"], "a caller who waits starts a new run");

    const [next, first] = await client.history();
    assert.deepEqual([next.by, next.outcome, first.outcome], ["next", "finished", "cancelled"]);
    assert.deepEqual(first.interventions.map(({ action, by }) => [action, by]), [["cancel", "me"]]);
    const times = timesSeen(withoutMarkers(await client.worker.dump()));
    assert.ok(times.every((number) => number === 1 || number === 2), "what it changed stays");
    assert.ok(times.includes(2));
  });

  test("is cancelled while it is waited for", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    const waiting = client.run("?wait=true");
    await until(() => client.only(), ({ state }) => state === "running");
    await client.ask("cancel", "001_seen");
    const problem = assertProblem(await waiting, 409, "run-cancelled");
    assert.equal(problem.migration, "001_seen");
    assert.equal((await client.only()).state, "pending");
    assert.equal(await until(() => client.value(MARKER), (value) => value === null), null, "KV has no checkpoint either");
  });

  test("that fails in a later step is tried again", async (t) => {
    const fatal = ENTRIES[120].key;
    const client = await serveCoordinated(t, { ...SEEN, migrations: `seen-failing ${fatal}` }, { namespace: ENTRIES });
    assertAnswer(await client.run(), 202);
    const failed = await until(() => client.only(), ({ retryAt }) => retryAt !== undefined);
    assert.ok(Date.parse(failed.retryAt) > Date.now() - 1_000);
    assert.equal(failed.error, `at the entry \`${fatal}\`: boom`);
    await (await client.worker.kv()).put("mended", "");
    await applied(client);
    const times = timesSeen(withoutMarkers(await client.worker.dump()).filter(({ key }) => key !== "mended"));
    assert.deepEqual(times.slice(0, 121), Array(121).fill(1), "none before it is repeated");
    assert.ok(times.every((number) => number >= 1), "none behind it is left out");
    const [entry] = await client.history();
    assert.deepEqual([entry.outcome, entry.failedAttempts], ["finished", 1]);
    assert.match(entry.failures[0].error, /boom/);
  });
});

// Every request that changes the ledger, a plan and a dry run, in every state that a migration can be in, with and without a coordinator.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { assertAnswer, assertProblem, serve, serveSpecimen } from "./harness/client.mjs";
import { serveCoordinated, until } from "./harness/coordinated.mjs";
import { customers } from "./harness/entries.mjs";
import { assertDescribed } from "./harness/openapi.mjs";

/** The first has a `down`, the second is a backfill with one, and the third has none. */
const [FIRST, SECOND, THIRD] = ["001_first", "002_second", "003_third"];
const REMOVED = "000_removed";
const ENTRIES = customers(400);
const BROKEN = ENTRIES[40].key;

const at = (action, id = SECOND) => `/migrations/${id}/${action}`;
const back = (query) => `/migrations/rollback?${query}`;
const baseline = (id) => `/migrations/baseline?to=${id}`;

const QUICK = { migrations: "operated none", "dry-run": "on" };
/** So few operations that the second migration takes several requests, or steps, each of which takes a while. */
const SLOW = { ...QUICK, budget: "60", latency: "40" };
/** The second migration gets no further than this entry, after the first request, or step. */
const STUCK = { ...SLOW, migrations: `operated-stuck ${ENTRIES[120].key}` };
const BREAKING = { ...QUICK, migrations: `operated ${BROKEN}` };

/** How a Worker gets into a state, and what the second migration, or the one that was removed, then is. */
const STATES = {
  pending: { settings: QUICK, reach: (post) => post(`/migrate?to=${FIRST}`), expected: ["applied", "pending", "pending"] },
  running: { settings: STUCK, reach: (post) => post("/migrate"), expected: ["applied", "running", "pending"] },
  paused: {
    settings: SLOW,
    reach: async (post) => {
      await post("/migrate");
      return post(at("pause"));
    },
    expected: ["applied", "paused", "pending"],
    onlyCoordinated: true,
  },
  failed: { settings: BREAKING, reach: (post) => post("/migrate"), expected: ["applied", "failed", "pending"] },
  applied: { settings: QUICK, reach: (post) => post(`/migrate?to=${SECOND}`), expected: ["applied", "applied", "pending"] },
  unregistered: {
    settings: { ...QUICK, refusing: "missing" },
    reach: (post) => post(baseline(SECOND)),
    expected: ["applied", "applied", "pending"],
    removed: true,
  },
};

/** What is a mistake in any state that nothing else refuses before. */
const MISTAKES = [
  [back("to=unknown"), 404, "unknown-migration"],
  [at("rollback", "unknown"), 404, "unknown-migration"],
  [at("mark", "unknown"), 404, "unknown-migration"],
  [at("unmark", "unknown"), 404, "unknown-migration"],
  [at("reset", "unknown"), 404, "unknown-migration"],
  [baseline("unknown"), 404, "unknown-migration"],
  ["/migrate?to=unknown", 404, "unknown-migration"],
  [at("rollback", THIRD), 409, "irreversible"],
];

/** What no route takes, in whatever state. */
const INVALID = [
  back(""),
  back("steps=0"),
  back("steps=1&steps=1"),
  back(`to=${FIRST}&steps=1`),
  back("entries=1"),
  back(`to=${FIRST}&expect=${FIRST}`),
  "/migrate?steps=0",
  "/migrate?steps=all",
  "/migrate?entries=1&require=up-to-date",
  `/migrate?to=${FIRST}&steps=1`,
  "/migrations/baseline",
  `${at("mark")}?to=${FIRST}`,
];

/** What a state refuses besides, without a coordinator, or both ways. */
const REFUSED = {
  pending: [
    [at("rollback"), 409, "not-run"],
    [at("unmark"), 409, "not-run"],
    [back(`to=${SECOND}`), 409, "not-run"],
    [at("reset", FIRST), 409, "already-applied"],
  ],
  running: [[at("unmark"), 409, "not-run"]],
  failed: [[at("unmark"), 409, "not-run"], ["/migrate", 500, "migration-failed"]],
  applied: [
    [at("reset"), 409, "already-applied"],
    [at("unmark", THIRD), 409, "not-run"],
    [back(`to=${THIRD}`), 409, "not-run"],
    ["/migrate?entries=1", 400, "invalid-query"],
  ],
  unregistered: [
    ["/migrate", 409, "run-refused"],
    [`/migrate?to=${THIRD}`, 409, "run-refused"],
    ["/migrate?entries=1", 409, "run-refused"],
    [back("steps=1"), 409, "not-registered"],
    [back("steps=all"), 409, "not-registered"],
    [back(`to=${FIRST}`), 409, "not-registered"],
    [at("rollback", REMOVED), 404, "unknown-migration"],
    [at("mark", REMOVED), 404, "unknown-migration"],
    [at("reset", REMOVED), 409, "already-applied"],
    [baseline(REMOVED), 404, "unknown-migration"],
  ],
};

const NOT_STOPPED = [[at("pause"), 409, "not-running"], [at("resume"), 409, "not-paused"], [at("cancel"), 409, "not-running"]];
const CHANGES = [at("mark"), at("mark", THIRD), at("unmark", FIRST), baseline(THIRD)];
const RUNS = ["/migrate", "/migrate?entries=1", `/migrate?to=${THIRD}`, at("rollback", FIRST), back("steps=1"), back("steps=all"), back(`to=${FIRST}`)];

/** What a state refuses with a coordinator, where that differs. */
const REFUSED_WITH_COORDINATOR = {
  pending: [...REFUSED.pending, ...NOT_STOPPED],
  running: [
    ...[...RUNS, ...CHANGES, at("reset")].map((request) => [request, 409, "run-in-progress"]),
    [at("resume"), 409, "not-paused"],
  ],
  paused: [...RUNS.map((request) => [request, 409, "run-paused"]), [at("unmark"), 409, "not-run"]],
  failed: [[at("unmark"), 409, "not-run"], ...NOT_STOPPED, ["/migrate", 500, "migration-failed"]],
  applied: [...REFUSED.applied, ...NOT_STOPPED],
  unregistered: [...REFUSED.unregistered, ...NOT_STOPPED],
};

/** What a state takes, each after the other, and what the states are then. */
const TAKEN = {
  pending: [
    [at("reset"), 200, ["applied", "pending", "pending"]],
    [back(`to=${FIRST}`), 200, ["applied", "pending", "pending"]],
    ["/migrate?steps=1", 200, ["applied", "applied", "pending"]],
    [back("steps=1"), 200, ["applied", "pending", "pending"]],
    [baseline(SECOND), 200, ["applied", "applied", "pending"]],
    [back("steps=all"), 200, ["pending", "pending", "pending"]],
    ["/migrate?entries=5", 400, ["pending", "pending", "pending"]],
    ["/migrate?by=me&steps=1", 200, ["applied", "pending", "pending"]],
    ["/migrate?entries=5", 200, ["applied", "running", "pending"]],
    [at("rollback"), 200, ["applied", "pending", "pending"]],
  ],
  failed: [
    [`${at("rollback")}?by=me`, 200, ["applied", "pending", "pending"]],
    ["/migrate", 500, ["applied", "failed", "pending"]],
    [at("reset"), 200, ["applied", "pending", "pending"]],
    ["/migrate", 500, ["applied", "failed", "pending"]],
    [back(`to=${FIRST}`), 200, ["applied", "pending", "pending"]],
    ["/migrate", 500, ["applied", "failed", "pending"]],
    [`${at("mark")}?by=me`, 200, ["applied", "applied", "pending"]],
    ["/migrate", 200, ["applied", "applied", "applied"]],
    [back(`to=${FIRST}`), 409, ["applied", "applied", "applied"], "irreversible"],
    [back("steps=1"), 409, ["applied", "applied", "applied"], "irreversible"],
    [back(`to=${THIRD}`), 200, ["applied", "applied", "applied"]],
  ],
  applied: [
    [at("mark"), 200, ["applied", "applied", "pending"]],
    [at("unmark"), 200, ["applied", "pending", "pending"]],
    [at("mark"), 200, ["applied", "applied", "pending"]],
    [at("rollback"), 200, ["applied", "pending", "pending"]],
    [`/migrate?to=${SECOND}`, 200, ["applied", "applied", "pending"]],
    [`${back("steps=9")}&by=me`, 200, ["pending", "pending", "pending"]],
  ],
  unregistered: [
    [at("unmark"), 200, ["applied", "pending", "pending"]],
    [at("mark"), 200, ["applied", "applied", "pending"]],
    [at("rollback", FIRST), 200, ["pending", "applied", "pending"]],
    [`${at("unmark", REMOVED)}?by=me`, 200, ["pending", "applied", "pending"]],
    ["/migrate", 200, ["applied", "applied", "applied"]],
  ],
};

const WAYS = {
  "without a coordinator": async (t, settings, namespace) => {
    const client = await serveSpecimen(t, { namespace });
    return { client, send: described((method, path) => client.send(method, path, { ...settings, "clock-ahead": clock() })) };
  },
  "with a coordinator": async (t, settings, namespace) => {
    const client = await serveCoordinated(t, settings, { namespace });
    return { client, send: described((method, path) => client.send(method, path)) };
  },
};

/** Checks each answer against the description of the HTTP API. */
function described(send) {
  return async (method, path) => {
    const answer = await send(method, path);
    assertDescribed(method, path, answer);
    return answer;
  };
}

/** Each request is a minute after the one before, so that nothing is too soon. */
let seconds = 0;
function clock() {
  seconds += 60;
  return String(seconds);
}

/** A dry run of what is left to apply in a state, and that it leaves no trace. */
async function assertDryRun(client, post, { state, unapplied, inProgress }) {
  // A run that goes on writes meanwhile.
  const before = state === "running" ? undefined : await client.worker.dump();
  const answer = await post(state === "failed" ? "/migrations/dry-run" : "/migrations/dry-run?entries=20");
  if (before !== undefined) assert.deepEqual(await client.worker.dump(), before);
  if (state === "unregistered") return assertProblem(answer, 409, "run-refused");
  const told = assertAnswer(answer);
  assert.equal(told.inProgress, inProgress);
  const isFailed = state === "failed";
  assert.deepEqual([told.complete, told.stopped], isFailed ? [false, "failed"] : [true, undefined]);
  assert.deepEqual(told.migrations.map(({ id }) => id), isFailed ? [SECOND] : unapplied);
  assert.deepEqual(told.remaining, isFailed ? unapplied : []);
  if (isFailed) assert.match(told.migrations[0].error, new RegExp(BROKEN));
}

const MARKER = {
  key: `migration_my-service_${REMOVED}`,
  value: "true",
  metadata: { runAt: "2026-11-22T10:48:28.706Z", prefix: "my-service" },
};

for (const [way, start] of Object.entries(WAYS)) {
  const isCoordinated = way.startsWith("with a");
  describe(way, { concurrency: true }, () => {
    for (const [state, { settings, reach, expected, onlyCoordinated, removed }] of Object.entries(STATES)) {
      if (onlyCoordinated && !isCoordinated) continue;
      test(`a migration that is ${state}`, async (t) => {
        const { client, send } = await start(t, settings, removed ? [...ENTRIES, MARKER] : ENTRIES);
        const post = (path) => send("POST", path);
        const states = async () => assertAnswer(await send("GET", "/migrations/status")).map((status) => status.state);
        await reach(post);
        assert.deepEqual(await until(states, (told) => told[1] === expected[1] || !isCoordinated), expected);

        for (const path of INVALID) assertProblem(await post(path), 400, "invalid-query");
        const isBusy = isCoordinated && (state === "running" || state === "paused");
        const { steps } = assertAnswer(await send("GET", "/migrations/plan"));
        const unapplied = [FIRST, SECOND, THIRD].filter((_, place) => expected[place] !== "applied");
        assert.deepEqual(steps.map(({ id }) => id), unapplied);
        assert.equal(steps[0].state, expected.find((told) => told !== "applied"));
        await t.test("is tried by a dry run, which changes nothing", () =>
          assertDryRun(client, post, { state, unapplied, inProgress: isBusy ? SECOND : undefined }),
        );

        const refused = (isCoordinated ? REFUSED_WITH_COORDINATOR : REFUSED)[state];
        for (const [path, status, name] of isBusy ? refused : [...MISTAKES, ...refused]) {
          await t.test(`refuses ${path}`, async () => assertProblem(await post(path), status, name));
        }
        assert.deepEqual(await states(), expected, "what is refused changes nothing");

        for (const [path, status, after, name] of TAKEN[state] ?? []) {
          const answer = await post(path);
          assert.equal(answer.status, status, `${path}: ${answer.text}`);
          if (name !== undefined) assertProblem(answer, status, name);
          assert.deepEqual(await states(), after, path);
        }
        if (removed) assert.equal(await until(() => client.value(MARKER.key), (value) => value === null), null);
      });
    }

    test("a rollback of several that is not finished", async (t) => {
      const { client, send } = await start(t, BREAKING, ENTRIES);
      const post = (path) => send("POST", path);
      await (await client.worker.kv()).put("mended", "");
      assertAnswer(await post(`/migrate?to=${SECOND}`));
      // Its `down` finds no JSON.
      const kv = await client.worker.kv();
      const { key, value } = ENTRIES[7];
      const seen = await kv.get(key);
      await kv.put(key, "no JSON");
      const failed = assertProblem(await post(`${back("steps=2")}&by=me`), 500, "rollback-failed");
      assert.equal(failed.migration, SECOND);
      const refused = assertProblem(await post(back("steps=2")), 409, "rollback-unfinished");
      assert.equal(refused.continue, "/migrations/rollback?steps=all");
      assert.deepEqual(
        assertAnswer(await send("GET", "/migrations/plan")).findings,
        [],
        "what notes it is no migration",
      );

      await kv.put(key, seen ?? value);
      let answer = await post(refused.continue);
      while (answer.status === 202) answer = await post(answer.json.continue);
      assert.equal(answer.status, 200, answer.text);
      await until(async () => (await client.worker.dump()).filter((entry) => entry.key.startsWith("migration_")), (left) => left.length === 0);
      assert.deepEqual(assertAnswer(await post(back("steps=1"))).remaining, []);
    });
  });
}

test("with a coordinator, a rollback of several continues by itself, and its history says what it did", async (t) => {
  const client = await serveCoordinated(t, SLOW, { namespace: ENTRIES });
  assertAnswer(await client.run(`?to=${SECOND}&wait=true`));
  const first = assertAnswer(await client.send("POST", `${back("steps=2")}&by=me`), 202);
  assert.deepEqual([first.remaining, first.continue], [[SECOND, FIRST], "/migrations/rollback?steps=all"]);
  const [entry] = await until(() => client.history(), ([latest]) => latest.outcome === "finished");
  assert.deepEqual([entry.action, entry.by, entry.ran], ["rollback", "me", [SECOND, FIRST]]);
  assert.equal(await client.value("done/001_first"), null);
});

test("the client of the routes rolls several back, and who asks stands in the markers", async (t) => {
  const client = await serveSpecimen(t, { namespace: ENTRIES });
  const ask = async (path) => JSON.parse((await client.send("POST", `/client/${path}`, { ...QUICK, label: "cron" })).text);
  assert.deepEqual((await ask(`migrate/${SECOND}`)).ran, [FIRST, SECOND]);
  const { metadata } = await (await client.worker.kv()).getWithMetadata(`migration_my-service_${SECOND}`);
  assert.equal(metadata.by, "cron");
  assert.deepEqual((await ask(`rollback-to/${FIRST}`)).rolledBack, [SECOND]);
  assert.deepEqual((await ask("rollback-all")).rolledBack, [FIRST]);
  assert.deepEqual(await ask("rollback-to/unknown"), {
    status: 404,
    problem: "urn:kv-migrations:problem:unknown-migration",
    error: 'Migration "unknown" is not registered GET /migrations/status lists the registered migrations.',
  });
});

for (const [example, objects] of [["quickstart", undefined], ["coordinated", { MIGRATIONS: "Migrations" }]]) {
  test(`the example ${example} in each state of its migrations`, async (t) => {
    const client = await serve(t, `examples/${example}`, { objects, bindings: { API_URL: undefined } });
    const post = (path) => client.send("POST", path);
    const [first, second] = ["001_add_feature", "002_with_args"];
    const states = async () => assertAnswer(await client.status()).map(({ state }) => state);
    assert.deepEqual(await states(), ["pending", "pending"]);
    assertProblem(await post(back(`to=${first}`)), 409, "not-run");
    assertAnswer(await post(back("steps=all")));
    assertProblem(await post("/migrate"), 500, "migration-failed");
    assert.deepEqual(await states(), ["applied", "failed"]);
    assertAnswer(await post(back(`to=${first}`)));
    assert.deepEqual(assertAnswer(await post(`${back("steps=1")}&by=me`)).rolledBack, [first]);
    assertAnswer(await post(baseline(second)));
    for (const query of ["steps=1", "steps=all", `to=${first}`]) {
      const problem = assertProblem(await post(back(query)), 409, "irreversible");
      assert.equal(problem.migration, second);
    }
    assert.deepEqual(await states(), ["applied", "applied"]);
    assertAnswer(await post(at("unmark", second)));
    assert.deepEqual(assertAnswer(await post(back("steps=2"))).rolledBack, [first]);
  });
}

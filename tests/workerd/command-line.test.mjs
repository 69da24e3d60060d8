// The command line, against workerd: the program that `cargo install kv-migrations-cli` installs.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";

import { TOKEN, serveSpecimen } from "./harness/client.mjs";
import { Gateway, run, runForJson, start } from "./harness/command-line.mjs";
import { OBJECTS, coordinated, coordinatedClient, serveCoordinated, until } from "./harness/coordinated.mjs";
import { assertEntries, customers, seen, timesSeen, withoutMarkers } from "./harness/entries.mjs";
import { ENTRIES as LONG, SEEN as SLOWLY } from "./harness/several-steps.mjs";
import { Storage } from "./harness/storage.mjs";

const ENTRIES = customers(60);
/** So few operations that the 60 entries take several requests. */
const SEEN = { migrations: "seen", budget: "40" };
const ALL = ["001_first", "002_second", "003_third"];

/** A specimen behind a gateway that gives requests these headers. */
async function serve(t, headers = {}, options = {}) {
  const client = await serveSpecimen(t, options);
  return { client, gateway: await Gateway.start(t, client.worker.url, headers) };
}

describe("the commands", { concurrency: 4 }, () => {
  test("do what their names say", async (t) => {
    const { gateway } = await serve(t, { migrations: "mended", "dry-run": "yes" });
    const done = async (...args) => {
      const { code, stdout, stderr } = await run(args, gateway);
      assert.equal(code, 0, stdout + stderr);
      return stdout;
    };
    assert.match(await done("status"), /^001_first +pending +Does 001_first$/m);
    assert.match(await done("plan", "--steps", "2"), /^2 to be run, in this order:\n001_first.*\n002_second.*\nnot asked for: 003_third$/m);
    assert.match(await done("dry-run", "--only", "002_second"), /^002_second \(plain\): 1 writes/m);
    assert.match(await done("migrate", "--steps", "1"), /^done: 1 applied: 001_first\nnot asked for: 002_second, 003_third$/m);
    assert.match(await done("mark", "002_second", "--by", "me"), /^002_second +applied/);
    assert.match(await done("unmark", "002_second"), /^002_second +pending/);
    assert.match(await done("baseline", "--to", "002_second"), /^1 recorded as applied: 002_second$/m);
    assert.match(await done("migrate"), /^done: 1 applied: 003_third$/m);
    assert.match(await done("migrate"), /^nothing to do/);
    assert.match(await done("rollback", "001_first"), /^rolled back: 001_first$/m);
    assert.match(await done("rollback", "--steps", "1"), /^rolled back: 003_third$/m);
    assert.match(await done("reset", "003_third"), /^003_third +pending/);
    assert.match(await done("migrate", "--to", "001_first"), /^done: 1 applied: 001_first/m);
    assert.match(await done("rollback", "--all"), /^rolled back: 002_second, 001_first$/m);
    for (const request of gateway.requests.filter((request) => request.startsWith("POST /migrate"))) {
      assert.match(request, /[?&]to=/, "a run can always be asked for again");
    }
  });

  test("change a few entries of a backfill, once", async (t) => {
    const { client, gateway } = await serve(t, { migrations: "seen" }, { namespace: ENTRIES });
    const { code, stdout } = await run(["migrate", "--entries", "7"], gateway);
    assert.equal(code, 0);
    assert.match(stdout, /^done: 7 entries seen, 7 changed/);
    const times = timesSeen(withoutMarkers(await client.worker.dump()));
    assert.equal(times.filter((number) => number === 1).length, 7);
    gateway.requests.splice(0);
    gateway.upstream = undefined;
    assert.equal((await run(["migrate", "--entries", "7", "--any-release"], gateway)).code, 5);
    assert.deepEqual(gateway.requests, ["POST /migrate?entries=7"], "a lost one is not repeated");
  });

  test("control a coordinator's run, and watch it", async (t) => {
    const client = await serveCoordinated(t, SLOWLY, { namespace: LONG });
    const gateway = await Gateway.start(t, client.worker.url, { coordinator: "yes" });
    const going = start(["migrate", "--by", "a test"], gateway);
    await until(() => client.only(), ({ progress }) => progress?.done > 0);
    const second = await run(["migrate"], gateway);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /^error: .*a test.*[^]*`--wait` waits for it/m);
    await until(() => run(["pause", "001_seen", "--by", "me"], gateway), ({ stdout }) => /^001_seen +paused/m.test(stdout));
    const paused = await run(["watch"], gateway);
    assert.equal(paused.code, 3);
    assert.match(paused.stdout, /^001_seen +paused/);
    assert.equal((await run(["resume", "001_seen"], gateway)).code, 0);
    const { code, stderr } = await run(["watch"], gateway);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^001_seen: applied/m);
    await going.end();
    assertEntries(withoutMarkers(await client.worker.dump()), seen(LONG), "each once");
    const { stdout } = await run(["history", "--last", "1"], gateway);
    assert.match(stdout, /^#\d+ +\S+ +migrate +finished +001_seen +by a test$/m);
  });

  test("are told by JSON, too", async (t) => {
    const { gateway } = await serve(t, SEEN, { namespace: ENTRIES });
    const { lines } = await runForJson(["status"], gateway);
    assert.equal(lines[0][0].id, "001_seen", "the answer as it is");
    const { code, last, lines: told } = await runForJson(["migrate", "--expect", "001_seen"], gateway);
    assert.equal(code, 0);
    assert.deepEqual([last.outcome, last.exitCode, last.ran, last.report.remaining], ["done", 0, ["001_seen"], []]);
    assert.deepEqual([...new Set(told.slice(0, -1).map(({ event }) => event))].toSorted(), [...EVENTS]);
    const { last: wrong, code: noAccess } = await runForJson(["status"], { url: gateway.url, token: "wrong" });
    assert.deepEqual([noAccess, wrong.exitCode, wrong.outcome], [4, 4, "no-access"]);
    assert.equal(wrong.problem.type, "urn:kv-migrations:problem:unauthorized");
  });
});

/** What a run of several requests tells, in the order of the alphabet. */
const EVENTS = ["applied", "paused", "progress", "started", "waiting"];

describe("a run to its end", { concurrency: 3 }, () => {
  test("over many requests", async (t) => {
    const { client, gateway } = await serve(t, SEEN, { namespace: ENTRIES });
    const { code, stdout, stderr } = await run(["migrate"], gateway);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "done: 1 applied: 001_seen\n");
    assertEntries(withoutMarkers(await client.worker.dump()), seen(ENTRIES), "all is applied");
    assert.equal(await client.isRunForTypeScript("001_seen"), true);
    assert.ok(gateway.requests.filter((request) => request.startsWith("POST ")).length > 2);
    assert.ok(stderr.split("\n").length < 8, `a log can be read: ${stderr}`);
  });

  test("over three SIGKILLs of the server, a deploy, and a connection that is lost", async (t) => {
    const entries = customers(6_000);
    const storage = new Storage(t, entries);
    const settings = { migrations: "seen", budget: "1000" };
    // The release before does not register it.
    const gateway = await Gateway.start(t, undefined, { migrations: "good" });
    let going;
    for (const point of [500, 1_800, 3_000]) {
      await storage.untilKilled(async (client, worker) => {
        gateway.upstream = worker.url;
        if (point === 500) {
          going = start(["migrate", "--expect", "001_seen"], gateway);
          await going.told(/another release answers/);
          gateway.headers = settings;
        }
        const passed = ({ json }) => json?.[0]?.progress?.done > point;
        await until(() => client.status(settings), passed);
      });
      gateway.upstream = undefined;
    }
    const client = await storage.serve();
    gateway.upstream = client.worker.url;
    const later = ({ json }) => json?.[0]?.progress?.done > 4_200;
    await until(() => client.status(settings), later);
    gateway.cut();
    const { code, stdout, stderr } = await going.end();
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "done: 1 applied: 001_seen\n");
    const times = timesSeen(withoutMarkers(await client.worker.dump()));
    assert.equal(times.length, entries.length);
    assert.ok(times.every((number) => number === 1 || number === 2), "none is left out");
  });

  test("with a coordinator, over a SIGKILL and a lost connection, in one run", async (t) => {
    const entries = customers(5_000);
    const settings = coordinated({ migrations: "seen", budget: "1000" });
    const storage = new Storage(t, entries, OBJECTS);
    const gateway = await Gateway.start(t, undefined, { coordinator: "yes" });
    let going;
    await storage.untilKilled(async (served, worker) => {
      gateway.upstream = worker.url;
      going = start(["migrate"], gateway);
      const client = coordinatedClient(served);
      await until(() => client.only(), ({ progress }) => progress?.done > 500);
      gateway.cut();
      await until(() => client.only(), ({ progress }) => progress?.done > 1_500);
    }, settings);
    gateway.upstream = undefined;
    const client = coordinatedClient(await storage.serve(settings));
    gateway.upstream = client.worker.url;
    const { code, stderr } = await going.end();
    assert.equal(code, 0, stderr);
    assert.ok(gateway.requests.some((request) => request.includes("wait=true")), "it waits for its own run");
    const times = timesSeen(withoutMarkers(await client.worker.dump()));
    assert.ok(times.every((number) => number === 1 || number === 2), "none is left out");
    const history = await client.history();
    assert.deepEqual(history.filter(({ ran }) => ran?.length > 0).map(({ ran }) => ran), [["001_seen"]]);
  });
});

describe("exit codes", { concurrency: 4 }, () => {
  test("1: a migration failed", async (t) => {
    const { gateway } = await serve(t, { migrations: "failing" });
    const { code, stderr } = await run(["migrate"], gateway);
    assert.equal(code, 1);
    assert.match(stderr, /^error: Migration 002_second failed: boom$/m);
    assert.equal((await run(["watch"], gateway)).code, 1);
  });

  test("1: a migration panics, again and again", async (t) => {
    const { gateway } = await serve(t, { migrations: `seen-panicking ${ENTRIES[50].key}` }, { namespace: ENTRIES });
    const { code, stderr } = await run(["migrate", "--retries", "1"], gateway);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^error: the answer ended before it said how the run went/m);
  });

  test("2: the command line is wrong", async () => {
    for (const args of [[], ["status"], ["migrate", "--to", "1", "--steps", "1"], ["rollback"], ["status", "--url", "service"]]) {
      assert.equal((await run(args)).code, 2, args.join(" "));
    }
  });

  test("2: the sources do not say which migration is the last", async (t) => {
    const directory = sources(t, "vec![m001_first::migration()]");
    const { code, stderr } = await run(["migrate"], { url: new URL("http://127.0.0.1:1"), cwd: directory });
    assert.equal(code, 2);
    assert.match(stderr, /mod\.rs has no list[^]*--expect ID/);
  });

  test("3: not up to date", async (t) => {
    const { gateway } = await serve(t, { migrations: "mended" });
    assert.equal((await run(["status", "--check"], gateway)).code, 3);
    assert.equal((await run(["watch"], gateway)).code, 3);
    const { code, stderr } = await run(["status", "--expect", "004_later"], gateway);
    assert.equal(code, 3);
    assert.match(stderr, /does not register `004_later`/);
    assert.equal((await run(["migrate"], gateway)).code, 0);
    assert.equal((await run(["status", "--check", "--expect", "003_third"], gateway)).code, 0);
  });

  test("4: no access", async (t) => {
    const { client, gateway } = await serve(t, { migrations: "mended" }, { bindings: { MIGRATIONS_STATUS_TOKEN: "reads" } });
    const { url } = gateway;
    for (const token of ["wrong", ""]) assert.equal((await run(["migrate"], { url, token })).code, 4, token);
    const { code, stderr } = await run(["migrate"], { url, token: "reads" });
    assert.equal(code, 4);
    assert.match(stderr, /this token may only read; pending: 001_first, 002_second, 003_third/);
    assert.equal((await run(["mark", "001_first"], { url, token: "reads" })).code, 4);
    assert.equal((await run(["status"], { url, token: "reads" })).code, 0);
    assert.deepEqual(await client.worker.dump(), []);
    gateway.headers = { access: "MISSING" };
    assert.equal((await run(["migrate"], gateway)).code, 4, "the service has no secret");
  });

  test("5: unreachable, or something else", async (t) => {
    const { gateway } = await serve(t, { mount: "layer /elsewhere" });
    const { code, stderr } = await run(["migrate", "--retries", "0"], gateway);
    assert.equal(code, 5, stderr);
    assert.match(stderr, /this is no answer of the migration routes/);
    assert.equal((await run(["status", "--url", `${gateway.url.origin}/elsewhere/`], { token: TOKEN })).code, 0);
    const nobody = { url: new URL("http://127.0.0.1:1") };
    assert.equal((await run(["migrate", "--retries", "1"], nobody)).code, 5);
    assert.equal((await run(["status", "--retries", "0"], nobody)).code, 5);
  });

  test("6: it takes too long", async (t) => {
    const { gateway } = await serve(t, { migrations: "rekeyed" }, { namespace: [{ key: "user_1", value: "" }] });
    const { code, stderr } = await run(["migrate", "--deadline", "60s"], gateway);
    assert.equal(code, 6, stderr);
    assert.match(stderr, /the run is not finished[^]*carries on from the last checkpoint/);
  });

  test("6: the release does not come", async (t) => {
    const { client, gateway } = await serve(t, { migrations: "mended" });
    const { code, stderr } = await run(["migrate", "--expect", "003_misspelt", "--release-deadline", "2s"], gateway);
    assert.equal(code, 6, stderr);
    assert.match(stderr, /does not register `003_misspelt`[^]*`--release-deadline` waits longer/);
    assert.deepEqual(await client.worker.dump(), [], "and nothing ran");
  });

  test("6: the quota of the day is used up", async (t) => {
    const namespace = [...ENTRIES, { key: "quota", value: JSON.stringify({ put: 20 }) }];
    const { gateway } = await serve(t, { migrations: "seen" }, { namespace, kvWrapper: "quota.mjs" });
    const { code, stderr } = await run(["migrate", "--deadline", "5s"], gateway);
    assert.equal(code, 6, stderr);
    assert.match(stderr, /KV's quota of the day is used up until 00:00 UTC/);
  });

  test("130: interrupted, and it says what becomes of the run", async (t) => {
    const { gateway } = await serve(t, { ...SEEN, latency: "40" }, { namespace: ENTRIES });
    const alone = start(["migrate"], gateway);
    await alone.told(/001_seen: entries/);
    alone.interrupt();
    const { code, stderr } = await alone.end();
    assert.equal(code, 130);
    assert.match(stderr, /interrupted\n.*The same command carries it on/s);

    const client = await serveCoordinated(t, SLOWLY, { namespace: LONG });
    const second = await Gateway.start(t, client.worker.url, { coordinator: "yes" });
    const going = start(["migrate", "--json"], second);
    await until(() => client.only(), ({ progress }) => progress?.done > 0);
    going.interrupt();
    const interrupted = await going.end();
    assert.equal(interrupted.code, 130);
    assert.match(interrupted.stderr, /The run continues by itself/);
    assert.equal(JSON.parse(interrupted.stdout.trimEnd().split("\n").at(-1)).exitCode, 130);
    assert.equal((await run(["watch"], second)).code, 0, "and it does");
  });
});

describe("which service, and which release", { concurrency: 4 }, () => {
  test("the token is read from a file of variables", async (t) => {
    const { gateway } = await serve(t);
    const vars = path.join(temporary(t), ".dev.vars");
    writeFileSync(vars, `KV_MIGRATIONS_URL="${gateway.url.origin}"\nMIGRATIONS_TOKEN=${TOKEN} # of the service\n`);
    assert.equal((await run(["status", "--vars", vars], { token: "wrong" })).code, 0);
  });

  test("a guard gets its headers", async (t) => {
    const { gateway } = await serve(t, { access: "guard" });
    const { url } = gateway;
    assert.equal((await run(["status"], { url })).code, 4);
    assert.equal((await run(["status", "--header", "Cf-Access-Jwt-Assertion: signed"], { url })).code, 0);
  });

  test("the last migration in the sources is expected", async (t) => {
    const { gateway } = await serve(t, { migrations: "good" });
    const cwd = sources(t, "kv_migrations::migrations![m001_first, m003_third]");
    const going = start(["migrate"], { url: gateway.url, cwd });
    await going.told(/does not register `003_third`/);
    gateway.headers = { migrations: "mended" };
    const { code, stdout, stderr } = await going.end();
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `done: 3 applied: ${ALL.join(", ")}\n`);
  });

  test("a redirect is not followed: the token is for this address", async (t) => {
    const { client, gateway } = await serve(t);
    const moved = http.createServer((_, response) => response.writeHead(301, { location: client.worker.url.origin }).end());
    await new Promise((resolve) => moved.listen(0, "127.0.0.1", resolve));
    t.after(() => moved.close());
    const { code, stderr } = await run(["status"], { url: new URL(`http://127.0.0.1:${moved.address().port}`) });
    assert.equal(code, 5);
    assert.match(stderr, /it redirects to http:/);
    assert.deepEqual(gateway.requests, []);
  });
});

function temporary(t) {
  const directory = mkdtempSync(path.join(tmpdir(), "command-line-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** The sources of a service with this list. */
function sources(t, list) {
  const directory = temporary(t);
  const migrations = path.join(directory, "src/migrations");
  mkdirSync(migrations, { recursive: true });
  writeFileSync(path.join(migrations, "mod.rs"), `pub fn migrations() -> Vec<Migration<Env>> {\n    ${list}\n}\n`);
  writeFileSync(path.join(migrations, "m003_third.rs"), 'pub const ID: &str = "003_third";\n');
  return directory;
}

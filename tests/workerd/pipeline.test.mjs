// What docs/pipelines.md offers, run to the letter: the workflow for GitHub Actions, and the script with nothing but `curl`.
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { TOKEN, serveSpecimen } from "./harness/client.mjs";
import { Gateway } from "./harness/command-line.mjs";
import { serveCoordinated } from "./harness/coordinated.mjs";
import { assertEntries, customers, seen, TOMORROW, withoutMarkers } from "./harness/entries.mjs";
import { SCRIPT, SHELLS, migrate } from "./harness/curl-script.mjs";
import { assertNoSecret, programs, sources, temporary, which } from "./harness/programs.mjs";
import { runJob, text, workflow } from "./harness/workflow.mjs";
import { KV_BINDING, startWorker } from "./harness/worker.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SPECIMEN = path.join(ROOT, "tests/workerd/workers/specimen");
const WRANGLER = path.join(ROOT, "tests/workerd/node_modules/wrangler/bin/wrangler.js");
const NAMESPACE = "00000000000000000000000000000000";

const ENTRIES = customers(60);
/** So few operations that the 60 entries take several requests. */
const SEEN = { migrations: "seen", budget: "40" };
const MENDED = { migrations: "mended", "dry-run": "yes" };
const READS = "reads-only-token";
const SECRETS = {
  "secrets.MIGRATIONS_TOKEN": TOKEN,
  "secrets.MIGRATIONS_STATUS_TOKEN": READS,
  "secrets.CLOUDFLARE_API_TOKEN": "cloudflare-token",
  "secrets.CLOUDFLARE_ACCOUNT_ID": "cloudflare-account",
  "github.token": "github-token",
};

/** A specimen whose migrations have these ids, behind a gateway that gives requests these headers, and its sources. */
async function service(t, ids, headers, options = {}) {
  const bindings = { MIGRATIONS_STATUS_TOKEN: READS };
  const client = await serveSpecimen(t, { bindings, ...options });
  return { client, gateway: await Gateway.start(t, client.worker.url, headers), directory: sources(t, ids) };
}

describe("the workflow", { concurrency: 4 }, () => {
  /** Runs a job where a service answers. What needs Cloudflare or GitHub is stood in for. */
  async function run(t, job, { url, directory, isPrivate = false, kv = "", gh = "exit 1", cargo, ...options }) {
    const files = temporary(t);
    const wrangler = `exec '${process.execPath}' '${WRANGLER}'`;
    const stands = programs(t, {
      rustup: "",
      cargo: cargo ?? `[ "$1" = install ] || exec '${which("cargo")}' "$@"`,
      "kv-migrations": `exec '${path.join(ROOT, "target/debug/kv-migrations")}' "$@"`,
      gh,
      npx: `[ "$1 $2 $CLOUDFLARE_API_TOKEN" = '--yes wrangler@${versions().wrangler} cloudflare-token' ] || exit 9
        case "$3" in
          deploy) ${wrangler} deploy --dry-run --outdir '${files}/deployed' ;;
          kv) [ "$8" = --remote ] || [ "$9" = --remote ] || exit 9; shift 2; for arg; do shift; [ "$arg" = --remote ] || set -- "$@" "$arg"; done
            ${wrangler} "$@" --local --persist-to '${kv}' ;;
        esac`,
    });
    const context = {
      ...SECRETS,
      "github.event_name == 'push'": job === "deploy",
      "github.event_name == 'pull_request'": job === "preview",
      "github.event.repository.private": isPrivate,
      "github.repository": "owner/my-service",
      "https://my-service.workers.dev": url?.origin ?? "http://127.0.0.1:1",
    };
    const isOfCargo = ([name]) => ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"].includes(name);
    const cargos = Object.fromEntries(Object.entries(process.env).filter(isOfCargo));
    const env = { PATH: stands.PATH, ...cargos, GITHUB_SHA: "4711", WRANGLER_SEND_METRICS: "false", NO_COLOR: "1", CI: "true" };
    const ended = await runJob(job, { directory, temporary: files, context, env, ...options });
    assertNoSecret([ended.output, ended.summary, ...stands.calls()], Object.values(SECRETS));
    return { ...ended, calls: stands.calls(), deployed: path.join(files, "deployed") };
  }
  /** The steps after the deploy. */
  const RUN = ["Plan", "Dry run", "Migrate", "Check"];

  test("gives nobody more than they need", () => {
    const { on, permissions, jobs, env } = workflow;
    const { deploy, preview } = jobs;
    assert.deepEqual(Object.keys(jobs), ["deploy", "preview"]);
    assert.deepEqual(on, { push: { branches: ["main"] }, pull_request: null });
    assert.deepEqual([permissions, deploy.permissions], [{}, { contents: "read" }]);
    assert.deepEqual(preview.permissions, { contents: "read", actions: "read" });
    assert.deepEqual(deploy.concurrency, { group: "production", "cancel-in-progress": false });
    assert.equal(deploy.environment, "production");
    const secret = /secrets\.|github\.token/;
    for (const outside of [env, deploy.env, preview.env]) assert.doesNotMatch(JSON.stringify(outside ?? {}), secret);
    assert.doesNotMatch(JSON.stringify(preview), /secrets\./, "a pull request gets no secret");
    for (const { uses, run, env, with: inputs } of [...deploy.steps, ...preview.steps]) {
      assert.doesNotMatch(`${run} ${JSON.stringify(inputs)}`, secret, "a secret is in the environment alone");
      assert.doesNotMatch(run ?? "", /\$\{\{/, "no text of others becomes a script");
      if (uses) assert.match(uses, /^actions\/[\w-]+@[0-9a-f]{40}$/);
      if (uses) assert.ok(text.includes(`uses: ${uses} # v`), "with the version that it is");
      if (uses?.startsWith("actions/checkout@")) assert.equal(inputs["persist-credentials"], false);
    }
    assert.deepEqual([...new Set(text.match(/wrangler@[\d.]+/g))], [`wrangler@${versions().wrangler}`], "the one that is tested");
    assert.ok(text.includes(`kv-migrations-cli@${versions().crate}\n`), "the one that is released with it");
  });

  test("deploys, plans, tries, migrates and checks", async (t) => {
    const { client, gateway, directory } = await service(t, ["001_seen"], { migrations: "seen", "dry-run": "yes" }, { namespace: ENTRIES });
    wranglerToml(directory);
    const { code, ran, output, summary, deployed } = await run(t, "deploy", { url: gateway.url, directory });
    assert.equal(code, 0, output);
    assert.deepEqual(ran, ["Install", "Deploy", ...RUN], "no snapshot in a public repository");
    assert.ok(existsSync(path.join(deployed, "index.js")), "wrangler takes it");
    const blocks = summary.split("### ").map((block) => block.trim());
    assert.match(blocks[1], /^Plan\n\n    1 to be run, in this order:\n    001_seen  pending/);
    assert.match(blocks[2], /^Dry run\n\n    001_seen \(backfill\): 60 writes[^]*\n      put customer_00000: /);
    assert.equal(blocks[3], "Run\n\n    done: 1 applied: 001_seen");
    for (const { value } of ENTRIES) assert.ok(!(summary + output).includes(value), "and no value of theirs");
    assertEntries(withoutMarkers(await client.worker.dump()), seen(ENTRIES), "all is applied");
    assert.ok(!gateway.requests.some((request) => request.startsWith("POST ") && !request.includes("expect=001_seen")));
  });

  test("waits for the new release, and fails by its name if that does not come", async (t) => {
    const { client, gateway, directory } = await service(t, ["001_first", "003_third"], { ...MENDED, migrations: "good" });
    const late = await run(t, "deploy", { url: gateway.url, directory, only: RUN, replace: [["5m", "0s"]] });
    assert.deepEqual([late.code, late.failed], [6, "Plan"], late.output);
    assert.match(late.output, /does not register `003_third`[^]*Check that the deploy succeeded/);
    assert.deepEqual(await client.worker.dump(), [], "nothing ran");
    const going = run(t, "deploy", { url: gateway.url, directory, only: RUN });
    while (gateway.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    gateway.headers = MENDED;
    const { code, output, summary } = await going;
    assert.equal(code, 0, output);
    assert.match(output, /waits \d s: .*does not register `003_third`/);
    assert.match(summary, /done: 3 applied: 001_first, 002_second, 003_third/);
  });

  test("ends at a migration that fails, before it has changed anything, and at the run as well", async (t) => {
    const { client, gateway, directory } = await service(t, ["003_third"], { migrations: "failing", "dry-run": "yes" });
    const tried = await run(t, "deploy", { url: gateway.url, directory, only: RUN });
    assert.deepEqual([tried.code, tried.failed], [1, "Dry run"], tried.output);
    assert.match(tried.summary, /failed: .*boom/);
    assert.deepEqual(await client.worker.dump(), []);
    const { code, failed, output } = await run(t, "deploy", { url: gateway.url, directory, only: ["Migrate", "Check"] });
    assert.deepEqual([code, failed], [1, "Migrate"]);
    assert.match(output, /^error: Migration 002_second failed: boom$/m);
    const checked = await run(t, "deploy", { url: gateway.url, directory, only: ["Check"] });
    assert.deepEqual([checked.code, checked.failed], [3, "Check"]);
    assert.match(checked.output, /^002_second +failed/m);
    assert.ok(gateway.requests.at(-1).startsWith("GET "), "with the token that may only read");
  });

  test("shows on a pull request what changes in a snapshot of main, and needs no token for it", async (t) => {
    const persisted = temporary(t);
    const places = Array.from({ length: 120 }, (_, number) => {
      const place = { name: `Place ${number}`, country: number % 2 ? "AD" : "AE", location: { lat: 1, lng: 2 } };
      return { key: `city_${number}`, value: JSON.stringify(place), metadata: { country: place.country } };
    });
    const marker = { key: "migration_gazetteer_001_normalise", value: "true", metadata: { runAt: "2026-11-22T10:48:28.706Z" } };
    const session = { key: "session_1", value: "open", expiration: TOMORROW };
    const kv = { kvNamespaces: { [KV_BINDING]: NAMESPACE }, kvPersist: path.join(persisted, "v3/kv") };
    await (await startWorker(SPECIMEN, { ...kv, namespace: [...places, marker, session] })).stop();

    const main = sources(t, ["001_first"]);
    wranglerToml(main);
    const taken = await run(t, "deploy", { directory: main, isPrivate: true, kv: persisted, only: ["Take a snapshot for pull requests"] });
    assert.equal(taken.code, 0, taken.output);
    const snapshot = JSON.parse(readFileSync(taken.uploaded, "utf8"));
    const byKey = (entries) => Object.fromEntries(entries.map(({ key, ...entry }) => [key, entry]));
    assert.deepEqual(byKey(snapshot), byKey([...places, marker, session]), "all of it, with metadata and expiration");

    const directory = gazetteer();
    const gh = `case "$1 $2" in 'run list') echo 4711 ;; 'run download') mkdir snapshot && cp '${taken.uploaded}' snapshot ;; esac`;
    const shown = await run(t, "preview", { directory, isPrivate: true, gh });
    assert.equal(shown.code, 0, shown.output);
    assert.match(shown.summary, /^### New migrations over 122 entries of snapshot\/snapshot\.json$/m);
    assert.match(shown.summary, /\n002_by_country ran\n003_index ran\n122 added, 0 changed, 120 deleted\n\+ "city:AD:1"\n/);
    assert.match(shown.summary, /^- "city_0"$/m);
    assert.doesNotMatch(shown.summary + shown.output, /Place \d/, "keys, and no values");

    snapshot[0].value = "{";
    writeFileSync(path.join(directory, "snapshot/snapshot.json"), JSON.stringify(snapshot));
    const broken = await run(t, "preview", { directory, isPrivate: true, gh: `[ "$2" = download ] || echo 4711` });
    assert.notEqual(broken.code, 0);
    assert.match(broken.summary, /Migration 003_index failed/);

    const committed = await run(t, "preview", { directory });
    assert.equal(committed.code, 0, committed.output);
    assert.match(committed.summary, /over 7 entries of tests\/snapshot\.json/, "a public repository takes what is committed");
    const without = await run(t, "preview", { directory, cargo: "" });
    assert.notEqual(without.code, 0, "a test that is not there does not pass");
    assert.match(without.output, /no test has run over a snapshot/);
  });
});

/** What is deployed: the specimen, which is built already. */
function wranglerToml(directory) {
  const lines = ['name = "my-service"', `main = "${SPECIMEN}/build/index.js"`, 'compatibility_date = "2026-04-01"'];
  writeFileSync(
    path.join(directory, "wrangler.toml"),
    `${lines.join("\n")}\n[[kv_namespaces]]\nbinding = "${KV_BINDING}"\nid = "${NAMESPACE}"\n`,
  );
}

/** A copy of the example in which files can be written. It is always at the same place: what is compiled stays so. */
function gazetteer() {
  const [from, to] = ["examples/gazetteer", "target/pipeline/gazetteer"].map((directory) => path.join(ROOT, directory));
  mkdirSync(path.join(to, ".cargo"), { recursive: true });
  for (const name of ["Cargo.toml", "Cargo.lock", "src", "tests"]) {
    cpSync(path.join(from, name), path.join(to, name), { recursive: true, preserveTimestamps: true });
  }
  const patch = (name) => `patch.crates-io.${name}.path = '${ROOT}crates/${name}'\n`;
  writeFileSync(path.join(to, ".cargo/config.toml"), `${["kv-migrations", "kv-migrations-routes"].map(patch).join("")}build.target-dir = '../..'\n`);
  rmSync(path.join(to, "snapshot"), { recursive: true, force: true });
  return to;
}

function versions() {
  const { devDependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
  const [, crate] = readFileSync(path.join(ROOT, "Cargo.toml"), "utf8").match(/^version = "(.*)"$/m);
  return { wrangler: devDependencies.wrangler, crate };
}

/** It fails in every shell alike. */
async function failsToMigrate(t, gateway, directory, options = {}) {
  const ends = await Promise.all(SHELLS.map((shell) => migrate(t, gateway, directory, { ...options, shell })));
  const said = ({ output }) => output.replace(/ \d+ ms/, "");
  for (const end of ends) assert.deepEqual([end.code, said(end)], [1, said(ends[0])]);
  return ends[0];
}

describe("with curl alone", { concurrency: 4 }, () => {
  test("it is ten lines", () => {
    assert.ok(SCRIPT.trimEnd().split("\n").length <= 10);
  });

  test("carries a long migration to its end, over an answer that is lost, and says nothing", async (t) => {
    const { client, gateway, directory } = await service(t, ["001_seen"], SEEN, { namespace: ENTRIES });
    gateway.upstream = undefined;
    const going = migrate(t, gateway, directory, { shell: SHELLS[2] });
    while (gateway.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    gateway.upstream = client.worker.url;
    const { code, output, waits } = await going;
    assert.deepEqual([code, output], [0, ""]);
    assert.ok(waits > 2);
    assertEntries(withoutMarkers(await client.worker.dump()), seen(ENTRIES), "all is applied");
    gateway.requests.splice(0);
    assert.equal((await migrate(t, gateway, directory)).code, 0, "and has nothing to do then");
    assert.equal(gateway.requests.length, 1);
  });

  test("waits while the release before answers", async (t) => {
    const { client, gateway, directory } = await service(t, ["001_first", "003_third"], { migrations: "good" });
    const going = migrate(t, gateway, directory);
    while (gateway.requests.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(await client.worker.dump(), [], "nothing runs");
    gateway.headers = { migrations: "mended" };
    assert.equal((await going).code, 0);
    assert.equal(await client.isRunForTypeScript("003_third"), true);
  });

  test("fails, and says why", async (t) => {
    const { client, gateway, directory } = await service(t, ["001_first", "003_third"], { migrations: "mended" });
    const impatient = { replace: [["-le 60", "-le 3"]] };
    const behind = (headers) => Gateway.start(t, client.worker.url, headers);

    const misspelt = await failsToMigrate(t, gateway, sources(t, ["003_thrid"]), impatient);
    assert.match(misspelt.output, /does not register `003_thrid`, which is expected/);
    assert.equal(misspelt.waits, 3);
    const to = await failsToMigrate(t, gateway, directory, { replace: [["up-to-date", "up-to-date&to=003_thrid"]] });
    assert.match(to.output, /problem:unknown-migration.*`?003_thrid`?.* 404$/m);
    const old = await failsToMigrate(t, await behind({ migrations: "good" }), directory, impatient);
    assert.match(old.output, /does not register `003_third`/);

    const wrong = await failsToMigrate(t, gateway, directory, { token: "not-the-token" });
    assert.match(wrong.output, /problem:unauthorized.* 401$/m);
    const reads = await failsToMigrate(t, gateway, directory, { token: READS });
    assert.match(reads.output, /problem:read-only-token.* 403$/m);
    const closed = await failsToMigrate(t, await behind({ access: "MISSING" }), directory);
    assert.match(closed.output, /problem:access-not-configured.* 403$/m);
    assert.equal((await failsToMigrate(t, gateway, directory, { token: "" })).waits, 0);

    const elsewhere = await failsToMigrate(t, await behind({ mount: "layer /elsewhere" }), directory);
    assert.match(elsewhere.output, /^no migrations at http:\/\/\S+ \(200\)$/m);
    for (const status of [200, 404, 502]) {
      const { output, waits } = await failsToMigrate(t, await page(t, status), directory);
      assert.match(output, new RegExp(`^no migrations at http://\\S+ \\(${status}\\)$`, "m"), "whatever the page says");
      assert.equal(waits, 0);
    }
    const nobody = await failsToMigrate(t, { url: new URL("http://127.0.0.1:1") }, directory, impatient);
    assert.match(nobody.output, /^curl: \(7\) /m);

    const unnamed = sources(t, ["001_first"]);
    writeFileSync(path.join(unnamed, "src/migrations/m001_first.rs"), "");
    const { output } = await failsToMigrate(t, gateway, unnamed);
    assert.equal(output, "src/migrations/m001_first.rs has no ID\n");
    const without = await migrate(t, gateway, temporary(t));
    assert.equal(without.code, 1);
    assert.match(without.output, /src\/migrations\/mod\.rs/);
    assert.deepEqual(await client.worker.dump(), [], "and nothing ran");

    const failing = await behind({ migrations: "failing" });
    const failed = await migrate(t, failing, directory);
    assert.deepEqual([failed.code, failing.requests.length], [1, 1], "it is not tried again");
    assert.match(failed.output, /Migration 002_second failed: boom/);
  });

  test("ends where the daily quota is used up", async (t) => {
    const namespace = [...ENTRIES, { key: "quota", value: JSON.stringify({ put: 20 }) }];
    const { gateway, directory } = await service(t, ["001_seen"], { migrations: "seen" }, { namespace, kvWrapper: "quota.mjs" });
    const { code, output, waits } = await migrate(t, gateway, directory);
    assert.deepEqual([code, waits], [1, 0]);
    assert.match(output, /problem:quota-exhausted/);
  });

  test("waits for a coordinator", async (t) => {
    const client = await serveCoordinated(t, SEEN, { namespace: ENTRIES });
    const gateway = await Gateway.start(t, client.worker.url, { coordinator: "yes" });
    const replace = [["up-to-date", "up-to-date&wait=true"]];
    const { code, output } = await migrate(t, gateway, sources(t, ["001_seen"]), { replace });
    assert.deepEqual([code, output], [0, ""]);
    assert.equal(gateway.requests.length, 1);
    assertEntries(withoutMarkers(await client.worker.dump()), seen(ENTRIES), "all is applied");
  });
});

/** A server that is none of the routes: a page of 300 lines that shows what it was sent. */
async function page(t, status) {
  const server = http.createServer((request, response) => {
    const lines = Array.from({ length: 300 }, () => `<p>${request.headers.authorization}</p>\n`);
    response.writeHead(status, { "content-type": "text/html" }).end(lines.join(""));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { url: new URL(`http://127.0.0.1:${server.address().port}`) };
}

/**
 * Measures this project beside what a user would use instead, and writes docs/benchmarks.md with its plots:
 *
 *     node bench/report.mjs [--quick]
 *
 * With `--quick` it measures less of everything, and writes into `target`. `cargo xtask bench` builds the Workers before,
 * and leaves the results of the native benchmarks in `target/growth` and `target/long.md`.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { measure } from "./measure.mjs";
import { count, exponent, megabytes, milliseconds, table, time, timesAsFast } from "./numbers.mjs";
import { plot } from "./plot.mjs";
import { coordinator, kinds, routes, serdeJson } from "./size.mjs";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
/** Less than this is no difference. */
const NOISE = 1.05;
const NAMES = { baseline: "axum without the routes", mounted: "axum with the routes", typescript: "TypeScript" };

const KINDS = {
  backfill: "a backfill of text",
  "backfill-json": "a backfill of JSON, by `serde_json::Value`",
  "backfill-typed": "a backfill of a type",
  "backfill-in-batches": "a backfill in batches",
  fold: "a fold",
  "fold-merging": "a fold that reads other keys at its end",
  rekey: "a re-key by the key",
  "rekey-by-value": "a re-key by the value",
  "rekey-by-table": "a re-key by a table",
  "rekey-into-namespace": "a re-key into another namespace",
  "dry-run": "dry runs, with `with_dry_run`",
  page: "the page, with `with_page`",
  all: "all of these",
};

const read = (...names) => readFileSync(path.join(ROOT, ...names), "utf8");
const lines = (items, show) => items.map(show).join("\n");

/** On what it was measured. */
function machine() {
  const npm = JSON.parse(read("tests/workerd/package-lock.json")).packages;
  const crates = read("Cargo.lock");
  const versions = [
    execFileSync("rustc", ["--version"], { encoding: "utf8" }).trim(),
    `Node.js ${process.version}`,
    ...["miniflare", "workerd", "binaryen"].map((name) => `${name} ${npm[`node_modules/${name}`].version}`),
    ...["worker", "axum"].map((name) => `${name} ${crates.match(`name = "${name}"\nversion = "(.*)"`)[1]}`),
  ];
  const [{ model }, memory] = [os.cpus()[0], Math.floor(os.totalmem() / 2 ** 30)];
  return `Measured on ${os.cpus().length} cores (${model.trim()}), ${memory} GiB of memory, ${os.platform()}; with ${versions.join(", ")}.`;
}

/** What criterion measured: how the time of each case grows, from small to large. */
function growths() {
  const cases = new Map();
  const directory = path.join(ROOT, "target/growth");
  for (const file of readdirSync(directory, { recursive: true }).filter((file) => file.endsWith("new/benchmark.json")).sort()) {
    const { group_id: group, function_id: name, throughput } = JSON.parse(read("target/growth", file));
    const { median } = JSON.parse(read("target/growth", path.dirname(file), "estimates.json"));
    if (!cases.has(`${group}/${name}`)) cases.set(`${group}/${name}`, { group, name, points: [] });
    cases.get(`${group}/${name}`).points.push([throughput.Elements, median.point_estimate]);
  }
  for (const { points } of cases.values()) points.sort(([n], [m]) => n - m);
  return [...cases.values()];
}

/** Where what was measured is not in this project's favour: found, not chosen. */
function notAhead({ results, added }) {
  const found = [
    `The routes add ${count(added[0].added.gzipped)} bytes of WebAssembly to a Worker, gzipped; the whole TypeScript Worker has ${count(results.typescriptBytes)} bytes of JavaScript.`,
  ];
  const [baseline, mounted, typescript] = Object.keys(NAMES).map((name) =>
    milliseconds(results.coldStarts.find((start) => start.name === name).milliseconds),
  );
  found.push(
    `The first answer of a cold workerd comes after ${baseline} from an axum Worker, after ${mounted} if it has the routes, and after ${typescript} from one in TypeScript.`,
  );
  const [without, withRoutes] = ["without", "with"].map(
    (how) => results.requestTimes.find(({ name }) => name === `another, ${how} the routes`).microseconds,
  );
  if (withRoutes > NOISE * without) {
    found.push(
      `A request that is not for the routes takes ${withRoutes.toFixed()} µs where they are mounted, and ${without.toFixed()} µs where they are not: they are made for each request.`,
    );
  }
  for (const { what, registered, pending, milliseconds: latency, rust, typescript } of [...results.idle, ...results.pending]) {
    if (rust.operations <= typescript.operations && rust.took <= NOISE * typescript.took) continue;
    const titles = { status: "A status", idle: "A run with nothing to do", run: `A run of ${pending} after` };
    found.push(
      `${titles[what]} ${what === "run" ? "" : "of "}${count(registered - (pending ?? 0))} at ${latency} ms an operation: ${count(rust.operations)} operations in ${milliseconds(rust.took)}, in TypeScript ${count(typescript.operations)} in ${milliseconds(typescript.took)}.`,
    );
  }
  const [ours, ...others] = results.ownWork;
  const theirs = others.filter(({ calls }) => calls === undefined);
  const least = (figure) => milliseconds(Math.min(...theirs.map((row) => row[figure])));
  found.push(
    `A record of a backfill takes ${ours.microseconds.toFixed(2)} µs of the processor, in TypeScript ${Math.min(...theirs.map((row) => row.microseconds)).toFixed(2)} µs; the first request of a new isolate, with 100 records, ${milliseconds(ours.first)} and ${least("first")}.`,
  );
  for (const { way, records, milliseconds: latency, took } of results.backfills) {
    const ours = results.backfills.find((row) => row.way === "rust" && row.records === records && row.milliseconds === latency);
    if (ours.took > NOISE * took) {
      found.push(
        `A backfill of ${count(records)} at ${latency} ms an operation takes ${milliseconds(ours.took)}, and ${milliseconds(took)} ${way}.`,
      );
    }
  }
  return lines(found, (line) => `- ${line}`);
}

/** What both runners take for the same. */
function runners(first, rows) {
  const head = [first, "ms an operation", "operations", "in TypeScript", "time", "in TypeScript", "as fast"];
  const cells = ({ title, milliseconds: latency, rust, typescript }) => [
    title,
    latency,
    count(rust.operations),
    count(typescript.operations),
    milliseconds(rust.took),
    milliseconds(typescript.took),
    timesAsFast(rust.took, typescript.took),
  ];
  return table(head, rows.map(cells));
}

function unchanged({ idle }, what) {
  const rows = idle.filter((row) => row.what === what);
  return runners("registered", rows.map((row) => ({ title: count(row.registered), ...row })));
}

function pending({ pending }) {
  const title = ({ pending, registered }) => `${count(pending)} after ${count(registered - pending)}`;
  return runners("pending", pending.map((row) => ({ title: title(row), ...row })));
}

function backfills({ backfills }) {
  const head = ["records", "ms an operation", "operations", "least", "time", "this project is as fast", "WebAssembly memory"];
  const ours = new Map(backfills.filter(({ way }) => way === "rust").map((row) => [`${row.records}/${row.milliseconds}`, row]));
  const cells = ({ way, records, milliseconds: latency, operations, least, took, wasmMemory }) => [
    `${count(records)}, ${way === "rust" ? "this project" : way}`,
    latency,
    count(operations),
    count(least),
    milliseconds(took),
    way === "rust" ? "" : timesAsFast(ours.get(`${records}/${latency}`).took, took),
    wasmMemory === 0 ? "" : megabytes(wasmMemory),
  ];
  return table(head, backfills.map(cells));
}

const callsOf = ({ calls }) => calls && Object.values(calls).reduce((sum, number) => sum + number, 0);

function ownWork({ ownWork }) {
  const cells = (row) => [
    row.way === "rust" ? "this project" : row.way,
    `${row.microseconds.toFixed(2)} µs`,
    callsOf(row)?.toFixed(1) ?? "",
    ...[row.none, row.first, row.free].map(milliseconds),
  ];
  const head = ["way", "a record", "calls of JavaScript a record", "first request, no record", "100 records", "the free plan's budget"];
  return table(head, ownWork.map(cells));
}

/** Where the processor's time goes that TypeScript does not need. */
function processorFloor({ ownWork, callTime, coldGreetings }) {
  const [ours, byHand] = ownWork;
  const greeting = (name) => milliseconds(coldGreetings.find((each) => each.name === name).milliseconds);
  const inCalls = callsOf(ours) * callTime;
  return `- **A record.** A call of JavaScript from WebAssembly with a key and a value takes ${callTime.toFixed(2)} µs, measured by 100,000
  calls of a function that does nothing. The ${callsOf(ours).toFixed(1)} calls of a record would be ${inCalls.toFixed(1)} µs of its ${ours.microseconds.toFixed(1)} µs if each passed as much.
  Written by hand, without a marker, a checkpoint, a budget, or a retry, the same change takes ${byHand.microseconds.toFixed(1)} µs and ${callsOf(byHand).toFixed(1)} calls.
- **The first request.** V8 compiles each function of WebAssembly when it is called first. An axum Worker without the routes takes
  ${greeting("baseline")} for its first greeting, one with the routes ${greeting("mounted")}, one in TypeScript ${greeting("typescript")}. Written by hand, a
  backfill that finds no record takes ${milliseconds(byHand.none)}, with this project ${milliseconds(ours.none)}: ledger, checkpoint, and answer included.`;
}

function compiles({ compiled }) {
  const cells = ({ title, functions, bytes }) => [title, count(functions), count(bytes)];
  return table(["first request", "functions that V8 compiles", "their bytes of WebAssembly"], compiled.map(cells));
}

function memory({ memory }) {
  const cells = ({ title, memory, checkpoint, operations }) => [
    title,
    megabytes(memory),
    checkpoint > 1_000 ? megabytes(checkpoint) : "",
    count(operations),
  ];
  return table(["what", "WebAssembly memory", "largest checkpoint", "operations"], memory.map(cells));
}

function waits({ waiting: { records, took, worked } }) {
  const share = (100 * Math.max(0, took - worked)) / took;
  return `With a coordinator, steps follow one another at once: of the ${milliseconds(took)} that a backfill of ${count(records)} records takes there at 0 ms an
operation, ${share.toFixed(1)} % is waiting, from the request to its answer.`;
}

function sizes(rows) {
  const head = ["bytes", "without", "with", "added", "without, gzipped", "with, gzipped", "added, gzipped"];
  const cells = (row) => [
    row.title,
    ...[row.without, row.with, row.added].map(({ raw }) => count(raw)),
    ...[row.without, row.with].map(({ gzipped }) => count(gzipped)),
    `**${count(row.added.gzipped)}**`,
  ];
  return table(head, rows.map(cells));
}

function sizesOfKinds(rows) {
  const inOrder = Object.keys(KINDS).flatMap((kind) => rows.filter((row) => row.kind === kind));
  const cells = ({ kind, added, inAll }) => [KINDS[kind], count(added.raw), `**${count(added.gzipped)}**`, count(inAll.gzipped)];
  return table(["a migration more", "bytes", "gzipped", "with the routes, gzipped"], inOrder.map(cells));
}

function page({ results, added, addedByKinds, addedByJson, addedByCoordinator, growths, groups }) {
  const budgeted = ({ records, requests, operations, least, took }) =>
    [...[records, requests, operations, least].map(count), milliseconds(took)];
  const start = ({ name, milliseconds: median, fastest, times }) => [NAMES[name], milliseconds(median), milliseconds(fastest), times];
  const growth = ({ group, name, points }) => [
    `${name} by ${group}`,
    ...[points[0], points.at(-1)].map(([n, nanoseconds]) => `${count(n)}: ${time(nanoseconds)}`),
    exponent(points).toFixed(2),
  ];
  return `# Benchmarks

What a user gets from this project, beside what they would use instead, measured by turns in one run. Once all is built:

\`\`\`sh
cargo xtask bench          # writes this page, in less than 25 minutes on 2 cores
cargo xtask bench --quick  # less of everything, in less than 4, into target/benchmarks
\`\`\`

Count on the numbers of operations, which are the same each time, and on the ratios. The times are of one machine, whose KV
is Miniflare's. What it is compared with:

- **The TypeScript runner**, rewritten from its documentation: one \`get\` a migration to see whether it has run, one after
  the other, and one \`put\` after each that ran ([source](../tests/workerd/bench/typescript/migration-runner.ts)).
- **The loops that services write** to change all records: list to the end, then get and put one by one; or 100 keys a page,
  all at once by \`Promise.all\` ([source](../tests/workerd/bench/typescript/migrations.ts)).
- **A minimal axum Worker** without the routes.

Every Worker runs in a workerd of its own, built for release, and its KV is behind the same
[meter](../tests/workerd/bench/meter.mjs): it counts operations, makes each take at least as long as a table says, and lets
six run at once, as Cloudflare does. A time is the median of five, or of as many as were made in four seconds; after each
measurement it is checked that all of the work was done. Where an operation takes 10 ms, a status and a run with nothing to
do are measured at the same time, in processes of their own, since they mostly wait.

${machine()}

## Where this project is not ahead

${notAhead({ results, added })}

## Knowing what has run

\`GET /migrations/status\`, of migrations that have all run:

${unchanged(results, "status")}

\`POST /migrate\` with nothing to do, of migrations that have all run:

${unchanged(results, "idle")}

![KV operations of a status, by the number of registered migrations](benchmarks/status.svg)

One list reads 1,000 markers. The TypeScript runner asks for each by itself, and reaches the limit of a request, 1,000
operations on the free plan, with its 1,001st migration.

## Running what has not

\`POST /migrate\` of the pending migrations, after those that have run. Each \`up\` puts one key:

${pending(results)}

A \`put\` of ours lists its key first, to keep metadata and expiration, which a put of the binding drops;
\`.clear_metadata()\` with \`.clear_expiration()\` saves that. So a pending migration costs three operations here, and its look at
the marker, its put and its mark in TypeScript. What a run takes more at 0 ms is the processor's time: a list takes more of
it than a get, and the way between JavaScript and WebAssembly some.

## Changing every record

A field is added to every JSON record of a prefix. All of them in one request, as if there were no limit:

${backfills(results)}

The least is a list for each 1,000 records, a bulk read for each 100 and a put for each. What is more are the lists and
writes of the ledger and of checkpoints. Each way has a process of its own, which is started for each number of records.

With the default budget of 900 operations a request, by \`POST /migrate\` again and again, each when \`Retry-After\` says so
(one second, as KV takes one write a second to a marker). The loops would be cut off by the limit of 1,000 operations at 500
records, and start over each time:

${table(["records", "requests", "operations", "least", "time, waits included"], results.requests.map(budgeted))}

${waits(results)}

## What a backfill takes of the processor

The same on a [KV in the Worker's isolate](../tests/workerd/bench/stub.mjs) that costs next to nothing, so that what is left is
the Worker's own work. It is the time of workerd's thread, seen from outside, since a Worker cannot see its own. A record is one of
10,000, once the code has run often. A first request is that of a new isolate, which compiles the code. The free plan's budget is
for 100 entries of 2,000, and the other ways have none. [By hand](../tests/workerd/workers/by-hand/src/lib.rs) is what a service
would write in Rust on what \`worker\` has for KV.

${ownWork(results)}

Where it goes:

${processorFloor(results)}

${compiles(results)}

## What migrations take of the memory

WebAssembly memory grows and never shrinks; a Worker has 128 MB for all its requests. On the same KV, in one request unless it says
otherwise. Tests assert 20 MB for values of any size up to 1 MB, 30 MB for the fold, and 28 MB for the re-key; and that a backfill of
500 values of 250 KB lives with 32 MB of JavaScript's memory:

${memory(results)}

## What the routes add to a Worker

A minimal axum Worker, without the routes and with them and one migration:

${sizes(added)}

What the routes offer to operate migrations is a part of it, gzipped, each measured when it was added: runs that go only so far 1,950
bytes, a plan with its findings 2,260, revisions 1,280, marks 1,060, a baseline 550, the token that may only read 320, the
refusal of a body 440, and rollbacks of several 4,150.

What a migration of each kind adds to that, without the names of functions. A second one of the same kind adds only its own
code:

${sizesOfKinds(addedByKinds)}

The last column is what a service pays that has no migrations yet. What a backfill of JSON adds over one of text is serde_json,
which reads and writes a \`Value\`: by itself, in the Worker without the routes, that adds ${count(addedByJson.gzipped)} bytes gzipped.

The same Worker with two migrations, without a coordinator and with one, which is in the WebAssembly of those that ask for
it:

${sizes(addedByCoordinator)}

From nothing to the first answer, by starting a workerd for it:

${table(["Worker", "median", "fastest", "starts"], results.coldStarts.map(start))}

One request after the other within the runtime, after as many to warm up:

${table(["request", "time"], results.requestTimes.map(({ name, microseconds }) => [name, `${microseconds.toFixed()} µs`]))}

## How it grows

Natively, by criterion; \`n\` is how many migrations are registered, or how long the path of a request is. An exponent of 1
is time in proportion to \`n\`, 0 is time that does not depend on it. Registering looks each id up in a sorted list, which is
n·log n, 1.13 at that size; a run and a status do the same once more. What is mounted is made and dropped with its
migrations. A path is looked at and, if it is a rollback's, decoded.

${table(["what", "smallest", "largest", "exponent at the large end"], growths.map(growth))}

${groups.map((group) => `![Time by ${group}](benchmarks/${group}.svg)`).join("\n\n")}

## Ten million records

Backfills by the runner alone, natively, on a store that makes up its records, at the default budget and by a clock that
nobody waits for (\`cargo bench -p kv-migrations --features testing --bench long\`):

${read("target/long.md").trim()}
`;
}

const { values } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
const directory = path.join(ROOT, values.quick ? "target/benchmarks" : "docs");
const measured = { results: await measure(values.quick), added: routes(), addedByKinds: kinds(), addedByJson: serdeJson(), addedByCoordinator: coordinator(), growths: growths() };
const groups = [...new Set(measured.growths.map(({ group }) => group))];

const plots = path.join(directory, "benchmarks");
mkdirSync(plots, { recursive: true });
const status = measured.results.idle.filter(({ what }) => what === "status");
const operations = (runner) => status.map((row) => [row.registered, row[runner].operations]);
writeFileSync(
  path.join(plots, "status.svg"),
  plot({
    title: "GET /migrations/status",
    x: { label: "registered migrations", format: count },
    y: { label: "KV operations", format: count },
    series: [
      { name: "TypeScript", points: operations("typescript") },
      { name: "this project", points: operations("rust") },
    ],
  }),
);
for (const group of groups) {
  const series = measured.growths.filter((growth) => growth.group === group);
  const chart = { title: `Time by ${group}`, x: { label: group, format: count }, y: { label: "time", format: time }, series };
  writeFileSync(path.join(plots, `${group}.svg`), plot(chart));
}
const file = path.join(directory, "benchmarks.md");
writeFileSync(file, page({ ...measured, groups }));
console.log(file);

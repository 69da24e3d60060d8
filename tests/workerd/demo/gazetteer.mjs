/**
 * Real data, migrated over many requests by a server that is killed in the middle of three of them or more. In the end
 * every entry is compared with the source.
 *
 *     node demo/gazetteer.mjs --directory DIRECTORY [--limit N] [--by-value] [--and-back]
 *
 * The KV is kept in the directory, which is emptied first. With `--limit` only the first places are migrated, with
 * `--by-value` by the Worker's variant of one migration, with `--and-back` all migrations are rolled back in the end. The
 * Worker `examples/gazetteer` has to be built.
 */
import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { Client, TOKEN } from "../harness/client.mjs";
import { startProcess } from "../harness/process.mjs";
import { startWorker } from "../harness/worker.mjs";
import { printNumbers } from "./numbers.mjs";
import {
  BY_COUNTRY,
  BY_NAME,
  INDEX,
  NORMALISE,
  differences,
  entriesAtEnd,
  entriesAtStart,
  entriesByValueAtEnd,
  entriesByValueAtStart,
  readPlaces,
} from "./places.mjs";

const GAZETTEER = fileURLToPath(new URL("../../../examples/gazetteer", import.meta.url));

/** The server is killed in the middle of each phase in `kills`: where it writes or deletes, or gathers a state. */
const THREE_MIGRATIONS = {
  ids: [NORMALISE, BY_COUNTRY, INDEX],
  kills: [[NORMALISE, "entries"], [BY_COUNTRY, "copy"], [BY_COUNTRY, "sweep"], [INDEX, "entries"]],
  bindings: {},
  atStart: entriesAtStart,
  atEnd: entriesAtEnd,
};
const BY_VALUE = {
  ids: [BY_NAME],
  kills: [[BY_NAME, "survey"], ...["copy", "copy", "sweep", "sweep"].map((phase) => [BY_NAME, phase])],
  bindings: { VARIANT: "by-value" },
  atStart: entriesByValueAtStart,
  atEnd: (places) => entriesByValueAtEnd(places, (movedAt) => movedAt >= startedAt && movedAt <= Date.now()),
};
/** With fewer places, migrations can be done before there is a chance to kill the server. */
const ENOUGH_TO_KILL = 1_500;
const SHOWN_DIFFERENCES = 20;

const { values: options } = parseArgs({
  options: {
    directory: { type: "string" },
    limit: { type: "string" },
    "by-value": { type: "boolean", default: false },
    "and-back": { type: "boolean", default: false },
  },
});
assert.ok(options.directory, "--directory is needed");
const variant = options["by-value"] ? BY_VALUE : THREE_MIGRATIONS;
const startedAt = Date.now();
const kv = path.join(options.directory, "kv");

function heading(title) {
  console.log(`\n== ${title}`);
}

/** The last line of a terminal. Elsewhere each phase is told once. */
const progress = {
  last: "",
  show(title, phase, done, total) {
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${title}: ${phase} ${done}/${total ?? "?"}`);
    else if (this.last !== (this.last = `${title}: ${phase}`)) console.log(this.last);
  },
  say(line) {
    console.log(process.stdout.isTTY ? `\r\x1b[K${line}` : line);
  },
};

/** Does some work with the KV while no server has it. */
async function withKv(work) {
  const worker = await startWorker(GAZETTEER, { kvPersist: kv });
  try {
    return await work(worker);
  } finally {
    await worker.stop();
  }
}

async function serve() {
  const bindings = { MIGRATIONS_TOKEN: TOKEN, KV_DELAY_SECONDS: "1", ...variant.bindings };
  const server = await startProcess(GAZETTEER, { kvPersist: kv, bindings }, options.directory);
  return { server, client: new Client(server) };
}

/** The answer to a request; an error if the connection broke. */
function ask(client, method, url) {
  const init = { signal: AbortSignal.timeout(120_000) };
  return client.send(method, url, {}, init).then((answer) => ({ answer }), (error) => ({ error }));
}

function assertAnswered({ answer, error }, url, server) {
  if (error) throw new Error(`the connection broke during ${url}. The server printed:\n${server.output}`, { cause: error });
  assert.ok([200, 202].includes(answer.status), `${url} was answered with ${answer.status}: ${answer.text}`);
  return { ...answer.json, isDone: answer.status === 200, wait: 1_000 * Number(answer.headers.get("retry-after")) };
}

/** Runs all migrations, and gives what that took. */
async function migrate() {
  const run = { requests: {}, kills: [], operations: 0 };
  const due = variant.kills.map((kill) => kill.join());
  /** How many milliseconds it takes until a request is in the middle of its work: half as long as the last one took. */
  let untilMiddle;
  let current = { id: variant.ids[0] };
  let { server, client } = await serve();
  const isKilled = async (asked) => {
    const { id, progress: at } = current;
    const isUnderWay = at && at.done > 0 && (at.total === undefined || at.done * 4 >= at.total);
    if (!isUnderWay || !due.includes([id, at.phase].join())) return false;
    const isPending = await Promise.race([asked.then(() => false), sleep(untilMiddle, true)]);
    if (isPending) {
      await server.kill();
      ({ server, client } = await serve());
      if ((await asked).error) {
        due.splice(due.indexOf([id, at.phase].join()), 1);
        run.kills.push({ id, phase: at.phase });
        progress.say(`${id}: killed the server in the middle of \`${at.phase}\``);
        return true;
      }
    }
    // It was answered first, or at the last moment.
    return false;
  };

  for (let report; !report?.isDone; ) {
    run.requests[current.id] = (run.requests[current.id] ?? 0) + 1;
    const askedAt = performance.now();
    const asked = ask(client, "POST", "/migrate").finally(() => (untilMiddle = (performance.now() - askedAt) / 2));
    if (await isKilled(asked)) continue;
    report = assertAnswered(await asked, "POST /migrate", server);
    run.operations += report.operations;
    for (const id of report.ran) progress.say(`${id}: applied`);
    const [id] = report.remaining;
    if (report.progress) progress.show(id, report.progress.phase, report.progress.done, report.progress.total);
    current = { id, progress: report.progress };
    await sleep(report.wait);
  }
  const { answer } = await ask(client, "GET", "/migrations/status?require=up-to-date");
  assert.equal(answer?.status, 200, `not every migration is applied: ${answer?.text}`);
  await server.kill();
  return { ...run, applied: answer.json };
}

async function rollBack() {
  const { server, client } = await serve();
  for (const id of [...variant.ids].reverse()) {
    const url = `/migrations/${id}/rollback`;
    for (let report; !report?.isDone; await sleep(report.wait)) {
      report = assertAnswered(await ask(client, "POST", url), url, server);
      if (report.progress) progress.show(id, report.progress.phase, report.progress.done, report.progress.total);
    }
    progress.say(`${id}: rolled back`);
  }
  await server.kill();
}

async function check(expected) {
  const found = await withKv((worker) => differences(expected, worker.texts()));
  for (const difference of found.slice(0, SHOWN_DIFFERENCES)) console.log(`  NOT AS EXPECTED  ${difference}`);
  assert.equal(found.length, 0, `the demo failed: ${found.length} entries are not as expected`);
  console.log(`all ${expected.size} entries are as expected, and there are no others`);
}

const places = readPlaces(options.limit === undefined ? undefined : Number(options.limit));
rmSync(options.directory, { recursive: true, force: true });
mkdirSync(kv, { recursive: true });

heading(`${places.length} places into the local KV`);
const entries = [...variant.atStart(places)].map(([key, { value, isText }]) => ({
  key,
  value: isText ? value : JSON.stringify(value),
}));
await withKv(async (worker) => {
  for (let start = 0; start < entries.length; start += 1_000) {
    await worker.load(entries.slice(start, start + 1_000));
    progress.show("loading", "entries", start, entries.length);
  }
});

heading("Migrations");
const start = performance.now();
const run = await migrate();
const seconds = (performance.now() - start) / 1_000;

heading("Every key, value and metadata against the source");
await check(variant.atEnd(places));

heading("Numbers");
printNumbers(run, places, seconds);
const isKilledOften = run.kills.length >= 3 || places.length < ENOUGH_TO_KILL;
assert.ok(isKilledOften, `the server could be killed only ${run.kills.length} times in the middle of a request`);

if (options["and-back"]) {
  heading("And back");
  await rollBack();
  await check(variant.atStart(places));
}
rmSync(options.directory, { recursive: true });

// A Worker lives with little memory for JavaScript, beside which its WebAssembly has its own.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";

import { rust } from "./bench/subject.mjs";
import { Workerd, configure } from "./harness/workerd.mjs";

/** In megabytes. Cloudflare gives a Worker 128, for WebAssembly too. */
const HEAP = 32;
const v8Flags = [`--max-heap-size=${HEAP}`];
const TOKEN = "dev-token";

const module = async (name) => ({
  type: "ESModule",
  path: path.basename(name),
  contents: await readFile(new URL(name, import.meta.url)),
});

/** Answers after it has held a number of megabytes of JavaScript's memory. */
const hoarder = {
  type: "ESModule",
  path: "hoarder.js",
  contents: `export default {
    fetch(request) {
      const held = [];
      for (let megabytes = Number(new URL(request.url).searchParams.get("megabytes")); megabytes > 0; megabytes -= 1) {
        held.push(Array.from({ length: 131_072 }, (_, index) => index + 0.5));
      }
      return new Response(String(held.length));
    },
  };`,
};

const directory = await mkdtemp(path.join(tmpdir(), "kv-migrations-"));
after(() => rm(directory, { recursive: true }));

async function start(t, name, worker) {
  const running = await Workerd.start(await configure(directory, name, worker));
  t.after(() => running.stop());
  return running;
}

test(`a Worker that holds more than ${HEAP} MB of JavaScript's memory dies here`, async (t) => {
  const small = await start(t, "small", { modules: [hoarder], v8Flags });
  assert.equal(await (await small.fetch("/?megabytes=8")).text(), "8");
  await assert.rejects(small.fetch(`/?megabytes=${HEAP + 4}`));
  await small.exit;
  assert.match(small.stderr, /heap/i);

  const usual = await start(t, "usual", { modules: [hoarder] });
  assert.equal(await (await usual.fetch(`/?megabytes=${HEAP + 4}`)).text(), String(HEAP + 4), "it does not, without that limit");
});

test(`a backfill of 500 values of 250 KB lives with ${HEAP} MB of JavaScript's memory`, async (t) => {
  const counting = { type: "ESModule", path: "counting.mjs", contents: "export default false;" };
  const modules = [await module("bench/entry.mjs"), await module("bench/instance.mjs"), counting, ...(await rust("measured"))];
  const kv = await module("harness/vast-kv.mjs");
  const worker = await start(t, "backfill", { modules, kv, v8Flags, bindings: { MIGRATIONS_TOKEN: TOKEN } });
  await worker.fetch("/", { method: "POST", headers: { seed: JSON.stringify({ records: 500, bytes: 250_000 }) } });

  const headers = { authorization: `Bearer ${TOKEN}`, migrations: "backfill", records: "customer_", budget: "none" };
  const answer = await worker.fetch("/migrate", { method: "POST", headers });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  // The KV refuses a customer that is written without its change.
  assert.equal(JSON.parse(text).details[0].entries.changed, 500);
  t.diagnostic(answer.headers.get("measured"));
});

/**
 * What V8 compiles for the first request of an isolate: a function of WebAssembly when it is called first. The number of
 * functions and their bytes are the same each time.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { Workerd, configure } from "../harness/workerd.mjs";

const TOKEN = "dev-token";
const CUSTOMERS = "customer_";
const v8Flags = ["--trace-wasm-compilation-times"];
/** `Compiled function 0x1234#56 using Liftoff, took 7 μs and 89 bytes; bodysize 72 codesize 536` */
const COMPILED = /#(\d+) using Liftoff, .* bodysize (\d+) /g;

const module = async (name) => ({ type: "ESModule", path: name, contents: await readFile(new URL(name, import.meta.url)) });

/**
 * @param {{ title: string, modules: object[], migrations?: string, records?: number }[]} cases a greeting, or a backfill of
 *   `records` entries
 * @returns how many functions each compiles, and how many bytes of WebAssembly these have
 */
export async function compiled(cases) {
  const directory = await mkdtemp(path.join(tmpdir(), "kv-migrations-"));
  try {
    const rows = [];
    for (const [index, each] of cases.entries()) rows.push({ title: each.title, ...(await compiledBy(directory, `${index}`, each)) });
    return rows;
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function compiledBy(directory, name, { modules, migrations, records }) {
  const counting = { type: "ESModule", path: "counting.mjs", contents: "export default false;" };
  const config = await configure(directory, name, {
    modules: [await module("entry.mjs"), await module("instance.mjs"), counting, ...modules],
    kv: await module("stub.mjs"),
    bindings: { MIGRATIONS_TOKEN: TOKEN },
    v8Flags,
  });
  const worker = await Workerd.start(config);
  try {
    const seed = JSON.stringify({ prefix: CUSTOMERS, records: records ?? 0, bytes: 0 });
    await worker.fetch("/", { method: "POST", headers: { seed } });
    const headers = { authorization: `Bearer ${TOKEN}`, migrations, records: CUSTOMERS, budget: "none" };
    const [method, route] = migrations === undefined ? ["GET", "/"] : ["POST", "/migrate"];
    const answer = await worker.fetch(route, { method, headers: migrations === undefined ? {} : headers });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    await answer.text();
  } finally {
    await worker.stop();
  }
  const functions = new Map([...worker.stdout.matchAll(COMPILED)].map(([, number, bytes]) => [number, Number(bytes)]));
  return { functions: functions.size, bytes: [...functions.values()].reduce((sum, bytes) => sum + bytes, 0) };
}

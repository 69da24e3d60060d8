import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { Miniflare } from "miniflare";

import { COMPATIBILITY_DATE, KV_BINDING, LOADER, Loader, request } from "../harness/worker.mjs";

const TOKEN = "dev-token";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const module = async (name) => ({ type: "ESModule", path: path.basename(name), contents: await readFile(here(name)) });

/** A Worker in Rust, as `worker-build --release` left it. */
export async function rust(worker) {
  const built = (file) => readFile(here(`../workers/${worker}/build/${file}`));
  return [
    { type: "ESModule", path: "index.js", contents: await built("index.js") },
    { type: "CompiledWasm", path: "index_bg.wasm", contents: await built("index_bg.wasm") },
  ];
}

/** The Worker with the TypeScript runner. */
export async function typescript() {
  const entryPoints = [here("typescript/index.ts")];
  const { outputFiles } = await build({ entryPoints, bundle: true, minify: true, format: "esm", write: false });
  return [{ type: "ESModule", path: "index.js", contents: outputFiles[0].contents }];
}

/**
 * A Worker that is measured, in a workerd of its own. Its KV is behind a meter, in memory where the system has files there,
 * and is gone with it, unless a directory keeps it. Or it is a stub in the Worker's isolate, which costs next to nothing.
 */
export class Subject {
  /**
   * @param {{ kvPersist?: string, hasStub?: boolean, isCounting?: boolean }} [options]
   */
  static async start(name, modules, { kvPersist, hasStub = false, isCounting = false } = {}) {
    const counting = { type: "ESModule", path: "counting.mjs", contents: `export default ${isCounting};` };
    const kv = hasStub ? "stub" : "meter";
    const before = new Set(children());
    const miniflare = new Miniflare({
      workers: [
        {
          name: "subject",
          compatibilityDate: COMPATIBILITY_DATE,
          modules: [await module("entry.mjs"), await module("instance.mjs"), counting, ...modules],
          bindings: { MIGRATIONS_TOKEN: TOKEN },
          wrappedBindings: { [KV_BINDING]: { scriptName: kv } },
        },
        { name: kv, modules: [await module(`${kv}.mjs`)], kvNamespaces: hasStub ? {} : { kv: KV_BINDING } },
        { ...LOADER, kvNamespaces: { [KV_BINDING]: KV_BINDING } },
      ],
      host: "127.0.0.1",
      port: 0,
      kvPersist,
      cf: false,
      // The log of a run is not what is measured.
      handleRuntimeStdio: (...streams) => streams.forEach((stream) => stream.resume()),
    });
    const url = await miniflare.ready;
    return new Subject(name, miniflare, url, children().find((child) => !before.has(child)));
  }

  #miniflare;
  #loader;
  #url;
  #process;

  constructor(name, miniflare, url, process) {
    this.name = name;
    this.#process = process;
    this.#miniflare = miniflare;
    this.#loader = new Loader(miniflare);
    this.#url = url;
  }

  /** Asks it once, and gives the answer, the KV operations, and how many milliseconds it took. */
  async ask(method, route, headers = {}) {
    const start = performance.now();
    const answer = await request(new URL(route, this.#url), {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
    });
    const text = await answer.text();
    const took = performance.now() - start;
    if (!answer.ok) throw new Error(`${this.name} answered ${answer.status} to ${method} ${route}: ${text}`);
    return { status: answer.status, headers: answer.headers, text, took, ...JSON.parse(answer.headers.get("measured")) };
  }

  /** How many milliseconds its thread has computed. Linux tells. */
  get processorTime() {
    const [nanoseconds] = readFileSync(`/proc/${this.#process}/task/${this.#process}/schedstat`, "utf8").split(" ");
    return Number(nanoseconds) / 1e6;
  }

  /** Puts entries, past the meter. */
  put(entries) {
    return this.#loader.load(KV_BINDING, entries);
  }

  /** All entries, past the meter, page by page. */
  entries() {
    return this.#loader.entries(KV_BINDING, { asText: true });
  }

  /** Deletes keys, past the meter. */
  async delete(keys) {
    const kv = await this.#miniflare.getKVNamespace(KV_BINDING, LOADER.name);
    await Promise.all(keys.map((key) => kv.delete(key)));
  }

  stop() {
    return this.#miniflare.dispose();
  }
}

/** The processes that this one has started. */
function children() {
  const file = `/proc/${process.pid}/task/${process.pid}/children`;
  return existsSync(file) ? readFileSync(file, "utf8").trim().split(" ").filter(Boolean) : [];
}

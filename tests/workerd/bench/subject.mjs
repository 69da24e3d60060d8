import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { Miniflare } from "miniflare";

import { COMPATIBILITY_DATE, KV_BINDING, request } from "../harness/worker.mjs";
import { children } from "./process-memory.mjs";

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
 * and is gone with it, unless a directory keeps it.
 */
export class Subject {
  static async start(name, modules, kvPersist) {
    const shared = { compatibilityDate: COMPATIBILITY_DATE };
    const others = await children("workerd");
    const miniflare = new Miniflare({
      workers: [
        {
          ...shared,
          name: "subject",
          modules: [await module("entry.mjs"), await module("memory.mjs"), ...modules],
          bindings: { MIGRATIONS_TOKEN: TOKEN },
          wrappedBindings: { [KV_BINDING]: { scriptName: "meter" } },
        },
        { name: "meter", modules: [await module("meter.mjs")], kvNamespaces: { kv: KV_BINDING } },
        {
          ...shared,
          name: "store",
          modules: [await module("../harness/store.worker.mjs")],
          kvNamespaces: { [KV_BINDING]: KV_BINDING },
        },
      ],
      host: "127.0.0.1",
      port: 0,
      kvPersist,
      cf: false,
      // The log of a run is not what is measured.
      handleRuntimeStdio: (...streams) => streams.forEach((stream) => stream.resume()),
    });
    const url = await miniflare.ready;
    const pid = (await children("workerd")).find((pid) => !others.includes(pid));
    return new Subject(name, miniflare, url, pid);
  }

  #miniflare;
  #url;

  constructor(name, miniflare, url, pid) {
    this.name = name;
    /** Of its workerd; undefined where nobody knows. */
    this.pid = pid;
    this.#miniflare = miniflare;
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

  /** Puts entries, past the meter. */
  async put(entries) {
    for (let start = 0; start < entries.length; start += 1_000) {
      await this.#store("", { method: "PUT", body: JSON.stringify(entries.slice(start, start + 1_000)) });
    }
  }

  /** All entries, past the meter, page by page. */
  async *entries() {
    let cursor;
    do {
      const answer = await this.#store(cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`);
      const page = await answer.json();
      yield* page.entries;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  /** Deletes keys, past the meter. */
  async delete(keys) {
    const kv = await this.#miniflare.getKVNamespace(KV_BINDING, "store");
    await Promise.all(keys.map((key) => kv.delete(key)));
  }

  async #store(query, init) {
    const store = await this.#miniflare.getWorker("store");
    const answer = await store.fetch(`http://store/${query}`, init);
    if (!answer.ok) throw new Error(`the store answered ${answer.status}: ${await answer.text()}`);
    return answer;
  }

  stop() {
    return this.#miniflare.dispose();
  }
}

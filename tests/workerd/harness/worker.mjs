import { existsSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { Readable } from "node:stream";

import { Miniflare } from "miniflare";

import { dumpNamespace, loadNamespace } from "./namespace.mjs";

/** The name that the examples give to their KV binding. */
export const KV_BINDING = "MY_SERVICE_KV";

export const COMPATIBILITY_DATE = "2026-04-01";

/**
 * Starts a Worker that `worker-build` built, in workerd.
 *
 * @param {string} directory the Worker's crate: it holds `build/index.js`
 * @param {object} [options] those below; any other is handed to Miniflare as it is (`durableObjects`, for instance)
 * @param {import("./namespace.mjs").Entry[]} [options.namespace] what the first KV namespace holds at the start
 * @param {Record<string, string>} [options.bindings] variables and secrets
 * @param {string[]} [options.kvNamespaces] the names of the KV bindings
 * @param {string} [options.kvPersist] a directory that keeps the namespaces; without it they live in memory
 * @param {number} [options.port] 0: any that is free
 */
export async function startWorker(
  directory,
  { namespace = [], bindings = {}, kvNamespaces = [KV_BINDING], kvPersist, port = 0, ...miniflareOptions } = {},
) {
  const miniflare = new Miniflare({
    ...modules(path.resolve(directory, "build")),
    compatibilityDate: COMPATIBILITY_DATE,
    bindings,
    kvNamespaces,
    kvPersist,
    host: "127.0.0.1",
    port,
    // A made-up `Request.cf`: the real one would be fetched from the network.
    cf: false,
    // The standard output belongs to the one who started the Worker.
    handleRuntimeStdio: forwardToStderr,
    ...miniflareOptions,
  });
  try {
    const url = await miniflare.ready;
    const kv = (binding = kvNamespaces[0]) => miniflare.getKVNamespace(binding);
    if (namespace.length > 0) await loadNamespace(await kv(), namespace);
    return new RunningWorker(miniflare, url, kv);
  } catch (error) {
    await miniflare.dispose();
    throw error;
  }
}

class RunningWorker {
  #miniflare;

  constructor(miniflare, url, kv) {
    this.#miniflare = miniflare;
    /** Where it listens. @type {URL} */
    this.url = url;
    /** The namespace of a binding, by default the first, to look into or to change behind the Worker's back. */
    this.kv = kv;
  }

  /**
   * A request over HTTP, as any client would send it. Each has a connection of its own: workerd closes one on which a
   * body was left unread, and Node's own `fetch` may just then be using it again.
   *
   * @param {string} path
   * @param {{ method?: string, headers?: Record<string, string>, body?: string, signal?: AbortSignal }} [init]
   * @returns {Promise<Response>}
   */
  fetch(path, { body, ...init } = {}) {
    return new Promise((resolve, reject) => {
      const request = http.request(new URL(path, this.url), { ...init, agent: false }, (incoming) => {
        const headers = Object.entries(incoming.headers);
        resolve(new Response(Readable.toWeb(incoming), { status: incoming.statusCode, headers }));
      });
      request.on("error", reject).end(body);
    });
  }

  /** All that a namespace holds, in the format of `fixtures/typescript-namespace.json`. */
  async dump(binding) {
    return dumpNamespace(await this.kv(binding));
  }

  stop() {
    return this.#miniflare.dispose();
  }
}

function modules(modulesRoot) {
  const scriptPath = path.join(modulesRoot, "index.js");
  if (!existsSync(scriptPath)) {
    throw new Error(`${scriptPath} does not exist: build the Worker first (cargo xtask build, or cargo xtask test)`);
  }
  return {
    modules: true,
    modulesRoot,
    scriptPath,
    modulesRules: [{ type: "CompiledWasm", include: ["**/*.wasm"], fallthrough: true }],
  };
}

/** Chunk by chunk: to pipe many Workers into the one standard error would add listeners to it for each. */
function forwardToStderr(stdout, stderr) {
  for (const stream of [stdout, stderr]) stream.on("data", (chunk) => process.stderr.write(chunk));
}

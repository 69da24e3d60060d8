import { existsSync, readFileSync, statfsSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

import { Miniflare } from "miniflare";

/** The name that the examples give to their KV binding. */
export const KV_BINDING = "MY_SERVICE_KV";

export const COMPATIBILITY_DATE = "2026-04-01";

/** Newer dates imply it. With it, the handle of a timer is an object, at which `worker::Delay` hangs in a dev build. */
export const COMPATIBILITY_FLAGS = ["nodejs_compat"];

/** A file system in memory, on Linux. */
const MEMORY = "/dev/shm";

/** Miniflare keeps in temporary files what it keeps for no longer than it runs, and waits for the disk at every write. */
if (existsSync(MEMORY) && freeMegabytes(MEMORY) > 256) process.env.TMPDIR ??= MEMORY;

/** The Worker that loads and dumps namespaces: see `Loader`. */
export const LOADER = {
  name: "loader",
  modules: true,
  modulesRoot: fileURLToPath(new URL(".", import.meta.url)),
  scriptPath: fileURLToPath(new URL("loader.mjs", import.meta.url)),
  modulesRules: [{ type: "ESModule", include: ["**/*.mjs"] }],
  compatibilityDate: COMPATIBILITY_DATE,
  compatibilityFlags: COMPATIBILITY_FLAGS,
};

/** The options of a Worker that has its KV by way of a wrapper. */
const WRAPPED = { kvNamespaces: {}, wrappedBindings: { [KV_BINDING]: { scriptName: "wrapper" } } };

function wrapper(file) {
  const contents = readFileSync(new URL(file, import.meta.url), "utf8");
  return { name: "wrapper", modules: [{ type: "ESModule", path: file, contents }], kvNamespaces: { kv: KV_BINDING } };
}

/** How many entries one request to the loader puts. */
const LOADED_AT_ONCE = 1_000;

/**
 * Starts a Worker that `worker-build` built, in workerd.
 *
 * @param {string} directory the Worker's crate: it holds `build/index.js`
 * @param {object} [options] those below; any other is handed to Miniflare as one of the Worker (`durableObjects`, for
 *   instance)
 * @param {import("./namespace.mjs").Entry[]} [options.namespace] what the first KV namespace holds at the start
 * @param {Record<string, string>} [options.bindings] variables and secrets
 * @param {string[] | Record<string, string>} [options.kvNamespaces] the names of the KV bindings, each with a namespace
 *   of its own; or each with the name of its namespace
 * @param {string} [options.kvPersist] a directory that keeps the namespaces; without it they live in memory
 * @param {string} [options.kvWrapper] a module of this directory that stands between the Worker and its first KV namespace
 * @param {Record<string, string | object>} [options.objects] the classes of Durable Objects, by the names of their
 *   bindings; for the class of another Worker, `{ className, scriptName }`
 * @param {object[]} [options.others] more Workers of the same crate beside it, each with a `name`, `bindings` and
 *   `objects`, or other options of Miniflare
 * @param {string} [options.objectsPersist] a directory that keeps what they store, and their alarms
 * @param {number} [options.port] 0: any that is free
 * @param {(stdout: Readable, stderr: Readable) => void} [options.handleRuntimeStdio] what becomes of the Worker's
 *   output; without it, it goes to the standard error, since the standard output belongs to the one who started it
 */
export async function startWorker(
  directory,
  {
    namespace = [],
    bindings = {},
    kvNamespaces = [KV_BINDING],
    kvPersist,
    kvWrapper,
    objects = {},
    others = [],
    objectsPersist,
    port = 0,
    handleRuntimeStdio = forwardToStderr,
    ...workerOptions
  } = {},
) {
  const shared = {
    compatibilityDate: COMPATIBILITY_DATE,
    compatibilityFlags: COMPATIBILITY_FLAGS,
    kvNamespaces,
    ...modules(path.resolve(directory, "build")),
  };
  const worker = ({ objects = {}, ...options }) => ({ ...shared, durableObjects: withSqlite(objects), ...options });
  const miniflare = new Miniflare({
    workers: [
      worker({ bindings, objects, ...workerOptions, ...(kvWrapper && WRAPPED) }),
      ...others.map(worker),
      ...(kvWrapper ? [wrapper(kvWrapper)] : []),
      { ...LOADER, kvNamespaces },
    ],
    kvPersist,
    durableObjectsPersist: objectsPersist,
    host: "127.0.0.1",
    port,
    // A made-up `Request.cf`: the real one would be fetched from the network.
    cf: false,
    handleRuntimeStdio,
  });
  try {
    const [binding] = Array.isArray(kvNamespaces) ? kvNamespaces : Object.keys(kvNamespaces);
    const running = new RunningWorker(miniflare, await miniflare.ready, binding);
    if (namespace.length > 0) await running.load(namespace);
    return running;
  } catch (error) {
    await miniflare.dispose();
    throw error;
  }
}

/**
 * A request over HTTP. Each has a connection of its own: workerd closes one on which a body was left unread, and Node's
 * own `fetch` may just then be using it again.
 *
 * @param {URL} url
 * @param {{ method?: string, headers?: Record<string, string>, body?: string, signal?: AbortSignal }} [init]
 * @returns {Promise<Response>}
 */
export function request(url, { body, ...init } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { ...init, agent: false }, (incoming) => {
      const headers = Object.entries(incoming.headers);
      resolve(new Response(Readable.toWeb(incoming), { status: incoming.statusCode, headers }));
    });
    request.on("error", reject).end(body);
  });
}

/** Loads and dumps the namespaces of a Miniflare in which `LOADER` runs. */
export class Loader {
  #miniflare;

  constructor(miniflare) {
    this.#miniflare = miniflare;
  }

  /** Puts entries. @param {import("./namespace.mjs").Entry[]} entries */
  async load(binding, entries) {
    for (let start = 0; start < entries.length; start += LOADED_AT_ONCE) {
      await this.#ask("POST", binding, JSON.stringify(entries.slice(start, start + LOADED_AT_ONCE)));
    }
  }

  /** All entries, page by page. @param {{ asText?: boolean }} [options] `asText`: see `dumpPage` */
  async *entries(binding, { asText = false } = {}) {
    let cursor;
    do {
      const query = new URLSearchParams({ ...(cursor !== undefined && { cursor }), ...(asText && { text: "" }) });
      const page = await (await this.#ask("GET", `${binding}?${query}`)).json();
      yield* page.entries;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  async #ask(method, path, body) {
    const loader = await this.#miniflare.getWorker(LOADER.name);
    const send = () => loader.fetch(`http://loader/${path}`, { method, body });
    // Miniflare keeps a connection that workerd may close just then. Either request can be made again.
    const response = await send().catch(send);
    if (!response.ok) throw new Error(`the loader answered ${response.status}: ${await response.text()}`);
    return response;
  }
}

class RunningWorker {
  #miniflare;
  #loader;
  #binding;
  #stopped;

  constructor(miniflare, url, binding) {
    this.#miniflare = miniflare;
    this.#loader = new Loader(miniflare);
    this.#binding = binding;
    /** Where it listens. @type {URL} */
    this.url = url;
  }

  /** The namespace of a binding, by default the first, to look into or to change behind the Worker's back. */
  kv(binding = this.#binding) {
    return this.#miniflare.getKVNamespace(binding, LOADER.name);
  }

  /** The D1 database of a binding. */
  d1(binding) {
    return this.#miniflare.getD1Database(binding);
  }

  /** The Durable Object of this name. */
  async object(binding, name) {
    const objects = await this.#miniflare.getDurableObjectNamespace(binding);
    return objects.get(objects.idFromName(name));
  }

  /** Puts a secret into the Secrets Store, behind the binding of this name. */
  async store(binding, secret) {
    const admin = await this.#miniflare.getSecretsStoreSecretAPI(binding);
    await admin().create(secret);
  }

  /** A request over HTTP, as any client would send it: see `request`. */
  fetch(path, init) {
    return request(new URL(path, this.url), init);
  }

  /** Puts entries into a namespace. @param {import("./namespace.mjs").Entry[]} entries */
  load(entries, binding = this.#binding) {
    return this.#loader.load(binding, entries);
  }

  /** All that a namespace holds, in the format of `fixtures/typescript-namespace.json`. */
  async dump(binding = this.#binding) {
    const entries = [];
    for await (const entry of this.#loader.entries(binding)) entries.push(entry);
    return entries;
  }

  /** The same for many entries whose values are text, one by one. */
  texts(binding = this.#binding) {
    return this.#loader.entries(binding, { asText: true });
  }

  /** Stops it, if it still runs. */
  stop() {
    return (this.#stopped ??= this.#miniflare.dispose());
  }
}

function freeMegabytes(directory) {
  const { bavail, bsize } = statfsSync(directory);
  return (bavail * bsize) / 2 ** 20;
}

function withSqlite(objects) {
  const class_ = (object) => (typeof object === "string" ? { className: object } : object);
  return Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, { ...class_(object), useSQLite: true }]));
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

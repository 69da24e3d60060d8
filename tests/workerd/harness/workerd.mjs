/** Runs workerd by a configuration of its own: without Miniflare, which would be started too, and which has no setting for V8. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";

import { COMPATIBILITY_DATE, KV_BINDING, request } from "./worker.mjs";

const workerd = createRequire(import.meta.resolve("miniflare"))("workerd").default;

/** How workerd is told what becomes `request.cf`. */
const CF_HEADER = "cf-blob";
const KINDS = { ESModule: "esModule", CompiledWasm: "wasm" };

/** @typedef {{ type: string, path: string, contents: Buffer | string }} Module */

/**
 * Writes the configuration of a Worker.
 *
 * @param {string} directory where it is written, with the modules
 * @param {string} name that of its files
 * @param {object} worker
 * @param {Module[]} worker.modules the first one is entered
 * @param {Record<string, string>} [worker.bindings] variables and secrets
 * @param {Module} [worker.kv] what it has for its KV, in its own isolate
 * @param {string[]} [worker.v8Flags] for every isolate
 * @returns {Promise<string>} the file
 */
export async function configure(directory, name, { modules, bindings = {}, kv, v8Flags = [] }) {
  const text = JSON.stringify;
  const embedded = async ({ path: file, contents }) => {
    await writeFile(path.join(directory, `${name}-${file}`), contents);
    return `embed ${text(`${name}-${file}`)}`;
  };
  const embeddedModules = [];
  for (const module of modules) embeddedModules.push(`(name = ${text(module.path)}, ${KINDS[module.type]} = ${await embedded(module)})`);
  const bound = Object.entries(bindings).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`);
  if (kv) bound.push(`(name = ${text(KV_BINDING)}, wrapped = (moduleName = "harness:kv"))`);
  const extensions = kv ? `(modules = [(name = "harness:kv", internal = true, esModule = ${await embedded(kv)})])` : "";
  const file = path.join(directory, `${name}.capnp`);
  await writeFile(
    file,
    `using Workerd = import "/workerd/workerd.capnp";
const worker :Workerd.Worker = (
  modules = [${embeddedModules.join(", ")}],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  bindings = [${bound.join(", ")}],
);
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (cfBlobHeader = "${CF_HEADER}"), service = "main")],
  v8Flags = [${v8Flags.map(text).join(", ")}],
  extensions = [${extensions}],
);
`,
  );
  return file;
}

/** A workerd that runs. */
export class Workerd {
  #process;
  #port;
  #stdout = "";
  #stderr = "";

  /** @param {string} config a file that `configure` wrote */
  static async start(config) {
    const process = spawn(workerd, ["serve", config, "--control-fd=3"], { stdio: ["ignore", "pipe", "pipe", "pipe"] });
    const running = new Workerd(process);
    const ended = running.exit.then((code) => Promise.reject(new Error(`workerd exited with ${code}: ${running.stderr}`)));
    try {
      running.#port = await Promise.race([listening(process.stdio[3]), ended]);
    } finally {
      ended.catch(() => {});
    }
    return running;
  }

  constructor(process) {
    this.#process = process;
    process.stdout.setEncoding("utf8").on("data", (text) => (this.#stdout += text));
    process.stderr.setEncoding("utf8").on("data", (text) => (this.#stderr += text));
    /** With what it exits: a number, or the name of a signal. @type {Promise<number | string>} */
    this.exit = once(process, "close").then(([code, signal]) => code ?? signal);
  }

  /** What V8 has traced, if its flags say so. */
  get stdout() {
    return this.#stdout;
  }

  /** What it has complained about. */
  get stderr() {
    return this.#stderr;
  }

  /** A request over HTTP: see `request`. */
  fetch(route, { headers, ...init } = {}) {
    const cf = { [CF_HEADER]: JSON.stringify({ httpProtocol: "HTTP/1.1" }) };
    return request(new URL(`http://127.0.0.1:${this.#port}${route}`), { ...init, headers: { ...cf, ...headers } });
  }

  async stop() {
    this.#process.kill("SIGKILL");
    await this.exit;
  }
}

async function listening(control) {
  for await (const line of createInterface({ input: control })) {
    const { event, port } = JSON.parse(line);
    if (event === "listen") return port;
  }
  throw new Error("workerd does not listen");
}

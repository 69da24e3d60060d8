/** How long it takes from nothing to the first answer: a workerd that is started for it, by turns. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import { COMPATIBILITY_DATE, request } from "../harness/worker.mjs";
import { median } from "./alternating.mjs";

const workerd = createRequire(import.meta.resolve("miniflare"))("workerd").default;

/** How workerd is told what becomes `request.cf`. */
const CF_HEADER = "cf-blob";

/**
 * @param {Record<string, { type: string, path: string, contents: Buffer }[]>} workers the modules of each, by name
 * @returns milliseconds, by name
 */
export async function coldStarts(workers, times) {
  const directory = await mkdtemp(path.join(tmpdir(), "kv-migrations-"));
  try {
    const took = Object.fromEntries(Object.keys(workers).map((name) => [name, []]));
    for (const [name, modules] of Object.entries(workers)) await configure(directory, name, modules);
    for (let time = 0; time < times; time += 1) {
      for (const name of Object.keys(workers)) took[name].push(await start(path.join(directory, `${name}.capnp`)));
    }
    return Object.entries(took).map(([name, all]) => ({ name, milliseconds: median(all), fastest: Math.min(...all), times }));
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function start(config) {
  const begin = performance.now();
  const stdio = ["ignore", "ignore", "inherit", "pipe"];
  const process = spawn(workerd, ["serve", config, "--control-fd=3"], { stdio });
  const exit = once(process, "exit");
  try {
    const port = await Promise.race([listening(process.stdio[3]), exit.then(([code]) => Promise.reject(new Error(`workerd exited with ${code}`)))]);
    const headers = { [CF_HEADER]: JSON.stringify({ httpProtocol: "HTTP/1.1" }) };
    const answer = await request(new URL(`http://127.0.0.1:${port}/`), { headers });
    if (!answer.ok) throw new Error(`${config} answered ${answer.status}`);
    await answer.text();
    return performance.now() - begin;
  } finally {
    process.kill("SIGKILL");
    await exit;
  }
}

async function listening(control) {
  for await (const line of createInterface({ input: control })) {
    const { event, port } = JSON.parse(line);
    if (event === "listen") return port;
  }
  throw new Error("workerd does not listen");
}

/** Without Miniflare, which would be started too. */
async function configure(directory, name, modules) {
  const kinds = { ESModule: "esModule", CompiledWasm: "wasm" };
  const embedded = [];
  for (const { type, path: file, contents } of modules) {
    await writeFile(path.join(directory, `${name}-${file}`), contents);
    embedded.push(`(name = ${JSON.stringify(file)}, ${kinds[type]} = embed ${JSON.stringify(`${name}-${file}`)})`);
  }
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [${embedded.join(", ")}], compatibilityDate = "${COMPATIBILITY_DATE}"))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (cfBlobHeader = "${CF_HEADER}"), service = "main")],
);
`;
  await writeFile(path.join(directory, `${name}.capnp`), config);
}

/**
 * Serves a built Worker until its standard input closes, or until SIGINT or SIGTERM:
 *
 *     node harness/serve.mjs DIRECTORY [--namespace FILE] [--persist DIRECTORY] [--binding NAME=VALUE]...
 *       [--object NAME=CLASS]... [--persist-objects DIRECTORY] [--port N]
 *
 * Once it listens, it prints `ready http://127.0.0.1:PORT`. With `--persist` its KV is kept in a directory, with
 * `--persist-objects` what its Durable Objects store.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { startWorker } from "./worker.mjs";

const USAGE = `usage: node harness/serve.mjs DIRECTORY [--namespace FILE] [--persist DIRECTORY] [--binding NAME=VALUE]...
  [--object NAME=CLASS]... [--persist-objects DIRECTORY] [--port N]`;

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      namespace: { type: "string" },
      persist: { type: "string" },
      binding: { type: "string", multiple: true, default: [] },
      object: { type: "string", multiple: true, default: [] },
      "persist-objects": { type: "string" },
      port: { type: "string", default: "0" },
    },
  });
  if (positionals.length !== 1) throw new Error("exactly one DIRECTORY is needed");
  return {
    directory: positionals[0],
    namespaceFile: values.namespace,
    kvPersist: values.persist,
    bindings: Object.fromEntries(values.binding.map(parseBinding)),
    objects: Object.fromEntries(values.object.map(parseBinding)),
    objectsPersist: values["persist-objects"],
    port: Number(values.port),
  };
}

function parseBinding(binding) {
  const separator = binding.indexOf("=");
  if (separator < 1) throw new Error(`${binding} is not NAME=VALUE`);
  return [binding.slice(0, separator), binding.slice(separator + 1)];
}

function asked(event, emitter) {
  return new Promise((resolve) => emitter.once(event, resolve));
}

function askedToStop() {
  process.stdin.resume();
  return Promise.race([
    asked("close", process.stdin),
    asked("end", process.stdin),
    asked("SIGINT", process),
    asked("SIGTERM", process),
  ]);
}

async function serve({ directory, namespaceFile, ...options }) {
  const stop = askedToStop();
  // Whoever is no longer there to read has closed the standard input as well.
  process.stdout.on("error", () => {});
  const namespace = namespaceFile ? JSON.parse(await readFile(namespaceFile, "utf8")) : [];
  const worker = await startWorker(directory, { namespace, ...options });
  console.log(`ready ${worker.url.origin}`);
  await stop;
  await worker.stop();
}

let options;
try {
  options = readArguments();
} catch (error) {
  console.error(`${error.message}\n${USAGE}`);
  process.exit(2);
}
await serve(options);
process.exit(0);

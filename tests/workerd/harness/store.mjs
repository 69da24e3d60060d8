/**
 * Fills or reads the KV that a served Worker keeps in a directory, while none serves it:
 *
 *     node harness/store.mjs put DIRECTORY < ENTRIES
 *     node harness/store.mjs dump DIRECTORY > ENTRIES
 *
 * An entry is a line of JSON, `{"key": …, "value": …, "metadata": …}`, whose value is text. `put` prints how many are
 * written, from time to time. From outside of the runtime, `getKVNamespace` takes three times as long.
 */
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Miniflare } from "miniflare";

import { COMPATIBILITY_DATE, KV_BINDING } from "./worker.mjs";

/** So many entries are written at once. */
const BATCH = 100;

const commands = { put, dump };

async function put(url) {
  let batch = [];
  let written = 0;
  const write = async () => {
    await send(url, { method: "PUT", body: `[${batch.join()}]` });
    written += batch.length;
    batch = [];
    console.log(written);
  };
  for await (const line of createInterface({ input: process.stdin })) {
    if (batch.push(line) === BATCH) await write();
  }
  if (batch.length > 0) await write();
}

async function dump(url) {
  let cursor;
  do {
    const page = await (await send(cursor ? new URL(`?cursor=${encodeURIComponent(cursor)}`, url) : url)).json();
    for (const entry of page.entries) console.log(JSON.stringify(entry));
    cursor = page.cursor;
  } while (cursor !== undefined);
}

async function send(url, init) {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(await response.text());
  return response;
}

const [name, directory] = process.argv.slice(2);
const command = commands[name];
if (command === undefined || directory === undefined) {
  console.error("usage: node harness/store.mjs put|dump DIRECTORY");
  process.exit(2);
}
const miniflare = new Miniflare({
  modules: true,
  scriptPath: fileURLToPath(new URL("store.worker.mjs", import.meta.url)),
  compatibilityDate: COMPATIBILITY_DATE,
  kvNamespaces: [KV_BINDING],
  kvPersist: directory,
  host: "127.0.0.1",
  port: 0,
  cf: false,
});
try {
  await command(await miniflare.ready);
} finally {
  await miniflare.dispose();
}

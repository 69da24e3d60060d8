/** How much of a long run by a coordinator is waiting between its steps. */
import { fileURLToPath } from "node:url";

import { KV_BINDING, request, startWorker } from "../harness/worker.mjs";

const LARGE = fileURLToPath(new URL("../workers/large", import.meta.url));
const TOKEN = "dev-token";

/**
 * A backfill of a number of records, at the default budget of a step.
 *
 * @returns {Promise<{ records: number, requests: number, took: number, worked: number }>} how many steps it had, how many
 *   milliseconds it took, and how many of these it worked
 */
export async function waiting(records) {
  const namespace = Array.from({ length: records }, (_, number) => ({
    key: `customer_${String(number).padStart(6, "0")}`,
    value: JSON.stringify({ credit: number, name: `Customer ${number}` }),
  }));
  const worker = await startWorker(LARGE, {
    bindings: { MIGRATIONS_TOKEN: TOKEN },
    objects: { MIGRATIONS: "Migrations" },
    namespace,
    handleRuntimeStdio: (...streams) => streams.forEach((stream) => stream.resume()),
  });
  try {
    const start = performance.now();
    const headers = { authorization: `Bearer ${TOKEN}`, coordinator: "yes" };
    const answer = await request(new URL("/migrate?wait=true", worker.url), { method: "POST", headers });
    const text = await answer.text();
    const took = performance.now() - start;
    if (answer.status !== 200) throw new Error(`the coordinator answered ${answer.status}: ${text}`);
    const [{ durationMs, entries }] = JSON.parse(text).details;
    if (entries.changed !== records) throw new Error(`the coordinator changed ${entries.changed} of ${records} records`);
    return { records, took, worked: durationMs };
  } finally {
    await worker.stop();
  }
}

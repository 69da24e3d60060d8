/** How much memory of WebAssembly the Worker `large` takes, which grows and never shrinks: on a KV in its isolate. */
import { Subject } from "./subject.mjs";

const CUSTOMERS = "customer_";
const MARKER = "migration_";

/** What is measured. The memory for each is asserted by `memory.test.mjs`. */
export const CASES = [
  ...[1_000, 40_000, 250_000, 400_000, 600_000, 1_000_000].map((bytes) => {
    const size = bytes < 1_000_000 ? `${bytes / 1_000} KB` : "1 MB";
    return { title: `a backfill of JSON, values of ${size}`, migrations: "backfill", records: Math.min(1_000, 40_000_000 / bytes), bytes, max: 20_000_000 };
  }),
  { title: "a backfill of a type, values of 1 MB", migrations: "typed", records: 40, bytes: 1_000_000, max: 20_000_000 },
  { title: "a backfill in batches, values of 1 MB", migrations: "batches", records: 40, bytes: 1_000_000, max: 20_000_000 },
  { title: "a re-key, values of 1 MB", migrations: "re-key", records: 40, bytes: 1_000_000, max: 20_000_000, requests: 1 },
  {
    title: "a fold whose state is 9.6 MB of text, in three requests",
    migrations: "fold",
    records: 9_600,
    bytes: 1_000,
    budget: 60,
    requests: 3,
    max: 30_000_000,
  },
  {
    // Two requests: the second one loads the checkpoint, and saves it again.
    title: "a re-key of 250,000 entries without an inverse",
    migrations: "re-key",
    records: 250_000,
    bytes: 0,
    requests: 2,
    max: 28_000_000,
    maxCheckpoint: 5_400_000,
  },
];

/**
 * @param {object[]} modules of the Worker `large`
 * @param {{ migrations: string, records: number, bytes: number, budget?: number, requests?: number }} measured
 * @returns the memory, the largest checkpoint, and the operations of all requests
 */
export async function memoryOf(modules, { migrations, records, bytes, budget = "none", requests = 1 }) {
  const subject = await Subject.start("large", modules, { hasStub: true });
  try {
    await subject.ask("POST", "/", { seed: JSON.stringify({ prefix: CUSTOMERS, records, bytes }) });
    const result = { status: 0, memory: 0, checkpoint: 0, operations: 0 };
    for (let request = 0; request < requests; request += 1) {
      const headers = { migrations, records: CUSTOMERS, budget: String(budget) };
      const { status, wasmMemory, operations } = await subject.ask("POST", "/migrate", headers);
      const [marker] = JSON.parse((await subject.ask("POST", "/", { sizes: MARKER })).text);
      result.status = status;
      result.memory = wasmMemory;
      result.checkpoint = Math.max(result.checkpoint, marker?.[1] ?? 0);
      result.operations += Object.values(operations).reduce((sum, number) => sum + number, 0);
    }
    return result;
  } finally {
    await subject.stop();
  }
}

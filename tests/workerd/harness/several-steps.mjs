// A backfill that takes several steps of a coordinator, and how it ends.
import { assertEntries, customers, seen, withoutMarkers } from "./entries.mjs";
import { until } from "./coordinated.mjs";

export const MARKER = "migration_my-service_001_seen";

/** So few operations that these entries take several steps, each of which takes a while. */
export const ENTRIES = customers(150);
export const SEEN = { migrations: "seen", budget: "60", latency: "40" };

/** Waits for the end of the run, with no request that could carry it on: KV alone is asked. */
export async function applied(client) {
  const kv = await client.worker.kv();
  await until(() => kv.get(MARKER), (value) => value === "true", 100);
}

export async function assertEachOnce(client, entries = ENTRIES) {
  assertEntries(withoutMarkers(await client.worker.dump()), seen(entries), "each once, with all it had");
}

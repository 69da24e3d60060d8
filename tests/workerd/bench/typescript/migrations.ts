/** The migrations of the Rust Worker `measured`, as a service writes them in TypeScript. */
import type { Migration } from "./migration-runner.js";

interface Customer {
  seen?: number;
}

/** So many entries a page are changed at the same time. */
const PAGE = 100;

/** Puts one key. */
export function puts(number: number): Migration {
  const name = String(number).padStart(5, "0");
  return {
    id: name,
    description: "Puts one key",
    up: (kv) => kv.put(`put_${name}`, "true"),
  };
}

/** Lists to the end, then reads and writes one customer after the other. */
export function oneByOne(prefix: string): Migration {
  return seen(async (kv) => {
    const keys: string[] = [];
    let cursor: string | undefined;
    do {
      const page: KVNamespaceListResult<unknown> = await kv.list({ prefix, cursor });
      keys.push(...page.keys.map(({ name }) => name));
      cursor = page.list_complete ? undefined : page.cursor;
    } while (cursor !== undefined);
    for (const key of keys) await see(kv, key);
  });
}

/** Lists 100 customers at a time, and changes them all at once. */
export function inPages(prefix: string): Migration {
  return seen(async (kv) => {
    let cursor: string | undefined;
    do {
      const page: KVNamespaceListResult<unknown> = await kv.list({ prefix, cursor, limit: PAGE });
      await Promise.all(page.keys.map(({ name }) => see(kv, name)));
      cursor = page.list_complete ? undefined : page.cursor;
    } while (cursor !== undefined);
  });
}

function seen(up: Migration["up"]): Migration {
  return { id: "001_seen", description: "Counts how often each customer was seen", up };
}

async function see(kv: KVNamespace, key: string): Promise<void> {
  const customer = await kv.get<Customer>(key, "json");
  if (customer === null) return;
  await kv.put(key, JSON.stringify({ ...customer, seen: (customer.seen ?? 0) + 1 }));
}

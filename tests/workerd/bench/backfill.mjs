/** What it takes to change every record of a prefix: see `workers/measured` and `typescript/migrations.ts`. */
import { alternating } from "./alternating.mjs";
import { growth } from "./process-memory.mjs";

const MARKER = "migration_my-service_001_seen";
/** Of values in one bulk read, of keys in one page of a list. */
const BULK = 100;
const PAGE = 1_000;

/**
 * All of them in one request, by each of the ways.
 *
 * @param {{ way: string, subject: Subject, migrations: string }[]} ways
 * @param {{ records: number, latencies: number[] }[]} sizes growing
 */
export async function backfills(ways, sizes) {
  await warmUp(ways);
  const subjects = [...new Set(ways.map(({ subject }) => subject))];
  const changed = new Map(subjects.map((subject) => [subject, 0]));
  const rows = [];
  for (const { records, latencies } of sizes) {
    await Promise.all(subjects.map((subject) => subject.put(customers(records))));
    changed.forEach((_, subject) => changed.set(subject, 0));
    for (const milliseconds of latencies) {
      const measure = async ({ subject, migrations }) => {
        await subject.delete([MARKER]);
        const headers = { migrations, milliseconds: String(milliseconds), budget: "none" };
        const [answer, memory] = await growth(subject.pid, () => subject.ask("POST", "/migrate", headers));
        changed.set(subject, changed.get(subject) + 1);
        return { ...answer, memory };
      };
      const measured = await alternating(Object.fromEntries(ways.map((way) => [way.way, () => measure(way)])));
      for (const [way, figures] of Object.entries(measured)) rows.push(row(way, records, milliseconds, figures));
    }
    await Promise.all(subjects.map((subject) => check(subject, records, changed.get(subject))));
  }
  return rows;
}

/** The first run of a code is not how fast it is. */
async function warmUp(ways) {
  for (const { subject, migrations } of ways) {
    await subject.put(customers(BULK));
    await subject.delete([MARKER]);
    await subject.ask("POST", "/migrate", { migrations, budget: "none" });
  }
}

/** Request after request at the default budget, as `curl` sends them: each when the last answer says so. */
export async function requests(subject, sizes) {
  const rows = [];
  for (const records of sizes) {
    await subject.put(customers(records));
    await subject.delete([MARKER]);
    const start = performance.now();
    let operations = 0;
    let number = 0;
    for (let answer; answer?.status !== 200; number += 1) {
      if (answer) await seconds(Number(answer.headers.get("retry-after")));
      answer = await subject.ask("POST", "/migrate", { migrations: "backfill" });
      operations += Object.values(answer.operations).reduce((sum, count) => sum + count);
    }
    await check(subject, records, 1);
    rows.push({ records, requests: number, operations, least: least(records), took: performance.now() - start });
  }
  return rows;
}

/** A list for each thousand, a bulk read for each hundred, and a write for each. */
function least(records) {
  return Math.ceil(records / PAGE) + Math.ceil(records / BULK) + records;
}

function row(way, records, milliseconds, { operations, kinds, took, times, memory, wasmMemory }) {
  return { way, records, milliseconds, operations, least: least(records), kinds, took, times, memory, wasmMemory };
}

function customers(number) {
  return Array.from({ length: number }, (_, index) => ({
    key: `customer_${String(index).padStart(6, "0")}`,
    value: JSON.stringify({ credit: index, name: `Customer ${index}`, email: `customer-${index}@example.com` }),
  }));
}

/** A way that leaves records out would be quick. */
async function check(subject, records, times) {
  let number = 0;
  for await (const { key, value } of subject.entries()) {
    if (!key.startsWith("customer_")) continue;
    number += 1;
    const { seen } = JSON.parse(value);
    if (seen !== times) throw new Error(`${subject.name} changed ${key} ${seen} times in ${times} backfills`);
  }
  if (number !== records) throw new Error(`${subject.name} has ${number} of ${records} records`);
}

const seconds = (number) => new Promise((resolve) => setTimeout(resolve, 1_000 * number));

/** What it takes to change every record of a prefix: see `workers/measured` and `typescript/migrations.ts`. */
import { alternating } from "./alternating.mjs";
import { withSeeds } from "./seeds.mjs";
import { Subject } from "./subject.mjs";

const CUSTOMERS = "customer_";
/** Of records that nothing is measured with: the first run of a code is not how fast it is. */
const WARM_UP = "warm-up_";
const MARKER = "migration_my-service_001_seen";
/** Of values in one bulk read, of keys in one page of a list. */
const BULK = 100;
const PAGE = 1_000;

/**
 * All of them in one request, by each of the ways, which has a process of its own for each size.
 *
 * @param {{ way: string, modules: object[], migrations: string }[]} ways
 * @param {{ records: number, latencies: number[] }[]} sizes
 */
export async function backfills(ways, sizes) {
  const rows = [];
  for (const { records, latencies } of sizes) {
    const entries = [...customers(records), ...customers(BULK, WARM_UP)];
    await withSeeds(entries, ways.length, async (seeds) => {
      const started = [];
      try {
        for (const [index, way] of ways.entries()) {
          started.push({ ...way, subject: await Subject.start(way.way, way.modules, { kvPersist: seeds[index] }) });
        }
        for (const milliseconds of latencies) rows.push(...(await measure(started, records, milliseconds)));
        await Promise.all(started.map(({ subject, times }) => check(subject, records, times)));
      } finally {
        await Promise.all(started.map(({ subject }) => subject.stop()));
      }
    });
  }
  return rows;
}

async function measure(ways, records, milliseconds) {
  for (const way of ways) await backfill(way, WARM_UP, 0);
  const once = async (way) => {
    way.times = (way.times ?? 0) + 1;
    return backfill(way, CUSTOMERS, milliseconds);
  };
  const measured = await alternating(Object.fromEntries(ways.map((way) => [way.way, () => once(way)])));
  return Object.entries(measured).map(([way, figures]) => row(way, records, milliseconds, figures));
}

async function backfill({ subject, migrations }, prefix, milliseconds) {
  await subject.delete([MARKER]);
  const headers = { migrations, records: prefix, milliseconds: String(milliseconds), budget: "none" };
  return subject.ask("POST", "/migrate", headers);
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
      answer = await subject.ask("POST", "/migrate", { migrations: "backfill", records: CUSTOMERS });
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

function row(way, records, milliseconds, { operations, kinds, took, times, wasmMemory }) {
  return { way, records, milliseconds, operations, least: least(records), kinds, took, times, wasmMemory };
}

function customers(number, prefix = CUSTOMERS) {
  return Array.from({ length: number }, (_, index) => ({
    key: `${prefix}${String(index).padStart(6, "0")}`,
    value: JSON.stringify({ credit: index, name: `Customer ${index}`, email: `customer-${index}@example.com` }),
  }));
}

/** A way that leaves records out would be quick. */
async function check(subject, records, times) {
  let number = 0;
  for await (const { key, value } of subject.entries()) {
    if (!key.startsWith(CUSTOMERS)) continue;
    number += 1;
    const { seen } = JSON.parse(value);
    if (seen !== times) throw new Error(`${subject.name} changed ${key} ${seen} times in ${times} backfills`);
  }
  if (number !== records) throw new Error(`${subject.name} has ${number} of ${records} records`);
}

const seconds = (number) => new Promise((resolve) => setTimeout(resolve, 1_000 * number));

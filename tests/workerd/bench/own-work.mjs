/**
 * What a Worker itself needs of the processor, on a KV in its isolate that costs next to nothing. Processor time is that of
 * workerd's thread, seen from outside, since a Worker cannot see its own.
 */
import { median } from "./alternating.mjs";
import { Subject } from "./subject.mjs";

const CUSTOMERS = "customer_";
/** As often as it takes until the code is compiled as well as it will be. */
const WARM_UPS = 8;

/**
 * Processor time and calls of a backfill, for each of the ways.
 *
 * @param {{ way: string, modules: object[], migrations: string }[]} ways
 * @param {{ warm: number, records: number, cold: number }} times how often each is measured, and of how many records
 */
export async function ownWork(ways, { warm, records, cold }) {
  const warmTimes = await byTurns(ways, warm, records);
  const rows = [];
  for (const way of ways) {
    const [none, first, free] = [[], [], []];
    for (let time = 0; time < cold; time += 1) {
      none.push(await coldRequest(way, { records: 0 }));
      first.push(await coldRequest(way, { records: 100 }));
      free.push(await coldRequest(way, { records: 2_000, budget: "free" }));
    }
    const calls = way.isWasm ? await callsOfRecord(way, 1_000) : undefined;
    const microseconds = (1_000 * median(warmTimes[way.way])) / records;
    rows.push({ way: way.way, microseconds, none: median(none), first: median(first), free: median(free), calls });
  }
  return rows;
}

/**
 * The processor time of a call of JavaScript from WebAssembly that takes a key and a value, by the Worker `by-hand`.
 *
 * @returns microseconds
 */
export async function callTime(modules, times) {
  const calls = 100_000;
  const subject = await Subject.start("calls", modules, { hasStub: true });
  try {
    const took = [];
    for (let time = 0; time < WARM_UPS + times; time += 1) {
      const before = subject.processorTime;
      await subject.ask("GET", "/", { calls: String(calls) });
      if (time >= WARM_UPS) took.push(subject.processorTime - before);
    }
    return (1_000 * median(took)) / calls;
  } finally {
    await subject.stop();
  }
}

/**
 * The processor time of the first request of an isolate that asks a Worker for nothing but a greeting.
 *
 * @param {Record<string, object[]>} workers the modules of each
 */
export async function coldGreetings(workers, times) {
  const took = Object.fromEntries(Object.keys(workers).map((name) => [name, []]));
  for (let time = 0; time < times; time += 1) {
    for (const [name, modules] of Object.entries(workers)) {
      const subject = await Subject.start(name, modules, { hasStub: true });
      try {
        const before = subject.processorTime;
        await subject.ask("GET", "/");
        took[name].push(subject.processorTime - before);
      } finally {
        await subject.stop();
      }
    }
  }
  return Object.entries(took).map(([name, all]) => ({ name, milliseconds: median(all) }));
}

/** Which functions of JavaScript are called for each record of a backfill, and how often. */
export async function callsOfRecord({ modules, migrations, way }, records) {
  const subject = await Subject.start(way, modules, { hasStub: true, isCounting: true });
  try {
    const [few, many] = [await counted(records), await counted(2 * records)];
    const calls = Object.keys(many).map((name) => [name, (many[name] - (few[name] ?? 0)) / records]);
    return Object.fromEntries(calls.filter(([, number]) => number > 0));
  } finally {
    await subject.stop();
  }

  async function counted(number) {
    return (await backfill(subject, migrations, { records: number })).calls;
  }
}

async function byTurns(ways, times, records) {
  const subjects = [];
  const took = Object.fromEntries(ways.map(({ way }) => [way, []]));
  try {
    for (const { way, modules } of ways) subjects.push(await Subject.start(way, modules, { hasStub: true }));
    for (let time = 0; time < WARM_UPS + times; time += 1) {
      for (const [index, { way, migrations }] of ways.entries()) {
        const { processorTime } = await backfill(subjects[index], migrations, { records });
        if (time >= WARM_UPS) took[way].push(processorTime);
      }
    }
  } finally {
    await Promise.all(subjects.map((subject) => subject.stop()));
  }
  return took;
}

/** The processor time of the first request of an isolate. */
async function coldRequest({ way, modules, migrations }, { records, budget }) {
  const subject = await Subject.start(way, modules, { hasStub: true });
  try {
    return (await backfill(subject, migrations, { records, budget })).processorTime;
  } finally {
    await subject.stop();
  }
}

/** Changes a number of customers, each of at least this number of bytes, in one request, as far as the budget allows. */
export async function backfill(subject, migrations, { records, bytes = 0, budget = "none" }) {
  await subject.ask("POST", "/", { seed: JSON.stringify({ prefix: CUSTOMERS, records, bytes }) });
  const before = subject.processorTime;
  const headers = { migrations, records: CUSTOMERS, budget };
  const answer = await subject.ask("POST", "/migrate", headers);
  const processorTime = subject.processorTime - before;
  const { text } = await subject.ask("POST", "/", { entries: CUSTOMERS });
  const changed = JSON.parse(text).filter(([, value]) => JSON.parse(value).seen === 1).length;
  if (budget === "none" && changed !== records) throw new Error(`${subject.name} changed ${changed} of ${records} records`);
  return { ...answer, changed, processorTime };
}

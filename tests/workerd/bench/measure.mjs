/** Measures Workers in workerd: `measured`, `large`, `by-hand`, `size-baseline` and `size-mounted`, which have to be built for release. */
import { gzipSync } from "node:zlib";

import { backfills, requests } from "./backfill.mjs";
import { coldStarts } from "./cold-start.mjs";
import { compiled } from "./compiled.mjs";
import { waiting } from "./coordinator.mjs";
import { idle, pending } from "./ledger.mjs";
import { CASES, memoryOf } from "./memory.mjs";
import { callTime, coldGreetings, ownWork } from "./own-work.mjs";
import { requestTimes } from "./request-time.mjs";
import { Subject, rust, typescript } from "./subject.mjs";

const FULL = {
  idle: { registered: [10, 100, 1_000, 10_000], latencies: [0, 1, 10] },
  pending: { runs: [[100, 1], [100, 10], [100, 100], [0, 100]], latencies: [0, 1, 10] },
  backfills: [
    { records: 1_000, latencies: [0, 1, 10] },
    { records: 10_000, latencies: [0] },
    { records: 100_000, latencies: [0] },
  ],
  requests: [1_000, 10_000],
  ownWork: { warm: 15, records: 10_000, cold: 7 },
  waiting: 20_000,
  coldStarts: 21,
  requestTimes: { another: 5_000, status: 500 },
};

/** Of each measurement. */
const FEW = { times: 2, milliseconds: 2_000 };

const QUICK = {
  idle: { registered: [10, 100, 1_000], latencies: [0, 1], limits: FEW },
  pending: { runs: [[100, 1], [100, 10]], latencies: [0, 1], limits: FEW },
  backfills: [{ records: 1_000, latencies: [0, 1] }],
  requests: [1_000],
  ownWork: { warm: 3, records: 10_000, cold: 1 },
  waiting: 3_000,
  coldStarts: 5,
  requestTimes: { another: 500, status: 100 },
};

/** Everything, or less of everything. */
export async function measure(isQuick) {
  const scope = isQuick ? QUICK : FULL;
  const [ours, theirs] = [await rust("measured"), await typescript()];
  const [large, byHand] = [await rust("large"), await rust("by-hand")];
  const [baseline, mounted] = [await rust("size-baseline"), await rust("size-mounted")];
  const results = { typescriptBytes: gzipSync(theirs[0].contents, { level: 9 }).length };

  await measured("cold starts", async () => {
    results.coldStarts = await coldStarts({ baseline, mounted, typescript: theirs }, scope.coldStarts);
  });

  const runners = { rust: ours, typescript: theirs };

  await withSubjects(runners, async (ofStatus) => {
    await withSubjects(runners, async (ofIdle) => {
      const subjects = [ofStatus, ofIdle].map(Object.values);
      await measured("status and idle runs", async () => (results.idle = await idle(subjects, scope.idle)));
    });
  });

  await withSubjects(runners, async (subjects) => {
    await measured("runs", async () => (results.pending = await pending(Object.values(subjects), scope.pending)));
  });

  const ways = [
    { way: "rust", modules: ours, migrations: "backfill" },
    { way: "one by one", modules: theirs, migrations: "backfill one by one" },
    { way: "in pages", modules: theirs, migrations: "backfill in pages" },
  ];
  await measured("backfills", async () => (results.backfills = await backfills(ways, scope.backfills)));
  await measured("own work", async () => {
    const compared = [
      { ...ways[0], isWasm: true },
      { way: "by hand in Rust", modules: byHand, migrations: "by hand", isWasm: true },
      ...ways.slice(1),
    ];
    results.ownWork = await ownWork(compared, scope.ownWork);
    results.compiled = await compiled([
      { title: "an axum Worker's greeting, without the routes", modules: baseline },
      { title: "the same with the routes", modules: mounted },
      { title: "by hand, 100 records", modules: byHand, migrations: "by hand", records: 100 },
      { title: "this project, no record", modules: ours, migrations: "backfill", records: 0 },
      { title: "this project, 100 records", modules: ours, migrations: "backfill", records: 100 },
    ]);
    results.callTime = await callTime(byHand, scope.ownWork.warm);
    results.coldGreetings = await coldGreetings({ baseline, mounted, typescript: theirs }, scope.ownWork.cold);
  });
  await measured("memory", async () => {
    results.memory = [];
    for (const each of CASES) results.memory.push({ ...each, ...(await memoryOf(large, each)) });
  });
  await measured("a coordinator", async () => (results.waiting = await waiting(scope.waiting)));

  await withSubjects({ rust: ours }, async ({ rust }) => {
    await measured("requests", async () => (results.requests = await requests(rust, scope.requests)));
  });

  await withSubjects({ baseline, mounted, ours, typescript: theirs }, async (subjects) => {
    const times = scope.requestTimes;
    const other = { method: "GET", path: "/", headers: {}, times: times.another };
    const status = { method: "GET", path: "/migrations/status", headers: { migrations: "10" }, times: times.status };
    const asked = [
      { name: "another, without the routes", subject: subjects.baseline, ...other },
      { name: "another, with the routes", subject: subjects.mounted, ...other },
      { name: "another, TypeScript", subject: subjects.typescript, ...other },
      { name: "status of 10", subject: subjects.ours, ...status },
      { name: "status of 10, TypeScript", subject: subjects.typescript, ...status },
    ];
    await measured("requests one by one", async () => (results.requestTimes = await requestTimes(asked)));
  });
  return results;
}

async function withSubjects(modules, work) {
  const subjects = {};
  try {
    for (const [name, module] of Object.entries(modules)) subjects[name] = await Subject.start(name, module);
    await work(subjects);
  } finally {
    for (const subject of Object.values(subjects)) await subject.stop();
  }
}

async function measured(name, work) {
  const start = performance.now();
  await work();
  console.error(`  ${name}: ${Math.round((performance.now() - start) / 1_000)} s`);
}

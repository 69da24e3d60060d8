/**
 * The main job, as a user of the quickstart does it: every request is one that can be pasted into a shell, and every
 * answer is checked.
 *
 *     node demo/quickstart.mjs [--by-wrangler]
 *
 * The Worker `examples/quickstart` has to be built, and `curl` to be installed. With `--by-wrangler`, `wrangler dev` builds
 * and serves it, and only what begins without data is run.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

import { TOKEN } from "../harness/client.mjs";
import { namespace } from "../harness/fixtures.mjs";
import { startWorker } from "../harness/worker.mjs";
import { startWrangler } from "../harness/wrangler.mjs";
import { differences } from "./differences.mjs";

const QUICKSTART = fileURLToPath(new URL("../../../examples/quickstart", import.meta.url));
const BINDINGS = { MIGRATIONS_TOKEN: TOKEN, API_URL: "https://api.example.com" };
const [FIRST, SECOND] = ["001_add_feature", "002_with_args"];

/** Each exchange: method, path, the status and the fields that the answer must have, and the token if it is another. */
const SCENES = [
  {
    title: "A new service",
    namespace: [],
    exchanges: [
      ["GET", "/migrations/status", 200, [{ id: FIRST, run: false }, { id: SECOND, run: false }]],
      ["POST", "/migrate", 200, { ran: [FIRST, SECOND], skipped: [] }],
      ["POST", "/migrate", 200, { ran: [], skipped: [FIRST, SECOND] }],
      ["GET", "/migrations/status", 200, [{ id: FIRST, run: true }, { id: SECOND, run: true }]],
      ["POST", `/migrations/${FIRST}/rollback`, 200, { rolledBack: FIRST }],
      ["GET", "/migrations/status", 200, [{ id: FIRST, run: false }, { id: SECOND, run: true }]],
      ["POST", "/migrate", 401, {}, "a-wrong-token"],
    ],
  },
  {
    title: "The KV namespace of the TypeScript runner",
    namespace,
    exchanges: [
      [
        ...["GET", "/migrations/status", 200],
        [
          { id: FIRST, run: true, runAt: "2026-11-22T10:48:28.706Z" },
          { id: SECOND, run: true, runAt: "2026-11-22T10:48:28.712Z" },
        ],
      ],
      ["POST", "/migrate", 200, { ran: [], skipped: [FIRST, SECOND] }],
      ["POST", `/migrations/${FIRST}/rollback`, 200, { rolledBack: FIRST }],
      ["POST", "/migrate", 200, { ran: [FIRST], skipped: [SECOND] }],
    ],
  },
];

async function curl(url, method, token) {
  const request = [...(method === "GET" ? [] : ["-X", method]), "-H", `Authorization: Bearer ${token}`, url];
  console.log(`\n$ curl ${request.map((word) => (word.includes(" ") ? `'${word}'` : word)).join(" ")}`);
  const quietly = ["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"];
  const { stdout } = await promisify(execFile)("curl", [...quietly, "--write-out", "\n%{http_code}", ...request]);
  const [, body, status] = stdout.match(/^(.*)\n(\d+)$/s);
  console.log(`${status} ${body}`);
  return { status: Number(status), body: JSON.parse(body) };
}

/** In a namespace of its own, which is empty and deleted in the end. */
async function startByWrangler() {
  const kvPersist = mkdtempSync(join(tmpdir(), "quickstart-"));
  const worker = await startWrangler(QUICKSTART, { bindings: BINDINGS, kvPersist });
  return { ...worker, stop: () => worker.stop().finally(() => rmSync(kvPersist, { recursive: true })) };
}

const { values: options } = parseArgs({ options: { "by-wrangler": { type: "boolean", default: false } } });
const scenes = options["by-wrangler"] ? SCENES.filter(({ namespace }) => namespace.length === 0) : SCENES;
const start = options["by-wrangler"]
  ? startByWrangler
  : (namespace) => startWorker(QUICKSTART, { namespace, bindings: BINDINGS });

let [total, wrong] = [0, 0];
for (const { title, namespace, exchanges } of scenes) {
  console.log(`\n== ${title}`);
  const worker = await start(namespace);
  try {
    for (const [method, path, status, body, token = TOKEN] of exchanges) {
      const answer = await curl(`${worker.url.origin}${path}`, method, token);
      const found = [...differences({ status, body }, answer)];
      for (const difference of found) console.log(`  NOT AS EXPECTED  ${difference}`);
      total += 1;
      wrong += found.length > 0 ? 1 : 0;
    }
  } finally {
    await worker.stop();
  }
}
console.log(wrong > 0 ? `\nThe demo failed: ${wrong} of ${total} answers were not as expected.` : `\nThe demo succeeded: all ${total} answers were as expected.`);
process.exitCode = wrong > 0 ? 1 : 0;

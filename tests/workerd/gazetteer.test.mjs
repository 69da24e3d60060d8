// The demo of the gazetteer, with few places: its server is killed in the middle, and every record is checked in the end.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const DEMO = fileURLToPath(new URL("demo/gazetteer.mjs", import.meta.url));

/** Enough for migrations that take several requests, in which the server can be killed. */
const FEW_PLACES = 1_500;

// They wait most of the time: for KV's delay.
describe("the gazetteer", { concurrency: true }, () => {
  test("by three migrations", (t) => migrate(t));
  test("by one re-key that sees the values", (t) => migrate(t, "--by-value"));
});

async function migrate(t, ...variant) {
  const directory = await mkdtemp(path.join(tmpdir(), "gazetteer-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const args = [DEMO, "--directory", directory, `--limit=${FEW_PLACES}`, ...variant];
  const { code, output } = await run(process.execPath, args);
  assert.equal(code, 0, output);
  t.diagnostic(output.match(/^Killed in the middle of .*$/m)?.[0] ?? "");
}

/** What a program prints, and its exit code. */
function run(program, args) {
  return new Promise((resolve) => {
    execFile(program, args, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, output: stdout + stderr }));
  });
}

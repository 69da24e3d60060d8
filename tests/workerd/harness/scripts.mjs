import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { TOKEN } from "./client.mjs";

/** The shell scripts in a section of a page in docs. */
export function scriptsOf(page, title) {
  const text = readFileSync(new URL(`../../../docs/${page}`, import.meta.url), "utf8");
  const section = text.split("\n## ").find((text) => text.startsWith(`${title}\n`));
  return [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, script]) => script);
}

/**
 * Runs a script of the documentation against a Worker whose URL is given, with headers for `curl` to send. Nobody waits and
 * nothing is deployed: `sleep`, `npx` and `git` only write down what they were to do, and are given back as `calls`.
 */
export async function run(t, script, url, headers = {}, { token = TOKEN, replace = [] } = {}) {
  const directory = mkdtempSync(path.join(tmpdir(), "drive-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const calls = path.join(directory, "calls");
  writeFileSync(calls, "");
  for (const name of ["sleep", "npx", "git"]) {
    const program = path.join(directory, name);
    writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "${name} $*" >> '${calls}'\n`);
    chmodSync(program, 0o755);
  }
  const lines = Object.entries(headers).map(([name, value]) => `header = "${name}: ${value}"\n`);
  writeFileSync(path.join(directory, ".curlrc"), lines.join(""));

  const set = [["url=https://my-service.workers.dev", `url=${url.origin}`], ...replace];
  const PATH = `${directory}:${process.env.PATH}`;
  const shell = spawn("sh", ["-c", set.reduce(replaceOnce, script)], {
    env: { PATH, CURL_HOME: directory, MIGRATIONS_TOKEN: token },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = [];
  for (const stream of [shell.stdout, shell.stderr]) stream.on("data", (chunk) => output.push(chunk));
  const code = await new Promise((resolve) => shell.on("close", resolve));
  return { code, output: Buffer.concat(output).toString(), calls: readFileSync(calls, "utf8").split("\n").slice(0, -1) };
}

function replaceOnce(script, [old, replacement]) {
  assert.equal(script.split(old).length, 2, `the script has one \`${old}\``);
  return script.replace(old, replacement);
}

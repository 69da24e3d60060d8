import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** A directory that is deleted when the test ends. */
export function temporary(t) {
  const directory = mkdtempSync(path.join(tmpdir(), "pipeline-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

/**
 * The directory of a service, as far as a pipeline looks into it: the list of its migrations, and their ids.
 *
 * @param {string[]} ids
 */
export function sources(t, ids) {
  const directory = temporary(t);
  const modules = ids.map((id) => `m${id}`);
  mkdirSync(path.join(directory, "src/migrations"), { recursive: true });
  const write = (name, text) => writeFileSync(path.join(directory, "src/migrations", name), text);
  const list = `    kv_migrations::migrations![\n${modules.map((name) => `        ${name},\n`).join("")}    ]\n`;
  write("mod.rs", `${modules.map((name) => `mod ${name};\n`).join("")}\npub fn migrations() -> Vec<Migration<Env>> {\n${list}}\n`);
  for (const id of ids) write(`m${id}.rs`, `use worker::Env;\n\npub const ID: &str = "${id}";\n`);
  return directory;
}

/**
 * Programs that are found before others: each notes its arguments, and then does what its script says.
 *
 * @param {Record<string, string>} scripts by the names of the programs
 */
export function programs(t, scripts) {
  const directory = temporary(t);
  const calls = path.join(directory, "calls.log");
  writeFileSync(calls, "");
  for (const [name, script] of Object.entries(scripts)) {
    const program = path.join(directory, name);
    writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "${name} $*" >> '${calls}'\n${script}\n`);
    chmodSync(program, 0o755);
  }
  return {
    PATH: `${directory}:${process.env.PATH}`,
    /** The command lines so far. */
    calls: () => readFileSync(calls, "utf8").split("\n").slice(0, -1),
  };
}

/** Where a program is. */
export function which(program) {
  return process.env.PATH.split(":").map((directory) => path.join(directory, program)).find(existsSync);
}

/** Runs a program to its end. */
export async function execute([program, ...args], { cwd, env }) {
  const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output.push(chunk));
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, output: Buffer.concat(output).toString() };
}

/** No secret is in what others can read: output, summaries, and command lines. */
export function assertNoSecret(texts, secrets) {
  for (const text of texts) for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} is in: ${text}`);
}

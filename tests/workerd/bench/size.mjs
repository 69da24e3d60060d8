/**
 * What mounting the routes adds to a Worker:
 *
 *     node bench/size.mjs [--limit BYTES] [--kinds]
 *
 * Fails if it is more than the limit, gzipped. The Workers `size-baseline` and `size-mounted` have to be built for release;
 * for `--kinds`, the latter also with each kind of migration.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const WASM_OPT = fileURLToPath(new URL("../node_modules/.bin/wasm-opt", import.meta.url));

const WORKERS = "tests/workerd/workers";
/** A minimal axum Worker, and the same with the routes mounted. */
export const routes = () => sizes(`${WORKERS}/size-baseline`, `${WORKERS}/size-mounted`);
/**
 * The same with a migration of each kind more, and with all of them: what that adds, and what it adds with the routes to the minimal
 * Worker, without the names of functions.
 */
export function kinds() {
  const [minimal, before] = [nameless(`${WORKERS}/size-baseline/build`), nameless(`${WORKERS}/size-mounted/build`)];
  return readdirSync(path.join(ROOT, WORKERS, "size-mounted/build/kinds")).map((kind) => {
    const after = nameless(`${WORKERS}/size-mounted/build/kinds/${kind}`);
    return { kind, added: difference(before, after), inAll: difference(minimal, after) };
  });
}
/** What `serde_json` alone adds to the minimal Worker, to read a map and to write it. */
export function serdeJson() {
  return difference(nameless(`${WORKERS}/size-baseline/build`), nameless(`${WORKERS}/size-baseline/build/serde-json`));
}
/** Two examples that are the same but for that. */
export const coordinator = () => sizes("examples/quickstart", "examples/coordinated");

/** Three measures of two Workers, each with what the second has more. */
function sizes(without, withMore) {
  const [before, after] = [without, withMore].map(measured);
  return Object.keys(before).map((title) => {
    const [without, withMore] = [before[title], after[title]];
    return { title, without, with: withMore, added: difference(without, withMore) };
  });
}

function measured(directory) {
  const build = path.join(directory, "build");
  return {
    "WebAssembly without the names of functions": nameless(build),
    "WebAssembly as worker-build writes it": size(path.join(ROOT, build, "index_bg.wasm")),
    "JavaScript glue": size(path.join(ROOT, build, "index.js")),
  };
}

/** The size of the WebAssembly in a directory without the names of functions. */
function nameless(build) {
  const wasm = path.join(ROOT, build, "index_bg.wasm");
  execFileSync(WASM_OPT, ["--strip-debug", wasm, "--output", `${wasm}.nameless`]);
  return size(`${wasm}.nameless`);
}

function difference(before, after) {
  return { raw: after.raw - before.raw, gzipped: after.gzipped - before.gzipped };
}

function size(file) {
  const contents = readFileSync(file);
  return { raw: contents.length, gzipped: gzipSync(contents, { level: 9 }).length };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { limit: { type: "string", default: "Infinity" }, kinds: { type: "boolean" } } });
  const rows = routes();
  for (const { title, ...row } of rows) {
    console.log(`${title.padEnd(44)}${"bytes".padStart(12)}${"gzipped".padStart(12)}`);
    for (const [label, { raw, gzipped }] of Object.entries(row)) {
      console.log(`  ${label.padEnd(42)}${String(raw).padStart(12)}${String(gzipped).padStart(12)}`);
    }
  }
  for (const { kind, added } of values.kinds ? kinds() : []) {
    console.log(`a ${kind} adds`.padEnd(44) + String(added.raw).padStart(12) + String(added.gzipped).padStart(12));
  }
  const { gzipped } = rows[0].added;
  if (gzipped > Number(values.limit)) {
    console.error(`the routes add ${gzipped} bytes to a Worker, gzipped, and may add ${values.limit}`);
    process.exitCode = 1;
  }
}

/**
 * What mounting the routes adds to a Worker:
 *
 *     node bench/size.mjs [--limit BYTES]
 *
 * Fails if it is more than the limit, gzipped. The Workers `size-baseline` and `size-mounted` have to be built for release.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const WASM_OPT = fileURLToPath(new URL("../node_modules/.bin/wasm-opt", import.meta.url));

const WORKERS = "tests/workerd/workers";
/** A minimal axum Worker, and the same with the routes mounted. */
export const routes = () => sizes(`${WORKERS}/size-baseline`, `${WORKERS}/size-mounted`);
/** Two examples that are the same but for that. */
export const coordinator = () => sizes("examples/quickstart", "examples/coordinated");

/** Three measures of two Workers, each with what the second has more. */
function sizes(without, withMore) {
  const [before, after] = [without, withMore].map(measured);
  return Object.keys(before).map((title) => {
    const [without, withMore] = [before[title], after[title]];
    const added = { raw: withMore.raw - without.raw, gzipped: withMore.gzipped - without.gzipped };
    return { title, without, with: withMore, added };
  });
}

function measured(directory) {
  const build = path.join(ROOT, directory, "build");
  const nameless = path.join(build, "index_bg.wasm.nameless");
  execFileSync(WASM_OPT, ["--strip-debug", path.join(build, "index_bg.wasm"), "--output", nameless]);
  return {
    "WebAssembly without the names of functions": size(nameless),
    "WebAssembly as worker-build writes it": size(path.join(build, "index_bg.wasm")),
    "JavaScript glue": size(path.join(build, "index.js")),
  };
}

function size(file) {
  const contents = readFileSync(file);
  return { raw: contents.length, gzipped: gzipSync(contents, { level: 9 }).length };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { limit: { type: "string", default: "Infinity" } } });
  const rows = routes();
  for (const { title, ...row } of rows) {
    console.log(`${title.padEnd(44)}${"bytes".padStart(12)}${"gzipped".padStart(12)}`);
    for (const [label, { raw, gzipped }] of Object.entries(row)) {
      console.log(`  ${label.padEnd(42)}${String(raw).padStart(12)}${String(gzipped).padStart(12)}`);
    }
  }
  const { gzipped } = rows[0].added;
  if (gzipped > Number(values.limit)) {
    console.error(`the routes add ${gzipped} bytes to a Worker, gzipped, and may add ${values.limit}`);
    process.exitCode = 1;
  }
}

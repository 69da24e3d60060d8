/**
 * Serves a built Worker until its standard input closes:
 *
 *     node harness/serve.mjs DIRECTORY
 *
 * The first line of the standard input are the options of `startWorker`, as JSON. Once it listens, it prints
 * `ready http://127.0.0.1:PORT`.
 */
import { once } from "node:events";
import { createInterface } from "node:readline";

import { startWorker } from "./worker.mjs";

const input = createInterface({ input: process.stdin });
const closed = once(input, "close");
// If nobody reads any more, the standard input is closed as well.
process.stdout.on("error", () => {});
const [options] = await once(input, "line");
const worker = await startWorker(process.argv[2], JSON.parse(options));
console.log(`ready ${worker.url.origin}`);
await closed;
await worker.stop();
process.exit(0);

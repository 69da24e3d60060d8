import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const WRANGLER = fileURLToPath(new URL("../node_modules/wrangler/bin/wrangler.js", import.meta.url));

/**
 * Serves a Worker by `wrangler dev`, which builds it first, as its wrangler.toml says.
 *
 * @param {string} directory the Worker's crate
 * @param {{ bindings?: Record<string, string>, kvPersist: string }} options variables and secrets, and the directory that
 *   keeps the namespaces
 */
export async function startWrangler(directory, { bindings = {}, kvPersist }) {
  const variables = Object.entries(bindings).flatMap(([name, value]) => ["--var", `${name}:${value}`]);
  const where = ["--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0", "--persist-to", kvPersist];
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false", NO_COLOR: "1" };
  const stdio = ["ignore", "pipe", "pipe"];
  const wrangler = spawn(process.execPath, [WRANGLER, "dev", ...where, ...variables], { cwd: directory, env, stdio });
  const ended = new Promise((resolve) => wrangler.once("close", resolve));
  const stop = async () => {
    // It ends workerd with it.
    wrangler.kill("SIGTERM");
    await ended;
  };
  let output = "";
  const ready = new Promise((resolve) => {
    for (const stream of [wrangler.stdout, wrangler.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        const [, url] = (output += text).match(/Ready on (http:\S+)/) ?? [];
        if (url) resolve(new URL(url));
      });
    }
  });
  const url = await Promise.race([ready, ended]);
  if (url instanceof URL) return { url, stop };
  throw new Error(`wrangler dev ended with ${url} before it served:\n${output}`);
}

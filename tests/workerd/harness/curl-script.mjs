/** Runs the script of docs/pipelines.md that needs nothing but `curl`, to the letter. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { TOKEN } from "./client.mjs";
import { assertNoSecret, execute, programs, which } from "./programs.mjs";

const PAGE = readFileSync(new URL("../../../docs/pipelines.md", import.meta.url), "utf8");
export const [, SCRIPT] = PAGE.match(/^```sh\n(.*?)^```$/ms);

/** A user's shell, that of GitHub's `run:`, and that of its `shell: bash`. */
export const SHELLS = [["sh"], ["bash", "-e"], ["bash", "-eo", "pipefail"]];

/**
 * Runs it in the directory of a service, where nobody waits for long.
 *
 * @param {{ url: URL }} service
 * @param {string} directory
 * @param {{ token?: string, shell?: string[], replace?: [string, string][] }} [options]
 */
export async function migrate(t, { url }, directory, { token = TOKEN, shell = SHELLS[0], replace = [] } = {}) {
  const stands = programs(t, { sleep: `exec '${which("sleep")}' 0.05`, curl: `exec '${which("curl")}' "$@"` });
  const script = [["https://my-service.workers.dev", url.origin], ...replace].reduce((script, [old, replacement]) => {
    assert.equal(script.split(old).length, 2, `the script has one \`${old}\``);
    return script.replace(old, replacement);
  }, SCRIPT);
  const env = { PATH: stands.PATH, MIGRATIONS_TOKEN: token };
  const { code, output } = await execute([...shell, "-c", script], { cwd: directory, env });
  assertNoSecret([output, ...stands.calls()], [token || TOKEN]);
  assert.ok(output.split("\n").length <= 5, `it is short: ${output}`);
  return { code, output, waits: stands.calls().filter((call) => call === "sleep 5").length };
}

// The Worker that one has after pasting docs/start.md, and the requests that it says to make.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";

import { TOKEN, serve } from "./harness/client.mjs";
import { customers, withoutMarkers } from "./harness/entries.mjs";

const PAGE = readFileSync(new URL("../../docs/start.md", import.meta.url), "utf8");

/** The commands of a section, each on a line. */
function commandsOf(title) {
  const [, section] = PAGE.split(`\n## ${title}\n`);
  const [, script] = section.match(/^```console\n(.*?)^```$/ms);
  return script.replaceAll("\\\n", "").split("\n").filter((line) => line.startsWith("curl "));
}

test("docs/start.md, pasted from top to bottom, runs", async (t) => {
  const variables = Object.fromEntries(
    [...PAGE.match(/^\[vars\]\n(.*?)^```$/ms)[1].matchAll(/^(\w+) = "(.*)"$/gm)].map(([, name, value]) => [name, value]),
  );
  const records = customers(2);
  const bindings = { API_URL: undefined, ...variables };
  const { worker } = await serve(t, "target/pasted", { namespace: records, bindings });
  const run = async (command) => {
    const script = command.replace("https://my-service.workers.dev", worker.url.origin).replace(/^curl/, "curl --silent --show-error");
    const { stdout } = await promisify(execFile)("sh", ["-c", script], { env: { ...process.env, MIGRATIONS_TOKEN: TOKEN } });
    return JSON.parse(stdout);
  };

  const [status, migrate, rollback, ...more] = commandsOf("7. Migrate after the deploy");
  assert.equal(more.length, 0);
  const ids = ["001_add_feature", "002_with_args", "003_verified"];
  assert.deepEqual((await run(status)).map(({ id, run }) => [id, run]), ids.map((id) => [id, false]));
  assert.deepEqual((await run(migrate)).ran, ids);
  const changed = withoutMarkers(await worker.dump()).filter(({ key }) => key.startsWith("customer_"));
  assert.deepEqual(changed.map(({ value }) => JSON.parse(value).verified), [false, false]);
  assert.equal(await (await worker.kv()).get("api_url"), variables.API_URL);
  assert.equal((await run(rollback)).rolledBack, "001_add_feature");
});

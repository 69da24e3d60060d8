// A Worker with static assets in front: `[assets]` in wrangler.toml, with the handling of a single-page application.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

import { assertAnswer, serveSpecimen } from "./harness/client.mjs";
import { migrate } from "./harness/curl-script.mjs";
import { sources } from "./harness/programs.mjs";

/** What docs/mounting.md says to write. */
const ROUTES = ["/migrate", "/migrations/*"];

/** A Worker whose `run_worker_first` has these paths. */
async function serveBehindAssets(t, paths) {
  const directory = mkdtempSync(path.join(tmpdir(), "assets-"));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(path.join(directory, "index.html"), "<!doctype html><title>The application</title>");
  return serveSpecimen(t, {
    assets: {
      directory,
      binding: "ASSETS",
      routerConfig: { has_user_worker: true, static_routing: { user_worker: paths } },
      assetConfig: { not_found_handling: "single-page-application" },
    },
  });
}

test("with the paths that the documentation names, the routes are reached, and the application too", async (t) => {
  const client = await serveBehindAssets(t, ROUTES);
  assert.deepEqual(assertAnswer(await client.migrate()).ran, ["001_first"]);
  assert.equal(assertAnswer(await client.status())[0].run, true);
  assert.equal(assertAnswer(await client.rollback("001_first")).rolledBack, "001_first");
  assert.match((await client.send("GET", "/anything")).text, /The application/);
});

test("without them no pipeline takes the application's answer for one of the routes", async (t) => {
  const client = await serveBehindAssets(t, ["/api/*"]);
  const status = await client.status({}, "?require=up-to-date");
  assert.equal(status.status, 200, "as if all were well");
  assert.match(status.headers.get("content-type"), /^text\/html/);
  const { code, output } = await migrate(t, client.worker, sources(t, ["001_first"]));
  assert.equal(code, 1);
  assert.match(output, /^no migrations at /);
});

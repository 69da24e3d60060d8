// What docs/guide.md has for pipelines, to the letter, run by `sh`.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { serveSpecimen } from "./harness/client.mjs";
import { assertEntries, customers, seen, withoutMarkers } from "./harness/entries.mjs";
import { run, scriptsOf } from "./harness/scripts.mjs";

const [pipeline, events, curl, ...more] = scriptsOf("In a pipeline");
const SCRIPTS = { "the pipeline": pipeline, "the loop over events": events, "a single curl": curl };

const ENTRIES = customers(60);
/** So few operations that the 60 entries take several requests. */
const SEEN = { migrations: "seen", budget: "40" };

test("the guide has these scripts", () => {
  assert.deepEqual([SCRIPTS["a single curl"] === undefined, more.length], [false, 0]);
});

for (const [name, script] of Object.entries(SCRIPTS)) {
  const ofPipeline = name === "the loop over events" ? [] : [["last=002_with_args", "last=001_seen"]];
  // It tries again for as long as this if a migration fails.
  const ofCurl = name === "a single curl" ? [["--retry-max-time 3600", "--retry-max-time 2"]] : [];
  const options = { replace: ofPipeline };
  const failing = { replace: [...ofPipeline, ...ofCurl] };

  describe(name, { concurrency: 4 }, () => {
    const fails = async (t, { url }, headers, more) => {
      const { code, output } = await run(t, script, url, headers, { ...failing, ...more });
      assert.notEqual(code, 0, output);
      return output;
    };

    test("carries a long migration to its end", async (t) => {
      const client = await serveSpecimen(t, { namespace: ENTRIES });
      const { code, output, calls } = await run(t, script, client.worker.url, SEEN, options);
      assert.equal(code, 0, output);
      assertEntries(withoutMarkers(await client.worker.dump()), seen(ENTRIES), "all is applied");
      assert.equal(await client.isRunForTypeScript("001_seen"), true);
      if (name === "the pipeline") assert.equal(calls.shift(), "npx wrangler deploy");
      const expected = name === "a single curl" ? [] : Array(calls.length || 1).fill("sleep 1");
      assert.deepEqual(calls, expected, "it waits as long as `Retry-After` says");
    });

    test("has nothing to do where all is applied", async (t) => {
      const client = await serveSpecimen(t);
      await client.migrate({ migrations: "seen" });
      const { code, output } = await run(t, script, client.worker.url, { migrations: "seen" }, options);
      assert.equal(code, 0, output);
    });

    if (name !== "the loop over events") {
      test("goes on asking while the release before answers", async (t) => {
        const client = await serveSpecimen(t, { namespace: ENTRIES });
        const soon = name === "a single curl" ? ofCurl : [["+ 3600", "+ 4"]];
        const replace = [["last=002_with_args", "last=002_later"], ...soon];
        const output = await fails(t, client.worker, SEEN, { replace });
        assert.match(output, /does not register `002_later`/);
        assertEntries(withoutMarkers(await client.worker.dump()), ENTRIES, "and nothing ran");
      });
    }

    test("fails with a migration that fails", async (t) => {
      const client = await serveSpecimen(t, { namespace: ENTRIES });
      const output = await fails(t, client.worker, { ...SEEN, migrations: `seen-but ${ENTRIES[5].key}` });
      assert.match(output, /Migration 001_seen failed: at the entry `customer_00005`: boom/, "and says why");
    });

    test("fails with one that panics in the middle", async (t) => {
      const client = await serveSpecimen(t, { namespace: ENTRIES });
      await fails(t, client.worker, { migrations: `seen-panicking ${ENTRIES[50].key}` });
      assert.equal(await client.isRunForTypeScript("001_seen"), false);
    });

    test("ends where the daily quota is used up, and says so", async (t) => {
      const namespace = [...ENTRIES, { key: "quota", value: JSON.stringify({ put: 20 }) }];
      const client = await serveSpecimen(t, { namespace, kvWrapper: "quota.mjs" });
      const { code, output } = await run(t, script, client.worker.url, { migrations: "seen" }, options);
      assert.match(output, /"quotaExhausted":true|problem:quota-exhausted/);
      if (name === "a single curl") assert.notEqual(code, 0, output);
      else assert.equal(code, 75, output);
    });

    test("fails with a wrong token", async (t) => {
      const client = await serveSpecimen(t);
      await fails(t, client.worker, SEEN, { token: "wrong" });
      assert.deepEqual(await client.worker.dump(), []);
    });

    test("fails where something else answers with 200", async (t) => {
      const client = await serveSpecimen(t);
      await fails(t, client.worker, { ...SEEN, mount: "layer /elsewhere" });
    });

    test("fails where nobody answers", async (t) => {
      await fails(t, { url: new URL("http://127.0.0.1:1") }, SEEN);
    });

    if (name === "a single curl") return;

    test("gives up when it would have to wait beyond its deadline", async (t) => {
      const client = await serveSpecimen(t, { namespace: [{ key: "user_1", value: "" }] });
      const replace = [...ofPipeline.map(([old]) => [old, "last=001_rekey"]), ["+ 3600", "+ 60"]];
      const output = await fails(t, client.worker, { migrations: "rekeyed" }, { replace });
      assert.match(output, /"phase":"wait"/, "KV's delay is longer than that");
      assert.match(output, /it takes too long/);
    });
  });
}

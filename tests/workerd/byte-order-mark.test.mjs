// What a Worker reads where a value begins with a byte order mark. The TypeScript runner compares what `get` gives with
// `true`; this runner reads the markers of that runner in bulk.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Miniflare } from "miniflare";

import { COMPATIBILITY_DATE, KV_BINDING } from "./harness/worker.mjs";

/** Before 2026-01-13 streams kept a byte order mark, since then they do not: KV's values are the same on both sides. */
const DATES = ["2025-12-01", COMPATIBILITY_DATE];

const script = `
export default {
  async fetch(request, { ${KV_BINDING}: kv }) {
    const read = {
      get: await kv.get("marker"),
      text: await kv.get("marker", "text"),
      withMetadata: (await kv.getWithMetadata("marker")).value,
      bulk: (await kv.get(["marker"])).get("marker"),
    };
    // As characters, since an answer may lose the mark too.
    return Response.json(Object.entries(read).map(([name, value]) => [name, [...value].map((c) => c.codePointAt(0))]));
  },
};`;

const codes = (text) => [...text].map((character) => character.codePointAt(0));

for (const compatibilityDate of DATES) {
  test(`a get keeps a byte order mark, and a bulk get loses it (compatibility date ${compatibilityDate})`, async (t) => {
    const miniflare = new Miniflare({ script, modules: true, compatibilityDate, kvNamespaces: [KV_BINDING] });
    t.after(() => miniflare.dispose());
    const kv = await miniflare.getKVNamespace(KV_BINDING);
    await kv.put("marker", Uint8Array.of(0xef, 0xbb, 0xbf, ...codes("true")).buffer);
    const read = Object.fromEntries(await (await miniflare.dispatchFetch("http://worker/")).json());
    for (const name of ["get", "text", "withMetadata"]) {
      assert.deepEqual(read[name], codes("\uFEFFtrue"), `${name}: the TypeScript runner takes it for not run`);
    }
    assert.deepEqual(read.bulk, codes("true"), "a bulk get cannot tell it from a marker that is applied");
  });
}

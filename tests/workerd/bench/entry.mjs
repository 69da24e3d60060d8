/**
 * The module by which a measured Worker is entered, in its own isolate.
 *
 * | header | meaning |
 * | --- | --- |
 * | `Milliseconds` | how long a KV operation takes at least |
 * | `Times` | how often the same request is made, one after the other, without a connection in between |
 * | `Seed` | nothing but this: a KV in the isolate gets these entries, see `stub.mjs` |
 * | `Entries` | nothing but this: the answer is the entries of a KV in the isolate that begin so |
 * | `Sizes` | the same, with the bytes of each value in its place |
 *
 * The answer is the last one, and says in `Measured` which KV operations were made, how large the memory is, and which
 * functions of JavaScript were called if they are counted.
 */
import { WorkerEntrypoint } from "cloudflare:workers";

import { takeCalls, wasmMemory } from "./instance.mjs";
// What is built of either Worker.
import Subject from "./index.js";

export default class extends WorkerEntrypoint {
  async fetch(request) {
    const meter = this.env.MY_SERVICE_KV;
    const [seed, entries, sizes] = ["seed", "entries", "sizes"].map((name) => request.headers.get(name));
    if (seed !== null) return Response.json({ seeded: meter.seed(JSON.parse(seed)) }, { headers: { measured: "{}" } });
    if (entries !== null) return Response.json([...meter.entries(entries)], { headers: { measured: "{}" } });
    if (sizes !== null) return Response.json([...meter.sizes(sizes)], { headers: { measured: "{}" } });
    takeCalls();
    meter.begin(Number(request.headers.get("milliseconds")));
    let answer = await this.#ask(request);
    for (let times = Number(request.headers.get("times") ?? 1); times > 1; times -= 1) {
      await answer.body?.cancel();
      answer = await this.#ask(request);
    }
    const body = await answer.arrayBuffer();
    const headers = new Headers(answer.headers);
    headers.set("measured", JSON.stringify({ operations: meter.counts, wasmMemory: wasmMemory(), calls: takeCalls() }));
    return new Response(body, { status: answer.status, headers });
  }

  #ask({ url, method, headers, cf }) {
    const request = new Request(url, { method, headers, cf });
    // worker-build makes a class, TypeScript an object.
    if (typeof Subject !== "function") return Subject.fetch(request, this.env, this.ctx);
    return new Subject(this.ctx, this.env).fetch(request);
  }
}

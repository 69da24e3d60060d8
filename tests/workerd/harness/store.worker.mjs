/** Writes and reads a namespace from within the runtime, many entries a request: see `store.mjs`. */
export default {
  async fetch(request, { MY_SERVICE_KV: kv }) {
    if (request.method === "PUT") {
      const entries = await request.json();
      await Promise.all(entries.map(({ key, value, metadata }) => kv.put(key, value, { metadata })));
      return new Response();
    }
    const cursor = new URL(request.url).searchParams.get("cursor") ?? undefined;
    const page = await kv.list({ cursor });
    const values = await read(kv, page.keys.map(({ name }) => name));
    const entries = page.keys.map(({ name, metadata }) => ({ key: name, value: values.get(name), metadata }));
    return Response.json({ entries, cursor: page.list_complete ? undefined : page.cursor });
  },
};

async function read(kv, names) {
  const reads = [];
  for (let start = 0; start < names.length; start += 100) reads.push(kv.get(names.slice(start, start + 100)));
  return new Map((await Promise.all(reads)).flatMap((values) => [...values]));
}

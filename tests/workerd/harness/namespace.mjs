/**
 * One key of a KV namespace, as JSON can hold it.
 *
 * @typedef {object} Entry
 * @property {string} key
 * @property {string} [value] the value, if it is UTF-8
 * @property {string} [base64] the value, if it is not
 * @property {unknown} [metadata]
 * @property {number} [expiration] in seconds since 1970
 */

/** So many values are read or written at the same time. */
const CONCURRENCY = 50;

/** Puts every entry into the namespace. */
export async function loadNamespace(kv, entries) {
  await inBatches(entries, ({ key, value, base64, metadata, expiration }) =>
    kv.put(key, value ?? bytesOf(base64), { metadata, expiration }),
  );
}

/** @returns {Promise<Entry[]>} every entry of the namespace, in the order of the keys' bytes, as KV lists them */
export async function dumpNamespace(kv) {
  return inBatches(await listAll(kv), async ({ name, metadata, expiration }) => ({
    key: name,
    ...valueOf(await kv.get(name, "arrayBuffer")),
    ...(metadata !== undefined && { metadata }),
    ...(expiration !== undefined && { expiration }),
  }));
}

async function listAll(kv) {
  const keys = [];
  let cursor;
  do {
    const page = await kv.list({ cursor });
    keys.push(...page.keys);
    cursor = page.list_complete ? undefined : page.cursor;
  } while (cursor !== undefined);
  return keys;
}

function valueOf(arrayBuffer) {
  const bytes = Buffer.from(arrayBuffer);
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? { value: text } : { base64: bytes.toString("base64") };
}

/** As an `ArrayBuffer` of its own: a `Buffer` may be a window on a larger one. */
function bytesOf(base64) {
  return Uint8Array.from(Buffer.from(base64, "base64")).buffer;
}

async function inBatches(items, work) {
  const results = [];
  for (let start = 0; start < items.length; start += CONCURRENCY) {
    const batch = items.slice(start, start + CONCURRENCY);
    results.push(...(await Promise.all(batch.map(work))));
  }
  return results;
}

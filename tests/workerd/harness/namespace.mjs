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

/** How many values are read or written at the same time. */
const CONCURRENCY = 50;
/** How many values one operation reads. */
const BULK = 100;

/** Puts every entry into the namespace. */
export async function loadNamespace(kv, entries) {
  await inBatches(entries, CONCURRENCY, (batch) =>
    Promise.all(
      batch.map(({ key, value, base64, metadata, expiration }) =>
        kv.put(key, value ?? bytesOf(base64), { metadata, expiration }),
      ),
    ),
  );
}

/**
 * A page of the namespace, in the order of the keys' bytes, as KV lists them.
 *
 * @param {KVNamespace} kv
 * @param {string} [cursor] where the page begins
 * @param {boolean} [asText] whether all values are known to be text, which is read three times as fast
 * @returns {Promise<{ entries: Entry[], cursor?: string }>} the cursor of the next page, if there is one
 */
export async function dumpPage(kv, cursor, asText = false) {
  const page = await kv.list({ cursor });
  const names = page.keys.map(({ name }) => name);
  const values = asText ? await inBatches(names, BULK, readTexts) : await inBatches(names, CONCURRENCY, readExactly);
  const entries = page.keys.map(({ name, metadata, expiration }, index) => ({
    key: name,
    ...values[index],
    ...(metadata !== undefined && { metadata }),
    ...(expiration !== undefined && { expiration }),
  }));
  return { entries, cursor: page.list_complete ? undefined : page.cursor };

  async function readTexts(names) {
    const texts = await kv.get(names);
    return names.map((name) => ({ value: texts.get(name) }));
  }

  function readExactly(names) {
    return Promise.all(names.map(async (name) => valueOf(await kv.get(name, "arrayBuffer"))));
  }
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

async function inBatches(items, size, work) {
  const results = [];
  for (let start = 0; start < items.length; start += size) results.push(...(await work(items.slice(start, start + size))));
  return results;
}

// Calls of a KV namespace for `binding.rs`. Each call between WebAssembly and JavaScript has its price, and each string that
// is handed over: so one call sends an operation, and an answer of many keys comes in few pieces.

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Longer values of a bulk read are handed over one by one, so that they are copied only once. */
const MAX_JOINED = 4096;

/** A later one is as good as never: the runtime writes none after 2038. */
const MAX_EXPIRATION = 2 ** 32 - 1;

const MISSING = 2 ** 32 - 1;
const NO_TEXT = 2 ** 32 - 2;
const LONG = 2 ** 32 - 3;

// Operations, as `binding.rs` numbers them. `PUT` has the time of an expiration, `PUT_WITH_TTL` the seconds until it.
const GET = 0;
const GET_BULK = 1;
const LIST = 2;
const DELETE = 3;
const PUT = 4;
const PUT_WITH_TTL = 5;

/**
 * Sends an operation. A negative number is none. A bulk read has all keys in `key`, and the length of each in `value`. `value`
 * lies in the memory of WebAssembly, where it does not stay.
 */
export function send(kv, operation, key, value, text, number) {
  switch (operation) {
    case GET:
      return kv.getWithMetadata(key, "arrayBuffer").then(entry);
    case GET_BULK: {
      const keys = split(key, new Uint32Array(value.slice().buffer));
      return kv.get(keys, "text").then((values) => bulk(keys.map((name) => values.get(name))));
    }
    case LIST:
      return kv.list({ prefix: key, ...(text !== undefined && { cursor: text }), ...(number >= 0 && { limit: number }) }).then(page);
    case DELETE:
      return kv.delete(key);
    case PUT:
    case PUT_WITH_TTL: {
      const options = {};
      if (text !== undefined) options.metadata = JSON.parse(text);
      if (number >= 0) options[operation === PUT ? "expiration" : "expirationTtl"] = number;
      return kv.put(key, value.slice(), options);
    }
  }
}

const entry = ({ value, metadata }) => ({ bytes: new Uint8Array(value ?? 0), numbers: [value === null ? MISSING : 0], text: json(metadata) });

/** Of each value its length, or what it is instead. */
function bulk(values) {
  const long = [];
  const texts = [];
  const numbers = values.map((value) => {
    if (typeof value !== "string") return value === null ? MISSING : NO_TEXT;
    if (value.length > MAX_JOINED) return long.push(value) && LONG;
    texts.push(value);
    return value.length;
  });
  return { ...joined(texts, numbers), next: () => encoder.encode(long.shift()) };
}

/** Of each key the lengths of its name and its metadata, and its expiration. The last number says whether the list is complete. */
function page({ keys, list_complete, cursor }) {
  const texts = keys.flatMap(({ name, metadata }) => [name, json(metadata) ?? ""]);
  const numbers = texts.map((text) => text.length);
  const { bytes } = joined(texts, numbers);
  const all = keys.flatMap(({ expiration }, index) => [numbers[2 * index], numbers[2 * index + 1], Math.min(expiration ?? 0, MAX_EXPIRATION)]);
  return { bytes, numbers: [...all, list_complete === true ? 1 : 0], text: typeof cursor === "string" ? cursor : undefined };
}

/** The bytes of texts, whose lengths are replaced by those of their bytes. Most texts are ASCII. */
function joined(texts, numbers) {
  const bytes = encoder.encode(texts.join(""));
  let next = 0;
  if (bytes.length !== texts.reduce((length, text) => length + text.length, 0)) {
    numbers.forEach((number, index) => {
      if (number < LONG) numbers[index] = encoder.encode(texts[next++]).length;
    });
  }
  return { bytes, numbers };
}

/** Texts that came as one, by the lengths of their bytes. */
function split(text, lengths) {
  let end = 0;
  const bytes = encoder.encode(text);
  const part = bytes.length === text.length ? (from, to) => text.slice(from, to) : (from, to) => decoder.decode(bytes.subarray(from, to));
  return Array.from(lengths, (length) => part(end, (end += length)));
}

/** Metadata as JSON, unless there is none. */
function json(metadata) {
  return metadata == null ? undefined : JSON.stringify(metadata);
}

/**
 * A KV in the Worker's own isolate, which costs next to nothing: what is measured on it is the Worker's own work. It answers
 * as KV does what a migration asks of it.
 */

/** Of keys in one page of a list. */
const PAGE = 1_000;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

// `worker` looks at the name of the class.
class KvNamespace {
  /** The values, as text or as bytes. */
  #values = new Map();
  /** The keys in their order, until there is another one. */
  #sorted;
  #metadata = new Map();
  #counts = {};

  /** Resets the counts. */
  begin() {
    this.#counts = { list: 0, get: 0, getBulk: 0, put: 0, delete: 0 };
  }

  /** How many of each there were. */
  get counts() {
    return this.#counts;
  }

  /** Holds these entries alone: a number of customers, each of this number of bytes if that is more than it needs. */
  seed({ prefix, records, bytes }) {
    this.#values.clear();
    this.#metadata.clear();
    for (let number = 0; number < records; number += 1) {
      const customer = { credit: number, name: `Customer ${number}`, email: `customer-${number}@example.com` };
      const text = JSON.stringify(customer);
      const value = bytes > text.length ? `${text.slice(0, -1)},"text":"${"x".repeat(bytes - text.length - 10)}"}` : text;
      this.#values.set(`${prefix}${String(number).padStart(6, "0")}`, value);
    }
    this.#sorted = undefined;
    return records;
  }

  /** The entries that begin so, past the counts. */
  *entries(prefix) {
    for (const [key, value] of this.#values) if (key.startsWith(prefix)) yield [key, text(value)];
  }

  /** The same, with the bytes of each value in its place. */
  *sizes(prefix) {
    for (const [key, value] of this.#values) if (key.startsWith(prefix)) yield [key, value.length];
  }

  async get(key, type) {
    if (Array.isArray(key)) {
      this.#counts.getBulk += 1;
      return new Map(key.map((name) => [name, this.#read(name, type ?? "text")]));
    }
    this.#counts.get += 1;
    return this.#read(key, type ?? "text");
  }

  async getWithMetadata(key, type) {
    this.#counts.get += 1;
    return { value: this.#read(key, type ?? "text"), metadata: this.#metadata.get(key) ?? null };
  }

  async put(key, value, { metadata } = {}) {
    this.#counts.put += 1;
    if (!this.#values.has(key)) this.#sorted = undefined;
    this.#values.set(key, value);
    if (metadata === undefined) this.#metadata.delete(key);
    else this.#metadata.set(key, metadata);
  }

  async delete(key) {
    this.#counts.delete += 1;
    if (this.#values.delete(key)) this.#sorted = undefined;
    this.#metadata.delete(key);
  }

  async list({ prefix = "", cursor, limit = PAGE } = {}) {
    this.#counts.list += 1;
    this.#sorted ??= [...this.#values.keys()].sort();
    const sorted = this.#sorted;
    let start = firstFrom(sorted, cursor ?? prefix);
    const keys = [];
    for (; start < sorted.length && keys.length < limit && sorted[start].startsWith(prefix); start += 1) {
      const name = sorted[start];
      const metadata = this.#metadata.get(name);
      keys.push(metadata === undefined ? { name } : { name, metadata });
    }
    const isComplete = start >= sorted.length || !sorted[start].startsWith(prefix);
    return isComplete ? { keys, list_complete: true } : { keys, list_complete: false, cursor: sorted[start] };
  }

  #read(key, type) {
    const value = this.#values.get(key);
    if (value === undefined) return null;
    if (type === "json") return JSON.parse(text(value));
    if (type === "arrayBuffer") return (typeof value === "string" ? encoder.encode(value) : value.slice()).buffer;
    return text(value);
  }
}

const text = (value) => (typeof value === "string" ? value : decoder.decode(value));

/** The place of the first key that is not before this one. */
function firstFrom(keys, from) {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle] < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

export default () => new KvNamespace();

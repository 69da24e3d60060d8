/**
 * A KV in the Worker's own isolate with more customers than fit into its memory. It holds none of them: a value is made when it
 * is read, and looked at when it is written. For the entries that the Worker makes itself, it is a map.
 */
const PAGE = 1_000;
const PREFIX = "customer_";

const decoder = new TextDecoder();

// `worker` looks at the name of the class.
class KvNamespace {
  #records = 0;
  #bytes = 0;
  #others = new Map();
  #counts = {};

  /** Resets the counts. */
  begin() {
    this.#counts = { list: 0, getBulk: 0, get: 0, put: 0 };
  }

  /** How many of each there were. */
  get counts() {
    return this.#counts;
  }

  /** Has a number of customers, and the bytes that each has. */
  seed({ records, bytes }) {
    [this.#records, this.#bytes] = [records, bytes];
    return records;
  }

  async get(keys, type) {
    if (!Array.isArray(keys) || type !== "text") throw new Error("KV GET failed: 400 not expected here");
    this.#counts.getBulk += 1;
    // As the runtime does: the answer comes as JSON.
    const answer = JSON.stringify(Object.fromEntries(keys.map((key) => [key, this.#customer(key)])));
    return new Map(Object.entries(JSON.parse(answer)));
  }

  async getWithMetadata(key, type) {
    if (key.startsWith(PREFIX) || type !== "arrayBuffer") throw new Error("KV GET failed: 400 not expected here");
    this.#counts.get += 1;
    return this.#others.get(key) ?? { value: null, metadata: null };
  }

  async put(key, value, { metadata = null } = {}) {
    this.#counts.put += 1;
    if (!key.startsWith(PREFIX)) this.#others.set(key, { value: value.buffer, metadata });
    else if (JSON.parse(decoder.decode(value)).seen !== 1) throw new Error("KV PUT failed: 400 a customer was not changed");
  }

  async list({ prefix, cursor = "0" }) {
    this.#counts.list += 1;
    if (prefix !== PREFIX) return { keys: [], list_complete: true };
    const [start, end] = [Number(cursor), Math.min(Number(cursor) + PAGE, this.#records)];
    const keys = Array.from({ length: end - start }, (_, index) => ({ name: `${PREFIX}${String(start + index).padStart(6, "0")}` }));
    return end === this.#records ? { keys, list_complete: true } : { keys, list_complete: false, cursor: String(end) };
  }

  #customer(key) {
    const text = JSON.stringify({ name: key, text: "" });
    return text.replace('""', `"${"x".repeat(this.#bytes - text.length)}"`);
  }
}

export default () => new KvNamespace();

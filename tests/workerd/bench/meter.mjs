/**
 * Stands between a measured Worker and its KV, in the Worker's own isolate: counts operations, lets each take as long as
 * it is told, and no more than six be under way at once, as at Cloudflare. It is the same for every Worker.
 */
const CONNECTIONS = 6;

// `worker` looks at the name of the class.
class KvNamespace {
  #kv;
  #milliseconds = 0;
  #counts = {};
  #free = CONNECTIONS;
  #waiting = [];

  constructor(kv) {
    this.#kv = kv;
  }

  /** Resets the counts. From now on each operation takes at least this many milliseconds. */
  begin(milliseconds) {
    this.#milliseconds = milliseconds;
    this.#counts = { list: 0, get: 0, getBulk: 0, put: 0, delete: 0 };
  }

  /** How many of each there were. */
  get counts() {
    return this.#counts;
  }

  get(key, ...options) {
    return this.#operation(Array.isArray(key) ? "getBulk" : "get", () => this.#kv.get(key, ...options));
  }

  getWithMetadata(key, ...options) {
    return this.#operation(Array.isArray(key) ? "getBulk" : "get", () => this.#kv.getWithMetadata(key, ...options));
  }

  list(...options) {
    return this.#operation("list", () => this.#kv.list(...options));
  }

  put(...entry) {
    return this.#operation("put", () => this.#kv.put(...entry));
  }

  delete(key) {
    return this.#operation("delete", () => this.#kv.delete(key));
  }

  async #operation(name, call) {
    this.#counts[name] += 1;
    if (this.#free === 0) await new Promise((resolve) => this.#waiting.push(resolve));
    else this.#free -= 1;
    try {
      if (this.#milliseconds === 0) return await call();
      const [answer] = await Promise.all([call(), new Promise((resolve) => setTimeout(resolve, this.#milliseconds))]);
      return answer;
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

export default ({ kv }) => new KvNamespace(kv);

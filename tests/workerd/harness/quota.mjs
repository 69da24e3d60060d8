/**
 * Stands between a Worker and its KV, in the Worker's isolate, and refuses operations as the runtime does when the free
 * plan's daily quota is used up. The key `quota` holds how many of each it takes: `{"put": 10}`; without it, any number.
 */

// `worker` looks at the name of the class.
class KvNamespace {
  #kv;
  #taken = { list: 0, put: 0, delete: 0 };

  constructor(kv) {
    this.#kv = kv;
  }

  async #take(operation) {
    const quota = await this.#kv.get("quota", "json");
    if (this.#taken[operation] >= quota?.[operation]) throw new Error(`KV ${operation}() limit exceeded for the day.`);
    this.#taken[operation] += 1;
  }

  get(...request) {
    return this.#kv.get(...request);
  }

  getWithMetadata(...request) {
    return this.#kv.getWithMetadata(...request);
  }

  async list(...request) {
    await this.#take("list");
    return this.#kv.list(...request);
  }

  async put(...entry) {
    await this.#take("put");
    return this.#kv.put(...entry);
  }

  async delete(key) {
    await this.#take("delete");
    return this.#kv.delete(key);
  }
}

export default ({ kv }) => new KvNamespace(kv);

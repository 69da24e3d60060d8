import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { Client, TOKEN, serveSpecimen } from "./client.mjs";
import { startProcess } from "./process.mjs";

const SPECIMEN = fileURLToPath(new URL("../workers/specimen", import.meta.url));

/** What the specimen has stored, kept in a directory, whichever process serves it. */
export class Storage {
  #test;
  #directory;
  #objects;
  #namespace;

  /**
   * @param {import("node:test").TestContext} test
   * @param {import("./namespace.mjs").Entry[]} entries what the namespace holds at first
   * @param {Record<string, string>} [objects] the classes of Durable Objects, by the names of their bindings
   */
  constructor(test, entries, objects = {}) {
    this.#test = test;
    this.#objects = objects;
    this.#directory = mkdtempSync(path.join(tmpdir(), "storage-"));
    test.after(() => rmSync(this.#directory, { recursive: true }));
    this.#namespace = [...entries];
  }

  #path(name) {
    return path.join(this.#directory, name);
  }

  /** Serves it from a process that is killed when `work` is done, which gets a client and the process. */
  async untilKilled(work, bindings = {}) {
    const worker = await startProcess(SPECIMEN, this.#options(bindings), this.#directory);
    try {
      await work(new Client(worker), worker);
    } finally {
      await worker.kill();
    }
  }

  /** The entries are put once, by the first process. */
  #options(bindings) {
    const namespace = this.#namespace.splice(0);
    return { ...this.#persist(), namespace, objects: this.#objects, bindings: { MIGRATIONS_TOKEN: TOKEN, ...bindings } };
  }

  #persist() {
    return { kvPersist: this.#path("kv"), objectsPersist: this.#path("objects") };
  }

  /** Serves it until the test ends. */
  serve(bindings) {
    return serveSpecimen(this.#test, { ...this.#persist(), objects: this.#objects, bindings });
  }
}

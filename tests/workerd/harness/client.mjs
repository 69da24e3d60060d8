import assert from "node:assert/strict";

import { startWorker } from "./worker.mjs";

/** The token that every Worker under test has, unless a test gives it another. */
export const TOKEN = "dev-token";

const BINDINGS = { MIGRATIONS_TOKEN: TOKEN, API_URL: "https://api.example.com" };

/**
 * Starts a Worker for one test, and stops it when the test ends.
 *
 * @param {import("node:test").TestContext} test
 * @param {string} directory the Worker's crate, from the root of the repository
 * @param {object} [options] those of `startWorker`; its `bindings` are added to the token and `API_URL`,
 *   and one that is undefined is taken away
 */
export async function serve(test, directory, { bindings, ...options } = {}) {
  const root = new URL("../../../", import.meta.url);
  const log = [];
  const worker = await startWorker(new URL(directory, root).pathname, {
    bindings: without({ ...BINDINGS, ...bindings }, undefined),
    handleRuntimeStdio: (...streams) => streams.forEach((stream) => stream.on("data", (chunk) => log.push(chunk))),
    ...options,
  });
  test.after(() => worker.stop());
  return new Client(worker, log);
}

/** The Worker whose headers choose what it does: see `workers/specimen`. */
export function serveSpecimen(test, options) {
  return serve(test, "tests/workerd/workers/specimen", options);
}

function without(object, absent) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== absent));
}

/** What a test says to a Worker. */
export class Client {
  #log;

  constructor(worker, log = []) {
    this.worker = worker;
    this.#log = log;
  }

  /** The lines that the runner wrote to the console. */
  get logLines() {
    const lines = Buffer.concat(this.#log).toString("utf8").split("\n");
    return lines.filter((line) => line.startsWith("[Migration]"));
  }

  /** The answer to a request with the token, unless `headers` say otherwise; those that are null are not sent. */
  async send(method, path, headers, init) {
    const response = await this.#fetch(method, path, headers, init);
    const text = await response.text();
    const type = response.headers.get("content-type") ?? "";
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: type.endsWith("json") && !type.endsWith("ndjson") && text !== "" ? JSON.parse(text) : undefined,
    };
  }

  /** The same for an answer that is told event by event: its body is an iterator over the lines as they arrive. */
  async sendForEvents(path, headers, init) {
    const response = await this.#fetch("POST", path, { accept: "application/x-ndjson", ...headers }, init);
    return { status: response.status, headers: response.headers, lines: linesOf(response.body) };
  }

  #fetch(method, path, headers, init) {
    const sent = without({ authorization: `Bearer ${TOKEN}`, ...headers }, null);
    return this.worker.fetch(path, { method, headers: sent, ...init });
  }

  status(headers, query = "") {
    return this.send("GET", `/migrations/status${query}`, headers);
  }

  migrate(headers) {
    return this.send("POST", "/migrate", headers);
  }

  rollback(id, headers) {
    return this.send("POST", `/migrations/${encodeURIComponent(id)}/rollback`, headers);
  }

  /**
   * Migrates again and again until there is an answer other than 202, and gives all answers. It does not wait: the clock
   * of the runs is ahead by this many seconds, and then by as many more as `Retry-After` says.
   */
  migrateToEnd(headers, ahead) {
    return carryOn((clock) => this.migrate({ ...headers, ...clock }), ahead);
  }

  /** The same for a rollback. */
  rollbackToEnd(id, headers, ahead) {
    return carryOn((clock) => this.rollback(id, { ...headers, ...clock }), ahead);
  }

  /** The value of a key as text, null if there is none. */
  async value(key) {
    return (await this.worker.kv()).get(key);
  }

  /** Whether a migration counts as run by the TypeScript runner's rule. */
  async isRunForTypeScript(id, prefix = "my-service") {
    return (await this.value(`migration_${prefix}_${id}`)) === "true";
  }
}

/** The lines of a body, without their ends, each as soon as it is whole. */
async function* linesOf(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop();
    yield* lines;
  }
  assert.equal(rest, "", "the last line has an end too");
}

async function carryOn(send, ahead = 0) {
  const answers = [];
  do {
    answers.push(await send({ "clock-ahead": String(ahead) }));
    ahead += Number(answers.at(-1).headers.get("retry-after"));
    assert.ok(answers.length <= 100, "it does not come to an end");
  } while (answers.at(-1).status === 202);
  return answers;
}

/** Checks an answer that is an error, and gives its body. */
export function assertProblem(answer, status, name) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers.get("content-type"), "application/problem+json");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  assert.equal(answer.json.type, `urn:kv-migrations:problem:${name}`);
  assert.equal(answer.json.status, status);
  assert.ok(answer.json.title && answer.json.detail, "it has a title and a detail");
  return answer.json;
}

/** Checks an answer that is not an error, and gives its body. */
export function assertAnswer(answer, status = 200) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers.get("content-type"), "application/json");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  return answer.json;
}

/** Those fields of a status that the TypeScript runner had too. */
export function recordedFields(status) {
  return status.map(({ id, run, description }) => ({ id, run, ...(description !== undefined && { description }) }));
}

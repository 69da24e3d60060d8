import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import http from "node:http";
import { fileURLToPath } from "node:url";

import { TOKEN } from "./client.mjs";

const PROGRAM = fileURLToPath(new URL("../../../target/debug/kv-migrations", import.meta.url));

/** A directory without sources of a service. */
const ELSEWHERE = fileURLToPath(new URL("../fixtures", import.meta.url));

/**
 * Starts the command line against a URL. `told` waits for its output, `interrupt` is a Ctrl-C, and `end` gives its exit code and
 * what it printed.
 *
 * @param {string[]} args
 * @param {{ url?: URL, token?: string, env?: Record<string, string>, cwd?: string }} [options]
 */
export function start(args, { url, token = TOKEN, env = {}, cwd = ELSEWHERE } = {}) {
  assert.ok(existsSync(PROGRAM), `${PROGRAM} does not exist: cargo build --package kv-migrations-cli`);
  const variables = { ...(url && { KV_MIGRATIONS_URL: url.origin }), ...(token && { KV_MIGRATIONS_TOKEN: token }) };
  const child = spawn(PROGRAM, args, { cwd, env: { PATH: process.env.PATH, ...variables, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"]) child[stream].setEncoding("utf8").on("data", (text) => (output[stream] += text));
  const closed = once(child, "close");
  return {
    interrupt: () => child.kill("SIGINT"),
    async told(pattern) {
      while (!pattern.test(output.stdout + output.stderr)) {
        assert.equal(child.exitCode, null, `it ended, and never said ${pattern}: ${output.stdout}${output.stderr}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    async end() {
      const [code] = await closed;
      assert.ok(!(output.stdout + output.stderr).includes(token || TOKEN), "it never prints a token");
      return { code, ...output };
    },
  };
}

/** Runs it to its end. */
export function run(args, options) {
  return start(args, options).end();
}

/** Runs it with `--json`, and gives the values that it printed, one a line. */
export async function runForJson(args, options) {
  const { code, stdout, stderr } = await run([...args, "--json"], options);
  const lines = stdout.split("\n").filter((line) => line !== "");
  return { code, stderr, lines: lines.map((line) => JSON.parse(line)), last: JSON.parse(lines.at(-1) ?? "null") };
}

/** Stands in front of a service, at one address: the service can be exchanged, or be away, and connections can be cut. */
export class Gateway {
  #server;
  #open = new Set();

  /** The service; undefined while there is none. @type {URL | undefined} */
  upstream;
  /** The headers that each request gets: by these a specimen is another release. */
  headers = {};
  /** The requests so far: method and path. */
  requests = [];

  /** @param {import("node:test").TestContext} test */
  static async start(test, upstream, headers = {}) {
    const gateway = Object.assign(new Gateway(), { upstream, headers });
    gateway.#server = http.createServer((request, response) => gateway.#forward(request, response));
    gateway.#server.listen(0, "127.0.0.1");
    await once(gateway.#server, "listening");
    test.after(() => {
      gateway.cut();
      gateway.#server.close();
    });
    return gateway;
  }

  get url() {
    return new URL(`http://127.0.0.1:${this.#server.address().port}`);
  }

  /** Ends all connections, in the middle of whatever they carry. */
  cut() {
    for (const response of this.#open) response.destroy();
  }

  #forward(request, response) {
    this.requests.push(`${request.method} ${request.url}`);
    if (this.upstream === undefined) return response.destroy();
    this.#open.add(response);
    response.on("close", () => this.#open.delete(response));
    const headers = { ...request.headers, ...this.headers };
    const { method } = request;
    const forwarded = http.request(new URL(request.url, this.upstream), { method, headers, agent: false }, (incoming) => {
      response.writeHead(incoming.statusCode, incoming.headers);
      incoming.on("error", () => response.destroy());
      incoming.pipe(response);
    });
    forwarded.on("error", () => response.destroy()).end();
    response.on("close", () => forwarded.destroy());
  }
}

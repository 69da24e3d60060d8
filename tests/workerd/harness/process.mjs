import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { request } from "./worker.mjs";

const SERVE = fileURLToPath(new URL("serve.mjs", import.meta.url));

/**
 * Serves a Worker in a process of its own, which can be killed.
 *
 * @param {string} directory the Worker's crate
 * @param {object} options those of `startWorker`
 * @param {string} temporary a directory for its temporary files, which it cannot delete when it is killed
 */
export async function startProcess(directory, options, temporary) {
  const env = { ...process.env, TMPDIR: temporary };
  // In a group of its own, so that workerd, its child, is killed with it.
  const server = spawn("node", [SERVE, directory], { detached: true, stdio: "pipe", env });
  // If it ends early, `told` says so.
  server.stdin.on("error", () => {});
  server.stdin.write(`${JSON.stringify(options)}\n`);
  const killable = new KillableWorker(server);
  const ready = await killable.told(/^ready (.*)$/m);
  killable.url = new URL(ready[1]);
  return killable;
}

class KillableWorker {
  #process;
  #output = "";
  #ended;

  constructor(process) {
    this.#process = process;
    for (const stream of [process.stdout, process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.#output += text));
    }
    this.#ended = new Promise((resolve) => process.once("close", resolve));
  }

  /** What it has printed. */
  get output() {
    return this.#output;
  }

  fetch(path, init) {
    return request(new URL(path, this.url), init);
  }

  /** Waits until its output has this, and gives the match. */
  async told(pattern) {
    for (;;) {
      const match = this.#output.match(pattern);
      if (match) return match;
      if (this.#process.exitCode !== null) throw new Error(`it ended, and never said ${pattern}:\n${this.#output}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Kills it as a power cut would: it can end nothing in good order. */
  async kill() {
    try {
      process.kill(-this.#process.pid, "SIGKILL");
    } catch (error) {
      // It is gone already.
      if (error.code !== "ESRCH") throw error;
    }
    await this.#ended;
  }
}

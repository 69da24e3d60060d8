import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { Client, serveSpecimen } from "./client.mjs";

/** The class that the specimen's routes have for a coordinator, by the name of its binding. */
export const OBJECTS = { MIGRATIONS: "Migrations" };

/** The variables of a specimen whose coordinator is set up so: see `workers/specimen/src/settings.rs`. */
export function coordinated(settings) {
  return { COORDINATED: JSON.stringify(settings) };
}

/** Starts the specimen with routes that have a coordinator. */
export async function serveCoordinated(test, settings = {}, { bindings, ...options } = {}) {
  const all = { objects: OBJECTS, bindings: { ...coordinated(settings), ...bindings }, ...options };
  return coordinatedClient(await serveSpecimen(test, all));
}

/** The same Worker, asked by way of its coordinator. */
export function coordinatedClient(client) {
  return new CoordinatedClient(client.worker);
}

class CoordinatedClient extends Client {
  send(method, path, headers, init) {
    return super.send(method, path, { coordinator: "yes", ...headers }, init);
  }

  sendForEvents(path, headers, init) {
    return super.sendForEvents(path, { coordinator: "yes", ...headers }, init);
  }

  /** Migrates with a query. */
  run(query = "") {
    return this.send("POST", `/migrate${query}`);
  }

  /** Pauses, resumes, cancels or rolls back. */
  ask(action, id, query = "") {
    return this.send("POST", `/migrations/${encodeURIComponent(id)}/${action}${query}`);
  }

  async history() {
    const answer = await this.send("GET", "/migrations/history");
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
  }

  /** The status of the only migration there is. */
  async only() {
    const [status] = (await this.status()).json;
    return status;
  }
}

/** Asks again and again until it is so, and gives what was told then. */
export async function until(ask, isSo, seconds = 60) {
  const deadline = Date.now() + seconds * 1_000;
  for (;;) {
    const told = await ask();
    if (isSo(told)) return told;
    if (Date.now() > deadline) assert.fail(`after ${seconds} seconds it is ${JSON.stringify(told)}`);
    await sleep(50);
  }
}

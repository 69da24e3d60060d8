// Each answer of every route is as docs/reference/openapi.json describes it. `states.test.mjs` checks many more.
import assert from "node:assert/strict";
import { test } from "node:test";

import { serveSpecimen } from "./harness/client.mjs";
import { serveCoordinated, until } from "./harness/coordinated.mjs";
import { customers } from "./harness/entries.mjs";
import { assertDescribed, describedRoutes, notMet } from "./harness/openapi.mjs";

const [FIRST, SECOND, THIRD] = ["001_first", "002_second", "003_third"];
const ENTRIES = customers(150);
const QUICK = { migrations: "operated none", "dry-run": "on" };
/** So few operations that the second migration takes several requests, or steps. */
const SLOW = { ...QUICK, budget: "60", latency: "20" };
const FAILING = { ...QUICK, migrations: `operated ${ENTRIES[40].key}` };
const EVENTS = { accept: "application/x-ndjson" };

/** Sends a request, and checks that its answer is described, and its status. */
function asking(client, settings) {
  let seconds = 0;
  return async (method, target, status, headers = {}) => {
    seconds += 60;
    const answer = await client.send(method, target, { ...settings, "clock-ahead": String(seconds), ...headers });
    assertDescribed(method, target, answer);
    assert.ok([status].flat().includes(answer.status), `${method} ${target}: ${answer.status} ${answer.text}`);
    return answer;
  };
}

const without = test("without a coordinator", async (t) => {
  const client = await serveSpecimen(t, { namespace: ENTRIES });
  const quick = asking(client, QUICK);
  const slow = asking(client, SLOW);
  const failing = asking(client, FAILING);

  await quick("GET", "/migrations/status?require=up-to-date", 409);
  await quick("GET", `/migrations/plan?steps=2&expect=${FIRST}`, 200);
  await quick("POST", "/migrations/dry-run?values=true&show=3", 200);
  await quick("POST", "/migrations/dry-run?entries=20", 200);
  await quick("POST", `/migrate?to=${FIRST}&by=me`, 200, EVENTS);
  await failing("POST", "/migrate", 500);
  await failing("GET", "/migrations/status", 200);
  await failing("POST", "/migrate", 200, EVENTS);
  await failing("POST", `/migrations/${SECOND}/reset`, 200);
  await slow("POST", "/migrate?require=up-to-date", 503);
  await slow("POST", `/migrate?to=${SECOND}`, 202);
  await quick("POST", "/migrate?brief=true", 200);
  await quick("GET", "/migrations/status?require=up-to-date", 200);
  await slow("POST", `/migrations/${SECOND}/rollback`, 202);
  await quick("POST", `/migrations/${SECOND}/rollback?by=me`, 200);
  await quick("POST", `/migrations/${THIRD}/unmark`, 200);
  await quick("POST", `/migrations/${SECOND}/mark`, 200);
  await slow("POST", "/migrations/rollback?steps=2", 202);
  await quick("POST", "/migrations/rollback?steps=1", 409);
  await quick("POST", "/migrations/rollback?steps=all", 200);
  await quick("POST", `/migrations/baseline?to=${THIRD}`, 202, { budget: "2" });
  await quick("POST", `/migrations/baseline?to=${SECOND}`, 200);
});

const coordinated = test("with a coordinator", async (t) => {
  const client = await serveCoordinated(t, SLOW, { namespace: ENTRIES });
  const ask = asking(client, {});
  const state = async () => (await ask("GET", "/migrations/status", 200)).json[1].state;

  await ask("POST", `/migrate?to=${SECOND}&by=me`, 202);
  await ask("POST", "/migrate", 409);
  await ask("GET", "/migrations/history", 200);
  await ask("POST", `/migrations/${SECOND}/pause?by=me`, [200, 202]);
  await until(state, (told) => told === "paused");
  await ask("POST", `/migrations/${SECOND}/pause`, 200);
  await ask("POST", "/migrate?wait=true", 409);
  await ask("POST", `/migrations/${SECOND}/resume`, 200);
  await ask("POST", `/migrations/${SECOND}/cancel`, [200, 202]);
  await until(state, (told) => told === "pending");
  await ask("POST", `/migrate?to=${SECOND}`, 202);
  await ask("POST", `/migrations/${SECOND}/pause`, [200, 202]);
  await until(state, (told) => told === "paused");
  await ask("POST", `/migrations/${SECOND}/cancel`, 200);
  await ask("POST", `/migrations/${FIRST}/pause`, 409);
  await ask("POST", `/migrations/${FIRST}/resume`, 409);
  await ask("POST", `/migrations/${FIRST}/cancel`, 409);
  await ask("POST", "/migrate?wait=true", 200, EVENTS);
  await ask("POST", `/migrations/${SECOND}/mark`, 200);
  await ask("GET", "/migrations/history", 200);
  await ask("GET", "/migrations/plan", 200);
  for (const { method, path, operation } of describedRoutes("unknown")) {
    // `page.test.mjs` has the page.
    if (operation.operationId === "page") continue;
    await ask(method, `${path}?unknown=yes`, 400);
    await ask(method, path, 401, { authorization: "Bearer wrong" });
    await ask(method === "GET" ? "POST" : "GET", path, 405);
  }
});

/** The page is met by `page.test.mjs`, and whether a step ends before the answer to those who stop it depends on the machine. */
const LEFT_OUT = ["page 200", "page 4XX", "pause 202", "cancel 202"];

test("every answer that is described was met", async () => {
  await Promise.all([without, coordinated]);
  assert.deepEqual(describedRoutes("x").flatMap(notMet).filter((answer) => !LEFT_OUT.includes(answer)), []);
});

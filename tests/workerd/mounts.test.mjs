// Where the routes can be mounted, and that what is not theirs passes through untouched.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";

const MOUNTS = ["bare /", "bare /admin", "bare /a/b", "layer /", "layer /admin", "layer /a/b", "front /", "front /a/b", "nest /admin", "nest /a/b"];

test("with a store that is handed over", async (t) => {
  const client = await serveSpecimen(t);
  const headers = { store: "handed-over", migrations: "failing" };
  assertProblem(await client.migrate(headers), 500, "migration-failed");
  const status = assertAnswer(await client.status(headers));
  assert.deepEqual(status.map(({ state }) => state), ["applied", "failed", "pending"]);
  assert.deepEqual(assertAnswer(await client.status({ migrations: "failing" })), status, "the binding by its name");
  const mended = { store: "handed-over", migrations: "mended" };
  assert.deepEqual(assertAnswer(await client.migrate(mended)).ran, ["002_second", "003_third"]);
  assertAnswer(await client.rollback("003_third", mended));
  assert.equal(await client.isRunForTypeScript("003_third"), false);
});

for (const mount of MOUNTS) {
  const [how, path] = mount.split(" ");
  const base = path === "/" ? "" : path;

  test(`mounted as ${mount}`, async (t) => {
    const client = await serveSpecimen(t);
    const headers = { mount };
    const send = (method, path) => client.send(method, `${base}${path}`, headers);

    assert.deepEqual(assertAnswer(await send("POST", "/migrate")).ran, ["001_first"]);
    assert.equal(assertAnswer(await send("GET", "/migrations/status?require=up-to-date"))[0].run, true);
    assert.equal(assertAnswer(await send("POST", "/migrations/001_first/rollback")).rolledBack, "001_first");
    assertProblem(await send("GET", "/migrate"), 405, "method-not-allowed");

    const before = await client.worker.dump();
    for (const other of [`${base}/migrate/`, `${base || "/"}x/migrate`, `${base}/migrations`, "/other", "/"]) {
      const answer = await client.send("POST", other, { ...headers, authorization: null }, { body: "as it was" });
      const inside = how === "nest" && other.startsWith(`${base}/`);
      if (how === "bare" || inside) assertProblem(answer, 404, "not-found");
      else assert.equal(answer.text, `own POST ${other} as it was`);
    }
    if (base !== "") {
      const { status, text } = await client.send("POST", "/migrate", headers);
      assert.ok(status === 404 || text.startsWith("own "), "only below its path");
    }
    assert.deepEqual(await client.worker.dump(), before, "nothing ran");
  });
}

for (const mount of ["bare /", "layer /admin", "nest /admin", "fetch /admin"]) {
  test(`a POST with a body is refused, mounted as ${mount}`, async (t) => {
    const client = await serveSpecimen(t);
    const path = mount.endsWith("/") ? "" : "/admin";
    const post = (body, headers) => client.send("POST", `${path}/migrate`, { mount, ...headers }, { body });
    assertProblem(await post("{\"dryRun\":true}"), 400, "unexpected-content");
    assertProblem(await post("{}", { authorization: null }), 401, "unauthorized");
    assert.deepEqual(await client.worker.dump(), [], "nothing ran");
    assertAnswer(await post("", { "content-length": "0" }));
  });
}

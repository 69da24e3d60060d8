// Who gets in: nobody, unless it was given.
import assert from "node:assert/strict";
import { test } from "node:test";

import { assertAnswer, assertProblem, serveSpecimen } from "./harness/client.mjs";

const bearer = (token) => ({ authorization: `Bearer ${token}` });

test("only the right token gets in", async (t) => {
  const client = await serveSpecimen(t, { bindings: { MIGRATIONS_TOKEN: "correct-horse" } });
  assertAnswer(await client.migrate(bearer("correct-horse")));
  assertAnswer(await client.migrate({ authorization: "bearer correct-horse" }));
  const wrong = {
    "no header": null,
    "an empty header": "",
    "another scheme": "Basic correct-horse",
    "the token alone": "correct-horse",
    "no token": "Bearer ",
    "a wrong token": "Bearer wrong",
    "the start of the right one": "Bearer correct",
    "the right one and more": "Bearer correct-horses",
    "another case": "Bearer Correct-Horse",
    "two tokens": "Bearer wrong, Bearer correct-horse",
    "two headers": ["Bearer correct-horse", "Bearer correct-horse"],
  };
  const noToken = ["no header", "an empty header", "another scheme", "the token alone"];
  for (const [name, authorization] of Object.entries(wrong)) {
    const answer = await client.status({ authorization });
    assertProblem(answer, 401, "unauthorized");
    const challenge = `Bearer realm="migrations"${noToken.includes(name) ? "" : ', error="invalid_token"'}`;
    assert.equal(answer.headers.get("www-authenticate"), challenge, name);
    assert.ok(!answer.text.includes("correct-horse"), "the secret is in no answer");
  }
});

for (const [name, secret] of Object.entries({ missing: undefined, empty: "", blank: " \n" })) {
  test(`with a secret that is ${name}, nobody gets in`, async (t) => {
    const client = await serveSpecimen(t, { bindings: { MIGRATIONS_TOKEN: secret } });
    for (const authorization of [null, "Bearer ", "Bearer dev-token", "Bearer undefined"]) {
      const problem = assertProblem(await client.migrate({ authorization }), 403, "access-not-configured");
      assert.match(problem.detail, /MIGRATIONS_TOKEN/);
      assert.match(problem.help, /wrangler secret put/);
    }
    assertProblem(await client.status(), 403, "access-not-configured");
    assertProblem(await client.rollback("001_first"), 403, "access-not-configured");
    assert.deepEqual(await client.worker.dump(), []);
  });
}

test("a token for the status reads, and does nothing else", async (t) => {
  const bindings = { MIGRATIONS_TOKEN: "deploy", MIGRATIONS_STATUS_TOKEN: "ci", CI_TOKEN: "renamed" };
  const client = await serveSpecimen(t, { bindings });
  const ci = bearer("ci");
  assertAnswer(await client.status(ci));
  assert.equal((await client.send("HEAD", "/migrations/status", ci)).status, 200);
  assertAnswer(await client.status(ci, "?require=up-to-date"), 409);
  assert.equal(assertAnswer(await client.send("GET", "/migrations/plan", ci)).access, "read");
  assert.equal(assertAnswer(await client.send("GET", "/migrations/plan", bearer("deploy"))).access, "full");
  for (const refused of [
    await client.migrate(ci),
    await client.rollback("001_first", ci),
    await client.send("POST", "/migrations/001_first/reset", ci),
    await client.send("POST", "/migrations/001_first/mark", ci),
    await client.send("POST", "/migrations/baseline?to=001_first", ci),
    await client.send("POST", "/migrate?unknown", ci),
  ]) {
    const { detail } = assertProblem(refused, 403, "read-only-token");
    assert.equal(detail, "This token may only read. Send the one in the secret `MIGRATIONS_TOKEN`.");
    assert.ok(!refused.text.includes("001_first"), "no answer tells which migrations exist");
  }
  assert.deepEqual(await client.worker.dump(), [], "nothing ran");
  assertAnswer(await client.migrate(bearer("deploy")));
  assertProblem(await client.status(bearer("renamed")), 401, "unauthorized");
  assertProblem(await client.status(bearer("")), 401, "unauthorized");
});

for (const [name, secret] of Object.entries({ missing: undefined, empty: "" })) {
  test(`with a secret for the status that is ${name}, its token does not exist`, async (t) => {
    const client = await serveSpecimen(t, { bindings: { MIGRATIONS_TOKEN: "deploy", MIGRATIONS_STATUS_TOKEN: secret } });
    for (const token of ["", "undefined", "ci"]) {
      assertProblem(await client.status(bearer(token)), 401, "unauthorized");
    }
  });
}

test("a token for the status reads where there is no other", async (t) => {
  const client = await serveSpecimen(t, { bindings: { MIGRATIONS_TOKEN: undefined, MIGRATIONS_STATUS_TOKEN: "ci" } });
  assertAnswer(await client.status(bearer("ci")));
  assertProblem(await client.migrate(bearer("ci")), 403, "read-only-token");
  assertProblem(await client.status(bearer("wrong")), 403, "access-not-configured");
});

test("a secret of another name", async (t) => {
  const client = await serveSpecimen(t, { bindings: { DEPLOY_KEY: "other" } });
  assertAnswer(await client.status({ access: "DEPLOY_KEY", ...bearer("other") }));
  assertProblem(await client.status({ access: "DEPLOY_KEY", ...bearer("dev-token") }), 401, "unauthorized");
});

test("two secrets, so that a token can be changed", async (t) => {
  const client = await serveSpecimen(t, { bindings: { OLD: "old", NEW: "new" } });
  assertAnswer(await client.status({ access: "OLD NEW", ...bearer("old") }));
  assertAnswer(await client.status({ access: "OLD NEW", ...bearer("new") }));
  assertAnswer(await client.status({ access: "UNSET NEW", ...bearer("new") }));
  assertProblem(await client.status({ access: "OLD NEW", ...bearer("oldnew") }), 401, "unauthorized");
  assertProblem(await client.status({ access: "UNSET", ...bearer("new") }), 403, "access-not-configured");
});

const STORED = { MIGRATIONS_TOKEN: { store_id: "store", secret_name: "token" } };

test("a token in the Secrets Store", async (t) => {
  const options = { bindings: { MIGRATIONS_TOKEN: undefined }, secretsStoreSecrets: STORED };
  const client = await serveSpecimen(t, options);
  const access = "stored MIGRATIONS_TOKEN";
  const problem = assertProblem(await client.migrate({ access }), 403, "access-not-configured");
  assert.match(problem.detail, /`MIGRATIONS_TOKEN` cannot be read/, "there is no such secret yet");
  assert.match(problem.detail, /\[\[secrets_store_secrets\]\]/);
  await client.worker.store("MIGRATIONS_TOKEN", "stored");
  assertAnswer(await client.migrate({ access, ...bearer("stored") }));
  assertProblem(await client.migrate({ access, ...bearer("wrong") }), 401, "unauthorized");
  assertProblem(await client.migrate({ access, authorization: null }), 401, "unauthorized");
});

test("a token for the status in the Secrets Store", async (t) => {
  const stored = { store_id: STORED.MIGRATIONS_TOKEN.store_id, secret_name: "MIGRATIONS_STATUS_TOKEN" };
  const secretsStoreSecrets = { ...STORED, MIGRATIONS_STATUS_TOKEN: stored };
  const client = await serveSpecimen(t, { bindings: { MIGRATIONS_TOKEN: undefined }, secretsStoreSecrets });
  const access = "stored MIGRATIONS_TOKEN";
  await client.worker.store("MIGRATIONS_TOKEN", "deploy");
  assertProblem(await client.status({ access, ...bearer("ci") }), 401, "unauthorized");
  await client.worker.store("MIGRATIONS_STATUS_TOKEN", "ci");
  assertAnswer(await client.status({ access, ...bearer("ci") }));
  assertProblem(await client.migrate({ access, ...bearer("ci") }), 403, "read-only-token");
  assertAnswer(await client.migrate({ access, ...bearer("deploy") }));
});

test("a token in the Secrets Store, beside one in the environment", async (t) => {
  const options = { bindings: { MIGRATIONS_TOKEN: undefined, OLD: "old" }, secretsStoreSecrets: STORED };
  const client = await serveSpecimen(t, options);
  const access = "stored OLD MIGRATIONS_TOKEN UNSET";
  assertAnswer(await client.migrate({ access, ...bearer("old") }));
  await client.worker.store("MIGRATIONS_TOKEN", "stored");
  for (const token of ["old", "stored"]) assertAnswer(await client.status({ access, ...bearer(token) }));
  assertProblem(await client.status({ access, ...bearer("wrong") }), 401, "unauthorized");
});

test("a token in the Secrets Store lets nobody in unless it is named as such", async (t) => {
  const options = { bindings: { MIGRATIONS_TOKEN: undefined }, secretsStoreSecrets: STORED };
  const client = await serveSpecimen(t, options);
  await client.worker.store("MIGRATIONS_TOKEN", "stored");
  for (const token of ["stored", "", "[object Object]"]) {
    const problem = assertProblem(await client.migrate(bearer(token)), 403, "access-not-configured");
    assert.match(problem.detail, /`MIGRATIONS_TOKEN` is not text.*Secrets Store.*`with_stored_secrets`/);
  }
  const problem = assertProblem(await client.migrate({ access: "stored UNSET" }), 403, "access-not-configured");
  assert.match(problem.detail, /`UNSET` is not set/);
  assert.deepEqual(await client.worker.dump(), []);
});

for (const [name, secret] of Object.entries({
  "a number": 12345,
  "a boolean": true,
  "an object": { token: "dev-token" },
  "a list": ["dev-token"],
})) {
  test(`a token that is ${name} lets nobody in, and says what to write`, async (t) => {
    const client = await serveSpecimen(t, { bindings: { MIGRATIONS_TOKEN: secret } });
    for (const token of ["dev-token", "12345", "true", "[object Object]"]) {
      for (const access of ["MIGRATIONS_TOKEN", "stored MIGRATIONS_TOKEN"]) {
        const answer = await client.migrate({ access, ...bearer(token) });
        const problem = assertProblem(answer, 403, "access-not-configured");
        assert.match(problem.detail, /`MIGRATIONS_TOKEN` is not text/);
        assert.match(problem.help, /wrangler secret put/);
      }
    }
    assert.deepEqual(await client.worker.dump(), []);
  });
}

test("a token that is another binding lets nobody in", async (t) => {
  const kvNamespaces = ["MY_SERVICE_KV", "MIGRATIONS_TOKEN"];
  const client = await serveSpecimen(t, { bindings: { MIGRATIONS_TOKEN: undefined }, kvNamespaces });
  for (const access of ["MIGRATIONS_TOKEN", "stored MIGRATIONS_TOKEN"]) {
    assertProblem(await client.migrate({ access, ...bearer("") }), 403, "access-not-configured");
  }
});

test("with `disallow_importable_env` the environment is handed over", async (t) => {
  const client = await serveSpecimen(t, { compatibilityFlags: ["disallow_importable_env"] });
  for (const [access, status, name] of [[undefined, 403, "access-not-configured"], ["open", 500, "no-kv-binding"]]) {
    const problem = assertProblem(await client.migrate({ ...(access && { access }) }), status, name);
    assert.match(problem.help, /`disallow_importable_env`.*`routes\.with_env\(env\)`/);
  }
  assert.deepEqual(assertAnswer(await client.migrate({ env: "handed-over" })).ran, ["001_first"]);
  assertProblem(await client.migrate({ env: "handed-over", authorization: null }), 401, "unauthorized");
});

test("open access is a choice of its own", async (t) => {
  const client = await serveSpecimen(t);
  assertAnswer(await client.migrate({ access: "open", authorization: null }));
  assertProblem(await client.migrate({ authorization: null }), 401, "unauthorized");
});

test("a page of another site changes nothing where no token is needed", async (t) => {
  const client = await serveSpecimen(t);
  const open = { access: "open", authorization: null };
  const forged = { ...open, origin: "https://evil.example.com", "content-type": "application/x-www-form-urlencoded" };
  for (const headers of [
    forged,
    { ...forged, "sec-fetch-site": "cross-site" },
    { ...forged, "sec-fetch-site": "same-site" },
    { ...open, "sec-fetch-site": "cross-site" },
    { ...forged, access: "guard", cookie: "theme=dark; session=admin", "sec-fetch-site": "cross-site" },
  ]) {
    for (const mount of ["bare /", "front /", "fetch /"]) {
      assertProblem(await client.migrate({ ...headers, mount }), 403, "cross-site-request");
      assertProblem(await client.rollback("001_first", { ...headers, mount }), 403, "cross-site-request");
      assertAnswer(await client.status({ ...headers, mount }));
    }
  }
  assert.deepEqual(await client.worker.dump(), []);

  const own = { ...open, origin: client.worker.url.origin, "sec-fetch-site": "same-origin" };
  assertAnswer(await client.migrate(own));
  // No browser adds a token by itself.
  const withToken = { origin: "https://dashboard.example.com", "sec-fetch-site": "cross-site" };
  assertAnswer(await client.rollback("001_first", withToken));
});

for (const mount of ["bare /", "layer /admin", "front /", "nest /admin", "fetch /admin"]) {
  test(`a guard of the service stands before the routes mounted as ${mount}`, async (t) => {
    const client = await serveSpecimen(t);
    const base = mount.endsWith("/") ? "" : "/admin";
    const send = (method, path, headers) => client.send(method, `${base}${path}`, { access: "guard", mount, ...headers });
    for (const headers of [{}, { cookie: "session=visitor" }, { authorization: null }]) {
      const problem = assertProblem(await send("POST", "/migrate", headers), 403, "forbidden");
      assert.ok(!JSON.stringify(problem).includes("001_first"));
      assertProblem(await send("GET", "/migrations/status", headers), 403, "forbidden");
    }
    const broken = assertProblem(await send("POST", "/migrate", { cookie: "session=broken" }), 500, "guard-failed");
    assert.ok(!JSON.stringify(broken).includes("internal"), "the error is for the log alone");
    assert.deepEqual(await client.worker.dump(), []);

    assertAnswer(await send("POST", "/migrate", { cookie: "theme=dark; session=admin", authorization: null }));
    assertAnswer(await send("GET", "/migrations/status", { "cf-access-jwt-assertion": "signed" }));
  });
}

test("who has no access does not learn that the migrations are invalid", async (t) => {
  const client = await serveSpecimen(t);
  assertProblem(await client.status({ migrations: "duplicate", authorization: null }), 401, "unauthorized");
  const problem = assertProblem(await client.status({ migrations: "duplicate" }), 500, "invalid-registration");
  assert.match(problem.detail, /have the same id, `001_first`/);
});

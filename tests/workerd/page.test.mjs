// The page: one static file that shows the migrations in a browser, and runs them.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, describe, test } from "node:test";
import { gzipSync } from "node:zlib";

import { close, lines, open, skip } from "./harness/browser.mjs";
import { TOKEN, assertProblem, serveSpecimen } from "./harness/client.mjs";
import { OBJECTS, coordinated } from "./harness/coordinated.mjs";
import { customers, timesSeen, withoutMarkers } from "./harness/entries.mjs";
import { screenshots, shoot } from "./harness/screenshots.mjs";

after(close);

/** 8 KB, with gzip. */
const MOST_BYTES = 8_192;

const PAGE = { page: "yes" };
const WITHOUT_TOKEN = { ...PAGE, authorization: null };

/** Entries that take several requests, or steps. */
const ENTRIES = customers(60);
const SEVERAL = { migrations: "seen-reversible", budget: "30", latency: "20" };

function at(client, path = "/migrations") {
  return new URL(path, client.worker.url);
}

/** A specimen with a coordinator, and the headers that its page sends. */
async function serveWithCoordinator(t, settings, entries = []) {
  const bindings = coordinated({ page: "yes", ...settings });
  const client = await serveSpecimen(t, { objects: OBJECTS, namespace: entries, bindings });
  return [client, { coordinator: "yes" }];
}

test("it is one file that names its script and style by their hashes", async (t) => {
  const client = await serveSpecimen(t);
  const answer = await client.send("GET", "/migrations", WITHOUT_TOKEN);
  assert.equal(answer.status, 200, answer.text);
  const hash = (name) => {
    const [, content] = answer.text.match(new RegExp(`<${name}>([^]*?)</${name}>`));
    return `'sha256-${createHash("sha256").update(content).digest("base64")}'`;
  };
  assert.deepEqual(Object.fromEntries(["content-type", "content-security-policy", "x-content-type-options", "referrer-policy", "cache-control"].map((name) => [name, answer.headers.get(name)])), {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy":
      `default-src 'none'; script-src ${hash("script")}; style-src ${hash("style")}; connect-src 'self'; img-src data:; ` +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
  });
  const bytes = gzipSync(answer.text, { level: 9 }).length;
  assert.ok(bytes <= MOST_BYTES, `it has ${bytes} bytes, gzipped`);
  assert.doesNotMatch(answer.text, / (src|href)="(?!data:)| style=| on\w+=|innerHTML|insertAdjacentHTML|document\.write|eval\(/);

  const head = await client.send("HEAD", "/migrations", WITHOUT_TOKEN);
  assert.deepEqual([head.status, head.text], [200, ""]);
  assert.equal(head.headers.get("content-type"), "text/html; charset=utf-8");
  for (const method of ["POST", "PUT", "DELETE"]) {
    const refused = await client.send(method, "/migrations", WITHOUT_TOKEN);
    assertProblem(refused, 405, "method-not-allowed");
    assert.equal(refused.headers.get("allow"), "GET, HEAD");
  }
  assertProblem(await client.send("GET", `/migrations?token=${TOKEN}`, WITHOUT_TOKEN), 400, "invalid-query");

  assertProblem(await client.send("GET", "/migrations"), 404, "not-found");
  const other = { ...WITHOUT_TOKEN, prefix: "other", migrations: "failing", access: "NO_SUCH_SECRET" };
  assert.equal((await client.send("GET", "/migrations", other)).text, answer.text, "it says nothing of the service");
});

test("it is there with every mount, and a guard covers it", async (t) => {
  const client = await serveSpecimen(t);
  for (const mount of ["bare /", "bare /admin", "layer /a/b", "front /", "front /a/b", "nest /admin", "fetch /admin"]) {
    const base = mount.split(" ")[1].replace(/^\/$/, "");
    for (const path of [`${base}/migrations`, `${base}/migrations/`]) {
      const answer = await client.send("GET", path, { ...WITHOUT_TOKEN, mount });
      assert.equal(answer.headers.get("content-type"), "text/html; charset=utf-8", `${mount} ${path}: ${answer.text}`);
      const without = await client.send("GET", path, { authorization: null, mount });
      assert.doesNotMatch(without.text, /<html/, "only where it is switched on");
    }
  }
  const guarded = { ...WITHOUT_TOKEN, access: "guard" };
  assertProblem(await client.send("GET", "/migrations", guarded), 403, "forbidden");
  assertProblem(await client.send("GET", "/migrations", { ...guarded, cookie: "session=broken" }), 500, "guard-failed");
  for (const headers of [{ ...guarded, cookie: "theme=dark; session=admin" }, { ...WITHOUT_TOKEN, access: "stored MIGRATIONS_TOKEN" }]) {
    assert.equal((await client.send("GET", "/migrations", headers)).status, 200);
  }
});

// Two at once: most of the time they wait.
describe("in a browser", { skip, concurrency: 2 }, () => {
  test("a wrong token is refused, the right one lasts as long as the tab", async (t) => {
    const client = await serveSpecimen(t);
    const page = await open(t, at(client));
    for (const wrong of ["wrong", "wröng"]) {
      await page.page.getByLabel("Token").fill(wrong);
      await page.button("Log in").click();
      await page.alert.getByText("The token is not the right one.").waitFor();
      assert.equal(await page.page.getByRole("heading", { name: "Plan" }).isVisible(), false);
    }
    await page.logIn();
    assert.equal(await page.alert.innerText(), "");
    await page.page.reload();
    await page.sees("0 of 1 migration applied");

    const kept = await page.page.evaluate(() => [localStorage.length, document.cookie, Object.values(sessionStorage)]);
    assert.deepEqual(kept, [0, "", [TOKEN]]);
    assert.ok(page.requests.every((request) => !request.includes(TOKEN)), "no URL has the token");
    const another = await page.page.context().newPage();
    await another.goto(at(client).href);
    await another.getByLabel("Token").waitFor();

    await page.button("Forget the token").click();
    assert.equal(await page.page.getByLabel("Token").inputValue(), "");
    assert.deepEqual(await page.page.evaluate(() => [...Object.values(sessionStorage), document.body.innerText.includes("001_first")]), ["", false]);
  });

  test("where no token is needed, none is asked for", async (t) => {
    const client = await serveSpecimen(t);
    const opened = await open(t, at(client), { access: "open" });
    await opened.sees("0 of 1 migration applied");
    await opened.confirm("Migrate");
    await opened.isIn("001_first", "applied");
    const guarded = await open(t, at(client), { access: "guard" }, { cookies: { theme: "dark", session: "admin" } });
    await guarded.sees("1 of 1 migration applied");
    await guarded.confirm("Roll back 001_first");
    await guarded.isIn("001_first", "pending");
    assert.deepEqual(await guarded.buttons(), ["Refresh", "Migrate"]);
  });

  test("a secret that is not set is told, and what to do", async (t) => {
    const client = await serveSpecimen(t, { bindings: { MIGRATIONS_TOKEN: undefined } });
    const page = await open(t, at(client));
    await page.alert.getByText("Nobody has access yet").waitFor();
    assert.match(await page.alert.innerText(), /wrangler secret put/);
  });

  test("a backfill is watched to its end, over several requests", async (t) => {
    const client = await serveSpecimen(t, { namespace: ENTRIES });
    const page = await open(t, at(client, "/a/b/migrations/"), { ...SEVERAL, mount: "front /a/b" });
    await page.logIn();
    const asked = await page.confirm("Migrate");
    assert.match(asked, /^Migrate\?\n[^]*Keep this page open[^]*\n001_seen\n/);
    const bar = page.page.getByRole("progressbar", { name: "Progress of 001_seen" });
    await bar.waitFor();
    assert.deepEqual(await page.buttons(), ["Refresh", "Forget the token"], "nothing else can be begun");
    await page.sees(/entries: \d+ of 60/);
    assert.match(await page.page.getByRole("status").innerText(), /^(It has begun|001_seen: \w+, \d+ %)/);
    await page.isIn("001_seen", "applied");
    await page.sees("The run has finished.");
    await bar.waitFor({ state: "hidden" });
    assert.deepEqual(timesSeen(withoutMarkers(await client.worker.dump())), ENTRIES.map(() => 1));
    const runs = page.requests.filter((request) => request.startsWith("POST"));
    assert.ok(runs.length > 1, "it took several");
    assert.deepEqual([...new Set(runs)], ["POST /a/b/migrate?to=001_seen&by=page"]);

    const text = await page.confirm("Roll back 001_seen");
    assert.match(text, /^Roll back 001_seen\?\nIts `down` runs, which may delete data/);
    await page.sees("001_seen is rolled back.");
    assert.deepEqual(timesSeen(withoutMarkers(await client.worker.dump())), ENTRIES.map(() => 0));
  });

  test("nothing is done that was not confirmed", async (t) => {
    const client = await serveSpecimen(t);
    await client.migrate();
    const page = await open(t, at(client));
    await page.logIn();
    await page.button("Roll back 001_first").click();
    assert.equal(await page.focused(), "Go back");
    await page.page.keyboard.press("Escape");
    await page.dialog.waitFor({ state: "hidden" });
    assert.equal(await page.focused(), "Roll back 001_first", "the focus is where it was");
    await page.confirm("Roll back 001_first", "Go back");
    assert.equal(await client.isRunForTypeScript("001_first"), true);
    assert.ok(page.requests.every((request) => !request.startsWith("POST")));
    await page.confirm("Roll back 001_first");
    await page.isIn("001_first", "pending");
    assert.equal(await client.isRunForTypeScript("001_first"), false);
  });

  test("with a coordinator it is paused, resumed and watched to its end, and has a history", async (t) => {
    // It takes some seconds: enough to press a button.
    const settings = { migrations: "seen-reversible", budget: "30", latency: "700" };
    const entries = ENTRIES.slice(0, 30);
    const [client, headers] = await serveWithCoordinator(t, settings, entries);
    const page = await open(t, at(client), headers);
    await page.logIn();
    assert.match(await page.confirm("Migrate"), /The run goes on without this page\./);
    await page.isIn("001_seen", "running");
    assert.match(await page.confirm("Pause 001_seen"), /stands still until it is resumed/);
    await page.isIn("001_seen", "paused");
    assert.deepEqual(await page.buttons(), ["Refresh", "Forget the token", "Resume 001_seen", "Cancel 001_seen"]);
    const history = page.page.getByRole("listitem").filter({ hasText: "#1 migrate" });
    assert.match(lines(await history.innerText()), /^#1 migrate 001_seen paused\n.* · by page · /);

    await page.confirm("Resume 001_seen");
    await page.isIn("001_seen", "applied");
    await history.getByText("finished").waitFor();
    await page.page.getByRole("status").getByText("1 of 1 migration applied").waitFor();
    assert.deepEqual(timesSeen(withoutMarkers(await client.worker.dump())), entries.map(() => 1));
  });

  test("a failure is told, and reset", async (t) => {
    const client = await serveSpecimen(t);
    const page = await open(t, at(client), { migrations: "failing" });
    await page.logIn();
    await page.confirm("Migrate");
    await page.alert.getByText("Migration 002_second failed: boom").waitFor();
    await page.isIn("001_first", "applied");
    await page.isIn("002_second", "failed");
    await page.isIn("003_third", "pending");
    await page.row("002_second").getByText("boom", { exact: true }).waitFor();
    await page.confirm("Reset 002_second");
    await page.isIn("002_second", "pending");
    assert.equal(await page.alert.innerText(), "");
  });

  test("ids, descriptions and errors are text, whatever they are", async (t) => {
    const client = await serveSpecimen(t);
    const page = await open(t, at(client), { migrations: "hostile", "dry-run": "yes" });
    const [first, second] = ['<img src=x onerror="hacked=1">', '"><script>hacked=3</script>'];
    await page.logIn();
    await page.confirm("Dry run");
    await page.sees("What a run would change");
    assert.ok((await page.confirm("Migrate")).includes(first), "the dialog shows it");
    await page.isIn(first, "applied");
    await page.isIn(second, "failed");
    await page.row(second).getByText('<svg onload="hacked=4"></svg>', { exact: true }).waitFor();
    await page.row(second).getByText('</p><img src="x" onerror="hacked=2">').waitFor();
    await page.confirm(`Roll back ${first}`, "Roll back");
    await page.isIn(first, "pending");
    assert.equal(await page.page.locator("img, svg, script + *").count(), 0);
  });

  test("a dry run tells what a run would change, and writes nothing", async (t) => {
    const client = await serveSpecimen(t, { namespace: ENTRIES });
    const page = await open(t, at(client), { migrations: "seen", "dry-run": "yes" });
    await page.logIn();
    assert.match(await page.confirm("Dry run"), /nothing is written to KV/);
    await page.sees("60 entries · 60 writes · 0 deletions");
    await page.sees("put · customer_00000");
    await page.sees("55 more");
    assert.equal(await page.focused(), "What a run would change");
    assert.deepEqual(await client.worker.dump(), ENTRIES);
  });

  test("a token that may only read has no buttons", async (t) => {
    const client = await serveSpecimen(t, { bindings: { MIGRATIONS_STATUS_TOKEN: "ci" } });
    await client.migrate();
    const page = await open(t, at(client), { "dry-run": "yes", migrations: "failing" });
    await page.logIn("ci");
    await page.sees("The token may only read.");
    assert.deepEqual(await page.buttons(), ["Refresh", "Forget the token"]);
  });

  test("what may pass is tried again, and anything else is shown as it is", async (t) => {
    const client = await serveSpecimen(t);
    const page = await open(t, at(client));
    const problem = (status, name, detail) => ({
      status,
      headers: { "content-type": "application/problem+json", "retry-after": "1" },
      body: JSON.stringify({ type: `urn:kv-migrations:problem:${name}`, title: `Title of ${name}`, status, detail, help: "Help." }),
    });
    const answers = [
      problem(503, "kv-unavailable", "KV is away."),
      { status: 200, headers: { "content-type": "application/x-ndjson" }, body: '{"event":"started","id":"001_first"}\n' },
      problem(409, "run-in-progress", "Another run is."),
      problem(409, "foreign-marker", "It is not ours."),
    ];
    await page.page.route("**/migrate?*", (route) => (answers.length ? route.fulfill(answers.shift()) : route.continue()));
    await page.logIn();
    await page.confirm("Migrate");
    for (const text of ["Title of kv-unavailable\nKV is away.\nHelp.\nIt is tried again in 1 s.", "Cut off", "Another run is.", "Title of foreign-marker\nIt is not ours.\nHelp."]) {
      await page.alert.getByText(text.split("\n")[0]).waitFor();
      const shown = lines(await page.alert.innerText());
      assert.ok(shown.includes(text), shown);
    }
    await page.confirm("Migrate");
    await page.isIn("001_first", "applied");
    assert.equal(await page.alert.innerText(), "");

    await page.page.route("**/migrations/plan", (route) => route.fulfill({ status: 200, contentType: "text/html", body: "<h1>hello</h1>" }));
    await page.button("Refresh").click();
    await page.alert.getByText("Not an answer of the migrations").waitFor();
  });

  test("it takes no mouse, and a screen reader hears what there is", async (t) => {
    const client = await serveSpecimen(t, { namespace: ENTRIES });
    const page = await open(t, at(client), SEVERAL);
    const { keyboard } = page.page;
    await page.page.getByLabel("Token").waitFor();
    await keyboard.type(TOKEN);
    await keyboard.press("Enter");
    await page.sees("0 of 1 migration applied");
    assert.equal(await page.focused(), "0 of 1 migration applied");
    await keyboard.press("Tab");
    assert.equal(await page.focused(), "Migrate");
    await keyboard.press("Enter");
    await page.dialog.waitFor();
    await keyboard.press("Shift+Tab");
    assert.equal(await page.focused(), "Migrate");
    await keyboard.press("Enter");
    await page.isIn("001_seen", "running");
    assert.match(await page.focused(), /migration applied$/, "what had the focus is gone");
    await page.isIn("001_seen", "applied");
    await page.button("Roll back 001_seen").waitFor();
    await keyboard.press("Tab");
    assert.equal(await page.focused(), "Roll back 001_seen");

    const tree = await page.page.locator("body").ariaSnapshot();
    for (const part of ["- banner:", "- main:", '- heading "Migrations" [level=1]', '- heading "All migrations" [level=2]', '- heading "001_seen" [level=3]', '- button "Roll back 001_seen"', "- status: The run has finished."]) {
      assert.ok(tree.includes(part), `${part} is not in\n${tree}`);
    }
  });

  test("on a small screen nothing is cut off", async (t) => {
    const client = await serveSpecimen(t);
    const long = `id ${"0123456789".repeat(30)}`;
    const page = await open(t, at(client), { migrations: long }, { viewport: { width: 360, height: 640 } });
    await page.page.getByLabel("Token").waitFor();
    assert.equal(await page.overflow(), 0);
    await page.logIn();
    assert.equal(await page.overflow(), 0);
    await page.button("Migrate").click();
    const box = await page.dialog.boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 360, JSON.stringify(box));
    assert.equal(await page.dialog.evaluate((dialog) => dialog.scrollWidth - dialog.clientWidth), 0);
    await page.dialog.getByRole("button", { name: "Migrate" }).click();
    await page.sees("1 of 1 migration applied");
    assert.equal(await page.overflow(), 0);
  });

  test("the pictures of the documentation", { skip: !screenshots }, async (t) => {
    const client = await serveSpecimen(t);
    await shoot(t, at(client));
  });
});

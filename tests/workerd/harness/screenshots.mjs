// Pictures of the page for docs/page.md: always of the same answers, at the same time.
import { fileURLToPath } from "node:url";

import { open } from "./browser.mjs";

/** Whether they are to be made: `KV_MIGRATIONS_SCREENSHOTS=1 node --test page.test.mjs`. */
export const screenshots = Boolean(process.env.KV_MIGRATIONS_SCREENSHOTS);

const DIRECTORY = fileURLToPath(new URL("../../../docs/images/", import.meta.url));
const NOW = new Date("2026-11-28T10:49:20Z");

const PROGRESS = { direction: "up", phase: "entries", done: 12_480, total: 20_000, failed: 0, entriesPerSecond: 431 };
const STATUS = [
  { id: "001_add_feature", run: true, description: "Add new feature to system", state: "applied", runAt: "2026-11-02T09:12:44Z", durationMs: 14, reversible: true, kind: "plain" },
  { id: "002_index", run: true, description: "Index customers by country", state: "applied", runAt: "2026-11-20T08:30:02Z", durationMs: 21_400, entries: { seen: 19_204 }, reversible: true, kind: "fold" },
  { id: "003_verified", run: false, description: "Fill in `verified`", state: "running", progress: PROGRESS, reversible: true, kind: "backfill", resumable: true },
  { id: "004_unify_keys", run: false, description: "Move users to their new keys", state: "pending", reversible: true, kind: "rekey", resumable: true },
];
const HISTORY = [
  { number: 3, action: "migrate", migration: "003_verified", by: "deploy 4711", startedAt: "2026-11-28T10:48:50Z", outcome: "running", durationMs: 29_000, operations: 12_640 },
  { number: 2, action: "migrate", ran: ["002_index"], by: "deploy 4688", startedAt: "2026-11-20T08:29:40Z", outcome: "finished", durationMs: 21_400, operations: 19_411 },
];
const ANSWERS = {
  "/migrations/status": STATUS,
  "/migrations/plan": { steps: STATUS.slice(2), findings: [], access: "full" },
  "/migrations/history": HISTORY,
};

/** Takes a picture at each width, in light and dark. */
export async function shoot(test, url) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [360, 1280]) {
      const options = { colorScheme, viewport: { width, height: 640 }, locale: "en-GB", timezoneId: "UTC" };
      const { page } = await open(test, new URL("about:blank"), {}, options);
      await page.clock.setFixedTime(NOW);
      for (const [path, body] of Object.entries(ANSWERS)) await page.route(`**${path}`, (route) => route.fulfill({ json: body }));
      await page.route("**/migrations/dry-run", (route) => route.fulfill({ status: 405, headers: { allow: "POST" } }));
      await page.goto(url.href);
      // The address of a service, in place of that of the test.
      await page.getByText("2 of 4 migrations applied").waitFor();
      await page.locator("#mount").evaluate((element) => (element.textContent = "https://my-service.workers.dev"));
      await page.screenshot({ path: `${DIRECTORY}page-${width}-${colorScheme}.png`, fullPage: true });
    }
  }
}

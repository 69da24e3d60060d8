import assert from "node:assert/strict";

import { chromium } from "playwright-core";

import { TOKEN } from "./client.mjs";

/** The program of a browser, or `none`: `cargo xtask test` sets it. */
const BROWSER = process.env.KV_MIGRATIONS_BROWSER || "/usr/bin/chromium";

/** Why tests in a browser are skipped, if they are. */
export const skip = BROWSER === "none" && "KV_MIGRATIONS_BROWSER=none";

/** What no page may ever do: another script, another origin, anything that its policy forbids. */
function watch() {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    window.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
  });
}

/** Text without the empty lines between paragraphs. */
export function lines(text) {
  return text.replace(/\n+/g, "\n");
}

let launched;

/** Ends the browser, if one runs. */
export async function close() {
  await (await launched)?.close();
}

/**
 * Opens the page of a service, in a browser profile of its own that ends with the test. At the end it has broken its policy
 * nowhere, run no script of another, and thrown no error.
 *
 * @param {import("node:test").TestContext} test
 * @param {URL} url of the page
 * @param {Record<string, string>} [headers] of every request: by these a specimen is what it is
 * @param {object} [options] those of a context of Playwright, and `cookies` by their names
 */
export async function open(test, url, headers = {}, { cookies = {}, ...options } = {}) {
  launched ??= chromium.launch({ executablePath: BROWSER });
  const browser = await launched;
  const context = await browser.newContext({ extraHTTPHeaders: { page: "yes", ...headers }, ...options });
  context.setDefaultTimeout(60_000);
  await context.addCookies(Object.entries(cookies).map(([name, value]) => ({ name, value, url: url.origin })));
  await context.addInitScript(watch);
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("dialog", (dialog) => errors.push(`a dialog: ${dialog.message()}`));
  test.after(async () => {
    try {
      assert.deepEqual(errors, []);
      assert.deepEqual(await page.evaluate(() => window.violations), []);
      assert.equal(await page.evaluate(() => window.hacked), undefined);
    } finally {
      await context.close();
    }
  });
  const opened = new Page(page);
  page.on("request", (request) => opened.requests.push(`${request.method()} ${new URL(request.url()).pathname}${new URL(request.url()).search}`));
  await page.goto(url.href);
  return opened;
}

/** What a person does in the page, who finds things by their roles and names, as a screen reader tells them. */
class Page {
  /** Method, path and query of the requests so far. @type {string[]} */
  requests = [];

  constructor(page) {
    /** @type {import("playwright-core").Page} */
    this.page = page;
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** The row of a migration. */
  row(id) {
    return this.page.getByRole("listitem").filter({ has: this.page.getByRole("heading", { name: id, exact: true }) });
  }

  get dialog() {
    return this.page.getByRole("dialog");
  }

  get alert() {
    return this.page.getByRole("alert");
  }

  /** Logs in, and waits until the summary is there. */
  async logIn(token = TOKEN) {
    await this.page.getByLabel("Token").fill(token);
    await this.button("Log in").click();
    await this.sees(/migrations? applied$/);
  }

  /** Waits for text. */
  async sees(text) {
    await this.page.getByText(text).first().waitFor();
  }

  /** Waits until a migration is in a state. */
  async isIn(id, state) {
    await this.row(id).getByText(state, { exact: true }).waitFor();
  }

  /** Presses a button, and confirms; gives the text that asked for it. */
  async confirm(name, label = name.split(" 0")[0]) {
    await this.button(name).click();
    const text = lines(await this.dialog.innerText());
    await this.dialog.getByRole("button", { name: label, exact: true }).click();
    return text;
  }

  /** The names of all buttons that can be seen. */
  async buttons() {
    const buttons = await this.page.getByRole("button").all();
    return Promise.all(buttons.map((button) => button.evaluate((element) => element.ariaLabel ?? element.textContent)));
  }

  /** How many pixels the page is wider than its window. */
  overflow() {
    return this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  }

  /** What has the focus. */
  focused() {
    return this.page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.textContent.trim());
  }
}

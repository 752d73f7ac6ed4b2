// Chromium, and pages that are watched for errors.

import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";
import { USER } from "./hub.js";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1400, height: 900 };

function executable() {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      try {
        const file = path.join(folder, name);
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // Not there.
      }
    }
  }
  throw new Error("Chromium is not installed: run ./dev test, which installs it");
}

export class Browser {
  static async launch() {
    const browser = new Browser();
    browser.chromium = await chromium.launch({ executablePath: executable(), args: FLAGS });
    return browser;
  }

  async close() {
    await this.chromium?.close();
  }

  /**
   * A page in a browser of its own: what it says on the console and what fails to load is collected, and `page.done()`
   * closes it and fails if there was anything but what `allow` matches.
   */
  async page({ language = "en", scheme = "light", phone = false, script = true } = {}) {
    const context = await this.chromium.newContext({
      viewport: phone ? PHONE : DESKTOP,
      colorScheme: scheme,
      locale: language === "zh" ? "zh-CN" : "en-GB",
      timezoneId: "Asia/Shanghai",
      javaScriptEnabled: script,
      reducedMotion: "reduce",
    });
    context.setDefaultTimeout(15_000);
    const page = await context.newPage();
    watch(page);
    return page;
  }

  /** The board at an address, for somebody who has logged in before. */
  async board(hub, options = {}, path = "/") {
    const page = await this.page(options);
    const [name, value] = (await hub.cookie()).split("=");
    await page.context().addCookies([{ name, value, url: hub.url }]);
    await page.goto(hub.url + path);
    await page.getByRole("navigation").waitFor();
    return page;
  }
}

export async function logIn(page, password = USER.password) {
  await page.locator('input[autocomplete="username"]').fill(USER.username);
  await page.locator('input[type="password"]').fill(password);
  await page.locator('form button:not([type="button"])').click();
}

/** Collects what goes wrong on a page. */
export function watch(page) {
  const seen = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => seen.push(`${page.url()}: ${error.stack}`));
  page.on("requestfailed", (request) => {
    // Leaving a page ends its streams: no failure.
    const reason = request.failure()?.errorText ?? "";
    if (reason !== "net::ERR_ABORTED") seen.push(`${request.url()}: ${reason}`);
  });
  page.done = async ({ allow } = {}) => {
    await page.context().close();
    assert.deepEqual(
      seen.filter((line) => !allow?.test(line)),
      [],
      "the page's console",
    );
  };
}

// Every page of the board in both languages, both lights, on a desk and on a phone.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser } from "../lib/browser.js";
import { Hub, LIFTS } from "../lib/hub.js";
import { english, faint, overflow } from "../lib/looks.js";
import { mainsLost, shutIn, unitState, wearingDoor } from "../lib/stories.js";

// Names of the test's own things and of a card, which are what they are in every language; and states of channels as the hub's
// sentences quote them: profiles give them no Chinese names.
const NAMES = "Lift Lifts Test Tower Proof Lane Dora Dispatch Tom Technician Wang Fang lift SIM".split(" ");
const STATES = "sqlite closed closing open opening normal stopped broken on".split(" ");

describe("every page", () => {
  let hub, browser, pages;
  before(async () => {
    [hub, browser] = await Promise.all([Hub.start(), Browser.launch()]);
    const api = await hub.api();
    await shutIn(hub, "lift-1");
    await unitState(hub, "lift-2", "broken");
    await wearingDoor(hub, "lift-3");
    await mainsLost(hub, LIFTS.slice(4));
    await hub.publish("lift-1", "telemetry", {
      ts: Date.now(),
      values: { warp_factor: 9, car_load_kg: -1e9 },
    });
    await hub.publish("lift-1", "telemetry", "x".repeat(300));
    const tickets = [];
    for (const kind of ["entrapment", "breakdown", "forecast", "outage"])
      tickets.push(await api.ticket((ticket) => ticket.kind === kind));
    await api.post(`/api/v1/tickets/${tickets[0].id}/affected`, {
      name: "Wang Fang",
      phone: "+8613800000000",
      language: "zh",
      inside: true,
    });
    pages = [
      "/",
      ...tickets.map((ticket) => `/tickets/${ticket.id}`),
      "/devices",
      "/devices/lift-3",
      "/devices/lift-1",
      "/forecasts",
      "/rejects",
      "/system",
    ];
  });
  after(async () => {
    await Promise.all([browser?.close(), hub?.stop()]);
  });

  /** Looks at every page in turn, once what it shows is there. */
  async function look(options, check) {
    const page = await browser.board(hub, options, pages[0]);
    for (const path of pages) {
      await page.evaluate((path) => {
        history.pushState(null, "", path);
        dispatchEvent(new PopStateEvent("popstate"));
      }, path);
      await page.locator(there(path)).first().waitFor();
      await page.evaluate(() => document.fonts.ready);
      await check(page, path);
    }
    return page;
  }
  /** What a page shows when it is complete. */
  function there(path) {
    if (path.startsWith("/tickets/")) return `article:has(a[href^="/devices/lift-"]) h1`;
    if (path.startsWith("/devices/")) return "main:has(canvas) h1";
    return {
      "/": "[data-ticket]",
      "/devices": ".grid a",
      "/forecasts": "[data-scorecard]",
      "/rejects": "tbody tr",
      "/system": "tbody tr",
    }[path];
  }
  /** Opens everything that is folded. */
  const unfold = (page) =>
    page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));

  for (const [scheme, phone] of [
    ["light", true],
    ["dark", true],
    ["dark", false],
  ]) {
    test(`fits a ${phone ? "phone" : "desk"} and can be read in ${scheme} colours`, async () => {
      const page = await look({ phone, scheme }, async (page, path) => {
        await unfold(page);
        assert.equal(await overflow(page), null, path);
        assert.deepEqual(await faint(page), [], path);
      });
      await page.done();
    });
  }

  test("is wholly Chinese in Chinese, and fits", async () => {
    const page = await look({ phone: true, language: "zh" }, async (page, path) => {
      // The browser is Chinese, the user's own language is English.
      if (path === pages[0]) await page.getByRole("button", { name: "中文" }).click();
      await unfold(page);
      // What asks for something is looked at too. Where a rule comes from is told in the rule's own words.
      for (const name of ["添加受影响人员", "指派", "关闭", "设置上报间隔"]) {
        const button = page.getByRole("button", { name, exact: true });
        if (await button.count()) await button.first().click();
      }
      await page.evaluate(() =>
        document.querySelectorAll("details li .muted").forEach((origin) => origin.remove()),
      );
      assert.deepEqual(await english(page, [...NAMES, ...STATES]), [], path);
      assert.equal(await overflow(page), null, path);
    });
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
    await page.reload();
    await page.getByRole("button", { name: "退出" }).click();
    await page.getByRole("button", { name: "登录" }).waitFor();
    assert.deepEqual(await english(page, []), []);
    assert.equal(await overflow(page), null);
    await page.done();
  });
});

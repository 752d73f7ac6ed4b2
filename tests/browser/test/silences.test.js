// Silences, and a power cut's lifts in the order to go to them: in both languages, on a desk and on a telephone.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser } from "../lib/browser.js";
import { Hub, until } from "../lib/hub.js";
import { mainsLost, shutIn, unitState } from "../lib/stories.js";

describe("silences", () => {
  let hub, browser, api;
  before(async () => {
    [hub, browser] = await Promise.all([Hub.start(), Browser.launch()]);
    api = await hub.api();
  });
  after(async () => {
    await Promise.all([browser?.close(), hub?.stop()]);
  });

  const wide = (page) =>
    page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  const picture = async (page, name) => {
    if (process.env.LIFTLINE_PICTURES)
      await page.screenshot({ path: `${process.env.LIFTLINE_PICTURES}/${name}.png`, fullPage: true });
  };

  test("a silence is previewed, made, holds back a page, and is ended", async () => {
    await unitState(hub, "lift-1", "broken");
    await api.ticket((ticket) => ticket.device?.id === "lift-1");
    const page = await browser.board(hub, {}, "/silences");
    await page.getByText("Nothing is silenced.").waitFor();
    const make = page.getByRole("button", { name: "Silence", exact: true });
    assert.ok(await make.isDisabled(), "nothing is named yet");
    await page.getByLabel("Lift (id").fill("lift-*");
    await page.getByLabel("Kind").selectOption("breakdown");
    await page.getByText("Silences 1 open alerts on 1 devices now.").waitFor();
    await page.getByLabel("Why nobody needs to come").fill("Works on the doors until noon");
    await picture(page, "silence-form-en");
    await make.click();
    const row = page.locator("[data-silence]");
    await row.getByText("Works on the doors until noon").waitFor();
    await row.getByText("Active").waitFor();

    await unitState(hub, "lift-2", "broken");
    const held = await api.ticket((ticket) => ticket.device?.id === "lift-2");
    assert.equal(held.held.code, "silenced");
    const ticket = await browser.board(hub, {}, `/tickets/${held.id}`);
    await ticket.getByText("Nobody is paged").first().waitFor();
    await ticket.getByText("not paged: silenced by Dora Dispatch").first().waitFor();
    await picture(ticket, "held-ticket-en");

    await row.getByRole("button", { name: "End now" }).click();
    await row.getByText("Ended by Dora Dispatch").waitFor();
    await until("the page", async () => {
      const { timeline } = await api.get(`/api/v1/tickets/${held.id}`);
      return timeline.some(({ what }) => what.type === "paged");
    });
    await ticket.getByText("paged: what held it back has ended").waitFor();
    await ticket.done();
    await page.done();
  });

  test("people in danger are named as not silenced", async () => {
    await shutIn(hub, "lift-3");
    await api.ticket((ticket) => ticket.kind === "entrapment" && ticket.device?.id === "lift-3");
    const page = await browser.board(hub, { language: "zh", phone: true }, "/silences");
    // The browser is Chinese, the user's own language is English.
    await page.getByRole("button", { name: "中文" }).click();
    await page.getByLabel("类型").selectOption("entrapment");
    await page.getByText("涉及人身安全，仍会呼叫").waitFor();
    assert.ok((await wide(page)) <= 0, "the page is wider than the telephone");
    await picture(page, "silence-form-zh-phone");
    await page.done();
  });

  test("the lifts of a power cut stand in the order to go to them", async () => {
    await shutIn(hub, "lift-5");
    await api.ticket((ticket) => ticket.kind === "entrapment" && ticket.device?.id === "lift-5");
    const now = Date.now();
    const at = (device, values) => hub.publish(device, "telemetry", { ts: now - 9000, values });
    await at("lift-6", { passenger_present: true, door_zone: true, door_state: "closed" });
    await at("lift-7", { passenger_present: false, car_load_kg: 0, door_zone: true, door_state: "closed" });
    await mainsLost(hub, ["lift-4", "lift-5", "lift-6", "lift-7"]);
    const cut = await api.ticket((ticket) => ticket.kind === "outage" && ticket.devices_affected === 4);
    const order = await until("the readings", async () => {
      const { lifts } = await api.get(`/api/v1/tickets/${cut.id}`);
      const order = lifts.map((lift) => `${lift.device.id} ${lift.occupancy}`);
      return order[2] === "lift-4 unknown" && order;
    });
    assert.deepEqual(order, ["lift-5 trapped", "lift-6 inside", "lift-4 unknown", "lift-7 empty"]);
    for (const [language, phone] of [
      ["en", false],
      ["zh", true],
    ]) {
      const page = await browser.board(hub, { language, phone }, `/tickets/${cut.id}`);
      if (language === "zh") await page.getByRole("button", { name: "中文" }).click();
      const rows = page.locator("[data-lift]");
      await rows.first().waitFor();
      assert.equal(await rows.first().getAttribute("data-lift"), "lift-5");
      await rows
        .first()
        .getByText(language === "zh" ? "有人被困" : "Person trapped")
        .first()
        .waitFor();
      assert.ok((await wide(page)) <= 0, "the page is wider than the screen");
      await picture(page, `power-cut-${language}${phone ? "-phone" : ""}`);
      await page.done();
    }
  });
});

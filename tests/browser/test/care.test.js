// The care page: what a person in a lift is told, and that it is true.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser } from "../lib/browser.js";
import { Hub } from "../lib/hub.js";
import { english, faint, overflow } from "../lib/looks.js";
import { letOut, shutIn } from "../lib/stories.js";

const LIMIT = 50_000;
const CALLING = "We are calling the lift engineers.";
const ANSWERED = "A person has answered and is taking care of it.";

describe("the care page", () => {
  let hub, browser, api, ticket, link;
  before(async () => {
    [hub, browser] = await Promise.all([Hub.start(), Browser.launch()]);
    api = await hub.api();
    await shutIn(hub, "lift-1");
    ticket = await api.ticket(({ kind }) => kind === "entrapment");
    const detail = await api.post(`/api/v1/tickets/${ticket.id}/affected`, {
      name: "Wang Fang",
      phone: "+8613800000000",
      language: "en",
      inside: true,
    });
    link = detail.affected_people[0].care_url;
  });
  after(async () => {
    await Promise.all([browser?.close(), hub?.stop()]);
  });

  const open = async (options = {}) => {
    const page = await browser.page({ phone: true, ...options });
    const answer = await page.goto(`${link}?lang=${options.language ?? "en"}`);
    assert.equal(answer.status(), 200);
    return page;
  };
  const headline = (page) => page.locator("#headline");

  test("is small, and promises nothing before somebody has answered", async () => {
    for (const language of ["en", "zh"]) {
      const answer = await fetch(`${link}?lang=${language}`);
      assert.ok(Buffer.byteLength(await answer.text()) <= LIMIT);
      assert.match(answer.headers.get("cache-control"), /no-store/);
    }
    const page = await open();
    assert.equal(await headline(page).innerText(), CALLING);
    const text = await page.locator("body").innerText();
    for (const claim of [/has answered/, /on the way/, /at the building/, /reported to be out/, /closed/])
      assert.doesNotMatch(text, claim);
    for (const fact of ["Lift 1", "100001", "5 Proof Lane", "Stay inside", "I am hurt or need help"])
      assert.ok(text.includes(fact), fact);
    for (const secret of ["Wang Fang", "13800000000", "Tom Technician"])
      assert.ok(!text.includes(secret), secret);
    await page.done();
  });

  test("says the same without JavaScript, and loads itself again", async () => {
    const page = await open({ script: false });
    assert.equal(await headline(page).innerText(), CALLING);
    assert.match(await page.locator("#seen").innerText(), /^As of \d\d:\d\d:\d\d$/);
    assert.match(await page.locator("footer").innerText(), /This page loads itself again every 10 seconds\./);
    assert.match(await page.content(), /<noscript><meta http-equiv="refresh" content="10">/);
    await page.getByRole("button", { name: "I am hurt or need help" }).click();
    await page.getByText("You told us that you are hurt or need help.").waitFor();
    await page.done();
  });

  test("fits a phone, can be read in both lights, and is wholly Chinese in Chinese", async () => {
    for (const language of ["en", "zh"]) {
      for (const scheme of ["light", "dark"]) {
        const page = await open({ language, scheme });
        assert.equal(await overflow(page), null, `${language} ${scheme}`);
        assert.deepEqual(await faint(page), [], `${language} ${scheme}`);
        if (language === "zh")
          assert.deepEqual(await english(page, "Lift Test Tower Proof Lane".split(" ")), []);
        await page.done();
      }
    }
  });

  test("changes by itself when somebody answers, and tells times in the site's zone", async () => {
    const page = await open();
    await page.getByText(/^Connected\. Last heard from the hub at \d\d:\d\d:\d\d\.$/).waitFor();
    await page.evaluate(() => (window.stayed = true));
    await api.post(`/api/v1/tickets/${ticket.id}/actions`, { action: "acknowledge" });
    await page.getByText(ANSWERED).waitFor();
    assert.ok(await page.evaluate(() => window.stayed), "the page was loaded anew");
    const fact = page.locator("ol.facts li").first();
    assert.match(await fact.innerText(), /^\d\d:\d\d\nA person has answered\.$/);
    const [told, at] = [
      await fact.locator("time").innerText(),
      await fact.locator("time").getAttribute("datetime"),
    ];
    const there = new Date(at).toLocaleTimeString("en-GB", { timeZone: "Asia/Shanghai", timeStyle: "short" });
    assert.equal(told, there);
    await page.done();
  });

  test("says since when it has heard nothing while the hub is away, and goes on when it is back", async () => {
    const page = await open();
    await page.getByText("Connected.").waitFor();
    await hub.kill();
    const seen = page.locator("#seen.lost");
    await seen.waitFor();
    const told = await seen.innerText();
    assert.match(told, /^No connection since \d\d:\d\d:\d\d\. .* Help does not depend on this page\.$/);
    // However often it tries meanwhile, it says the same.
    await page.waitForEvent("requestfailed");
    assert.equal(await seen.innerText(), told);
    assert.equal(await headline(page).innerText(), ANSWERED, "what is known stays");
    await hub.run();
    await page.evaluate(() => dispatchEvent(new Event("online")));
    await page.getByText("Connected.").waitFor();
    await page.done({
      allow: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/,
    });
  });

  test("tells the end, and asks for nothing afterwards", async () => {
    const page = await open();
    await letOut(hub, "lift-1");
    await page.getByText("The people in the lift were reported to be out.").waitFor();
    // An entrapment in which the desk has taken part is closed by the desk.
    const now = await api.get(`/api/v1/tickets/${ticket.id}`);
    if (now.status !== "closed") {
      assert.ok(!(await headline(page).innerText()).includes("closed"));
      await api.post(`/api/v1/tickets/${ticket.id}/actions`, { action: "close", note: "Everybody is out." });
    }
    await page.getByRole("heading", { name: "It is over. This case is closed." }).waitFor();
    await page.getByText(/^As of \d\d:\d\d:\d\d$/).waitFor();
    assert.equal(await page.getByRole("button").count(), 0);
    assert.equal(await page.getByText("Stay inside").count(), 0);
    await page.done();
  });

  test("a wrong link says what to do, in both languages", async () => {
    const page = await browser.page({ phone: true });
    const answer = await page.goto(`${hub.url}/c/${"x".repeat(22)}`);
    assert.equal(answer.status(), 404);
    await page.getByText("This page is not there").waitFor();
    await page.getByText("此页面不存在").waitFor();
    assert.equal(await overflow(page), null);
    await page.done({ allow: /404 \(Not Found\)/ });
  });
});

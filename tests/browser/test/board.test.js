// A dispatcher's work on the board.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser, logIn, watch } from "../lib/browser.js";
import { Hub, LIFTS, USER } from "../lib/hub.js";
import { letOut, mainsLost, shutIn, unitState, wearingDoor } from "../lib/stories.js";

describe("the board", () => {
  let hub, browser, api;
  before(async () => {
    [hub, browser] = await Promise.all([Hub.start(), Browser.launch()]);
    api = await hub.api();
  });
  after(async () => {
    await Promise.all([browser?.close(), hub?.stop()]);
  });

  const row = (page, ticket) => page.locator(`[data-ticket="${ticket.id}"]`);
  const opened = (device, kind) =>
    api.ticket((ticket) => ticket.kind === kind && (device === null || ticket.device?.id === device));
  const ticketPage = async (ticket, options) => {
    const page = await browser.board(hub, options, `/tickets/${ticket.id}`);
    await page.locator("article h1").waitFor();
    return page;
  };

  test("a wrong password is told, the right one opens the board, and logging out closes it", async () => {
    const page = await browser.page();
    await page.goto(hub.url);
    await logIn(page, "wrong");
    await page.getByRole("alert").getByText("User name or password is wrong.").waitFor();
    assert.equal(await page.locator('input[type="password"]').inputValue(), "");
    await logIn(page);
    await page.getByText("No open tickets.").waitFor();
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("button", { name: "Log in" }).waitFor();
    // The browser itself notes the refusal of the wrong password.
    await page.done({ allow: /401 \(Unauthorized\)/ });
  });

  test("a printed link opens the board", async () => {
    const link = (await hub.tool(["user", "link", USER.username])).match(/\/login\/\S+/)[0];
    const page = await browser.page();
    await page.goto(hub.url + link);
    await page.getByText("Dora Dispatch").waitFor();
    assert.equal(new URL(page.url()).pathname, "/");
    await page.done();
  });

  test("a new ticket appears without a reload, in every tab, and takes neither focus nor selection", async () => {
    await unitState(hub, "lift-1", "broken");
    const first = await opened("lift-1", "breakdown");
    const page = await browser.board(hub);
    const other = await page.context().newPage();
    watch(other);
    await other.goto(hub.url);
    await row(other, first).waitFor();
    await row(page, first).click();
    await page.locator("article h1").waitFor();
    await row(page, first).focus();

    await shutIn(hub, "lift-2");
    const second = await opened("lift-2", "entrapment");
    await row(page, second).waitFor();
    await row(other, second).waitFor();
    const ids = await page
      .locator("[data-ticket]")
      .evaluateAll((rows) => rows.map((row) => row.dataset.ticket));
    assert.deepEqual(ids, [second.id, first.id], "people in danger come first");
    assert.equal(await row(page, first).getAttribute("aria-current"), "true");
    assert.ok(
      await row(page, first).evaluate((row) => row === document.activeElement),
      "the focus has moved",
    );
    assert.equal(await page.title(), "(2) Liftline");

    await unitState(hub, "lift-1", "on");
    await row(page, first).waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Closed", exact: true }).click();
    await row(page, first).waitFor();
    await page.done();
  });

  test("an entrapment's page shows why, what was earned and what was not", async () => {
    const ticket = await opened("lift-2", "entrapment");
    const page = await ticketPage(ticket);
    const article = page.locator("article");
    await article.getByText("Test Tower · Lift 2").waitFor();
    await article.getByText("Plate 100002").waitFor();
    const evidence = article.locator("details.alert").first();
    await evidence.getByRole("listitem").filter({ hasText: "Car in door zone: no" }).waitFor();
    await evidence.getByRole("listitem").filter({ hasText: "Car load: 75 kg" }).waitFor();
    assert.match(await evidence.locator("p").first().innerText(), /Person trapped in the car/);
    const milestones = article.getByRole("region", { name: "Milestones" }).getByRole("listitem");
    const told = Object.fromEntries(
      (await milestones.allInnerTexts()).map((text) => {
        const [name, when] = text.split("\n");
        return [name, when];
      }),
    );
    assert.match(told.Detected, /^\d\d:\d\d:\d\d$/);
    for (const name of ["Acknowledged", "On the way", "On site", "Person released", "Closed"])
      assert.equal(told[name], "not yet", name);
    await article.getByText("Called Tom Technician (level 1) by SMS").waitFor();
    await article.getByText("Prepared repair: Free the passengers").waitFor();
    await page.done();
  });

  test("j and k move, a acknowledges, and typing does neither", async () => {
    await unitState(hub, "lift-3", "broken");
    const breakdown = await opened("lift-3", "breakdown");
    const entrapment = await opened("lift-2", "entrapment");
    const page = await browser.board(hub);
    await row(page, breakdown).waitFor();
    await page.keyboard.press("j");
    await page.waitForURL(`**/tickets/${entrapment.id}`);
    await page.keyboard.press("j");
    await page.waitForURL(`**/tickets/${breakdown.id}`);
    await page.keyboard.press("k");
    await page.waitForURL(`**/tickets/${entrapment.id}`);

    const search = page.getByRole("searchbox");
    await search.fill("");
    await search.press("a");
    await search.press("j");
    assert.equal(await search.inputValue(), "aj");
    await search.fill("");
    await row(page, entrapment).waitFor();
    assert.equal((await api.get(`/api/v1/tickets/${entrapment.id}`)).status, "open");

    await row(page, entrapment).focus();
    await page.keyboard.press("a");
    await page.locator("article header").getByText("Acknowledged").waitFor();
    await page.locator("article").getByText("Dora Dispatch").first().waitFor();
    assert.equal((await api.get(`/api/v1/tickets/${entrapment.id}`)).status, "acknowledged");
    await page.done();
  });

  test("a ticket is acknowledged, given to a person, noted and closed by hand", async () => {
    const ticket = await opened("lift-3", "breakdown");
    const page = await ticketPage(ticket);
    const button = (name) => page.locator("article header").getByRole("button", { name });
    await button("Acknowledge").click();
    await page.locator("article header").getByText("Acknowledged", { exact: true }).waitFor();
    assert.equal(await button("Acknowledge").count(), 0, "it applies no more");
    await button("Assign").click();
    await button("Tom Technician").click();
    await page.getByText("Tom Technician has the job").waitFor();

    await page.getByPlaceholder("Write a note").fill("The key is at the desk.");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("The key is at the desk.").waitFor();
    assert.equal(await page.getByPlaceholder("Write a note").inputValue(), "");

    await button("Close").click();
    const note = page.getByPlaceholder("What was found and done");
    assert.ok(await note.evaluate((input) => input.required), "alerts are open: a note is needed");
    await note.fill("Reset the controller.");
    await page.getByRole("button", { name: "Close the ticket" }).click();
    await page.locator("article header").getByText("Closed", { exact: true }).waitFor();
    await row(page, ticket).waitFor({ state: "detached" });
    assert.equal((await api.get(`/api/v1/tickets/${ticket.id}`)).status, "closed");
    await page.done();
  });

  test("a closed ticket can be said to have been a false alarm, one that is open cannot", async () => {
    const open = await ticketPage(await opened("lift-2", "entrapment"));
    const nothing = { label: "Nothing found: a false alarm" };
    const offered = (page) =>
      page.locator("[data-preparation]").getByLabel("What had failed").locator("option").allInnerTexts();
    await open.locator("[data-preparation]").getByLabel("What had failed").waitFor();
    assert.ok(!(await offered(open)).includes(nothing.label));
    await open.done();

    const { tickets } = await api.get("/api/v1/tickets?state=closed&device=lift-3&kind=breakdown");
    const page = await ticketPage(tickets[0]);
    const causes = page.locator("[data-preparation]");
    await causes.getByLabel("What had failed").selectOption(nothing);
    assert.equal(await page.locator("[data-parts-used]").count(), 0, "it takes no parts");
    await causes.getByRole("button", { name: "Say what was found" }).click();
    await page.locator("ol").getByText(nothing.label).waitFor();
    await causes.getByText(/Nothing was found in 1 of \d+ closed tickets of this rule/).waitFor();
    assert.equal((await api.get(`/api/v1/tickets/${tickets[0].id}`)).cause.id, "nothing_found");
    await page.done();
  });

  test("an affected person is added with a number in international form, and gets a care page", async () => {
    const ticket = await opened("lift-2", "entrapment");
    const page = await ticketPage(ticket);
    await page.getByRole("button", { name: "Add an affected person" }).click();
    await page.getByLabel("Phone number").fill("138 0000");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await page.getByRole("alert").getByText("international form").waitFor();
    await page.getByLabel("Phone number").fill("+86 138 0000 0000");
    await page.getByLabel("Name (if known)").fill("Wang Fang");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await page.getByText("Wang Fang").first().waitFor();
    await row(page, ticket).getByText("1 inside").waitFor();
    const link = await page.getByRole("link", { name: "Care page" }).getAttribute("href");
    assert.match(link, new RegExp(`^${hub.url}/c/`));
    const care = await fetch(link);
    assert.equal(care.status, 200);
    await page.done();
  });

  test("a power cut of many lifts is one ticket that stays readable", async () => {
    const dark = LIFTS.slice(4);
    await mainsLost(hub, dark);
    const ticket = await api.ticket(
      (each) => each.kind === "outage" && each.devices_affected === dark.length,
    );
    const page = await ticketPage(ticket);
    await page.getByText(`${dark.length} of ${dark.length} devices not yet cleared`).waitFor();
    const devices = page.locator(".devices a");
    assert.deepEqual(
      await devices.allInnerTexts(),
      dark.map((id) => id.replace("lift-", "Lift ")),
      "in the order in which people count",
    );
    await page
      .getByText(/Alert on \d+ devices: Mains lost/)
      .first()
      .waitFor();
    const lines = page.locator(".panel:not([data-preparation]) ol > li");
    assert.ok((await lines.count()) < 25, "the timeline has a line for every lift");
    await page.done();
  });

  test("a forecast says what, when and why, what to bring, and draws the way to its limit", async () => {
    await wearingDoor(hub, "lift-4");
    const ticket = await opened("lift-4", "forecast");
    const page = await ticketPage(ticket);
    await page.getByText(/Door closing time is expected to reach 8 s around \d+ \w+ \d{4}\./).waitFor();
    await page.getByText(/With \d+ % confidence/).waitFor();
    const causes = page.locator("[data-preparation]");
    await causes.getByText("Door rollers, hangers or eccentrics worn").first().waitFor();
    const runbook = page.locator(".panel:not([data-preparation])");
    await runbook.getByText("Parts:").waitFor();
    await runbook.getByText("Door rollers (set)").waitFor();
    const chart = page.getByRole("img", { name: "Door closing time, chart" });
    await ink(chart);
    await page.done();
  });

  test("who was there says what had failed and which parts were used", async () => {
    const ticket = await opened("lift-4", "forecast");
    const page = await ticketPage(ticket);
    const causes = page.locator("[data-preparation]");
    await causes.getByLabel("What had failed").selectOption("door_rollers_worn");
    await causes.getByText("Parts used: not said").click();
    await causes.getByRole("checkbox", { name: "Door rollers (set)" }).check();
    await causes.getByLabel("Other parts, separated by commas").fill("M8 bolt, split pin");
    await causes.getByText("Parts used: Door rollers (set), M8 bolt, split pin").waitFor();
    // A fresh copy of the ticket does not undo what is ticked.
    const header = page.locator("article header");
    await header.getByRole("button", { name: "Acknowledge" }).click();
    await header.getByText("Acknowledged", { exact: true }).waitFor();
    assert.ok(await causes.getByRole("checkbox", { name: "Door rollers (set)" }).isChecked());
    await causes.getByRole("button", { name: "Say what was found" }).click();
    await page.locator("ol").getByText("Parts used: Door rollers (set), M8 bolt, split pin").waitFor();
    const { parts_used, cause } = await api.get(`/api/v1/tickets/${ticket.id}`);
    assert.deepEqual(
      [cause.id, parts_used.map((part) => part.zh)],
      ["door_rollers_worn", ["门滚轮（套）", "M8 bolt", "split pin"]],
    );
    await causes.getByRole("checkbox", { name: "None" }).check();
    await causes.getByRole("button", { name: "Say what was found" }).click();
    await page.locator("ol").getByText("Parts used: None").waitFor();
    await page.done();
  });

  test("a device's page draws its history, tells its values, and sends commands", async () => {
    const page = await browser.board(hub);
    await page.getByRole("link", { name: "Devices", exact: true }).click();
    await page.getByRole("searchbox").fill("Lift 4");
    await page.getByRole("link", { name: /Lift 4/ }).click();
    await page.getByRole("heading", { name: "Lift 4" }).waitFor();
    await ink(page.getByRole("img", { name: "Door closing time, chart" }));

    await page.goto(`${hub.url}/devices/lift-2`);
    await page.getByRole("button", { name: /^Doors/ }).click();
    // The doors have been shut for some seconds of the hour that is shown: a short stroke.
    await ink(page.getByRole("img", { name: "Doors, chart" }), 8);
    await page.getByRole("button", { name: "Passenger present yes" }).waitFor();

    await page.getByRole("button", { name: "Blink the controller's service lamp" }).click();
    await page.getByRole("button", { name: "Send: Blink" }).click();
    await page.getByText("Dora Dispatch").nth(1).waitFor();
    const { commands } = await api.get("/api/v1/devices/lift-2/commands");
    assert.equal(commands.length, 1);
    assert.equal(commands[0].name, "identify");
    await page.done();
  });

  test("what was rejected is shown with its reason, and the system says how it is", async () => {
    await hub.publish("lift-2", "telemetry", "not json");
    await hub.publish("lift-2", "telemetry", { ts: Date.now(), values: { warp_factor: 9 } });
    const page = await browser.board(hub);
    await page.getByRole("link", { name: "Rejected input" }).click();
    await page.getByRole("button", { name: "Unknown channel 1" }).waitFor();
    await page.getByRole("button", { name: "Not JSON 1" }).click();
    await page.locator("tbody tr").getByText("not json", { exact: true }).waitFor();
    await page.locator("tbody tr").nth(1).waitFor({ state: "detached" });
    await page.getByText("1 counted, 1 kept as samples; shown are the newest 1.").waitFor();
    await page.getByText("Most from").getByRole("link", { name: "lift-2" }).waitFor();
    await page.getByRole("link", { name: "System" }).click();
    await page.getByText("All is well.").waitFor();
    await page.getByText("Telemetry").waitFor();
    await page.done();
  });

  test("a person who is let out is shown to be out", async () => {
    const ticket = await opened("lift-2", "entrapment");
    const page = await ticketPage(ticket);
    await row(page, ticket).getByText("1 inside").waitFor();
    await letOut(hub, "lift-2");
    await page.locator("article").getByText("Person released").first().waitFor();
    await row(page, ticket).getByText("1 inside").waitFor({ state: "detached" });
    await page.done();
  });

  test("when the hub is away the board says since when, and comes back by itself", async () => {
    const page = await browser.board(hub);
    await page.locator("[data-ticket]").first().waitFor();
    await hub.kill();
    const banner = page.getByRole("status").filter({ hasText: "No live connection since" });
    await banner.waitFor();
    assert.match(await banner.innerText(), /since \d\d:\d\d:\d\d\. What you see may be out of date\./);
    assert.ok((await page.locator("[data-ticket]").count()) > 0, "what is known stays");
    await hub.run();
    await banner.waitFor({ state: "detached" });
    await unitState(hub, "lift-1", "broken");
    await row(page, await (await hub.api()).ticket((ticket) => ticket.device?.id === "lift-1")).waitFor();
    await page.done({
      allow: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/,
    });
  });
});

/** Waits until a chart's canvas has at least so many pixels in a line's colour, which is not the grid's. */
async function ink(chart, least = 100) {
  await chart.locator("canvas").waitFor();
  await chart.page().waitForFunction(
    ({ canvas, least }) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let blue = 0;
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 128 && data[at + 2] > data[at] + 60) blue += 1;
      }
      return blue >= least;
    },
    { canvas: await chart.locator("canvas").elementHandle(), least },
  );
}

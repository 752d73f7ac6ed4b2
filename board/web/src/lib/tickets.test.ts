import { describe, expect, it } from "vitest";
import { answers, families, hasCatalogue, merge, NOTHING_FOUND, order, place, runs } from "./tickets";
import type { Alert, TicketSummary, TimelineEntry } from "./types";

function ticket(number: number, change: Partial<TicketSummary> = {}): TicketSummary {
  return {
    id: String(number),
    number,
    kind: "breakdown",
    severity: "major",
    life_safety: false,
    status: "open",
    title: { en: "", zh: "" },
    site: { id: "", name: "", address: "" },
    device: null,
    opened_at: "",
    closed_at: null,
    milestones: [],
    level: null,
    calling: false,
    next_at: null,
    alerts_open: 1,
    alerts_total: 1,
    devices_affected: 1,
    held: null,
    hold_open: null,
    assignee: null,
    affected: { total: 0, inside: 0 },
    version: 1,
    ...change,
  };
}

describe("tickets", () => {
  it("put what is held back last", () => {
    const held = { code: "inhibited", pages: false, text: { en: "", zh: "" }, until: null, ticket: null };
    const tickets = [ticket(1), ticket(2, { held, severity: "critical" }), ticket(3, { severity: "minor" })];
    expect(order(tickets, "open").map(({ number }) => number)).toEqual([1, 3, 2]);
  });

  it("put people in danger first, then the unanswered, then the newest", () => {
    const tickets = [
      ticket(1),
      ticket(2, { status: "acknowledged" }),
      ticket(3, { severity: "critical", life_safety: true, status: "acknowledged" }),
      ticket(4, { severity: "minor" }),
      ticket(5),
    ];
    expect(order(tickets, "open").map((t) => t.number)).toEqual([3, 5, 1, 2, 4]);
    expect(order(tickets, "all").map((t) => t.number)).toEqual([5, 4, 3, 2, 1]);
  });
  it("never go back to an older version", () => {
    const newer = ticket(1, { version: 5 });
    expect(merge(newer, ticket(1, { version: 4 }))).toBe(newer);
    expect(merge(newer, ticket(1, { version: 6 })).version).toBe(6);
  });
});

describe("places", () => {
  const site = { id: "s", name: "Garden Court", address: "" };
  const lift = (name: string) => ({ id: "d", name, plate: null });
  it("name the site once", () => {
    expect(place(ticket(1, { site, device: lift("Garden Court, lift 4") }))).toBe("Garden Court, lift 4");
    expect(place(ticket(1, { site, device: lift("Lift 4") }))).toBe("Garden Court · Lift 4");
    expect(place(ticket(1, { site }))).toBe("Garden Court");
  });
});

describe("many of the same", () => {
  const entry = (seq: number, type: string, title = "Mains lost") =>
    ({
      seq,
      at: "",
      actor: { kind: "device" },
      what: { type, title: { en: title, zh: title } },
    }) as TimelineEntry;
  it("are one run, unless there are few or something is between", () => {
    const lines = [
      ...[1, 2, 3].map((seq) => entry(seq, "alert_raised")),
      entry(4, "opened"),
      entry(5, "alert_raised"),
      entry(6, "alert_raised", "Door stuck"),
      entry(7, "alert_cleared"),
    ];
    expect(runs(lines, 3).map((run) => run.map(({ seq }) => seq))).toEqual([[1, 2, 3], [4], [5], [6], [7]]);
  });
  it("alerts of one rule are one family, the open ones first", () => {
    const alert = (id: string, rule: string, cleared_at: string | null = null) =>
      ({ id, rule, cleared_at, title: { en: rule, zh: rule } }) as Alert;
    const found = families([alert("a", "x", "t"), alert("b", "y"), alert("c", "x"), alert("d", "z", "t")]);
    expect(found.map((family) => family.map(({ id }) => id))).toEqual([["c", "a"], ["b"], ["d"]]);
  });
});

describe("answers", () => {
  const cause = (id: string) => ({ id, name: { en: id, zh: id } });
  const known_causes = [cause("lock"), cause(NOTHING_FOUND)];
  const said = (status: TicketSummary["status"], closing: boolean) =>
    answers({ known_causes, status }, closing).map(({ id }) => id);

  it("says that nothing was found of a ticket that is closed, or with its closing", () => {
    expect(said("open", false)).toEqual(["lock"]);
    expect(said("restored", false)).toEqual(["lock"]);
    expect(said("open", true)).toEqual(["lock", NOTHING_FOUND]);
    expect(said("closed", false)).toEqual(["lock", NOTHING_FOUND]);
  });

  it("knows a profile without causes", () => {
    expect(hasCatalogue({ known_causes })).toBe(true);
    expect(hasCatalogue({ known_causes: [cause(NOTHING_FOUND)] })).toBe(false);
  });
});

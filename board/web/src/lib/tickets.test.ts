import { describe, expect, it } from "vitest";
import { merge, order } from "./tickets";
import type { TicketSummary } from "./types";

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
    next_at: null,
    alerts_open: 1,
    alerts_total: 1,
    devices_affected: 1,
    assignee: null,
    affected: { total: 0, inside: 0 },
    version: 1,
    ...change,
  };
}

describe("tickets", () => {
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

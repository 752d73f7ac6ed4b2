// How tickets are ordered and merged on the board.

import type { Severity, TicketSummary } from "./types";

const RANK: Record<Severity, number> = { critical: 0, major: 1, minor: 2, info: 3 };

/** The newer of two states of a ticket: what the stream brings may be older than what an action answered. */
export function merge(known: TicketSummary | undefined, heard: TicketSummary): TicketSummary {
  return known && known.version > heard.version ? known : heard;
}

/** Open tickets: people in danger first, then what nobody has answered for, then the newest. Others: the newest. */
export function order(tickets: TicketSummary[], state: "open" | "closed" | "all"): TicketSummary[] {
  const newest = (a: TicketSummary, b: TicketSummary) => b.number - a.number;
  if (state !== "open") return tickets.sort(newest);
  const waiting = (ticket: TicketSummary) => (ticket.status === "open" ? 0 : 1);
  return tickets.sort(
    (a, b) =>
      Number(b.life_safety) - Number(a.life_safety) ||
      RANK[a.severity] - RANK[b.severity] ||
      waiting(a) - waiting(b) ||
      newest(a, b),
  );
}

// How tickets are ordered and merged on the board.

import type { Alert, CauseRef, Severity, TicketDetail, TicketSummary, TimelineEntry } from "./types";

const RANK: Record<Severity, number> = { critical: 0, major: 1, minor: 2, info: 3 };

/** The answer in place of a cause that nothing was wrong: a false alarm. It takes no parts. */
export const NOTHING_FOUND = "nothing_found";

/** Whether causes can be named on the ticket. */
export function hasCatalogue({ known_causes }: Pick<TicketDetail, "known_causes">): boolean {
  return known_causes.some((cause) => cause.id !== NOTHING_FOUND);
}

/** What can be said of the ticket as it stands: that nothing was found, only when it is closed or with its closing. */
export function answers(ticket: Pick<TicketDetail, "known_causes" | "status">, closing: boolean): CauseRef[] {
  const ends = closing || ticket.status === "closed";
  return ticket.known_causes.filter((cause) => ends || cause.id !== NOTHING_FOUND);
}

/** The newer of two states of a ticket: what the stream brings may be older than what an action answered. */
export function merge(known: TicketSummary | undefined, heard: TicketSummary): TicketSummary {
  return known && known.version > heard.version ? known : heard;
}

/** Open tickets: people in danger first, then the gravest, what nobody has answered for, the newest; what is held back
 * last. Others: the newest. */
export function order(tickets: TicketSummary[], state: "open" | "closed" | "all"): TicketSummary[] {
  const newest = (a: TicketSummary, b: TicketSummary) => b.number - a.number;
  if (state !== "open") return tickets.sort(newest);
  // What explains it stands above; what is held back waits at the end.
  const held = (ticket: TicketSummary) => (ticket.held && ticket.held.code !== "group_wait" ? 1 : 0);
  const waiting = (ticket: TicketSummary) => (ticket.status === "open" ? 0 : 1);
  return tickets.sort(
    (a, b) =>
      Number(b.life_safety) - Number(a.life_safety) ||
      held(a) - held(b) ||
      RANK[a.severity] - RANK[b.severity] ||
      waiting(a) - waiting(b) ||
      newest(a, b),
  );
}

/** Where a ticket's trouble is: the site once, even if the device's name begins with it. */
export function place(ticket: Pick<TicketSummary, "site" | "device">): string {
  if (!ticket.device) return ticket.site.name;
  const { name } = ticket.device;
  return name.startsWith(ticket.site.name) ? name : `${ticket.site.name} · ${name}`;
}

/** People still inside: those who were, until they are reported to be out. */
export function stillInside(ticket: TicketSummary): number {
  const out = ticket.status === "closed" || ticket.milestones.some(({ kind }) => kind === "released");
  return out ? 0 : ticket.affected.inside;
}

/** Neighbours of a timeline that say the same of different devices, together; shorter runs than `least` stay apart. */
export function runs(entries: TimelineEntry[], least = 3): TimelineEntry[][] {
  const key = ({ what }: TimelineEntry) =>
    what.type === "alert_raised" || what.type === "alert_cleared" ? `${what.type} ${what.title.en}` : null;
  const found: TimelineEntry[][] = [];
  for (const entry of entries) {
    const run = found.at(-1);
    if (run && key(entry) !== null && key(run[0]!) === key(entry)) run.push(entry);
    else found.push([entry]);
  }
  return found.flatMap((run) => (run.length >= least ? [run] : run.map((entry) => [entry])));
}

/** Alerts of the same rule together, the open ones first; rules that still have open ones first. */
export function families(alerts: Alert[]): Alert[][] {
  const open = (alert: Alert) => (alert.cleared_at === null ? 0 : 1);
  const found = new Map<string, Alert[]>();
  for (const alert of alerts) found.set(alert.rule, [...(found.get(alert.rule) ?? []), alert]);
  const sorted = [...found.values()].map((family) => family.sort((a, b) => open(a) - open(b)));
  return sorted.sort((a, b) => open(a[0]!) - open(b[0]!));
}

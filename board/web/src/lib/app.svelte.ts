// State that every page shares: who is logged in, the language, the address, the time, the live stream.

import { ApiError, LOGGED_OUT, me as fetchMe } from "./api";
import { brief, clock, number } from "./format";
import { TEXTS, fill, type PlainKey } from "./text";
import type { Language, Me, Scalar, Text, TicketSummary } from "./types";

class App {
  me = $state<Me | null>(null);
  loaded = $state(false);
  language = $state<Language>("en");
  path = $state(location.pathname + location.search);
  now = $state(Date.now());
  /** Since when there is no live stream; null while there is one. */
  staleSince = $state<number | null>(null);
  /** The hub's clock minus this machine's, in ms. */
  skew = 0;

  t = $derived(TEXTS[this.language]);
}

export const app = new App();

/** A text of the interface, filled. */
export function t(key: PlainKey, values: Record<string, string | number> = {}): string {
  return fill(app.t[key], values);
}

/** A text that came from the hub, in the chosen language. */
export function say(text: Text): string {
  return text[app.language];
}

/** "5 min ago". */
export function ago(at: string): string {
  return t("ago", { time: brief(app.now - Date.parse(at), app.language) });
}

/** What the next timer is, and when: a call, or the time to be on site. */
export function due(calling: boolean, left: number): string {
  if (left <= 0) return t(calling ? "next_call_due" : "on_site_late");
  return t(calling ? "next_call" : "on_site_by", { time: brief(left, app.language) });
}

/** The time of day, with the date if it was not today. */
export function time(at: string): string {
  return clock(at, app.now, app.language);
}

/** A value as people read it: with its unit, "yes" for true, and the name of a state. */
export function shown(value: Scalar | null, unit: string | null = null): string {
  if (value === null) return t("missing_signal");
  if (typeof value === "boolean" || value === "true" || value === "false")
    return t(String(value) === "true" ? "yes" : "no");
  const names: Record<string, string> = app.t.value;
  const text = typeof value === "number" ? number(value) : (names[value] ?? value);
  return unit ? `${text} ${unit}` : text;
}

/** What an error means, in the chosen language. */
export function explain(failure: unknown): string {
  if (!(failure instanceof ApiError)) return String(failure);
  const known: Record<string, string> = app.t.error;
  return known[failure.code] ?? [failure.message, failure.remedy].filter(Boolean).join(" ");
}

function applyLanguage(language: Language): void {
  app.language = language;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}

/** Chooses the language; this browser remembers it. */
export function setLanguage(language: Language): void {
  applyLanguage(language);
  localStorage.setItem("language", language);
}

export function go(path: string, replace = false): void {
  if (path !== location.pathname + location.search) {
    history[replace ? "replaceState" : "pushState"](null, "", path);
    scrollTo(0, 0);
  }
  app.path = path;
}

/** Makes a link within the board change the page without loading it anew. */
export function follow(event: MouseEvent): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go((event.currentTarget as HTMLAnchorElement).getAttribute("href") ?? "/");
}

/** Finds out who is logged in; null if nobody is. */
export async function refreshMe(): Promise<void> {
  try {
    app.me = await fetchMe();
    if (app.me) app.skew = Date.parse(app.me.now) - Date.now();
  } catch (failure) {
    // A hub that is away has not logged anybody out.
    if (!(failure instanceof ApiError)) throw failure;
  } finally {
    const chosen = localStorage.getItem("language");
    const usual = app.me?.user.language ?? (navigator.language.startsWith("zh") ? "zh" : "en");
    applyLanguage(chosen === "en" || chosen === "zh" ? chosen : usual);
    app.loaded = true;
  }
}

/** Does something at once and then again and again; what it returns ends that. */
export function every(ms: number, run: () => unknown): () => void {
  run();
  const again = setInterval(run, ms);
  return () => clearInterval(again);
}

addEventListener(LOGGED_OUT, () => (app.me = null));
addEventListener("popstate", () => (app.path = location.pathname + location.search));
setInterval(() => {
  app.now = Date.now() + app.skew;
  // A stream that has gone silent without an error, as after a laptop's sleep, is as good as lost.
  if (heardAt !== null && Date.now() - heardAt > SILENCE) app.staleSince ??= heardAt;
}, 1000);

/** The hub says something at least every 15 s. */
const SILENCE = 40_000;
/** When the stream, in this tab or another, last said something; null before it first did. */
let heardAt: number | null = null;

type Listener = {
  ticket?: (ticket: TicketSummary) => void;
  device?: (id: string) => void;
  resync?: () => void;
};
const listeners = new Set<Listener>();

/** Hears of changes while the component lives: use inside `$effect`. */
export function listen(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

type Heard =
  | { type: "ticket"; ticket: TicketSummary }
  | { type: "device"; id: string }
  | { type: "resync" | "alive" | "lost" };

function hear(heard: Heard): void {
  if (heard.type !== "lost") {
    heardAt = Date.now();
    app.staleSince = null;
  }
  switch (heard.type) {
    case "ticket":
      for (const listener of listeners) listener.ticket?.(heard.ticket);
      break;
    case "device":
      for (const listener of listeners) listener.device?.(heard.id);
      break;
    case "resync":
      for (const listener of listeners) listener.resync?.();
      break;
    case "alive":
      break;
    case "lost":
      app.staleSince ??= heardAt ?? Date.now();
      break;
  }
}

/**
 * Opens the live stream. Browsers allow few connections to one host, so of all open tabs only one holds the stream
 * and tells the others; when it is closed another takes over.
 */
export function openStream(): () => void {
  const tabs = new BroadcastChannel("liftline");
  tabs.onmessage = (message: MessageEvent<Heard>) => hear(message.data);
  const tell = (heard: Heard) => {
    tabs.postMessage(heard);
    hear(heard);
  };
  const closed = new AbortController();
  const hold = () =>
    new Promise<void>((release) => {
      let stream: EventSource;
      let again: ReturnType<typeof setTimeout> | undefined;
      const open = () => {
        stream = new EventSource("/api/v1/stream");
        stream.addEventListener("hello", () => tell({ type: "resync" }));
        stream.addEventListener("resync", () => tell({ type: "resync" }));
        stream.addEventListener("ping", () => tell({ type: "alive" }));
        stream.addEventListener("ticket", (event) =>
          tell({ type: "ticket", ticket: JSON.parse((event as MessageEvent<string>).data) as TicketSummary }),
        );
        stream.addEventListener("device", (event) =>
          tell({
            type: "device",
            id: (JSON.parse((event as MessageEvent<string>).data) as { id: string }).id,
          }),
        );
        stream.onerror = () => {
          tell({ type: "lost" });
          // The browser tries again by itself unless it was refused: because the session has ended, or by a proxy.
          if (stream.readyState !== EventSource.CLOSED) return;
          again = setTimeout(() => void refreshMe().then(() => !closed.signal.aborted && open()), 3000);
        };
      };
      open();
      closed.signal.addEventListener("abort", () => {
        clearTimeout(again);
        stream.close();
        release();
      });
    });
  if ("locks" in navigator) {
    navigator.locks.request("liftline-stream", { signal: closed.signal }, hold).catch((failure: unknown) => {
      if (!closed.signal.aborted) throw failure;
    });
  } else {
    void hold();
  }
  return () => {
    closed.abort();
    tabs.close();
  };
}

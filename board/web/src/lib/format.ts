// Times, durations and numbers as people read them.

import type { Language } from "./types";

/** A duration in at most two units: "2 d 4 h", "3 min 05 s". */
export function duration(ms: number, language: Language): string {
  const unit = language === "zh" ? ["天", "小时", "分", "秒"] : [" d", " h", " min", " s"];
  const gap = language === "zh" ? "" : " ";
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s}${unit[3]}`;
  if (s < 3600) return `${Math.floor(s / 60)}${unit[2]}${gap}${String(s % 60).padStart(2, "0")}${unit[3]}`;
  if (s < 86400) return `${Math.floor(s / 3600)}${unit[1]}${gap}${Math.floor((s % 3600) / 60)}${unit[2]}`;
  return `${Math.floor(s / 86400)}${unit[0]}${gap}${Math.floor((s % 86400) / 3600)}${unit[1]}`;
}

/** A short duration in one unit, for lists: "12 s", "5 min", "3 h", "2 d". */
export function brief(ms: number, language: Language): string {
  const s = Math.max(0, Math.round(ms / 1000));
  const zh = language === "zh";
  if (s < 60) return `${s}${zh ? "秒" : " s"}`;
  if (s < 3600) return `${Math.floor(s / 60)}${zh ? "分钟" : " min"}`;
  if (s < 86400) return `${Math.floor(s / 3600)}${zh ? "小时" : " h"}`;
  return `${Math.floor(s / 86400)}${zh ? "天" : " d"}`;
}

const tag = (language: Language) => (language === "zh" ? "zh-CN" : "en-GB");

/** The time of day with seconds; with the date if it was not today. */
export function clock(at: string, now: number, language: Language): string {
  const time = new Date(at);
  const today = new Date(now).toDateString() === time.toDateString();
  return new Intl.DateTimeFormat(tag(language), {
    ...(today ? {} : { day: "numeric", month: "short" }),
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  }).format(time);
}

/** A duration as the hub writes it ("1h 30m"), as people read it. */
export function spelled(text: string, language: Language): string {
  const units: Record<string, string> =
    language === "zh"
      ? { d: "天", h: "小时", m: "分钟", s: "秒", ms: "毫秒" }
      : { d: " d", h: " h", m: " min", s: " s", ms: " ms" };
  return text
    .replace(/(\d+)(ms|[dhms])\b/g, (_, count: string, unit: string) => `${count}${units[unit]}`)
    .replaceAll(/ (?=\d)/g, language === "zh" ? "" : " ");
}

/** Times along an axis: the date where it changes, else the time of day; only dates where a step is a day or more. */
export function ticks(seconds: number[], language: Language): string[] {
  const date = new Intl.DateTimeFormat(tag(language), { day: "numeric", month: "short" });
  const hour = new Intl.DateTimeFormat(tag(language), { hour: "2-digit", minute: "2-digit", hour12: false });
  const daily = seconds.length > 1 && seconds[1]! - seconds[0]! >= 86_000;
  let before = "";
  return seconds.map((at) => {
    const time = new Date(at * 1000);
    const today = date.format(time);
    const text = daily
      ? today
      : before && today !== before
        ? `${hour.format(time)}\n${today}`
        : hour.format(time);
    const first = before === "" && !daily ? `${text}\n${today}` : text;
    before = today;
    return first;
  });
}

/** The date alone. */
export function day(at: string, language: Language): string {
  return new Intl.DateTimeFormat(tag(language), { day: "numeric", month: "short", year: "numeric" }).format(
    new Date(at),
  );
}

/** A number with as many digits as help. */
export function number(value: number): string {
  const size = Math.abs(value);
  const text = value.toLocaleString("en", {
    maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3,
  });
  return text === "-0" ? "0" : text;
}

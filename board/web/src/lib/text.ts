// Every text of the interface, in both languages.

import { en, type Texts } from "./texts/en";
import { zh } from "./texts/zh";
import type { Language } from "./types";

export const TEXTS: Record<Language, Texts> = { en, zh };

export type PlainKey = { [K in keyof Texts]: Texts[K] extends string ? K : never }[keyof Texts];

/** Fills `{name}` places of a template. */
export function fill(template: string, values: Record<string, string | number>): string {
  return template.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place));
}

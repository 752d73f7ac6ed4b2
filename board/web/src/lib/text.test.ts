import { describe, expect, it } from "vitest";
import { TEXTS, fill } from "./text";

function keys(value: unknown, path = ""): string[] {
  if (typeof value === "string") return [path];
  return Object.entries(value as object).flatMap(([key, inner]) => keys(inner, `${path}.${key}`));
}
function places(value: unknown): string[] {
  if (typeof value === "string") return [[...value.matchAll(/\{\w+\}/g)].map(String).sort().join()];
  return Object.values(value as object).flatMap(places);
}

describe("texts", () => {
  it("exist in both languages with the same places", () => {
    expect(keys(TEXTS.zh)).toEqual(keys(TEXTS.en));
    expect(places(TEXTS.zh)).toEqual(places(TEXTS.en));
  });
  it("are filled, and keep a place that has no value", () => {
    expect(fill("{n} of {m}", { n: 1 })).toBe("1 of {m}");
  });
});

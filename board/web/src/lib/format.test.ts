import { describe, expect, it } from "vitest";
import { brief, duration, number } from "./format";

describe("format", () => {
  it("writes durations in two units", () => {
    expect(duration(45_000, "en")).toBe("45 s");
    expect(duration(185_000, "en")).toBe("3 min 05 s");
    expect(duration(7_260_000, "zh")).toBe("2小时1分");
    expect(duration(-5, "en")).toBe("0 s");
    expect(brief(90_000_000, "en")).toBe("1 d");
  });
  it("writes numbers with the digits that help", () => {
    expect([number(0.05833), number(3.14159), number(41.26), number(1234.5)]).toEqual([
      "0.058",
      "3.14",
      "41.3",
      "1,235",
    ]);
  });
});

import { describe, expect, it } from "vitest";
import { brief, duration, number, spelled, ticks } from "./format";

describe("format", () => {
  it("writes durations in two units", () => {
    expect(duration(45_000, "en")).toBe("45 s");
    expect(duration(185_000, "en")).toBe("3 min 05 s");
    expect(duration(7_260_000, "zh")).toBe("2小时1分");
    expect(duration(-5, "en")).toBe("0 s");
    expect(brief(90_000_000, "en")).toBe("1 d");
  });
  it("spells out the hub's durations", () => {
    expect(spelled("1h 30m", "en")).toBe("1 h 30 min");
    expect(spelled("1h 30m", "zh")).toBe("1小时30分钟");
    expect(spelled("500ms", "zh")).toBe("500毫秒");
  });
  it("names the day along an axis where it begins", () => {
    const noon = new Date(2026, 10, 21, 12).getTime() / 1000;
    expect(ticks([noon, noon + 6 * 3600, noon + 12 * 3600, noon + 18 * 3600], "en")).toEqual([
      "12:00\n21 Nov",
      "18:00",
      "00:00\n22 Nov",
      "06:00",
    ]);
    expect(ticks([noon, noon + 86_400], "zh")).toEqual(["11月21日", "11月22日"]);
  });
  it("writes numbers with the digits that help", () => {
    expect(number(-0.0001)).toBe("0");
    expect([number(0.05833), number(3.14159), number(41.26), number(1234.5)]).toEqual([
      "0.058",
      "3.14",
      "41.3",
      "1,235",
    ]);
  });
});

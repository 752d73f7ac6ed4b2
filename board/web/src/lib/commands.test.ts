import { describe, expect, it } from "vitest";
import { argumentsOf } from "./commands";

describe("arguments of a command", () => {
  it("are read by their form", () => {
    expect(argumentsOf("")).toEqual({});
    expect(argumentsOf("seconds=30")).toEqual({ seconds: 30 });
    expect(argumentsOf("mode = quiet ，loud=false,")).toEqual({ mode: "quiet", loud: false });
  });
  it("are refused if they have no name", () => {
    expect(argumentsOf("30")).toBeNull();
  });
});

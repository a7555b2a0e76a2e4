import { expect, test } from "vitest";
import { graphOps } from "../src/graph/registry.ts";
import { cDisagreements, cOptions, exampleCases, sanitizers, warningFlags, withCompiler } from "./support/c.ts";

/** Every example of every op by the other compiler, which has its own warnings, with sanitizers. */
withCompiler("clang", () => {
  test("op examples under default schedules, without warnings or what sanitizers find", async () => {
    expect(
      await cDisagreements(
        exampleCases(graphOps, () => cOptions),
        "clang",
        ["-O1", ...sanitizers, ...warningFlags],
      ),
    ).toEqual([]);
  }, 300_000);
});

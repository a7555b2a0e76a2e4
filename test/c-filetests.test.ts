import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { bf16, f16 } from "../src/base/dtype.ts";
import { graphOps } from "../src/graph/registry.ts";
import { type CCase, cDisagreements, cOptions, exampleCases, sanitizers, warningFlags, withCompiler } from "./support/c.ts";
import { findFiletests, prepareRun, readFiletest } from "./support/filetest.ts";

const folder = fileURLToPath(new URL("../filetests", import.meta.url));

withCompiler("gcc", () => {
  test("filetests that run, without warnings or what sanitizers find", async () => {
    const cases: CCase[] = [];
    for (const path of findFiletests(folder)) {
      const t = readFiletest(folder, path);
      if (t.mode !== "run") continue;
      const { compile, inputs, want, factor } = await prepareRun(t);
      for (const schedule of ["default", "empty"] as const)
        cases.push({ what: `${path}, ${schedule} schedule`, compiled: compile({ ...cOptions, schedule }), inputs, want, factor });
    }
    expect(cases.length).toBeGreaterThan(10);
    expect(await cDisagreements(cases, "gcc", ["-O1", ...sanitizers, ...warningFlags])).toEqual([]);
  }, 300_000);

  test.each([f16, bf16])(
    "op examples on %s",
    async (d) => {
      const cases = exampleCases(
        graphOps,
        () => cOptions,
        (type) => type.replace(/^f32/, d.name),
      );
      expect(await cDisagreements(cases, "gcc", ["-O1", ...warningFlags])).toEqual([]);
    },
    300_000,
  );
});

import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { graphOps } from "../src/graph/registry.ts";
import { type CCase, cDisagreements, cOptions, exampleCases, sanitizers, warningFlags, withCompiler } from "./support/c.ts";
import { findFiletests, prepareRun, readFiletest } from "./support/filetest.ts";

/** Every example of every op, and the filetests that run, with sanitizers; by the compiler that no other of these tests use, for its warnings. */
const folder = fileURLToPath(new URL("../filetests", import.meta.url));

async function filetestCases(): Promise<CCase[]> {
  const tests = findFiletests(folder)
    .map((path) => readFiletest(folder, path))
    .filter((t) => t.mode === "run");
  return Promise.all(
    tests.map(async (t) => {
      const { compile, inputs, want, factor } = await prepareRun(t);
      return { what: t.path, compiled: compile(cOptions), inputs, want, factor };
    }),
  );
}

withCompiler("clang", () => {
  test("op examples and filetests, without warnings or what sanitizers find", async () => {
    const cases = [...exampleCases(graphOps, () => cOptions), ...(await filetestCases())];
    expect(cases.length).toBeGreaterThan(60);
    expect(await cDisagreements(cases, "clang", ["-O0", "-DTW_FREESTANDING", ...sanitizers, ...warningFlags])).toEqual([]);
  }, 300_000);
});

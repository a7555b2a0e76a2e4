import { describe, expect, test } from "vitest";
import type { Capabilities } from "../src/base/machine.ts";
import { compileGraph } from "../src/compile.ts";
import { graphOps } from "../src/graph/registry.ts";
import { type Random, randomChooser, seededRandom } from "../src/schedule/random.ts";
import { type CCase, type CompilerName, cDisagreements, cMachines, cOptions, compilerMissing, warningFlags } from "./support/c.ts";
import { boundGraph } from "./support/bounds.ts";
import { exampleCase } from "./support/executions.ts";

/** Every example of every op as C, at all levels that this processor has, under a schedule. */
function examples(schedule: (random: Random) => typeof cOptions): CCase[] {
  const random = seededRandom(31);
  return graphOps.flatMap((def) =>
    def.examples.map((example, i): CCase => {
      const { graph, inputs } = exampleCase(def, example, seededRandom(i + 1));
      return { what: `${def.name} ${i}`, compiled: compileGraph(graph, schedule(random)), inputs, want: boundGraph(graph, inputs) };
    }),
  );
}
const byDefault = () => examples(() => cOptions);

const sanitizers = ["-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"] as const;

function withCompiler(compiler: CompilerName, body: () => void): void {
  const missing = compilerMissing(compiler);
  describe.skipIf(missing !== null)(`with ${compiler}${missing === null ? "" : ` (skipped: ${missing})`}`, body);
}

describe("op examples as C agree with the reference", () => {
  withCompiler("gcc", () => {
    test("default schedules, without warnings", async () => {
      expect(await cDisagreements(byDefault(), "gcc", ["-O1", ...warningFlags])).toEqual([]);
    }, 300_000);
    test("random schedules", async () => {
      const cases = examples((random) => ({ ...cOptions, schedule: randomChooser(cMachines[0] as Capabilities, random) }));
      expect(await cDisagreements(cases, "gcc", ["-O1", ...warningFlags])).toEqual([]);
    }, 300_000);
  });
  withCompiler("clang", () => {
    test("default schedules, without warnings or what sanitizers find", async () => {
      expect(await cDisagreements(byDefault(), "clang", ["-O1", ...sanitizers, ...warningFlags])).toEqual([]);
    }, 300_000);
  });
});

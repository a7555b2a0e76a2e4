import { describe, expect, test } from "vitest";
import { compileGraph } from "../src/compile.ts";
import { graphOps } from "../src/graph/registry.ts";
import { randomChooser, seededRandom } from "../src/schedule/random.ts";
import { wasmMachine } from "../src/targets/wasm/machine.ts";
import { exampleCase } from "./support/executions.ts";
import { stepChecker } from "./support/steps.ts";

/** After every step of the pipeline the IR's text reads back to the same text, and what was read verifies. */
describe("every step of every op example reads back and verifies", () => {
  for (const def of graphOps) {
    if (def.examples.length === 0) continue;
    test(def.name, () => {
      const random = seededRandom(11);
      for (const example of def.examples) {
        const { graph } = exampleCase(def, example, random);
        for (const schedule of ["empty", "default", randomChooser(wasmMachine, random)] as const) {
          const { options, faults } = stepChecker();
          compileGraph(graph, { ...options, schedule });
          expect(faults).toEqual([]);
        }
      }
    });
  }
});

import { describe, expect, test } from "vitest";
import type { OpDef } from "../../src/graph/op.ts";
import { seededRandom } from "../../src/schedule/random.ts";
import { type Batch, type Drawn, exampleCase, graphDisagreements } from "./executions.ts";

/** Random schedules that every example is run under. */
export const schedulesPerExample = 20;

/** A test for each example of each op: whatever it is run by gives the reference's result. What C gives, the batch tells. */
export function testExamples(ops: readonly OpDef[], drawn: Drawn, batch: Batch): void {
  for (const def of ops) {
    if (def.examples.length === 0) continue;
    describe(def.name, () => {
      test.each(def.examples.map((example, i) => ({ i, example })))("example $i", async ({ i, example }) => {
        const c = exampleCase(def, example, seededRandom(i + 1));
        expect(await graphDisagreements(c, { schedules: schedulesPerExample, seed: i + 100, drawn, batch })).toEqual([]);
      });
    });
  }
}

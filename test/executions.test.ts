import { describe } from "vitest";
import { elementwiseOps } from "../src/graph/ops/elementwise.ts";
import { graphOps } from "../src/graph/registry.ts";
import { CBatch, testBatch } from "./support/c.ts";
import { testExamples } from "./support/examples.ts";

/** One test, many executions, for the ops that work element by element; the others are in executions-structured. */
describe("executions of elementwise ops agree", () => {
  const names = new Set<string>(elementwiseOps.map((o) => o.name));
  const batch = new CBatch();
  testExamples(
    graphOps.filter((o) => names.has(o.name)),
    new Map(),
    batch,
  );
  testBatch(batch);
});

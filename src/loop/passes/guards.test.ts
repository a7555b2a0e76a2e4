import { expect, it } from "vitest";
import { boundGraph, firstDifference } from "../../../test/support/bounds.ts";
import { randomTensor, runInWasm } from "../../../test/support/run.ts";
import { f32 } from "../../base/dtype.ts";
import { compileGraph } from "../../compile.ts";
import { GraphBuilder } from "../../graph/builder.ts";
import { seededRandom } from "../../schedule/random.ts";

/** A window over channels that lie innermost: its first reads would be far below the memory's start, were they not guarded. */
it("a guard that is one for all lanes keeps its read from being evaluated", async () => {
  const g = new GraphBuilder();
  const x = g.param("x", { dtype: f32, dims: [1, 6, 6, 1200] });
  const y = g.one("reduce_window", [g.transpose(x, [0, 3, 1, 2])], {
    monoid: "max",
    window: [1, 1, 3, 3],
    strides: [1, 1, 1, 1],
    dilation: [1, 1, 1, 1],
    pads: [
      [0, 0],
      [0, 0],
      [1, 1],
      [1, 1],
    ],
  });
  const graph = g.finish("window", [], [g.transpose(y, [0, 2, 3, 1])]);
  const input = randomTensor({ dtype: f32, dims: [1, 6, 6, 1200] }, seededRandom(1));
  const [want] = boundGraph(graph, [input]);
  const [got] = await runInWasm(compileGraph(graph), [input], false);
  if (want === undefined || got === undefined) throw new Error("no result");
  expect(firstDifference(got, want)).toBeNull();
});

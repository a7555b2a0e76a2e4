import { expect, test } from "vitest";
import { runInInterpreter, runInWasm } from "../../../test/support/run.ts";
import { dtypes, f32 } from "../../base/dtype.ts";
import { compileGraph } from "../../compile.ts";
import { GraphBuilder } from "../builder.ts";
import { hostFrom } from "../host.ts";
import { interpretGraph } from "../interpret.ts";

// Scales without a zero have no sums; bools no arithmetic.
const summed = dtypes.filter((d) => d.kind !== "bool" && d.format?.special !== "scale");

test.each(summed.map((d) => [d.name, d] as const))("elements of %s, along rows and columns", async (_, dtype) => {
  for (const [axis, monoid, exclusive, reverse] of [
    [0, "add", false, true],
    [1, "add", true, false],
    [0, "mul", true, true],
    [1, "max", false, true],
  ] as const) {
    const g = new GraphBuilder();
    const x = g.param("x", { dtype, dims: [5, 7] });
    const graph = g.finish("running", [], [g.one("cumulative", [x], { monoid, axis, exclusive, reverse })]);
    const input = hostFrom(dtype, [5, 7], (i) => (dtype.isFloat ? ((i * 5) % 7) / 4 + 0.25 : (i * 5) % 7));
    const want = Array.from(interpretGraph(graph, [input])[0]?.data ?? [], Number);
    const compiled = compileGraph(graph);
    // Elements are combined in order everywhere: all bits are the same.
    expect(Array.from((await runInInterpreter(compiled, [input]))[0]?.data ?? [], Number)).toEqual(want);
    expect(Array.from((await runInWasm(compiled, [input], false))[0]?.data ?? [], Number)).toEqual(want);
  }
});

test("the reference adds up, leaves out and turns round as it says", () => {
  const run = (exclusive: boolean, reverse: boolean): number[] => {
    const g = new GraphBuilder();
    const x = g.param("x", { dtype: f32, dims: [4] });
    const graph = g.finish("sum", [], [g.one("cumulative", [x], { monoid: "add", axis: 0, exclusive, reverse })]);
    return Array.from(interpretGraph(graph, [hostFrom(x.dtype, [4], (i) => 10 ** i)])[0]?.data ?? [], Number);
  };
  expect(run(false, false)).toEqual([1, 11, 111, 1111]);
  expect(run(true, false)).toEqual([0, 1, 11, 111]);
  expect(run(false, true)).toEqual([1111, 1110, 1100, 1000]);
  expect(run(true, true)).toEqual([1110, 1100, 1000, 0]);
});

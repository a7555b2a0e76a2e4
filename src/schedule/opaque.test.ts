import { expect, test } from "vitest";
import { runInInterpreter, runInWasm } from "../../test/support/run.ts";
import { bool, f32, i32 } from "../base/dtype.ts";
import { compileGraph } from "../compile.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { hostFrom } from "../graph/host.ts";
import { interpretGraph } from "../graph/interpret.ts";
import type { Value } from "../graph/ir.ts";
import type { Program, StmtOf } from "../loop/ir.ts";
import { seededRandom } from "./random.ts";

const launches = (p: Program): StmtOf<"launch">[] => p.main.flatMap((s) => (s.kind === "launch" ? [s] : []));

test("steps of equal structure share a kernel; threads share the points, each with memory of its own", () => {
  const g = new GraphBuilder();
  const xs = ["a", "b"].map((n) => g.param(n, { dtype: f32, dims: [8, 2000] }));
  const small = g.param("c", { dtype: f32, dims: [8, 3] });
  const sorted = (x: Value, n: number): Value => g.one("argsort", [x], { count: [n], descending: false });
  const graph = g.finish("sorts", [], [...xs.map((x) => sorted(x, 2000)), sorted(small, 3)]);
  const { program } = compileGraph(graph);
  expect(program.kernels.length).toBe(2);
  const [first, second, third] = launches(program);
  expect(second?.kernel).toBe(first?.kernel);
  expect(first?.scratch.map((s) => s.bytes.constant)).toEqual([16000, 16000]);
  expect(first?.threadsFrom).toBeLessThanOrEqual(8);
  // So little work is no reason to wake a thread.
  expect(third?.threadsFrom).toBeGreaterThan(8);
});

test("what opaque steps read and write may lie inside of other tensors, and in regions", async () => {
  const g = new GraphBuilder();
  const x = g.param("x", { dtype: f32, dims: [3, 9] });
  const y = g.param("y", { dtype: f32, dims: [3, 4] });
  const flag = g.param("flag", { dtype: bool, dims: [] });
  const joined = g.one("concat", [g.one("neg", [x]), g.one("exp", [y])], { axis: 1 });
  const middle = g.one("slice", [joined], { start: [0, 3], stride: [1, 1], dims: [3, 8] });
  const [then, otherwise] = [g.nested(), g.nested()];
  const regions = [
    then.region([], [then.one("argsort", [middle], { count: [8], descending: true })]),
    otherwise.region([], [otherwise.one("iota", [], { dtype: i32, dims: [3, 8], axis: 1 })]),
  ];
  const order = g.op("if", [flag], {}, { regions })[0] as Value;
  const total = g.one("cumulative", [joined], { monoid: "add", axis: 1, exclusive: false, reverse: true });
  const results = [g.one("concat", [order, order], { axis: 0 }), g.one("concat", [total, joined], { axis: 1 })];
  const graph = g.finish("views", [], results);
  const compiled = compileGraph(graph);
  const random = seededRandom(5);
  for (const chosen of [0, 1]) {
    const inputs = [hostFrom(f32, [3, 9], random), hostFrom(f32, [3, 4], random), hostFrom(bool, [], () => chosen)];
    const want = interpretGraph(graph, inputs);
    for (const got of [await runInInterpreter(compiled, inputs), await runInWasm(compiled, inputs, false)]) {
      expect(Array.from(got[0]?.data ?? [], Number)).toEqual(Array.from(want[0]?.data ?? [], Number));
      const [sums, reference] = [got[1], want[1]].map((t) => (t?.data ?? []) as Float64Array) as [Float64Array, Float64Array];
      const off = reference.map((v, i) => Math.abs(v - (sums[i] ?? Number.NaN)));
      expect(Math.max(...off)).toBeLessThan(1e-5);
    }
  }
});

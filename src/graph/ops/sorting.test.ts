import fc from "fast-check";
import { expect, test } from "vitest";
import { runInInterpreter, runInWasm } from "../../../test/support/run.ts";
import { type DType, dtypes, f32, i32 } from "../../base/dtype.ts";
import { type Num, roundTo } from "../../base/numeric.ts";
import { compileGraph } from "../../compile.ts";
import { GraphBuilder } from "../builder.ts";
import { type HostTensor, hostFrom } from "../host.ts";
import { interpretGraph } from "../interpret.ts";

/** The positions of all elements in order, by JavaScript's sort, which is stable. */
function wanted(data: readonly Num[], descending: boolean): number[] {
  const nan = (v: Num) => Number.isNaN(v as number);
  const ascending = (a: Num, b: Num): number => (nan(a) || nan(b) ? Number(nan(a)) - Number(nan(b)) : a < b ? -1 : a > b ? 1 : 0);
  const order = data.map((_, i) => i);
  return order.sort((i, j) => (descending ? -1 : 1) * ascending(data[i] as Num, data[j] as Num));
}

function argsort(dtype: DType, n: number, count: number, descending: boolean) {
  const g = new GraphBuilder();
  const x = g.param("x", { dtype, dims: [n] });
  return g.finish("argsort", [], [g.one("argsort", [x], { count: [count], descending })]);
}
const positions = (t: HostTensor | undefined): number[] => Array.from(t?.data ?? [], Number);

// Both ways to do it: a heap for few of many, a merge sort else.
const sizes = [
  [1, 1],
  [2, 2],
  [7, 7],
  [33, 33],
  [100, 90],
  [100, 4],
  [64, 1],
  [257, 9],
] as const;
test.each(sizes.flatMap(([n, k]) => [[n, k, false] as const, [n, k, true] as const]))(
  "of %i elements the first %i, descending: %s",
  async (n, k, descending) => {
    const graph = argsort(f32, n, k, descending);
    const compiled = compileGraph(graph);
    const element = fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, -0, 1, 2, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY));
    const lists = fc.sample(fc.array(element, { minLength: n, maxLength: n }), { numRuns: 12, seed: n + k });
    const special = [lists[0]?.toSorted((a, b) => a - b) ?? [], lists[0]?.toSorted((a, b) => b - a) ?? [], lists[0]?.map(() => 1) ?? []];
    for (const data of [...lists, ...special]) {
      const x = hostFrom(f32, [n], (i) => data[i] as number);
      const want = wanted(Array.from(x.data as Float64Array), descending).slice(0, k);
      expect(positions(interpretGraph(graph, [x])[0])).toEqual(want);
      expect(positions((await runInWasm(compiled, [x], false))[0])).toEqual(want);
    }
  },
);

test.each(dtypes.map((d) => [d.name, d] as const))("elements of %s", async (_, dtype) => {
  for (const count of [40, 3]) {
    const graph = argsort(dtype, 40, count, true);
    // A few values, some more than once, the ends of the range among them.
    const x = hostFrom(dtype, [40], (i) => roundTo(dtype, dtype.isFloat ? ((i * 7) % 11) / 2 - 2 : ((i * 37) % 23) * (i % 3 === 0 ? 1 : -1)));
    const want = wanted(
      Array.from(x.data as Float64Array, (v) => v as Num),
      true,
    ).slice(0, count);
    expect(positions(interpretGraph(graph, [x])[0])).toEqual(want);
    expect(positions((await runInInterpreter(compileGraph(graph), [x]))[0])).toEqual(want);
    expect(positions((await runInWasm(compileGraph(graph), [x], false))[0])).toEqual(want);
  }
});

test("rows of a number that only a run knows", async () => {
  const g = new GraphBuilder();
  const n = g.param("n", { dtype: i32, dims: [] });
  const x = g.param("x", { dtype: f32, dims: [3, 50] });
  const size = g.bindSize(n, "k", 0, 50);
  const part = g.one("slice", [x], { start: [0, 0], stride: [1, 1], dims: [3, size] });
  const graph = g.finish("part", [], [g.one("argsort", [part], { count: [size], descending: false })]);
  const compiled = compileGraph(graph);
  const input = hostFrom(f32, [3, 50], (i) => (i * 29) % 31);
  for (const k of [0, 1, 2, 31, 50]) {
    const want = [0, 1, 2].flatMap((row) => wanted(Array.from((input.data as Float64Array).subarray(row * 50, row * 50 + k)), false));
    const inputs = [hostFrom(i32, [], () => k), input];
    expect(positions(interpretGraph(graph, inputs)[0])).toEqual(want);
    expect(positions((await runInWasm(compiled, inputs, false))[0])).toEqual(want);
    expect(positions((await runInInterpreter(compiled, inputs))[0])).toEqual(want);
  }
});

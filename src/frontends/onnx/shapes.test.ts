import { describe, expect, it } from "vitest";
import { type ModelSpec, type NodeSpec, type TensorSpec, failure, graph, model } from "../../../test/support/onnx.ts";
import { evaluateDim } from "../../base/dim.ts";
import { f32 } from "../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../graph/host.ts";
import { interpretGraph } from "../../graph/interpret.ts";
import { type ImportOptions, importOnnx, inspectOnnx } from "./import.ts";

const dims = (m: ModelSpec, options: ImportOptions = {}): string[] => importOnnx(model(m), options).graph.results.map((r) => r.dims.join(" x "));
const list = (...values: number[]): TensorSpec => ({ dtype: "i64", dims: [values.length], values });
const scalar = (v: number): TensorSpec => ({ dtype: "i64", dims: [], values: [v] });
const counting = (sizes: readonly number[], from = 0): HostTensor => hostFrom(f32, sizes, (i) => i + from);
function run(m: ModelSpec, ...inputs: HostTensor[]): number[][] {
  return interpretGraph(importOnnx(model(m)).graph, inputs).map((t) => Array.from(t.data, Number));
}
const one = (node: NodeSpec, more: Omit<ModelSpec, "nodes" | "outputs">): ModelSpec => ({ ...more, nodes: [node], outputs: [node.out[0] ?? ""] });

describe("symbolic sizes", () => {
  const x: ModelSpec = one({ op: "Relu", in: ["x"], out: ["y"] }, { inputs: { x: ["f32", ["batch", 3, null, "2 * h + 1"]] } });

  it("named ones keep their names, unknown ones get fresh ones, others are made identifiers", () => {
    expect(dims(x)).toEqual(["batch x 3 x x_2 x _2_h_1"]);
  });
  it("are fixed by shapes and by symbols, and bounded", () => {
    expect(dims(x, { shapes: { x: [4, 3, 5, "h"] } })).toEqual(["4 x 3 x 5 x h"]);
    expect(dims(x, { symbols: { batch: 2, x_2: 7 } })).toEqual(["2 x 3 x 7 x _2_h_1"]);
    const { graph: g } = importOnnx(model(x), { symbols: { batch: { min: 0, max: 16, multiple: 4 } } });
    expect(g.symbols.find((s) => s.name === "batch")).toMatchObject({ min: 0, max: 16, multiple: 4 });
  });
  it.each([
    ["a size that contradicts", { shapes: { x: [1, 4, 5, 6] } }, /dimension 1 is 3 in the model, but was given as 4/],
    ["another rank", { shapes: { x: [1, 3] } }, /rank 4/],
    ["an unknown input", { shapes: { image: [1] } }, /no such input; it has 'x'/],
    ["an unknown symbol", { symbols: { bach: 1 } }, /no symbolic size 'bach'; it has batch, x_2/],
    ["a negative size", { shapes: { x: [-1, 3, 5, 6] } }, /given as -1/],
    ["a fraction", { symbols: { batch: 1.5 } }, /1\.5/],
    ["a name that is none", { shapes: { x: ["a b", 3, 5, 6] } }, /neither a size nor a name/],
    ["empty bounds", { symbols: { batch: { min: 5, max: 4 } } }, /at least 5, but at most 4/],
  ])("%s is an error", (_, options, message) => {
    const e = failure(x, options as ImportOptions);
    expect(e.code).toBe("shape");
    expect(e.message).toMatch(message);
  });
  it("one name in several inputs is one symbol", () => {
    const m: ModelSpec = {
      inputs: { a: ["f32", ["n", 2]], b: ["f32", ["n", 2]] },
      nodes: [{ op: "Add", in: ["a", "b"], out: ["y"] }],
      outputs: ["y"],
    };
    expect(dims(m)).toEqual(["n x 2"]);
    expect(failure(m, { shapes: { a: [3, 2], b: [4, 2] } }).message).toMatch(/given as 4 here and as 3/);
  });
  it("different symbols that may be equal or 1 are broadcast when the model runs, and shapes can say what is so", () => {
    const m: ModelSpec = {
      inputs: { a: ["f32", ["n", 2]], b: ["f32", ["m", 2]] },
      nodes: [{ op: "Add", in: ["a", "b"], out: ["y"], name: "sum" }],
      outputs: ["y"],
    };
    expect(dims(m)).toEqual(["sum_broadcast x 2"]);
    expect(run(m, counting([2, 2]), counting([2, 2]))).toEqual([[0, 2, 4, 6]]);
    expect(run(m, counting([1, 2]), counting([2, 2]))).toEqual([[0, 2, 2, 4]]);
    expect(run(m, counting([2, 2]), counting([1, 2]))).toEqual([[0, 2, 2, 4]]);
    expect(() => run(m, counting([2, 2]), counting([3, 2]))).toThrow(/equal/);
    expect(dims(m, { shapes: { b: ["n", 2] } })).toEqual(["n x 2"]);
  });
  it("symbols that have to be equal, or a number, are so from the start", () => {
    const product: ModelSpec = {
      inputs: { a: ["f32", ["n", "k"]], b: ["f32", ["m", 2]], c: ["f32", [2, "l"]] },
      initializers: { w: { dtype: "f32", dims: [3, 1], values: [1, 2, 3] } },
      nodes: [
        { op: "MatMul", in: ["a", "b"], out: ["ab"], name: "product" },
        { op: "MatMul", in: ["c", "w"], out: ["cw"] },
      ],
      outputs: ["ab", "cw"],
    };
    expect(dims(product)).toEqual(["n x 2", "2 x 1"]);
    const { graph: g } = importOnnx(model(product), { symbols: { m: { max: 7 } } });
    expect(g.params.map((p) => p.dims.join(" x "))).toEqual(["n x m", "m x 2", "2 x 3"]);
    expect(g.ops.some((o) => o.def.name === "require_equal")).toBe(false);
    expect(failure(product, { symbols: { l: { max: 7 } } }).message).toMatch(/only works with l=3; give --shape l=3/);
    expect(failure(product, { symbols: { m: { max: 7 }, k: { max: 8 } } }).message).toMatch(/different bounds/);
    expect(failure(product, { symbols: { l: 4 } }).message).toMatch(/4 has to be 3/);
  });
  it("an input of unknown rank needs a shape", () => {
    const m = one({ op: "Relu", in: ["x"], out: ["y"] }, { inputs: { x: ["f32", null] } });
    expect(failure(m)).toMatchObject({ code: "shape", message: expect.stringContaining("--shape x=") });
    expect(dims(m, { shapes: { x: ["n", 4] } })).toEqual(["n x 4"]);
    expect(inspectOnnx(model(m)).problems).toMatchObject([{ opType: "input", node: "x" }]);
  });
});

describe("shape arithmetic stays symbolic", () => {
  const shapeOf = (...extra: NodeSpec[]): NodeSpec[] => [{ op: "Shape", in: ["x"], out: ["s"] }, ...extra];
  const base = { inputs: { x: ["f32", ["n", 12]] as const }, outputs: ["y"] };

  it("reshape to computed sizes", () => {
    const m: ModelSpec = {
      ...base,
      initializers: { zero: list(0), one: list(1), three: list(3), minus: list(-1) },
      nodes: shapeOf(
        { op: "Gather", in: ["s", "zero"], out: ["n"], attrs: { axis: 0 } },
        { op: "Slice", in: ["s", "one", "limit"], out: ["w"] },
        { op: "Div", in: ["w", "three"], out: ["quarter"] },
        { op: "Mul", in: ["n", "three"], out: ["rows"] },
        { op: "Concat", in: ["rows", "quarter"], out: ["to"], attrs: { axis: 0 } },
        { op: "Reshape", in: ["x", "to"], out: ["y"] },
      ),
    };
    expect(
      dims({
        ...m,
        initializers: { ...m.initializers, limit: { dtype: "i64", dims: [1], raw: new Uint8Array(BigInt64Array.of(2n ** 63n - 1n).buffer) } },
      }),
    ).toEqual(["3 * n x 4"]);
  });
  it("reshape finds what is left over", () => {
    const m = (to: TensorSpec): ModelSpec => ({ ...base, initializers: { to }, nodes: [{ op: "Reshape", in: ["x", "to"], out: ["y"] }] });
    expect(dims(m(list(0, -1, 4)))).toEqual(["n x 3 x 4"]);
    expect(dims(m(list(-1, 6)))).toEqual(["2 * n x 6"]);
    // That 5 divides it, a run has to find.
    expect(dims(m(list(5, -1)))).toEqual(["5 x floordiv(12 * n, 5)"]);
    expect(run(m(list(5, -1)), counting([5, 12]))).toEqual([Array.from({ length: 60 }, (_, i) => i)]);
    expect(() => run(m(list(5, -1)), counting([4, 12]))).toThrow(/equal/);
    expect(dims(m(list(6, -1)), { symbols: { n: 2 } })).toEqual(["6 x 4"]);
  });
  it("the usual way to expand: where(equal(shape, -1), ones, shape)", () => {
    const m: ModelSpec = {
      inputs: { x: ["f32", ["n", 1]] },
      outputs: ["y"],
      initializers: { want: list(-1, 5), minus: list(-1), two: list(2) },
      nodes: [
        { op: "ConstantOfShape", in: ["two"], out: ["ones"], attrs: { value: { tensor: list(1) } } },
        { op: "Equal", in: ["want", "minus"], out: ["is"] },
        { op: "Where", in: ["is", "ones", "want"], out: ["to"] },
        { op: "Expand", in: ["x", "to"], out: ["y"] },
      ],
    };
    expect(dims(m)).toEqual(["n x 5"]);
  });
  it("sizes used as data are brought into the graph", () => {
    const m: ModelSpec = {
      ...base,
      nodes: shapeOf({ op: "Cast", in: ["s"], out: ["f"], attrs: { to: 1 } }, { op: "Size", in: ["x"], out: ["k"] }),
      outputs: ["f", "s", "k"],
    };
    expect(run(m, counting([5, 12]))).toEqual([[5, 12], [5, 12], [60]]);
  });
  it("ranges and slices by sizes; a table sliced to a length bounds it", () => {
    const m: ModelSpec = {
      inputs: { x: ["f32", ["n", 2]] },
      initializers: {
        zero: scalar(0),
        one: scalar(1),
        at: list(0),
        table: { dtype: "f32", dims: [6, 2], values: Array.from({ length: 12 }, (_, i) => 10 * i) },
      },
      nodes: [
        { op: "Shape", in: ["x"], out: ["len"], attrs: { start: 0, end: 1 } },
        { op: "Squeeze", in: ["len"], out: ["n"] },
        { op: "Range", in: ["zero", "n", "one"], out: ["steps"] },
        { op: "Slice", in: ["table", "at", "len"], out: ["part"] },
        { op: "Add", in: ["x", "part"], out: ["y"] },
      ],
      outputs: ["y", "steps"],
    };
    const { graph: g } = importOnnx(model(m));
    expect(g.symbols).toMatchObject([{ name: "n", min: 0, max: 6 }]);
    expect(run(m, counting([3, 2]))).toEqual([
      [0, 11, 22, 33, 44, 55],
      [0, 1, 2],
    ]);
    expect(failure(m, { symbols: { n: { min: 3, max: 9 } } }).message).toMatch(/only works up to n=6; give --shape n=3\.\.6/);
    expect(importOnnx(model(m), { symbols: { n: { min: 3, max: 5 } } }).graph.symbols).toMatchObject([{ min: 3, max: 5 }]);
  });
  it("a window needs its steps: the least size follows from the model", () => {
    const pooled = (strides: number[]): ModelSpec => ({
      inputs: { x: ["f32", [1, 2, "time"]] },
      nodes: [{ op: "MaxPool", in: ["x"], out: ["y"], attrs: { kernel_shape: [5], strides } }],
      outputs: ["y"],
    });
    for (const stride of [1, 3]) expect(importOnnx(model(pooled([stride]))).graph.symbols).toMatchObject([{ name: "time", min: 5 }]);
    expect(run(pooled([3]), counting([1, 2, 5]))).toEqual([[4, 9]]);
    expect(failure(pooled([1]), { symbols: { time: { min: 2, max: 9 } } }).message).toMatch(/only works from time=5 on; give --shape time=5\.\.9/);
  });
  it("a slice's size matches what the interpreter gives, for every sign of start, end and step", () => {
    for (const n of [1, 2, 5]) {
      for (const [start, end, step] of [
        [0, 3, 1],
        [1, 100, 2],
        [-2, 100, 1],
        [-100, -1, 1],
        [3, 0, -1],
        [-1, -100, -2],
        [100, -100, -1],
        [2, 2, 1],
        [4, 1, 1],
      ] as const) {
        const m = one(
          { op: "Slice", in: ["x", "a", "b", "axes", "c"], out: ["y"] },
          { inputs: { x: ["f32", ["n"]] }, initializers: { a: list(start), b: list(end), c: list(step), axes: list(0) } },
        );
        const expected = slicePython(n, start, end, step);
        const g = importOnnx(model(m)).graph;
        const label = `n=${n} [${start}:${end}:${step}]`;
        expect(evaluateDim(g.results[0]?.dims[0] ?? -1, new Map([["n", n]])), label).toBe(expected.length);
        expect(run(m, counting([n])), label).toEqual([expected]);
      }
    }
  });
});

/** Python's rule for x[start:end:step] on 0 … n-1. */
function slicePython(n: number, start: number, end: number, step: number): number[] {
  const clip = (v: number, low: number, high: number) => Math.max(low, Math.min(high, v < 0 ? v + n : v));
  const out: number[] = [];
  if (step > 0) for (let i = clip(start, 0, n); i < clip(end, 0, n); i += step) out.push(i);
  else for (let i = clip(start, -1, n - 1); i > clip(end, -1, n - 1); i += step) out.push(i);
  return out;
}

describe("control flow that follows from sizes", () => {
  it("an If on a symbolic size whose branches differ in rank says which sizes decide it, and takes its branch where they are given", () => {
    const branch = (op: string, axes: string[]) => ({ graph: graph({ nodes: [{ op, in: ["x", ...axes], out: ["t"] }], outputs: ["t"] }) });
    const m: ModelSpec = {
      inputs: { x: ["f32", ["n", "k"]] },
      initializers: { one: scalar(1), second: list(1) },
      nodes: [
        { op: "Shape", in: ["x"], out: ["shape"] },
        { op: "Gather", in: ["shape", "one"], out: ["size"] },
        { op: "Equal", in: ["size", "one"], out: ["is"] },
        { op: "If", in: ["is"], out: ["y"], attrs: { then_branch: branch("Squeeze", ["second"]), else_branch: branch("Identity", []) } },
      ],
      outputs: ["y"],
    };
    expect(failure(m).message).toMatch(/branches whose output 0 is f32\[n\] or f32\[n, k\]; .*--shape n=N --shape k=N/);
    expect(dims(m, { symbols: { k: 1 } })).toEqual(["n"]);
    expect(dims(m, { symbols: { k: 2 } })).toEqual(["n x 2"]);
  });
  it("an If on a rank or a size takes its branch, which sees the names around it", () => {
    const branch = (op: string) => ({ graph: graph({ nodes: [{ op, in: ["x"], out: ["t"], name: op }], outputs: ["t"] }) });
    const m: ModelSpec = {
      inputs: { x: ["f32", ["n", 1]] },
      initializers: { one: list(1), zero: list(0), start: list(1), end: list(2) },
      nodes: [
        { op: "Shape", in: ["x"], out: ["s"] },
        { op: "Slice", in: ["s", "start", "end"], out: ["last"] },
        { op: "Equal", in: ["last", "one"], out: ["is"] },
        { op: "If", in: ["is"], out: ["y"], attrs: { then_branch: branch("Neg"), else_branch: branch("Abs") } },
      ],
      outputs: ["y"],
    };
    expect(run(m, counting([3, 1]))).toEqual([[-0, -1, -2]]);
  });
});

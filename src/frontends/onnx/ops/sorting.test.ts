import { describe, expect, it } from "vitest";
import { type ModelSpec, type NodeSpec, failure, model } from "../../../../test/support/onnx.ts";
import { runInWasm } from "../../../../test/support/run.ts";
import { type DType, bool, f32, i32, i64 } from "../../../base/dtype.ts";
import { compileGraph } from "../../../compile.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";
import { interpretGraph } from "../../../graph/interpret.ts";
import { type ImportOptions, importOnnx } from "../import.ts";

const tensor = (dtype: DType, dims: readonly number[], values: readonly number[]): HostTensor =>
  hostFrom(dtype, dims, (i) => (dtype === i64 ? BigInt(values[i] ?? 0) : (values[i] ?? 0)));
const floats = (dims: readonly number[], ...values: number[]): HostTensor => tensor(f32, dims, values);
const int = (v: number): HostTensor => tensor(i64, [], [v]);
const ints = (...values: number[]): HostTensor => tensor(i64, [values.length], values);
const shown = (t: HostTensor): string => `[${t.dims.join(", ")}]: ${Array.from(t.data, Number).join(" ")}`;

/** One artifact and the reference interpreter, which must agree; gives all outputs. */
function both(m: ModelSpec, options: ImportOptions = {}): (...inputs: HostTensor[]) => Promise<string[]> {
  const { graph } = importOnnx(model(m), options);
  const compiled = compileGraph(graph);
  return async (...inputs) => {
    const a = interpretGraph(graph, inputs).map(shown);
    expect((await runInWasm(compiled, inputs, false)).map(shown)).toEqual(a);
    return a;
  };
}
const one = (node: NodeSpec, more: Omit<ModelSpec, "nodes" | "outputs">): ModelSpec => ({ ...more, nodes: [node], outputs: node.out });

describe("TopK", () => {
  it("how many is data: one artifact for all", async () => {
    const inputs = { x: ["f32", ["n", 3]], k: ["i64", [1]] } as const;
    const run = both(one({ op: "TopK", in: ["x", "k"], out: ["v", "i"], attrs: { axis: 0, largest: 0 } }, { opset: 11, inputs }));
    const x = floats([4, 3], 4, 1, 0, 3, 2, 0, 2, 3, 0, 1, 4, 0);
    expect(await run(x, ints(2))).toEqual(["[2, 3]: 1 1 0 2 2 0", "[2, 3]: 3 0 0 2 1 1"]);
    expect(await run(x, ints(0))).toEqual(["[0, 3]: ", "[0, 3]: "]);
    expect(await run(x, ints(4))).toEqual(["[4, 3]: 1 1 0 2 2 0 3 3 0 4 4 0", "[4, 3]: 3 0 0 2 1 1 1 2 2 0 3 3"]);
    await expect(run(x, ints(5))).rejects.toThrow(/k/);
    await expect(run(x, ints(-1))).rejects.toThrow(/k/);
  });
  it("the versions before 10 have it as an attribute", async () => {
    const run = both(one({ op: "TopK", in: ["x"], out: ["v", "i"], attrs: { k: 2 } }, { opset: 8, inputs: { x: ["f32", [5]] } }));
    expect(await run(floats([5], 1, 5, Number.NaN, 5, 2))).toEqual(["[2]: NaN 5", "[2]: 2 1"]);
  });
  it("more than there are is refused", () => {
    const inputs = { x: ["f32", [3]] } as const;
    const m = one({ op: "TopK", in: ["x", "k"], out: ["v", "i"] }, { inputs, initializers: { k: { dtype: "i64", dims: [1], values: [4] } } });
    expect(failure(m).message).toMatch(/4 elements of 3/);
  });
});

describe("CumSum", () => {
  it("the axis is data", async () => {
    const inputs = { x: ["f32", ["n", 2, 2]], a: ["i64", []] } as const;
    const run = both(one({ op: "CumSum", in: ["x", "a"], out: ["y"], attrs: { exclusive: 1 } }, { opset: 14, inputs }));
    const x = floats([2, 2, 2], 1, 2, 3, 4, 5, 6, 7, 8);
    expect(await run(x, int(0))).toEqual(["[2, 2, 2]: 0 0 0 0 1 2 3 4"]);
    expect(await run(x, int(-2))).toEqual(["[2, 2, 2]: 0 0 1 2 0 0 5 6"]);
    expect(await run(x, int(2))).toEqual(["[2, 2, 2]: 0 1 0 3 0 5 0 7"]);
    await expect(run(x, int(3))).rejects.toThrow(/axis/);
  });
  it("sizes are symbolic", async () => {
    const inputs = { x: ["i32", ["n", "m"]] } as const;
    const more = { opset: 14, inputs, initializers: { a: { dtype: "i64", dims: [], values: [0] } } } as const;
    const run = both(one({ op: "CumSum", in: ["x", "a"], out: ["y"], attrs: { reverse: 1 } }, more));
    expect(await run(tensor(i32, [3, 2], [1, 2, 3, 4, 5, 6]))).toEqual(["[3, 2]: 9 12 8 10 5 6"]);
    expect(await run(tensor(i32, [1, 3], [1, 2, 3]))).toEqual(["[1, 3]: 1 2 3"]);
  });
});

describe("NonZero and Compress", () => {
  it("positions of any rank, of none and of all", async () => {
    const run = both(one({ op: "NonZero", in: ["x"], out: ["y"] }, { opset: 13, inputs: { x: ["f32", ["n", 2, 3]] } }));
    expect(await run(floats([2, 2, 3], 0, 1, 0, 0, 0, Number.NaN, 2, 0, 0, 0, -0, 3))).toEqual(["[3, 4]: 0 0 1 1 0 1 0 1 1 2 0 2"]);
    expect(await run(floats([1, 2, 3], 0, 0, 0, 0, 0, 0))).toEqual(["[3, 0]: "]);
    expect(await run(floats([1, 2, 3], 1, 1, 1, 1, 1, 1))).toEqual(["[3, 6]: 0 0 0 0 0 0 0 0 0 1 1 1 0 1 2 0 1 2"]);
  });
  it("what comes after NonZero has as many elements", async () => {
    const m: ModelSpec = {
      opset: 13,
      inputs: { x: ["f32", ["n"]] },
      nodes: [
        { op: "NonZero", in: ["x"], out: ["p"] },
        { op: "Squeeze", in: ["p", "zero"], out: ["q"] },
        { op: "Gather", in: ["x", "q"], out: ["v"] },
        { op: "Neg", in: ["v"], out: ["y"] },
      ],
      initializers: { zero: { dtype: "i64", dims: [1], values: [0] } },
      outputs: ["y"],
    };
    const run = both(m);
    expect(await run(floats([5], 0, 3, 0, -1, 2))).toEqual(["[3]: -3 1 -2"]);
    expect(await run(floats([2], 0, 0))).toEqual(["[0]: "]);
  });
  it("a condition may be shorter than the axis", async () => {
    const inputs = { x: ["f32", [3, 2]], c: ["bool", [2]] } as const;
    const run = both(one({ op: "Compress", in: ["x", "c"], out: ["y"], attrs: { axis: 0 } }, { opset: 11, inputs }));
    const x = floats([3, 2], 1, 2, 3, 4, 5, 6);
    expect(await run(x, tensor(bool, [2], [0, 1]))).toEqual(["[1, 2]: 3 4"]);
    expect(await run(x, tensor(bool, [2], [0, 0]))).toEqual(["[0, 2]: "]);
    const flat = both(one({ op: "Compress", in: ["x", "c"], out: ["y"] }, { opset: 11, inputs: { x: ["f32", ["n", 2]], c: ["bool", ["k"]] } }));
    expect(await flat(x, tensor(bool, [5], [1, 0, 0, 0, 1]))).toEqual(["[2]: 1 5"]);
  });
  it("a condition that the model states picks while it is compiled", async () => {
    const initializers = { c: { dtype: "bool", dims: [3], values: [1, 0, 1] } } as const;
    const m = one({ op: "Compress", in: ["x", "c"], out: ["y"], attrs: { axis: 1 } }, { opset: 11, inputs: { x: ["f32", ["n", 3]] }, initializers });
    expect(importOnnx(model(m)).graph.symbols.map((s) => s.name)).toEqual(["n"]);
    expect(await both(m)(floats([2, 3], 1, 2, 3, 4, 5, 6))).toEqual(["[2, 2]: 1 3 4 6"]);
  });
});

describe("Unique", () => {
  const outputs = ["y", "first", "inverse", "counts"];
  it("elements of a symbolic number, sorted or by first occurrence; NaN is one of them", async () => {
    const x = floats([2, 4], 2, 1, 1, Number.NaN, 3, 2, Number.NaN, 2);
    const spec = (sorted: number) =>
      one({ op: "Unique", in: ["x"], out: outputs, attrs: { sorted } }, { opset: 11, inputs: { x: ["f32", ["n", 4]] } });
    expect(await both(spec(1))(x)).toEqual(["[4]: 1 2 3 NaN", "[4]: 1 0 4 3", "[8]: 1 0 0 3 2 1 3 1", "[4]: 2 3 1 2"]);
    expect(await both(spec(0))(x)).toEqual(["[4]: 2 1 NaN 3", "[4]: 0 1 3 4", "[8]: 0 1 1 2 3 0 2 0", "[4]: 3 2 2 1"]);
  });
  it("slices along an axis", async () => {
    const spec = (sorted: number) =>
      one({ op: "Unique", in: ["x"], out: outputs, attrs: { axis: 1, sorted } }, { opset: 11, inputs: { x: ["f32", [2, "n"]] } });
    const x = floats([2, 5], 1, 0, 1, 1, 0, 2, 5, 1, 2, 5);
    expect(await both(spec(1))(x)).toEqual(["[2, 3]: 0 1 1 5 1 2", "[3]: 1 2 0", "[5]: 2 0 1 2 0", "[3]: 2 1 2"]);
    expect(await both(spec(0))(x)).toEqual(["[2, 3]: 1 0 1 2 5 1", "[3]: 0 1 2", "[5]: 0 1 2 0 1", "[3]: 2 2 1"]);
  });
});

describe("NonMaxSuppression", () => {
  const boxes = [
    [0, 0, 1, 1],
    [0, 0.1, 1, 1.1],
    [1, 0.9, 0, -0.1],
    [0, 10, 1, 11],
    [0, 10.1, 1, 11.1],
    [0, 100, 1, 101],
  ];
  const inputs = { b: ["f32", [1, "n", 4]], s: ["f32", [1, "c", "n"]], m: ["i64", [1]], t: ["f32", [1]], l: ["f32", [1]] } as const;
  const run = both(one({ op: "NonMaxSuppression", in: ["b", "s", "m", "t", "l"], out: ["y"] }, { opset: 11, inputs }));
  const b = floats([1, 6, 4], ...boxes.flat());
  const scores = [0.9, 0.75, 0.6, 0.95, 0.5, 0.3];
  it("limits and thresholds are data", async () => {
    const s = floats([1, 2, 6], ...scores, ...scores.map((v) => 1 - v));
    const level = (v: number) => floats([1], v);
    expect(await run(b, s, ints(9), level(0.5), level(0))).toEqual(["[6, 3]: 0 0 3 0 0 0 0 0 5 0 1 5 0 1 4 0 1 2"]);
    expect(await run(b, s, ints(1), level(0.5), level(0))).toEqual(["[2, 3]: 0 0 3 0 1 5"]);
    expect(await run(b, s, ints(9), level(0.5), level(0.8))).toEqual(["[2, 3]: 0 0 3 0 0 0"]);
    expect(await run(b, s, ints(-1), level(0.5), level(0))).toEqual(["[0, 3]: "]);
    expect(await run(b, s, ints(9), level(2), level(0.55))).toEqual(["[5, 3]: 0 0 3 0 0 0 0 0 1 0 0 2 0 1 5"]);
  });
  it("without a limit nothing is selected", async () => {
    const none = both(one({ op: "NonMaxSuppression", in: ["b", "s"], out: ["y"] }, { opset: 11, inputs: { b: inputs.b, s: inputs.s } }));
    expect(await none(b, floats([1, 1, 6], ...scores))).toEqual(["[0, 3]: "]);
  });
});

describe("of no elements", () => {
  const run = async (m: ModelSpec, ...inputs: HostTensor[]): Promise<string[]> => both(m, { symbols: { n: { min: 0 } } })(...inputs);
  const x = { x: ["f32", ["n", 2]] } as const;
  it("nothing is selected, and nothing read", async () => {
    const empty = floats([0, 2]);
    const unique = { op: "Unique", in: ["x"], out: ["y", "first", "inverse", "counts"], attrs: { sorted: 0 } } as const;
    expect(await run(one(unique, { opset: 11, inputs: x }), empty)).toEqual(["[0]: ", "[0]: ", "[0]: ", "[0]: "]);
    expect(await run(one({ op: "NonZero", in: ["x"], out: ["y"] }, { opset: 13, inputs: x }), empty)).toEqual(["[2, 0]: "]);
    const rows = { ...unique, attrs: { axis: 0 } };
    expect(await run(one(rows, { opset: 11, inputs: x }), empty)).toEqual(["[0, 2]: ", "[0]: ", "[0]: ", "[0]: "]);
    const zero = { a: { dtype: "i64", dims: [], values: [0] } } as const;
    expect(await run(one({ op: "CumSum", in: ["x", "a"], out: ["y"] }, { opset: 14, inputs: x, initializers: zero }), empty)).toEqual(["[0, 2]: "]);
    const boxes = { b: ["f32", [1, "n", 4]], s: ["f32", [1, 2, "n"]], m: ["i64", [1]] } as const;
    const nms = one({ op: "NonMaxSuppression", in: ["b", "s", "m"], out: ["y"] }, { opset: 11, inputs: boxes });
    expect(await run(nms, floats([1, 0, 4]), floats([1, 2, 0]), ints(5))).toEqual(["[0, 3]: "]);
  });
});

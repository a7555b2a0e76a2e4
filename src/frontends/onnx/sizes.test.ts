import { describe, expect, it } from "vitest";
import { type ModelSpec, type NodeSpec, type TensorSpec, failure, model } from "../../../test/support/onnx.ts";
import { runInWasm } from "../../../test/support/run.ts";
import { f32, i64 } from "../../base/dtype.ts";
import { Reader } from "../../base/text.ts";
import { compileGraph } from "../../compile.ts";
import { type HostTensor, hostFrom } from "../../graph/host.ts";
import { interpretGraph } from "../../graph/interpret.ts";
import { parseGraph } from "../../graph/parse.ts";
import { printGraph } from "../../graph/print.ts";
import { type ImportOptions, importOnnx } from "./import.ts";

const counting = (...sizes: number[]): HostTensor => hostFrom(f32, sizes, (i) => i);
const ints = (...values: number[]): HostTensor => hostFrom(i64, [values.length], (i) => BigInt(values[i] ?? 0));
const int = (v: number): HostTensor => hostFrom(i64, [], () => BigInt(v));
const list = (...values: number[]): TensorSpec => ({ dtype: "i64", dims: [values.length], values });
const shown = (t: HostTensor | undefined): string => `[${t?.dims.join(", ")}]: ${t === undefined ? "" : Array.from(t.data, Number).join(" ")}`;

/** One artifact and the reference interpreter, which must agree; gives the first output. */
function both(m: ModelSpec, symbols: ImportOptions["symbols"] = {}): (...inputs: HostTensor[]) => Promise<string> {
  const { graph } = importOnnx(model(m), { symbols });
  const compiled = compileGraph(graph);
  return async (...inputs) => {
    const [a] = interpretGraph(graph, inputs);
    const [b] = await runInWasm(compiled, inputs, false);
    expect(shown(b)).toBe(shown(a));
    return shown(a);
  };
}
const one = (node: NodeSpec, more: Omit<ModelSpec, "nodes" | "outputs">): ModelSpec => ({ ...more, nodes: [node], outputs: [node.out[0] ?? ""] });

describe("shapes, axes and limits that the model computes", () => {
  it("reshape: one artifact for all shapes; 0 keeps a size, -1 takes what is left", async () => {
    const run = both(one({ op: "Reshape", in: ["x", "s"], out: ["y"] }, { inputs: { x: ["f32", ["n", 6]], s: ["i64", [2]] } }));
    expect(await run(counting(2, 6), ints(3, 4))).toMatch(/^\[3, 4\]: 0 1 2 .* 11$/);
    expect(await run(counting(2, 6), ints(-1, 3))).toMatch(/^\[4, 3\]/);
    expect(await run(counting(4, 6), ints(0, -1))).toMatch(/^\[4, 6\]/);
    await expect(run(counting(2, 6), ints(5, 3))).rejects.toThrow(/equal/);
    await expect(run(counting(2, 6), ints(-3, 4))).rejects.toThrow(/size/);
  });
  it("slice: starts, ends, axes and steps from data, forwards and backwards, clamped", async () => {
    const inputs = { x: ["f32", [3, 5]], a: ["i64", ["k"]], b: ["i64", ["k"]], c: ["i64", ["k"]], d: ["i64", ["k"]] } as const;
    const run = both(one({ op: "Slice", in: ["x", "a", "b", "c", "d"], out: ["y"] }, { inputs }));
    const x = counting(3, 5);
    expect(await run(x, ints(1), ints(3), ints(1), ints(1))).toBe("[3, 2]: 1 2 6 7 11 12");
    expect(await run(x, ints(-1), ints(-100), ints(-1), ints(-2))).toBe("[3, 3]: 4 2 0 9 7 5 14 12 10");
    expect(await run(x, ints(2, 0), ints(2 ** 40, 4), ints(0, 1), ints(1, 3))).toBe("[1, 2]: 10 13");
    expect(await run(x, ints(4), ints(2), ints(1), ints(1))).toBe("[3, 0]: ");
    await expect(run(x, ints(0, 0), ints(1, 1), ints(1, -1), ints(1, 1))).rejects.toThrow();
  });
  it("reductions over axes from data, and what was kept stretched again", async () => {
    const m: ModelSpec = {
      opset: 18,
      inputs: { x: ["f32", [2, 3]], a: ["i64", ["k"]] },
      nodes: [
        { op: "ReduceMax", in: ["x", "a"], out: ["m"] },
        { op: "Sub", in: ["m", "x"], out: ["y"] },
      ],
      outputs: ["y"],
    };
    const run = both(m, { k: { min: 0 } });
    expect(await run(counting(2, 3), ints(1))).toBe("[2, 3]: 2 1 0 2 1 0");
    expect(await run(counting(2, 3), ints(0))).toBe("[2, 3]: 3 3 3 0 0 0");
    expect(await run(counting(2, 3), ints(0, -1))).toBe("[2, 3]: 5 4 3 2 1 0");
    expect(await run(counting(2, 3), ints())).toBe("[2, 3]: 5 4 3 2 1 0");
    await expect(run(counting(2, 3), ints(2))).rejects.toThrow();
  });
  it("axes that go, and come", async () => {
    const x = { x: ["f32", [2, 1, 3, 1]], a: ["i64", [1]] } as const;
    const squeeze = both(one({ op: "Squeeze", in: ["x", "a"], out: ["y"] }, { inputs: x }));
    expect(await squeeze(counting(2, 1, 3, 1), ints(-1))).toMatch(/^\[2, 1, 3\]/);
    expect(await squeeze(counting(2, 1, 3, 1), ints(1))).toMatch(/^\[2, 3, 1\]/);
    await expect(squeeze(counting(2, 1, 3, 1), ints(0))).rejects.toThrow(/equal/);
    const unsqueeze = both(one({ op: "Unsqueeze", in: ["x", "a"], out: ["y"] }, { inputs: { x: ["f32", ["n", 3]], a: ["i64", [2]] } }));
    expect(await unsqueeze(counting(2, 3), ints(3, 0))).toMatch(/^\[1, 2, 3, 1\]/);
    expect(await unsqueeze(counting(4, 3), ints(1, 2))).toMatch(/^\[4, 1, 1, 3\]/);
    const sums = both(
      one({ op: "ReduceSum", in: ["x", "a"], out: ["y"], attrs: { keepdims: 0 } }, { inputs: { x: ["f32", [2, 3]], a: ["i64", [1]] } }),
    );
    expect(await sums(counting(2, 3), ints(0))).toBe("[3]: 3 5 7");
    expect(await sums(counting(2, 3), ints(1))).toBe("[2]: 3 12");
  });
  it("expand, tile, pad, range", async () => {
    const expand = both(one({ op: "Expand", in: ["x", "s"], out: ["y"] }, { inputs: { x: ["f32", [2, 1]], s: ["i64", [3]] } }));
    expect(await expand(counting(2, 1), ints(2, 1, 3))).toBe("[2, 2, 3]: 0 0 0 1 1 1 0 0 0 1 1 1");
    await expect(expand(counting(2, 1), ints(1, 3, 1))).rejects.toThrow(/size/);
    const tile = both(one({ op: "Tile", in: ["x", "s"], out: ["y"] }, { inputs: { x: ["f32", ["n", 2]], s: ["i64", [2]] } }));
    expect(await tile(counting(1, 2), ints(2, 2))).toBe("[2, 4]: 0 1 0 1 0 1 0 1");
    const pad = both(one({ op: "Pad", in: ["x", "p"], out: ["y"], attrs: { mode: "reflect" } }, { inputs: { x: ["f32", ["n"]], p: ["i64", [2]] } }));
    expect(await pad(counting(3), ints(1, 2))).toBe("[6]: 1 0 1 2 1 0");
    expect(await pad(counting(4), ints(-1, 0))).toBe("[3]: 1 2 3");
    await expect(pad(counting(3), ints(-2, -2))).rejects.toThrow();
    const range = both(one({ op: "Range", in: ["a", "b", "c"], out: ["y"] }, { inputs: { a: ["i64", []], b: ["i64", []], c: ["i64", []] } }));
    expect(await range(int(5), int(-2), int(-3))).toBe("[3]: 5 2 -1");
    expect(await range(int(5), int(6), int(-3))).toBe("[0]: ");
  });
  it("convolutions and products of what the model has reshaped", async () => {
    const shaped = { x: ["f32", ["n", 6]], s: ["i64", [3]], w: ["f32", [4, 3, 2]] } as const;
    const conv: ModelSpec = {
      inputs: shaped,
      nodes: [
        { op: "Reshape", in: ["x", "s"], out: ["a"] },
        { op: "Conv", in: ["a", "w"], out: ["y"] },
      ],
      outputs: ["y"],
    };
    const convolve = both(conv);
    expect(await convolve(counting(2, 6), ints(1, 3, 4), counting(4, 3, 2))).toMatch(/^\[1, 4, 3\]: /);
    expect(await convolve(counting(4, 6), ints(2, 3, -1), counting(4, 3, 2))).toMatch(/^\[2, 4, 3\]: /);
    await expect(convolve(counting(2, 6), ints(1, 4, 3), counting(4, 3, 2))).rejects.toThrow(/equal/);
    const gemm: ModelSpec = {
      inputs: { x: ["f32", ["n", 6]], s: ["i64", [2]], w: ["f32", [3, 2]] },
      nodes: [
        { op: "Reshape", in: ["x", "s"], out: ["a"] },
        { op: "Gemm", in: ["a", "w"], out: ["y"] },
      ],
      outputs: ["y"],
    };
    const product = both(gemm);
    expect(await product(counting(1, 6), ints(2, 3), counting(3, 2))).toBe("[2, 2]: 10 13 28 40");
    await expect(product(counting(1, 6), ints(3, 2), counting(3, 2))).rejects.toThrow(/equal/);
  });
  it("sizes that are equal in a run, whatever they are called", async () => {
    const m: ModelSpec = {
      inputs: { x: ["f32", [8]], k: ["i64", [1]], j: ["i64", [1]] },
      initializers: { zero: list(0) },
      nodes: [
        { op: "Slice", in: ["x", "zero", "k"], out: ["a"] },
        { op: "Slice", in: ["x", "zero", "j"], out: ["b"] },
        { op: "Add", in: ["a", "b"], out: ["c"] },
        { op: "Concat", in: ["c", "a"], out: ["y"], attrs: { axis: 0 } },
      ],
      outputs: ["y"],
    };
    const run = both(m);
    expect(await run(counting(8), ints(3), ints(3))).toBe("[6]: 0 2 4 0 1 2");
    expect(await run(counting(8), ints(1), ints(2))).toBe("[3]: 0 1 0");
    expect(await run(counting(8), ints(0), ints(0))).toBe("[0]: ");
    await expect(run(counting(8), ints(2), ints(3))).rejects.toThrow(/equal/);
  });
  it("a matrix product over a size from data", async () => {
    const m: ModelSpec = {
      inputs: { x: ["f32", [2, 4]], k: ["i64", [1]] },
      initializers: { zero: list(0), one: list(1), w: { dtype: "f32", dims: [3, 2], values: [1, 0, 0, 1, 1, 1] } },
      nodes: [
        { op: "Slice", in: ["x", "zero", "k", "one"], out: ["a"] },
        { op: "MatMul", in: ["a", "w"], out: ["y"], name: "product" },
      ],
      outputs: ["y"],
    };
    const run = both(m);
    expect(await run(counting(2, 4), ints(3))).toBe("[2, 2]: 2 3 10 11");
    await expect(run(counting(2, 4), ints(2))).rejects.toThrow(/equal|has to be/);
  });
  it("of a shape put together, the part that is known stays known", async () => {
    const m: ModelSpec = {
      inputs: { x: ["f32", ["n", 6]], k: ["i64", [1]] },
      initializers: { zero: { dtype: "i64", dims: [], values: [0] }, rest: list(-1), axes: list(0) },
      nodes: [
        { op: "Shape", in: ["x"], out: ["s"] },
        { op: "Gather", in: ["s", "zero"], out: ["n"] },
        { op: "Unsqueeze", in: ["n", "axes"], out: ["n1"] },
        { op: "Concat", in: ["n1", "k", "rest"], out: ["shape"], attrs: { axis: 0 } },
        { op: "Reshape", in: ["x", "shape"], out: ["y"], name: "parts" },
      ],
      outputs: ["y"],
    };
    expect(importOnnx(model(m)).graph.results[0]?.dims.map(String)).toEqual(["n", "parts_size", "parts_size_1"]);
    const run = both(m);
    expect(await run(counting(2, 6), ints(3))).toMatch(/^\[2, 3, 2\]: 0 1 2 .* 11$/);
    expect(await run(counting(3, 6), ints(1))).toMatch(/^\[3, 1, 6\]/);
    await expect(run(counting(2, 6), ints(4))).rejects.toThrow(/equal/);
  });
  it("names of inputs' sizes stay theirs, and the graph reads back", () => {
    const m = one(
      { op: "Slice", in: ["x", "a", "b"], out: ["y"], name: "/cut" },
      { inputs: { x: ["f32", ["cut_size"]], a: ["i64", [1]], b: ["i64", [1]] } },
    );
    const { graph } = importOnnx(model(m));
    expect(graph.results[0]?.dims.map(String)).toEqual(["cut_size_1"]);
    expect(printGraph(parseGraph(new Reader(printGraph(graph))))).toBe(printGraph(graph));
  });
  it("a rank that data decides is an error that says what is missing", () => {
    const m = one({ op: "Expand", in: ["x", "s"], out: ["y"] }, { inputs: { x: ["f32", [2]], s: ["i64", ["n"]] } });
    expect(failure(m)).toMatchObject({ code: "unsupported-ops", message: expect.stringMatching(/declare/) });
  });
});

import { describe, expect, it } from "vitest";
import { type ModelSpec, type NodeSpec, type TensorSpec, failure, graph, model } from "../../../test/support/onnx.ts";
import { f32, i64 } from "../../base/dtype.ts";
import { UnsupportedError } from "../../base/errors.ts";
import { type HostTensor, hostFrom } from "../../graph/host.ts";
import { interpretGraph } from "../../graph/interpret.ts";
import { type ImportOptions, importOnnx, inspectOnnx } from "./import.ts";

const dims = (m: ModelSpec, options: ImportOptions = {}): string[] => importOnnx(model(m), options).graph.results.map((r) => r.dims.join(" x "));
const list = (...values: number[]): TensorSpec => ({ dtype: "i64", dims: [values.length], values });
const counting = (sizes: readonly number[], from = 0): HostTensor => hostFrom(f32, sizes, (i) => i + from);
function run(m: ModelSpec, ...inputs: HostTensor[]): number[][] {
  return interpretGraph(importOnnx(model(m)).graph, inputs).map((t) => Array.from(t.data, Number));
}
const one = (node: NodeSpec, more: Omit<ModelSpec, "nodes" | "outputs">): ModelSpec => ({ ...more, nodes: [node], outputs: [node.out[0] ?? ""] });

describe("opset versions", () => {
  const x = { inputs: { x: ["f32", [2, 3, 4]] as const } };
  const at = (opset: number, node: NodeSpec, initializers: Record<string, TensorSpec> = {}): ModelSpec => one(node, { ...x, opset, initializers });
  const sum = (a: readonly number[]) => a.reduce((p, q) => p + q, 0);

  it("softmax goes over one axis from 13 on, over everything from the axis on before", () => {
    const [old] = run(at(11, { op: "Softmax", in: ["x"], out: ["y"] }), counting([2, 3, 4]));
    const [now] = run(at(13, { op: "Softmax", in: ["x"], out: ["y"] }), counting([2, 3, 4]));
    expect(sum(old?.slice(0, 12) ?? [])).toBeCloseTo(1, 5);
    expect(sum(now?.slice(0, 4) ?? [])).toBeCloseTo(1, 5);
  });
  it("axes, limits and parts as attributes, then as inputs", () => {
    const f = { dtype: "f32", dims: [] } as const;
    const pairs: [ModelSpec, ModelSpec][] = [
      [
        at(11, { op: "Unsqueeze", in: ["x"], out: ["y"], attrs: { axes: [0, -1] } }),
        at(13, { op: "Unsqueeze", in: ["x", "a"], out: ["y"] }, { a: list(0, -1) }),
      ],
      [
        at(11, { op: "ReduceSum", in: ["x"], out: ["y"], attrs: { axes: [1], keepdims: 0 } }),
        at(13, { op: "ReduceSum", in: ["x", "a"], out: ["y"], attrs: { keepdims: 0 } }, { a: list(1) }),
      ],
      [
        at(13, { op: "ReduceMax", in: ["x"], out: ["y"], attrs: { axes: [-1] } }),
        at(18, { op: "ReduceMax", in: ["x", "a"], out: ["y"] }, { a: list(2) }),
      ],
      [
        at(9, { op: "Clip", in: ["x"], out: ["y"], attrs: { min: { float: 3 }, max: { float: 7 } } }),
        at(12, { op: "Clip", in: ["x", "a", "b"], out: ["y"] }, { a: { ...f, values: [3] }, b: { ...f, values: [7] } }),
      ],
      [
        at(9, { op: "Slice", in: ["x"], out: ["y"], attrs: { starts: [1], ends: [3], axes: [2] } }),
        at(13, { op: "Slice", in: ["x", "a", "b", "c"], out: ["y"] }, { a: list(1), b: list(3), c: list(-1) }),
      ],
      [
        at(11, { op: "Split", in: ["x"], out: ["y", "z"], attrs: { axis: 2, split: [1, 3] } }),
        at(13, { op: "Split", in: ["x", "a"], out: ["y", "z"], attrs: { axis: 2 } }, { a: list(1, 3) }),
      ],
      [
        at(9, { op: "Pad", in: ["x"], out: ["y"], attrs: { pads: [0, 0, 1, 0, 0, 2], value: { float: 5 } } }),
        at(18, { op: "Pad", in: ["x", "a", "v", "ax"], out: ["y"] }, { a: list(1, 2), v: { ...f, values: [5] }, ax: list(2) }),
      ],
      [
        at(11, { op: "Dropout", in: ["x"], out: ["y"], attrs: { ratio: { float: 0.5 } } }),
        at(13, { op: "Dropout", in: ["x", "r"], out: ["y"] }, { r: { ...f, values: [0.5] } }),
      ],
    ];
    for (const [old, now] of pairs) {
      expect(dims(old)).toEqual(dims(now));
      expect(run(old, counting([2, 3, 4]))).toEqual(run(now, counting([2, 3, 4])));
    }
  });
  it.each([0, 29, 1000])("opset %i is refused", (opset) => {
    expect(failure(at(opset, { op: "Relu", in: ["x"], out: ["y"] }))).toMatchObject({
      name: "UnsupportedError",
      code: "unsupported-opset",
      message: expect.stringContaining("1 to 28"),
    });
  });
  it("opsets before 6 are read where an op meant the same", () => {
    const relu = (opset: number) => at(opset, { op: "Relu", in: ["x"], out: ["y"] });
    expect(run(relu(1), counting([2, 3, 4]))).toEqual(run(relu(14), counting([2, 3, 4])));
    expect(failure(at(4, { op: "Reshape", in: ["x"], out: ["y"], attrs: { shape: [24] } }))).toMatchObject({
      code: "unsupported-ops",
      message: expect.stringContaining("from opset 5 on"),
    });
  });
  it("an op that is newer than the model's opset is none", () => {
    expect(failure(at(12, { op: "LayerNormalization", in: ["x"], out: ["y"] }))).toMatchObject({
      code: "unsupported-ops",
      message: expect.stringContaining("from opset 17 on"),
    });
  });
});

describe("what cannot be compiled", () => {
  const m: ModelSpec = {
    inputs: { x: ["f32", [2, 3]], c: ["bool", []] },
    nodes: [
      { op: "Missing", in: ["x"], out: ["a"], name: "first" },
      { op: "Relu", in: ["a"], out: ["b"] },
      { op: "Absent", in: ["b"], out: ["d"] },
      { op: "Strange", in: ["d"], out: ["e"], domain: "com.example", name: "third" },
      {
        op: "If",
        in: ["c"],
        out: ["f"],
        attrs: {
          then_branch: { graph: graph({ nodes: [{ op: "Lacking", in: ["e"], out: ["u"], name: "within" }], outputs: ["u"] }) },
          else_branch: { graph: graph({ nodes: [{ op: "Identity", in: ["e"], out: ["u"] }], outputs: ["u"] }) },
        },
        name: "choice",
      },
      {
        op: "Loop",
        in: ["", "c"],
        out: ["g"],
        attrs: {
          body: {
            graph: graph({
              inputs: { turn: ["i64", []], more: ["bool", []] },
              nodes: [
                { op: "Identity", in: ["more"], out: ["again"] },
                { op: "Wanting", in: ["x"], out: ["i"], name: "deep" },
              ],
              outputs: ["again", "i"],
            }),
          },
        },
        name: "loop",
      },
      { op: "ImageDecoder", in: ["b"], out: ["q"] },
    ],
    outputs: ["f", "g", "q"],
    domains: { "com.example": 1 },
  };
  it("is listed completely, with op, domain, version, node and reason", () => {
    const e = failure(m);
    expect(e).toBeInstanceOf(UnsupportedError);
    expect(e.code).toBe("unsupported-ops");
    const items = (e as UnsupportedError).items;
    expect(items).toHaveLength(7);
    expect(items[0]).toBe("Missing (opset 17) 'first': no mapping for this op");
    expect(items[1]).toMatch(/^Absent \(opset 17\) 'Absent:d'/);
    expect(items[2]).toMatch(/^com\.example\.Strange \(opset 1\) 'third'/);
    expect(items[3]).toMatch(/^Lacking .*'within'/);
    expect(items[4]).toMatch(/^Loop .*'loop'/);
    expect(items[5]).toMatch(/^Wanting .*'deep'/);
    expect(items[6]).toMatch(/^ImageDecoder /);
  });
  it("inspect lists the same and does not throw", () => {
    const i = inspectOnnx(model(m));
    expect(i.problems.map((p) => p.opType)).toEqual(["Missing", "Absent", "Strange", "Lacking", "Loop", "Wanting", "ImageDecoder"]);
    expect(i.graph).toBeNull();
    expect(i.inputs).toEqual([
      { name: "x", dtype: "f32", dims: ["2", "3"] },
      { name: "c", dtype: "bool", dims: [] },
    ]);
    expect(i.info).toMatchObject({ format: "onnx", irVersion: 8, producer: "test", nodes: 11, opsets: { "ai.onnx": 17, "com.example": 1 } });
  });
  it("a rank that data decides, string inputs", () => {
    const rank = one({ op: "Reshape", in: ["x", "to"], out: ["y"] }, { inputs: { x: ["f32", [4]], to: ["i64", ["n"]] } });
    expect(failure(rank).message).toMatch(/Reshape.*the new shape has n entries, on which the rank of the result depends/);
    expect(failure(one({ op: "Identity", in: ["x"], out: ["y"] }, { inputs: { x: ["string", [2]] } })).message).toMatch(
      /input 'x': inputs of type string/,
    );
  });
});

describe("models that break the rules", () => {
  const x = { inputs: { x: ["f32", [2, 3]] as const } };
  it.each([
    ["a value that nothing defines", one({ op: "Add", in: ["x", "z"], out: ["y"], name: "sum" }, x), "undefined-value", /'sum' \(Add\) reads 'z'/],
    [
      "nodes in a circle",
      {
        ...x,
        nodes: [
          { op: "Relu", in: ["a"], out: ["y"] },
          { op: "Relu", in: ["y"], out: ["a"] },
        ],
        outputs: ["y"],
      },
      "undefined-value",
      /reads '[ay]'/,
    ],
    [
      "a value defined twice",
      {
        ...x,
        nodes: [
          { op: "Relu", in: ["x"], out: ["y"] },
          { op: "Neg", in: ["x"], out: ["y"] },
        ],
        outputs: ["y"],
      },
      "invalid-model",
      /'y' is defined twice/,
    ],
    ["an output of nothing", { ...x, nodes: [], outputs: ["y"] }, "undefined-value", /output 'y'/],
    [
      "a captured value that nothing defines",
      {
        inputs: { c: ["bool", []] },
        nodes: [
          {
            op: "If",
            in: ["c"],
            out: ["y"],
            attrs: { then_branch: { graph: graph({ nodes: [{ op: "Neg", in: ["ghost"], out: ["t"] }], outputs: ["t"] }) } },
          },
        ],
        outputs: ["y"],
      },
      "undefined-value",
      /ghost/,
    ],
    [
      "shapes that do not fit",
      one({ op: "Add", in: ["x", "w"], out: ["y"], name: "sum" }, { ...x, initializers: { w: { dtype: "f32", dims: [4], values: [1, 2, 3, 4] } } }),
      "shape",
      /node 'sum' \(Add\).*3 against 4/,
    ],
    ["an axis out of range", one({ op: "Softmax", in: ["x"], out: ["y"], attrs: { axis: 2 } }, x), "invalid-model", /axis 2 of a tensor of rank 2/],
    ["a missing input", one({ op: "Add", in: ["x", ""], out: ["y"] }, x), "invalid-model", /input 1 is missing/],
    [
      "a window larger than its input",
      one({ op: "MaxPool", in: ["i"], out: ["y"], attrs: { kernel_shape: [5] } }, { inputs: { i: ["f32", [1, 1, 3]] } }),
      "invalid-model",
      /window 5 in 3/,
    ],
  ] as [string, ModelSpec, string, RegExp][])("%s", (_, m, code, message) => {
    const e = failure(m);
    expect(e.code).toBe(code);
    expect(e.message).toMatch(message);
    expect(e.message).not.toMatch(/bug/);
  });
});

describe("functions in the model file", () => {
  const scaled = {
    name: "Scaled",
    domain: "local",
    inputs: ["v", "bias"],
    outputs: ["r"],
    attributes: ["alpha"],
    nodes: [
      { op: "LeakyRelu", in: ["v"], out: ["l"], attrs: { alpha: { ref: "alpha", type: 1 } } },
      { op: "Clip", in: ["l", "bias"], out: ["r"], name: "limit" },
    ],
  };
  it("are inlined with the call's attributes; inputs left out stay out; origins name the call", () => {
    const m: ModelSpec = {
      inputs: { x: ["f32", [4]] },
      initializers: { low: { dtype: "f32", dims: [], values: [-1] } },
      functions: [scaled],
      domains: { local: 1 },
      nodes: [
        { op: "Scaled", in: ["x"], out: ["y"], domain: "local", name: "call", attrs: { alpha: { float: 0.5 } } },
        { op: "Scaled", in: ["x", "low"], out: ["z"], domain: "local" },
      ],
      outputs: ["y", "z"],
    };
    const results = run(
      m,
      hostFrom(f32, [4], (i) => i * 2 - 4),
    ).map((r) => r.map((v) => Math.round(v * 1000) / 1000));
    expect(results).toEqual([
      [-2, -1, 0, 2],
      [-0.04, -0.02, 0, 2],
    ]);
    const origins = importOnnx(model(m)).graph.ops.flatMap((o) => o.results.flatMap((r) => r.origin));
    expect(origins).toContain("call/LeakyRelu:l");
    expect(origins).toContain("Scaled:z/limit");
  });
  it("may call each other, but not themselves, and not without end", () => {
    const f = (name: string, ...calls: string[]) => ({
      name,
      domain: "local",
      inputs: ["v"],
      outputs: [`o${calls.length}`],
      nodes: calls.map((c, i) => ({ op: c, in: [i === 0 ? "v" : `o${i}`], out: [`o${i + 1}`], domain: c === "Neg" ? "" : "local" })),
    });
    const call = (functions: ReturnType<typeof f>[]): ModelSpec => ({
      inputs: { x: ["f32", [2]] },
      functions,
      domains: { local: 1 },
      nodes: [{ op: "A", in: ["x"], out: ["y"], domain: "local" }],
      outputs: ["y"],
    });
    expect(run(call([f("A", "B", "B", "Neg"), f("B", "Neg")]), counting([2], 1))).toEqual([[-1, -2]]);
    expect(failure(call([f("A", "B"), f("B", "A")]))).toMatchObject({ code: "recursive-function", message: expect.stringContaining("A → B → A") });
    const doubling = Array.from({ length: 40 }, (_, i) => f(i === 0 ? "A" : `F${i}`, ...(i === 39 ? ["Neg"] : [`F${i + 1}`, `F${i + 1}`])));
    expect(failure(call(doubling)).code).toBe("too-many-nodes");
  });
});

describe("values and their origins", () => {
  it("a batch norm of one dimension has one channel", () => {
    const parameter = (...values: number[]): TensorSpec => ({ dtype: "f32", dims: [1], values });
    const m = one(
      { op: "BatchNormalization", in: ["x", "s", "b", "m", "v"], out: ["y"], attrs: { epsilon: { float: 0 } } },
      { inputs: { x: ["f32", ["n"]] }, initializers: { s: parameter(3), b: parameter(1), m: parameter(2), v: parameter(4) } },
    );
    expect(run(m, counting([3]))).toEqual([[-2, -0.5, 1]]);
  });
  it("negative indices count from the end", () => {
    const m = one({ op: "Gather", in: ["x", "i"], out: ["y"], attrs: { axis: 0 } }, { inputs: { x: ["f32", ["n"]], i: ["i64", [3]] } });
    expect(
      run(
        m,
        counting([5], 10),
        hostFrom(i64, [3], (k) => BigInt([-1, 0, -5][k] ?? 0)),
      ),
    ).toEqual([[14, 10, 10]]);
  });
  it("an op's values name their node, or the op and its output", () => {
    const m: ModelSpec = {
      inputs: { x: ["f32", [2]] },
      nodes: [
        { op: "Relu", in: ["x"], out: ["a"], name: "act" },
        { op: "Neg", in: ["a"], out: ["y"] },
      ],
      outputs: ["y"],
    };
    expect(importOnnx(model(m)).graph.ops.map((o) => `${o.def.name} ${o.results[0]?.origin.join()}`)).toEqual([
      "constant act",
      "broadcast act",
      "max act",
      "neg Neg:y",
    ]);
  });
  it("weights are views of the file", () => {
    const bytes = model(
      one(
        { op: "Add", in: ["x", "w"], out: ["y"] },
        { inputs: { x: ["f32", [2]] }, initializers: { w: { dtype: "f32", dims: [2], values: [1, 2] } } },
      ),
    );
    const { graph: g, info } = importOnnx(bytes);
    const data = g.ops.map((o) => o.attrs["data"]).find((d) => d !== undefined) as { read(o: number, n: number): Uint8Array };
    expect(data.read(0, 8).buffer).toBe(bytes.buffer);
    expect(info).toMatchObject({ parameters: 2, ops: { Add: 1 } });
  });
  it("an output may be an input, a constant, or named twice", () => {
    const m: ModelSpec = {
      inputs: { x: ["f32", [2]] },
      initializers: { w: { dtype: "f32", dims: [1], values: [3] } },
      nodes: [{ op: "Identity", in: ["x"], out: ["a"] }],
      outputs: ["x", "a", "w", "a"],
    };
    const g = importOnnx(model(m)).graph;
    expect(g.resultNames).toEqual(["x", "a", "w"]);
    expect(run(m, counting([2]))).toEqual([[0, 1], [0, 1], [3]]);
  });
});

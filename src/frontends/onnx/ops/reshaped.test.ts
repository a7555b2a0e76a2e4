import { describe, expect, it } from "vitest";
import { type ModelSpec, type NodeSpec, model } from "../../../../test/support/onnx.ts";
import { differences, toleranceOf } from "../../../../test/support/compare.ts";
import { runInWasm } from "../../../../test/support/run.ts";
import { f32, i64 } from "../../../base/dtype.ts";
import { compileGraph } from "../../../compile.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";
import { interpretGraph } from "../../../graph/interpret.ts";
import { importOnnx } from "../import.ts";

// Ops whose first operand has a shape that only a run tells: they work as with a shape that the model says.

const values = (dims: readonly number[], seed: number): HostTensor => hostFrom(f32, dims, (i) => Math.fround(Math.sin(i * 1.7 + seed)));
const integer = (v: number): HostTensor => hostFrom(i64, [1], () => BigInt(v));

interface Sample {
  readonly node: NodeSpec;
  /** The shape of input `a`, and one that does not fit the others. */
  readonly shape: readonly number[];
  readonly wrong: readonly number[];
  /** Axes of `a` whose sizes the model says. */
  readonly said?: readonly number[];
  readonly others: Readonly<Record<string, readonly number[]>>;
  readonly opset?: number;
}

const recurrent = (op: string, gates: number, states: readonly string[]): Sample => ({
  node: { op, in: ["a", "w", "r", "b", "", ...states], out: ["y"], attrs: { hidden_size: 2 } },
  shape: [3, 2, 4],
  wrong: [2, 3, 4],
  others: { w: [1, 2 * gates, 4], r: [1, 2 * gates, 2], b: [1, 4 * gates], ...Object.fromEntries(states.map((s) => [s, [1, 2, 2]])) },
});
const samples: readonly Sample[] = [
  {
    node: { op: "ConvTranspose", in: ["a", "w", "b"], out: ["y"], attrs: { strides: [2] } },
    shape: [1, 3, 4],
    wrong: [1, 4, 3],
    others: { w: [3, 2, 3], b: [2] },
  },
  {
    node: { op: "BatchNormalization", in: ["a", "s", "b", "m", "s"], out: ["y"], attrs: { epsilon: { float: 2 } } },
    shape: [2, 3, 2],
    wrong: [3, 2, 2],
    others: { s: [3], b: [3], m: [3] },
  },
  recurrent("RNN", 1, ["h"]),
  recurrent("GRU", 3, ["h"]),
  recurrent("LSTM", 4, ["h", "c"]),
  {
    node: { op: "Attention", in: ["a", "k", "v"], out: ["y"], attrs: { scale: { float: 0.5 } } },
    shape: [2, 2, 3, 4],
    wrong: [1, 2, 6, 4],
    said: [1, 3],
    others: { k: [2, 2, 5, 4], v: [2, 2, 5, 3] },
    opset: 23,
  },
];

describe("operands whose shapes data gives", () => {
  it.each(samples.map((s) => [s.node.op, s] as const))("%s", async (_, s) => {
    const size = s.shape.reduce((x, y) => x * y, 1);
    const others = Object.entries(s.others);
    const rest: ModelSpec["inputs"] = Object.fromEntries(others.map(([n, dims]) => [n, ["f32", dims] as const]));
    const opset = s.opset ?? 17;
    const plain = importOnnx(model({ opset, inputs: { a: ["f32", s.shape], ...rest }, nodes: [s.node], outputs: ["y"] })).graph;
    const parts = s.shape.map((_, i) => `size${i}`);
    const open = s.shape.flatMap((_, i) => (s.said?.includes(i) === true ? [] : [i]));
    const nodes: NodeSpec[] = [
      { op: "Concat", in: parts, out: ["shape"], attrs: { axis: 0 } },
      { op: "Reshape", in: ["x", "shape"], out: ["a"] },
      s.node,
    ];
    const inputs: ModelSpec["inputs"] = { x: ["f32", [size]], ...Object.fromEntries(open.map((i) => [`size${i}`, ["i64", [1]] as const])), ...rest };
    const said = (s.said ?? []).map((i) => [`size${i}`, { dtype: "i64", dims: [1], values: [s.shape[i] as number] }] as const);
    const { graph } = importOnnx(model({ opset, inputs, initializers: Object.fromEntries(said), nodes, outputs: ["y"] }));
    const given = others.map(([, dims], i) => values(dims, i + 2));
    const x = values([size], 1);
    const want = interpretGraph(plain, [values(s.shape, 1), ...given]);
    const run = (shape: readonly number[]) => [x, ...open.map((i) => integer(shape[i] as number)), ...given];
    expect(differences(interpretGraph(graph, run(s.shape)), want, () => ({ relative: 0, absolute: 0 }))).toBeNull();
    const compiled = compileGraph(graph);
    expect(differences(await runInWasm(compiled, run(s.shape), false), want, (t) => toleranceOf(t, true))).toBeNull();
    await expect(runInWasm(compiled, run(s.wrong), false)).rejects.toThrow(/has to be/);
  });
});

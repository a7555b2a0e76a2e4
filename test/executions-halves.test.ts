import { describe, expect, test } from "vitest";
import { type DType, bf16, f16, f32 } from "../src/base/dtype.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { hostFrom } from "../src/graph/host.ts";
import { graphOps } from "../src/graph/registry.ts";
import { seededRandom } from "../src/schedule/random.ts";
import { weightBytes } from "../src/targets/wasm/weights.ts";
import { compileGraph } from "../src/compile.ts";
import { CBatch, testBatch } from "./support/c.ts";
import { exampleCase, graphDisagreements } from "./support/executions.ts";
import { randomTensor } from "./support/run.ts";

/** Ops whose attributes name dtypes or whole types, which another operand's would not fit, and those of f32 alone. */
const typed = new Set(["bitcast", "refine", "walk_trees", "suppress_overlaps"]);
/** The examples of all other ops on 32-bit floats, in 16 bits: all executions round alike. */
const examples = graphOps.flatMap((def) =>
  typed.has(def.name)
    ? []
    : def.examples.flatMap((example, i) =>
        example.operands.some((o) => o.type.startsWith("f32")) ? [{ name: `${def.name} ${i}`, def, example }] : [],
      ),
);

const batch = new CBatch(["default"]);

describe.each([f16, bf16])("%s", (d) => {
  test.each(examples)("$name", async ({ def, example }) => {
    const operands = example.operands.map((o) => ({ ...o, type: o.type.replace(/^f32/, d.name) }));
    const c = exampleCase(def, { ...example, operands }, seededRandom(7));
    expect(await graphDisagreements(c, { schedules: 2, seed: 11, batch })).toEqual([]);
  });

  test("weights stay in 16 bits, and what is computed from them too", async () => {
    const g = new GraphBuilder();
    const random = seededRandom(5);
    const x = g.param("x", { dtype: d, dims: [6, 32] });
    const w = g.host(hostFrom(d, [32, 24], () => random() - 0.5));
    const bias = g.host(hostFrom(d, [24], () => random() - 0.5));
    const y = g.one("dot", [x, w], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
    const sum = g.one("add", [y, g.one("broadcast", [bias], { dims: [6, 24], map: [1] })]);
    const wide = g.one("convert", [g.one("tanh", [sum])], { dtype: f32 });
    const graph = g.finish("dense", [], [wide]);
    const inputs = graph.params.map((p) => randomTensor(p, random));
    expect(await graphDisagreements({ graph, inputs }, { schedules: 4, seed: 3, batch })).toEqual([]);
    const { program } = compileGraph(graph);
    expect(weightBytes(program)).toBeLessThanOrEqual(2 * (32 * 24 + 24) + 64 * 2);
  });
});

/** A reduction over nothing: windows of one element, no axes, nothing contracted. */
describe.each([f32, f16])("degenerate reductions of %s", (d: DType) => {
  const one = (op: string, dims: readonly (readonly number[])[], attrs: Record<string, unknown>) => async () => {
    const g = new GraphBuilder();
    const operands = dims.map((s, i) => g.param(`p${i}`, { dtype: d, dims: s }));
    const graph = g.finish(op, [], g.op(op, operands, attrs as never));
    const random = seededRandom(2);
    const inputs = graph.params.map((p) => randomTensor(p, random));
    expect(await graphDisagreements({ graph, inputs }, { schedules: 4, seed: 3, batch })).toEqual([]);
  };
  const window = {
    window: [1, 1],
    strides: [2, 1],
    dilation: [1, 1],
    pads: [
      [1, 0],
      [0, 1],
    ],
  };
  test("reduce_window add", one("reduce_window", [[5, 6]], { monoid: "add", ...window }));
  test("reduce_window max", one("reduce_window", [[5, 6]], { monoid: "max", ...window }));
  test("reduce", one("reduce", [[5, 6]], { monoid: "add", axes: [] }));
  test("dot", one("dot", [[5], [6]], { batchA: [], batchB: [], contractA: [], contractB: [] }));
});

testBatch(batch, "-O0");

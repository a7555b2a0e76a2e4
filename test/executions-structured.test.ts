import { expect, test } from "vitest";
import { f32, i32 } from "../src/base/dtype.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { elementwiseOps } from "../src/graph/ops/elementwise.ts";
import { graphOps } from "../src/graph/registry.ts";
import { seededRandom } from "../src/schedule/random.ts";
import { CBatch, testBatch } from "./support/c.ts";
import { schedulesPerExample, testExamples } from "./support/examples.ts";
import { type Drawn, graphDisagreements } from "./support/executions.ts";
import { randomTensor } from "./support/run.ts";

/** One test, many executions, for all ops that do more than work element by element, and for what they are nested in. */
const drawn: Drawn = new Map();
const batch = new CBatch();
const elementwise = new Set<string>(elementwiseOps.map((o) => o.name));
testExamples(
  graphOps.filter((o) => !elementwise.has(o.name)),
  drawn,
  batch,
);

test("a recurrent network by scan", async () => {
  const g = new GraphBuilder();
  const [h0, xs, w] = [
    g.param("h0", { dtype: f32, dims: [8] }),
    g.param("xs", { dtype: f32, dims: [5, 8] }),
    g.param("w", { dtype: f32, dims: [8, 8] }),
  ];
  const b = g.nested();
  const [h, x] = [b.value("h", { dtype: f32, dims: [8] }), b.value("x", { dtype: f32, dims: [8] })];
  const hw = b.one("dot", [h, w], { batchA: [], batchB: [], contractA: [0], contractB: [0] });
  const next = b.one("tanh", [b.one("add", [hw, x])]);
  const y = b.one("mul", [next, next]);
  const results = g.op("scan", [h0, xs], { states: 1, length: [5] }, { regions: [b.region([h, x], [next, y])] });
  const graph = g.finish("rnn", [], results);
  const random = seededRandom(3);
  const inputs = graph.params.map((p) => randomTensor(p, random, [-0.5, 0.5]));
  expect(await graphDisagreements({ graph, inputs }, { schedules: schedulesPerExample, seed: 5, drawn, batch })).toEqual([]);
});

test("positions times a number that only a run knows", async () => {
  const g = new GraphBuilder();
  const step = g.param("step", { dtype: i32, dims: [] });
  const positions = g.one("iota", [], { dtype: i32, dims: [3, 21], axis: 1 });
  const y = g.one("mul", [positions, g.broadcast(step, [3, 21], [])]);
  const graph = g.finish("strided", [], [y]);
  const inputs = graph.params.map((p) => randomTensor(p, seededRandom(4), [-9, 9]));
  expect(await graphDisagreements({ graph, inputs }, { schedules: schedulesPerExample, seed: 6, drawn, batch })).toEqual([]);
});

// Tests of a file run in order: this one looks at what the others drew. An alternative that never came up was never tested.
test("every alternative of schedules was drawn", () => {
  const alternatives = [
    "serial",
    "unrolled",
    "vector",
    "split",
    "pack",
    "pack rows",
    "joined",
    "specialize",
    "tail overlap",
    "tail peel",
    "tail mask",
    "winograd-2",
    "winograd-4",
  ];
  expect(alternatives.filter((a) => !drawn.has(a))).toEqual([]);
});

testBatch(batch);

import { expect, test } from "vitest";
import { checkModel } from "../src/check/check.ts";
import { type PassLists, defaultPasses } from "../src/compile.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { type HostTensor, hostFrom } from "../src/graph/host.ts";
import { type GraphFunction, Op } from "../src/graph/ir.ts";
import { f32 } from "../src/base/dtype.ts";
import { findOp } from "../src/graph/registry.ts";
import type { Source } from "../src/importer.ts";
import { type Stmt, mapBlock } from "../src/loop/ir.ts";

/** relu(x·w) + b, with the origins that a model's nodes would give. */
function model(): { source: Source; inputs: HostTensor[] } {
  const g = new GraphBuilder();
  const x = g.param("x", { dtype: f32, dims: [6, 8] });
  const w = g.host(
    hostFrom(f32, [8, 8], (i) => ((i * 7) % 11) / 5 - 1),
    "w",
  );
  const b = g.param("b", { dtype: f32, dims: [6, 8] });
  g.origin = ["fc/MatMul"];
  const y = g.one("dot", [x, w], { batchA: [], batchB: [], contractA: [1], contractB: [0] }, "y");
  g.origin = ["fc/Add"];
  const z = g.one("add", [y, b], {}, "z");
  g.origin = ["out/Tanh"];
  const t = g.one("tanh", [z], {}, "t");
  const graph = g.finish("net", [], [t], ["out"]);
  const inputs = [hostFrom(f32, [6, 8], (i) => Math.sin(i)), hostFrom(f32, [6, 8], (i) => Math.cos(i))];
  return { source: { kind: "graph", graph, name: "net", inputNames: ["x", "b"], outputNames: ["out"] }, inputs };
}

const having = (change: Partial<PassLists>): PassLists => ({ ...defaultPasses, ...change });

test("a right compiler passes", async () => {
  const { source, inputs } = model();
  expect(await checkModel(source, inputs)).toBeNull();
});

test("a wrong graph pass is named, with the value and its origin", async () => {
  const wrong = {
    name: "swap-add",
    doc: "Wrong on purpose: additions become subtractions.",
    run(f: GraphFunction): GraphFunction {
      const ops = f.ops.map((o) => (o.def.name === "add" ? new Op(findOp("sub"), o.operands, o.results, o.attrs, o.regions) : o));
      return ops.every((o, i) => o === f.ops[i]) ? f : { ...f, ops };
    },
  };
  const { source, inputs } = model();
  const [first, ...rest] = defaultPasses.graph;
  const found = await checkModel(source, inputs, { passes: having({ graph: first === undefined ? [wrong] : [first, wrong, ...rest] }) });
  expect(found).toMatchObject({ pass: "swap-add", origin: ["fc/Add"] });
  expect(found?.divergence.count).toBeGreaterThan(40);
});

test("a wrong tensor pass is named", async () => {
  const wrong: PassLists["tensor"][number] = {
    name: "halve-sums",
    doc: "Wrong on purpose: what a reduction adds up is halved.",
    run: (sc, f) => ({
      ...f,
      kernels: f.kernels.map((k) => ({
        ...k,
        stages: k.stages.map((s) => ({
          ...s,
          accumulators: s.accumulators.map((a) => ({ ...a, lift: sc.mul(a.lift, sc.const(0.5, a.lift.dtype)) })),
        })),
      })),
    }),
  };
  const { source, inputs } = model();
  const found = await checkModel(source, inputs, { passes: having({ tensor: [...defaultPasses.tensor, wrong] }) });
  expect(found).toMatchObject({ pass: "halve-sums", origin: ["fc/MatMul"] });
});

test("a wrong kernel pass is named", async () => {
  const wrong: PassLists["kernel"][number] = {
    name: "negate-stores",
    doc: "Wrong on purpose: results are stored negated.",
    run(sc, k) {
      const negate = (b: readonly Stmt[]): readonly Stmt[] =>
        mapBlock(b, (s) => {
          if (s.kind === "storeat") return { ...s, value: sc.op("neg", [s.value]) };
          if (s.kind === "for") return { ...s, body: negate(s.body) };
          return s.kind === "if" ? { ...s, then: negate(s.then), otherwise: negate(s.otherwise) } : s;
        });
      return { ...k, body: negate(k.body) };
    },
  };
  const { source, inputs } = model();
  const after = defaultPasses.kernel.findIndex((p) => p.name === "lower-addresses") + 1;
  const kernel = [...defaultPasses.kernel.slice(0, after), wrong, ...defaultPasses.kernel.slice(after)];
  const found = await checkModel(source, inputs, { passes: having({ kernel }) });
  expect(found).toMatchObject({ pass: "negate-stores" });
});

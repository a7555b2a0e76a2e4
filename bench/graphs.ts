import { f32 } from "../src/base/dtype.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { hostFrom } from "../src/graph/host.ts";
import type { GraphFunction, Value } from "../src/graph/ir.ts";

// Graphs of any number of nodes, to see how compile time grows: deep ones, wide ones, and the shapes that real networks have.

/** A family of graphs with one input `x`, f32, and one output. */
export interface GraphKind {
  readonly name: string;
  /** A graph of about `n` nodes. */
  build(n: number): GraphFunction;
  /** One element of its result, by its first index, where a formula gives it; inputs are `inputOf`'s. */
  expected?(n: number, column: number): number;
}

const dims = [4, 16];
const contract = { batchA: [], batchB: [], contractA: [1], contractB: [0] };
const constant = (g: GraphBuilder, shape: readonly number[], f: (i: number) => number): Value => g.host(hostFrom(f32, shape, f), "c");

/** The input that `expected` is for: numbers around 0. */
export function inputOf(f: GraphFunction): Float32Array {
  const n = (f.params[0]?.dims ?? []).reduce((a: number, b) => a * Number(b), 1);
  return Float32Array.from({ length: n }, (_, i) => Math.sin(i));
}

const chain: GraphKind = {
  name: "a chain of pointwise ops",
  build(n) {
    const g = new GraphBuilder();
    let x = g.param("x", { dtype: f32, dims });
    const c = constant(g, dims, (i) => 0.5 + (i % 3) / 8);
    for (let i = 0; i < n; i++) x = i % 3 === 0 ? g.one("add", [x, c]) : i % 3 === 1 ? g.one("tanh", [x]) : g.one("mul", [x, c]);
    return g.finish("chain", [], [x]);
  },
  expected(n, column) {
    const c = 0.5 + (column % 3) / 8;
    let x = Math.sin(column);
    for (let i = 0; i < n; i++) x = i % 3 === 0 ? x + c : i % 3 === 1 ? Math.tanh(x) : x * c;
    return x;
  },
};

const epilogue: GraphKind = {
  name: "a chain after a reduction",
  build(n) {
    const g = new GraphBuilder();
    const w = constant(g, [16, 16], (i) => (i % 17 === 0 ? 1 : 0));
    let x = g.one("dot", [g.param("x", { dtype: f32, dims }), w], contract);
    const all = g.broadcast(
      constant(g, [], () => 0.75),
      dims,
      [],
    );
    for (let i = 0; i < n; i++) x = i % 2 === 0 ? g.one("tanh", [x]) : g.one("add", [x, all]);
    return g.finish("epilogue", [], [x]);
  },
  expected(n, column) {
    let x = Math.sin(column);
    for (let i = 0; i < n; i++) x = i % 2 === 0 ? Math.tanh(x) : x + 0.75;
    return x;
  },
};

const products: GraphKind = {
  name: "a chain of matrix products",
  build(n) {
    const g = new GraphBuilder();
    let x = g.param("x", { dtype: f32, dims });
    // Turns each pair of columns; the sizes of numbers stay.
    const w = constant(g, [16, 16], (i) => {
      const [r, c] = [Math.floor(i / 16), i % 16];
      return r === c ? 0.8 : r === (c ^ 1) ? (r < c ? 0.6 : -0.6) : 0;
    });
    for (let i = 0; i < n; i++) x = g.one("dot", [x, w], contract);
    return g.finish("products", [], [x]);
  },
  expected(n, column) {
    let [a, b] = [Math.sin(column & ~1), Math.sin(column | 1)];
    for (let i = 0; i < n; i++) [a, b] = [0.8 * a - 0.6 * b, 0.6 * a + 0.8 * b];
    return column % 2 === 0 ? a : b;
  },
};

const tree: GraphKind = {
  name: "branches that meet in a sum",
  build(n) {
    const g = new GraphBuilder();
    const x = g.param("x", { dtype: f32, dims });
    // Three nodes and more for each branch: a factor of its own, tanh, its part of the sum.
    let row = Array.from({ length: Math.ceil(n / 3) }, (_, i) => g.one("tanh", [g.one("mul", [x, constant(g, dims, () => (i % 97) / 97)])]));
    while (row.length > 1) {
      const next: Value[] = [];
      for (let i = 0; i < row.length; i += 2)
        next.push(i + 1 < row.length ? g.one("add", [row[i] as Value, row[i + 1] as Value]) : (row[i] as Value));
      row = next;
    }
    return g.finish("tree", [], row);
  },
  expected(n, column) {
    let sum = 0;
    for (let i = 0; i < Math.ceil(n / 3); i++) sum += Math.tanh((Math.sin(column) * (i % 97)) / 97);
    return sum;
  },
};

const wide: GraphKind = {
  name: "branches side by side in one result",
  build(n) {
    const g = new GraphBuilder();
    const x = g.param("x", { dtype: f32, dims });
    const row = Array.from({ length: Math.ceil(n / 2) }, (_, i) => g.one("tanh", [g.one("mul", [x, constant(g, dims, () => (i % 97) / 97)])]));
    return g.finish("wide", [], [g.one("concat", row, { axis: 0 })]);
  },
  expected: (_, column) => Math.tanh(0 * Math.sin(column)),
};

/** Convolution, a factor and a summand for each channel, activation, twice, and a sum around them: nine nodes. */
const tower: GraphKind = {
  name: "a residual tower of convolutions",
  build(n) {
    const g = new GraphBuilder();
    const shape = [1, 8, 6, 6];
    let x = g.param("x", { dtype: f32, dims: shape });
    const w = constant(g, [8, 8, 3, 3], (i) => Math.sin(i) / 16);
    const perChannel = (f: (i: number) => number) => g.broadcast(constant(g, [8], f), shape, [1]);
    const block = (y: Value): Value => {
      const c = g.one("convolution", [y, w], {
        strides: [1, 1],
        pads: [
          [1, 1],
          [1, 1],
        ],
        dilation: [1, 1],
        inputDilation: [1, 1],
        groups: 1,
        xDims: [0, 1, 2, 3],
        wDims: [0, 1, 2, 3],
        resultDims: [0, 1, 2, 3],
      });
      const scaled = g.one("mul", [c, perChannel((i) => 0.5 + i / 32)]);
      return g.one("add", [scaled, perChannel((i) => i / 64)]);
    };
    const zero = g.broadcast(
      constant(g, [], () => 0),
      shape,
      [],
    );
    for (let i = 0; i < n; i += 13) {
      const inner = g.one("max", [block(x), zero]);
      x = g.one("tanh", [g.one("add", [block(inner), x])]);
    }
    return g.finish("tower", [], [x]);
  },
};

/** A transformer's layer: normalisation, attention with four projections, normalisation, two dense layers; about 40 nodes. */
function transformerLayer(g: GraphBuilder, x: Value, tokens: number, hidden: number): Value {
  const [width, heads] = [16, 2];
  const head = width / heads;
  const dense = (v: Value, from: number, to: number): Value => {
    const y = g.one("dot", [v, constant(g, [from, to], (i) => Math.sin(i) / from)], contract);
    return g.one("add", [
      y,
      g.broadcast(
        constant(g, [to], (i) => i / 100),
        [tokens, to],
        [1],
      ),
    ]);
  };
  const norm = (v: Value): Value =>
    g.one("layer_norm", [v, constant(g, [width], () => 1), constant(g, [width], () => 0)], { axis: 1, epsilon: 1e-5 });
  const split = (v: Value): Value => g.one("transpose", [g.reshape(v, [tokens, heads, head])], { perm: [1, 0, 2] });
  const before = norm(x);
  const [q, k, v] = [0, 1, 2].map(() => split(dense(before, width, width))) as [Value, Value, Value];
  const scores = g.one("dot", [q, k], { batchA: [0], batchB: [0], contractA: [2], contractB: [2] });
  const scaled = g.one("mul", [
    scores,
    g.broadcast(
      constant(g, [], () => head ** -0.5),
      [heads, tokens, tokens],
      [],
    ),
  ]);
  const mixed = g.one("dot", [g.one("softmax", [scaled], { axis: 2 }), v], { batchA: [0], batchB: [0], contractA: [2], contractB: [1] });
  const merged = g.reshape(g.one("transpose", [mixed], { perm: [1, 0, 2] }), [tokens, width]);
  const attended = g.one("add", [x, dense(merged, width, width)]);
  const wider = g.one("gelu", [dense(norm(attended), width, hidden)], { approximate: false });
  return g.one("add", [attended, dense(wider, hidden, width)]);
}

function transformer(name: string, hiddenOf: (layer: number) => number): GraphKind {
  return {
    name,
    build(n) {
      const g = new GraphBuilder();
      const tokens = 8;
      let x = g.param("x", { dtype: f32, dims: [tokens, 16] });
      for (let i = 0; i < Math.ceil(n / nodesOfLayer); i++) x = transformerLayer(g, x, tokens, hiddenOf(i));
      return g.finish("transformer", [], [x]);
    },
  };
}
const nodesOfLayer = 50;

/** Deep and wide graphs of a few ops. */
export const chains: readonly GraphKind[] = [chain, epilogue, products, tree, wide];

/** What networks are made of. */
export const networks: readonly GraphKind[] = [
  tower,
  transformer("a transformer, whose layers share kernels", () => 32),
  transformer("a transformer, no two of whose layers are alike", (layer) => 17 + layer),
];

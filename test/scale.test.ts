import { beforeAll, describe, expect, test } from "vitest";
import { f32 } from "../src/base/dtype.ts";
import { compileGraph } from "../src/compile.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { hostFrom } from "../src/graph/host.ts";
import type { GraphFunction, Value } from "../src/graph/ir.ts";
import { artifactOf, startArtifact } from "../src/load.ts";

// Large graphs: they compile, give the right result, and take time that grows with their size, not with its square.

const dims = [4, 16];
const contract = { batchA: [], batchB: [], contractA: [1], contractB: [0] };
const constant = (g: GraphBuilder, shape: readonly number[], f: (i: number) => number): Value => g.host(hostFrom(f32, shape, f), "c");
/** Inputs of all graphs: numbers around 0. */
const input = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));

interface Kind {
  readonly name: string;
  /** A graph of about `n` nodes. */
  readonly build: (n: number) => GraphFunction;
  /** One element of its result, by its first index. */
  readonly expected: (n: number, column: number) => number;
}

const kinds: readonly Kind[] = [
  {
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
      let x = input[column] as number;
      for (let i = 0; i < n; i++) x = i % 3 === 0 ? x + c : i % 3 === 1 ? Math.tanh(x) : x * c;
      return x;
    },
  },
  {
    name: "a chain after a reduction",
    build(n) {
      const g = new GraphBuilder();
      const w = constant(g, [16, 16], (i) => (i % 17 === 0 ? 1 : 0));
      let x = g.one("dot", [g.param("x", { dtype: f32, dims }), w], contract);
      const c = constant(g, [], () => 0.75);
      const all = g.broadcast(c, dims, []);
      for (let i = 0; i < n; i++) x = i % 2 === 0 ? g.one("tanh", [x]) : g.one("add", [x, all]);
      return g.finish("epilogue", [], [x]);
    },
    expected(n, column) {
      let x = input[column] as number;
      for (let i = 0; i < n; i++) x = i % 2 === 0 ? Math.tanh(x) : x + 0.75;
      return x;
    },
  },
  {
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
      let [a, b] = [input[column & ~1] as number, input[column | 1] as number];
      for (let i = 0; i < n; i++) [a, b] = [0.8 * a - 0.6 * b, 0.6 * a + 0.8 * b];
      return column % 2 === 0 ? a : b;
    },
  },
  {
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
      for (let i = 0; i < Math.ceil(n / 3); i++) sum += Math.tanh(((input[column] as number) * (i % 97)) / 97);
      return sum;
    },
  },
  {
    name: "branches side by side in one result",
    build(n) {
      const g = new GraphBuilder();
      const x = g.param("x", { dtype: f32, dims });
      const row = Array.from({ length: Math.ceil(n / 2) }, (_, i) => g.one("tanh", [g.one("mul", [x, constant(g, dims, () => (i % 97) / 97)])]));
      return g.finish("wide", [], [g.one("concat", row, { axis: 0 })]);
    },
    expected: (_, column) => Math.tanh(0 * (input[column] as number)),
  },
];

function cpu(): number {
  const u = process.cpuUsage();
  return (u.user + u.system) / 1000;
}

function compileTimed(f: GraphFunction) {
  const start = cpu();
  const compiled = compileGraph(f);
  const artifact = artifactOf(compiled, { name: f.name, sourceHash: "", inputNames: ["x"], outputNames: ["y"] }, [{ relaxed: false }]);
  return { artifact, ms: cpu() - start };
}

describe("graphs of 5,000 nodes", () => {
  beforeAll(() => {
    // The engine optimises the compiler itself on these.
    for (const k of kinds) compileTimed(k.build(300));
  });

  test.each(kinds.map((k) => [k.name, k] as const))(
    "%s: compiles, runs right, in time about linear from 1,000 nodes",
    async (_, { build, expected }) => {
      const large = compileTimed(build(5000));
      const loaded = await startArtifact(large.artifact);
      const { y } = await loaded.run({ x: input });
      loaded.dispose();
      for (const column of [0, 5, 15]) expect(y?.data[column]).toBeCloseTo(expected(5000, column), 3);
      // Five times the nodes: a square would be 25 times the work. Others use this machine too, so one bad pair is no proof.
      const ratios = [large.ms / compileTimed(build(1000)).ms];
      while (Math.min(...ratios) > 12 && ratios.length < 3) ratios.push(compileTimed(build(5000)).ms / compileTimed(build(1000)).ms);
      expect(Math.min(...ratios), `CPU time of 5,000 nodes by that of 1,000: ${ratios}`).toBeLessThanOrEqual(12);
    },
  );
});

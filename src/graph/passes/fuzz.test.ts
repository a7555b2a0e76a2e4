import { expect, test } from "vitest";
import { randomSource } from "../../../test/support/values.ts";
import { type Dim, dimEquals, makeSymbol, mulDim, symbolDim } from "../../base/dim.ts";
import { type DType, f32, i32 } from "../../base/dtype.ts";
import { GraphBuilder } from "../builder.ts";
import { hostFrom } from "../host.ts";
import { interpretGraph } from "../interpret.ts";
import type { GraphFunction, Value } from "../ir.ts";
import { printGraph } from "../print.ts";
import { verifyGraph } from "../verify.ts";
import { graphPasses } from "./pipeline.ts";

/** Draws graphs of ops that rules look for, one after the other on values drawn before. */
class GraphFuzzer {
  private readonly random: () => number;
  private readonly dtype: DType;
  private readonly g = new GraphBuilder();
  private readonly symbol = makeSymbol("n", 1, 8);
  private readonly values: Value[] = [];
  constructor(seed: number, dtype: DType) {
    this.random = randomSource(seed);
    this.dtype = dtype;
  }
  private below(n: number): number {
    return Math.floor(this.random() * n);
  }
  private pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  private shuffle(n: number): number[] {
    return Array.from({ length: n }, (_, i) => ({ i, key: this.random() }))
      .sort((a, b) => a.key - b.key)
      .map((e) => e.i);
  }
  graph(ops: number): GraphFunction {
    const n = symbolDim(this.symbol);
    for (const dims of [[2, 3], [n, 3], [2, 1, n], [3]] satisfies Dim[][]) this.values.push(this.g.param("p", { dtype: this.dtype, dims }));
    for (let i = 0; i < ops; i++) {
      const v = this.step();
      // Sizes stay small, whatever was multiplied.
      if (v !== null && v.dims.length <= 4 && v.dims.reduce<number>((s, d) => s * (typeof d === "number" ? d : 3), 1) <= 200) this.values.push(v);
    }
    const results = [this.values[this.values.length - 1] as Value, this.pick(this.values), this.pick(this.values)];
    return this.g.finish("fuzz", [this.symbol], results, ["last", "one", "another"]);
  }
  private constant(dims: readonly Dim[]): Value {
    const { g } = this;
    const some = () => (this.dtype.isFloat ? this.pick([0, 1, -1, 0.5, 2, 0.3]) : this.pick([0, 1, -1, 2, 3]));
    const at = dims.findIndex((d) => typeof d === "number" && d > 1);
    if (at < 0 || this.random() < 0.5) return g.splat(this.dtype, dims, some());
    return g.broadcast(g.host(hostFrom(this.dtype, [dims[at] as number], some)), dims, [at]);
  }
  private step(): Value | null {
    const { g } = this;
    const x = this.random() < 0.6 ? (this.values[this.values.length - 1] as Value) : this.pick(this.values);
    const rank = x.dims.length;
    const axis = rank === 0 ? 0 : this.below(rank);
    const size = x.dims[axis];
    switch (this.below(13)) {
      case 0:
        return g.transpose(x, this.shuffle(rank));
      case 1:
        return this.reshape(x);
      case 2: {
        const at = this.below(rank + 1);
        return g.broadcast(
          x,
          x.dims.toSpliced(at, 0, this.pick([1, 2])),
          x.dims.map((_, i) => (i < at ? i : i + 1)),
        );
      }
      case 3:
        return typeof size === "number" && size > 1 ? this.slice(x, axis, size) : null;
      case 4:
        return rank === 0 ? null : g.one("concat", this.random() < 0.5 ? [x, x] : [x, this.alike(x)], { axis });
      case 5:
        return rank === 0
          ? null
          : g.one("reduce", [x], { monoid: this.pick(["add", "max", "min"]), axes: this.random() < 0.3 ? x.dims.map((_, i) => i) : [axis] });
      case 6:
        return g.one(this.pick(["add", "sub", "mul", "max", "min"]), [x, this.constant(x.dims)]);
      case 7:
        return g.one(this.pick(["add", "sub", "mul"]), this.random() < 0.5 ? [x, this.alike(x)] : [this.constant(x.dims), x]);
      case 8:
        return g.one(this.dtype.isFloat ? this.pick(["tanh", "neg", "abs", "sigmoid"]) : this.pick(["neg", "abs"]), [x]);
      case 9:
        return rank === 0 ? null : g.one("reverse", [x], { axes: [axis] });
      case 10:
        return rank === 0 ? null : this.dot(x, axis);
      case 11:
        return this.random() < 0.5
          ? g.one("pad", [x, g.scalar(this.dtype, 0)], { low: x.dims.map(() => this.below(2)), high: x.dims.map(() => this.below(2)) })
          : this.gather(x, axis);
      default:
        return g.one("select", [g.one("lt", [x, this.constant(x.dims)]), x, this.alike(x)]);
    }
  }
  /** A value of the same dims. */
  private alike(x: Value): Value {
    const others = this.values.filter((v) => v.dims.length === x.dims.length && v.dims.every((d, i) => dimEquals(d, x.dims[i] as Dim)));
    return others.length === 0 ? this.g.one("neg", [x]) : this.pick(others);
  }
  private reshape(x: Value): Value | null {
    const { dims } = x;
    const at = this.below(Math.max(1, dims.length - 1));
    if (this.random() < 0.5 || dims.length < 2) return this.g.reshape(x, dims.toSpliced(this.below(dims.length + 1), 0, 1));
    return this.g.reshape(x, dims.toSpliced(at, 2, mulDim(dims[at] as Dim, dims[at + 1] as Dim)));
  }
  private slice(x: Value, axis: number, size: number): Value {
    const [start, back] = [this.below(size), this.random() < 0.3];
    const count = 1 + this.below(back ? start + 1 : size - start);
    const stride = x.dims.map((_, i) => (i === axis && back ? -1 : 1));
    return this.g.one("slice", [x], { start: x.dims.map((_, i) => (i === axis ? start : 0)), stride, dims: x.dims.with(axis, count) });
  }
  private gather(x: Value, axis: number): Value | null {
    if (x.dims.length === 0) return null;
    const index = this.random() < 0.5 ? this.g.scalar(i32, this.below(4)) : this.g.host(hostFrom(i32, [2], (i) => this.below(2) + i));
    return this.g.one("gather", [x, index], { axes: [axis], at: this.below(x.dims.length) });
  }
  /** With a constant or another value that has the dimension. */
  private dot(x: Value, axis: number): Value | null {
    const size = x.dims[axis] as Dim;
    const others = this.values.filter((v) => v.dims.some((d) => dimEquals(d, size)));
    const fixed = typeof size === "number" ? this.g.host(hostFrom(this.dtype, [size, 2], (i) => (i % 5) - 2)) : null;
    const y = fixed === null || this.random() < 0.5 ? this.pick(others) : fixed;
    return this.g.one("dot", [x, y], {
      batchA: [],
      batchB: [],
      contractA: [axis],
      contractB: [y.dims.findIndex((d) => dimEquals(d, size))],
    });
  }
}

function compare(dtype: DType, seed: number): void {
  const f = new GraphFuzzer(seed, dtype).graph(14);
  verifyGraph(f);
  const random = randomSource(seed);
  const inputs = f.params.map((p) =>
    hostFrom(
      dtype,
      p.dims.map((d) => (typeof d === "number" ? d : 3)),
      () => (dtype.isFloat ? random() * 2 - 1 : Math.floor(random() * 11) - 5),
    ),
  );
  const wanted = interpretGraph(f, inputs);
  let g = f;
  for (const p of graphPasses) {
    g = p.run(g, new Map());
    verifyGraph(g, { after: `after ${p.name}` });
    const got = interpretGraph(g, inputs);
    wanted.forEach((w, k) => {
      const [a, b] = [Array.from(got[k]?.data ?? [], Number), Array.from(w.data, Number)];
      const bound = dtype.isFloat ? 1e-4 * Math.max(1, ...b.map(Math.abs)) : 0;
      if (a.length !== b.length || b.some((v, i) => !(Math.abs((a[i] as number) - v) <= bound))) {
        expect.fail(`seed ${seed}: result ${k} after ${p.name} is\n${a}\nnot\n${b}\n${printGraph(f)}${printGraph(g)}`);
      }
    });
  }
}

for (const [dtype, exactly] of [
  [i32, "exactly"],
  [f32, "up to rounding"],
] as const) {
  test(`random graphs of ${dtype} keep their values, ${exactly}`, () => {
    for (let seed = 1; seed <= 150; seed++) compare(dtype, seed);
  }, 60_000);
}

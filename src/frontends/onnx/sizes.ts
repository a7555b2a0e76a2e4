import { type Dim, dimEquals, dimMin, isDataDependent, minDim, mulDim, productOf, subDim } from "../../base/dim.ts";
import { bool, i32 } from "../../base/dtype.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Value } from "../../graph/ir.ts";
import { type Operand, dimValue, knownOperand } from "./operand.ts";

/** An i32 of the graph (a scalar or a vector), or a size. */
export type Int = Value | Dim;

const isValue = (x: Int): x is Value => typeof x === "object" && "dtype" in x;
/** Any size fits, and sums of one of these with a size do not wrap. */
const farthest = 2 ** 31 - 1;

/**
 * Arithmetic in the graph on small i32 tensors: how sizes, positions and counts follow from what the model computes.
 * Operands are scalars, vectors or sizes; scalars stretch.
 */
export class Ints {
  private readonly g: GraphBuilder;
  /** What is required already, with the region in which it is. */
  private readonly required = new Set<string>();
  constructor(g: GraphBuilder) {
    this.g = g;
  }

  /** The elements of an operand as i32; what lies beyond its range is moved to its ends. */
  of(o: Operand): Value {
    if (o.dtype === i32) return o.value;
    const d = o.dtype;
    if (!(d.isInteger && d.bits >= 32)) return this.g.convert(o.value, i32);
    const below = this.g.one("min", [o.value, this.g.splat(d, o.dims, farthest)]);
    return this.g.convert(d.kind === "uint" ? below : this.g.one("max", [below, this.g.splat(d, o.dims, -farthest)]), i32);
  }
  /** Sizes as a vector. */
  vector(dims: readonly Dim[]): Value {
    return knownOperand(this.g, i32, [dims.length], dims).value;
  }
  /** An element of a vector, as a scalar. */
  entry(vector: Value, i: number): Value {
    if (vector.dims.length === 0) return vector;
    return this.g.reshape(this.g.one("slice", [vector], { start: [i], stride: [1], dims: [1] }), []);
  }
  /** 0, 1, … along an axis. */
  positions(dims: readonly Dim[], axis: number): Value {
    return this.g.one("iota", [], { dtype: i32, dims, axis });
  }

  private apply(op: string, args: readonly Int[]): Value {
    const values = args.map((a) => (isValue(a) ? a : dimValue(this.g, a)));
    const dims = values.find((v) => v.dims.length > 0)?.dims ?? [];
    return this.g.one(
      op,
      values.map((v) => (v.dims.length === 0 ? this.g.broadcast(v, dims, []) : v)),
    );
  }
  add = (a: Int, b: Int): Value => this.apply("add", [a, b]);
  sub = (a: Int, b: Int): Value => this.apply("sub", [a, b]);
  mul = (a: Int, b: Int): Value => this.apply("mul", [a, b]);
  /** Rounded down; the divisor must not be 0. */
  div = (a: Int, b: Int): Value => this.apply("floordiv", [a, b]);
  min = (a: Int, b: Int): Value => this.apply("min", [a, b]);
  max = (a: Int, b: Int): Value => this.apply("max", [a, b]);
  abs = (a: Int): Value => this.apply("abs", [a]);
  lt = (a: Int, b: Int): Value => this.apply("lt", [a, b]);
  eq = (a: Int, b: Int): Value => this.apply("eq", [a, b]);
  and = (a: Value, b: Value): Value => this.apply("and", [a, b]);
  or = (a: Value, b: Value): Value => this.apply("or", [a, b]);
  not = (a: Value): Value => this.apply("not", [a]);
  select = (condition: Value, yes: Int, no: Int): Value => this.apply("select", [condition, yes, no]);
  /** Combines all elements of a vector, or the last dimension of a matrix. */
  combine(monoid: "add" | "mul" | "or", v: Value): Value {
    return this.g.one("reduce", [v], { monoid, axes: [v.dims.length - 1] });
  }
  /** A size as a vector of `n` equal elements. */
  times(d: Dim, n: number): Value {
    return this.g.broadcast(dimValue(this.g, d), [n], []);
  }
  /** A vector as the rows of a matrix with `rows` rows, or each element along its own row. */
  rows(v: Value, rows: Dim): Value {
    return this.g.broadcast(v, [rows, v.dims[0] as Dim], [1]);
  }
  columns(v: Value, columns: Dim): Value {
    return this.g.broadcast(v, [v.dims[0] as Dim, columns], [0]);
  }
  /** A bool as 0 or 1. */
  count(v: Value): Value {
    return v.dtype === bool ? this.g.convert(v, i32) : v;
  }

  /** Requires sizes to be equal when the model runs, where that is not certain already. */
  require(a: Dim, b: Dim): void {
    const key = `${this.g.currentRegion}: ${a} = ${b}`;
    if (dimEquals(a, b) || this.required.has(key)) return;
    this.required.add(key);
    this.g.op("require_equal", [], { dims: [a, b] });
  }
  /**
   * A scalar of the graph as a size of what follows. Where the model declares it, it is that size, which a run has to find;
   * else a symbol from `min` to `bound`.
   */
  size(value: Value, name: string, min: number, bound: Dim | null, declared: Dim | null = null): Dim {
    if (typeof declared === "number") {
      this.g.bindSize(value, this.named(name), declared, declared);
      return declared;
    }
    const k = this.g.bindSize(value, this.named(name), min, bound);
    if (declared === null) return k;
    this.require(k, declared);
    return declared;
  }
  /** The name of a size tells the node, as that is what a run's error about it tells. */
  private named(name: string): string {
    const node = (this.g.origin.at(-1) ?? "").replace(/[^A-Za-z0-9]+/g, "_").replace(/^_/, "");
    return node === "" ? name : `${node.slice(-60).replace(/^[_0-9]+/, "")}_${name}`;
  }
  /** Requires a size to be 1 or `to` when the model runs. */
  requireStretch(size: Dim, to: Dim): void {
    const stretched = dimMin(size) > 1 ? 1 : minDim(subDim(size, 1), 1);
    this.require(mulDim(stretched, subDim(size, to)), 0);
  }
  /** The value under dims that must be equal to its own, and of which more is known. */
  refine(v: Value, dims: readonly Dim[]): Value {
    if (v.dims.length !== dims.length || v.dims.every((d, i) => dimEquals(d, dims[i] as Dim))) return v;
    v.dims.forEach((d, i) => {
      this.require(d, dims[i] as Dim);
    });
    const open = v.dims.map((d, i) => !dimEquals(d, dims[i] as Dim));
    return this.g.one("refine", [this.loosened(v, open)], { dims });
  }
  /** The value, its sizes at the given places as if the model computed them: what they are equal to, a run finds. */
  private loosened(v: Value, places: readonly boolean[]): Value {
    const dims = v.dims.map((d, i) => (places[i] === true ? this.loose(d) : d));
    return dims.every((d, i) => dimEquals(d, v.dims[i] as Dim)) ? v : this.g.one("refine", [v], { dims });
  }
  /** A size of inputs as one that the model computes. */
  private loose(d: Dim): Dim {
    if (typeof d === "number" || isDataDependent(d)) return d;
    return this.g.bindSize(dimValue(this.g, d), this.named("same"), Math.max(0, dimMin(d)), d);
  }
  /** A reshape to as many elements. That they are as many may show in a run only, and is required elsewhere then. */
  reshape(v: Value, dims: readonly Dim[]): Value {
    const [got, wanted] = [productOf(v.dims), productOf(dims)];
    if (dimEquals(got, wanted) || isDataDependent(got) || isDataDependent(wanted)) return this.g.reshape(v, dims);
    const to = dims.map((d) => this.loose(d));
    const everywhere = v.dims.map(() => true);
    return this.refine(this.g.reshape(isDataDependent(productOf(to)) ? v : this.loosened(v, everywhere), to), dims);
  }
}

/** Of two sizes that are equal when the model runs, the one of which more is known. */
export function betterKnown(a: Dim, b: Dim): Dim {
  if (typeof a === "number" || typeof b === "number") return typeof a === "number" ? a : b;
  return isDataDependent(a) && !isDataDependent(b) ? b : a;
}

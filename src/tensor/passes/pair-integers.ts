import { type ConstantData, alignedBytes } from "../../base/constant.ts";
import { type Dim, productOf } from "../../base/dim.ts";
import { type DType, i32 } from "../../base/dtype.ts";
import type { Capabilities } from "../../base/machine.ts";
import type { Expr } from "../../scalar/expr.ts";
import { mentions } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Axis, type Kernel, type Stage, Tensor, type TensorFunction, soleStage } from "../ir.ts";
import { type Users, pointwise, usersOf } from "./fusion.ts";

/** As many results have to read an element before it pays to store it as half of a word. */
const leastReuse = 8;

/** Constants of more bytes are not looked into. */
const mostBytes = 1 << 14;

/**
 * Sums of products of integers that have 16 bits take two products at a time: both factors are stored as pairs, an element and
 * the one half the reduction further on in a word, and multiplied by `dot16`. Sums wrap as they did; no result changes.
 */
export function pairIntegers(sc: Scalars, f: TensorFunction, machine: Capabilities): TensorFunction {
  // Without vectors, taking words apart costs more than it saves.
  if (machine.lanes.i32 === 1) return f;
  const pairing = new Pairing(sc, usersOf(f));
  const kernels = f.kernels.flatMap((k) => pairing.kernel(k));
  return pairing.tensors.length === 0 ? f : { ...f, tensors: [...f.tensors, ...pairing.tensors], kernels };
}

/** A factor of a product: a read, perhaps with zeros around it, of a tensor that has the reduced axis as one whole dim. */
interface Factor {
  readonly condition: Expr | null;
  readonly load: Expr;
  readonly dim: number;
}

class Pairing {
  readonly tensors: Tensor[] = [];
  private readonly sc: Scalars;
  private readonly users: Users;
  private readonly ranges = new Map<Tensor, Range>();
  private readonly words = new Map<Tensor, Map<number, Tensor>>();

  constructor(sc: Scalars, users: Users) {
    this.sc = sc;
    this.users = users;
  }

  /** The kernel, or those that make its words and what it becomes. */
  kernel(k: Kernel): readonly Kernel[] {
    const s = soleStage(k);
    const lift = s === null ? null : productOfIntegers(s);
    if (s === null || lift === null) return [k];
    for (const axis of s.axes) {
      const factors = lift.args.map((e) => factorAlong(e, axis));
      if (!factors.every((x) => x !== null) || !factors.every((x) => this.pays(s, x))) continue;
      const before: Kernel[] = [];
      const half: Axis = { ...this.axis(axis.variable.name, (axis.extent as number) / 2), kind: "reduction" };
      const product = this.sc.op(
        "dot16",
        factors.map((x) => this.paired(x, half, before)),
      );
      const axes = s.axes.map((a) => (a === axis ? half : a));
      return [...before, { ...k, stages: [{ ...s, axes, accumulators: s.accumulators.map((a) => ({ ...a, lift: product })) }] }];
    }
    return [k];
  }

  private axis(name: string, extent: Dim): Axis {
    return { variable: this.sc.variable(name, i32, { extent: this.sc.dim(extent) }), extent, kind: "parallel" };
  }

  /** Has each element 16 bits, and is it read often enough? */
  private pays(s: Stage, { load }: Factor): boolean {
    const t = load.attr as Tensor;
    const [low, high] = this.rangeOf(t);
    return low >= -(2 ** 15) && high < 2 ** 15 && usualSize(productOf(s.axes.map((a) => a.extent))) >= leastReuse * usualSize(productOf(t.dims));
  }

  /** The factor as a read of words. */
  private paired({ condition, load, dim }: Factor, half: Axis, before: Kernel[]): Expr {
    const { sc } = this;
    const words = sc.load(this.wordsOf(load.attr as Tensor, dim, before), load.args.with(dim, sc.var(half.variable)));
    return condition === null ? words : sc.select(condition, words, sc.int(0));
  }

  /** A tensor's elements in pairs along a dim, made once for all its readers. */
  private wordsOf(t: Tensor, dim: number, before: Kernel[]): Tensor {
    const known = this.words.get(t) ?? new Map<number, Tensor>();
    this.words.set(t, known);
    let words = known.get(dim);
    if (words !== undefined) return words;
    const { sc } = this;
    const half = (t.dims[dim] as number) / 2;
    words = new Tensor(sc.freshId(), `${t.name}.pairs${dim}`, i32, t.dims.with(dim, half), null, t.origin);
    known.set(dim, words);
    this.tensors.push(words);
    const axes = words.dims.map((d, i) => this.axis(`i${i}`, d));
    const index = axes.map((a) => sc.var(a.variable));
    const low = sc.and(sc.load(t, index), sc.int(0xffff));
    const high = sc.op("shl", [sc.load(t, index.with(dim, sc.add(index[dim] as Expr, sc.int(half)))), sc.int(16)]);
    const write = { tensor: words, index, value: sc.op("or", [low, high]), combiner: null, guard: null };
    const stage: Stage = { name: words.name, origin: t.origin, axes, inner: null, accumulators: [], writes: [write] };
    before.push({ name: words.name, axes: [], locals: [], stages: [stage] });
    return words;
  }

  /** Values that a tensor's elements may have. */
  private rangeOf(t: Tensor): Range {
    if (t.dtype.isInteger && t.dtype.bits <= 16) return rangeOfType(t.dtype);
    if (t.data !== null) return t.dtype === i32 ? rangeOfValues(t.data) : unbounded;
    let range = this.ranges.get(t);
    if (range === undefined) {
      // What reads itself, by way of others, is of any value.
      this.ranges.set(t, unbounded);
      const [writer, other] = this.users.writers.get(t) ?? [];
      const value = writer === undefined || other !== undefined ? undefined : pointwise(writer)?.value;
      range = value === undefined ? unbounded : this.rangeOfExpr(value);
      this.ranges.set(t, range);
    }
    return range;
  }

  private rangeOfExpr(e: Expr): Range {
    if (e.constant !== null) return [Number(e.constant), Number(e.constant)];
    const own: Range = e.dtype.isInteger && e.dtype.bits <= 16 ? rangeOfType(e.dtype) : unbounded;
    switch (e.op) {
      case "load":
        return this.rangeOf(e.attr as Tensor);
      case "cast": {
        const from = e.args[0] as Expr;
        const [low, high] = from.dtype.isFloat ? unbounded : this.rangeOfExpr(from);
        return low >= own[0] && high <= own[1] ? [low, high] : own;
      }
      case "add":
      case "sub": {
        const [a, b] = e.args.map((x) => this.rangeOfExpr(x)) as [Range, Range];
        return own !== unbounded ? own : e.op === "add" ? [a[0] + b[0], a[1] + b[1]] : [a[0] - b[1], a[1] - b[0]];
      }
      case "select": {
        const [a, b] = e.args.slice(1).map((x) => this.rangeOfExpr(x)) as [Range, Range];
        return [Math.min(a[0], b[0]), Math.max(a[1], b[1])];
      }
      default:
        return own;
    }
  }
}

type Range = readonly [low: number, high: number];
const unbounded: Range = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];

function rangeOfType(d: DType): Range {
  return d.kind === "uint" ? [0, 2 ** d.bits - 1] : [-(2 ** (d.bits - 1)), 2 ** (d.bits - 1) - 1];
}

/** Of a short list, such as zero points, the extremes; of others nothing is known. */
function rangeOfValues(data: ConstantData): Range {
  if (data.byteLength > mostBytes) return unbounded;
  const bytes = alignedBytes(data);
  const values = new Int32Array(bytes.buffer, bytes.byteOffset, data.byteLength / 4);
  return [Math.min(...values), Math.max(...values)];
}

/** The number of points or elements; a size that is not known counts as a large one. */
function usualSize(d: Dim): number {
  return typeof d === "number" ? d : Number.POSITIVE_INFINITY;
}

/** The product that a stage sums up, if that is all it does before its end: of i32, from 0. */
function productOfIntegers(s: Stage): Expr | null {
  const [acc] = s.accumulators;
  if (acc === undefined || s.accumulators.length !== 1 || acc.lift.dtype !== i32 || acc.lift.op !== "mul" || !acc.identity.isConst(0)) return null;
  const { op, args } = acc.combine;
  const sums = op === "add" && args.some((a) => a.variable === acc.left) && args.some((a) => a.variable === acc.right);
  return sums ? acc.lift : null;
}

/** A factor that moves along the axis in one dim of its tensor, over all of it, and in nothing else; null for others. */
function factorAlong(e: Expr, axis: Axis): Factor | null {
  const { variable, extent, kind } = axis;
  if (kind !== "reduction" || typeof extent !== "number" || extent % 2 !== 0) return null;
  const [condition, load, zero] = e.op === "select" ? (e.args as [Expr, Expr, Expr]) : [null, e, null];
  if (load.op !== "load" || (zero !== null && !zero.isConst(0)) || (condition !== null && mentions(condition, variable))) return null;
  const moving = load.args.flatMap((a, d) => (mentions(a, variable) ? [d] : []));
  const [dim] = moving;
  if (dim === undefined || moving.length !== 1 || (load.args[dim] as Expr).variable !== variable) return null;
  return (load.attr as Tensor).dims[dim] === extent ? { condition, load, dim } : null;
}

import { type Dim, maxDim, productOf, subDim } from "../../../base/dim.ts";
import { bool, f64, i32, i64 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { OpName } from "../../../scalar/ops/table.ts";
import { axisMask, lengthOf, withoutMasked } from "../axes.ts";
import type { NodeContext, OpMapping, OpTable } from "../context.ts";
import { knownOp } from "../known.ts";
import { type Operand, dimValue } from "../operand.ts";
import { positions } from "./elementwise.ts";
import { reshaped, sizesOf } from "./shape.ts";

/** Combines along axes; they go. */
export function reduced(c: NodeContext, x: Value, monoid: string, axes: readonly number[]): Value {
  return axes.length === 0 ? x : c.g.one("reduce", [x], { monoid, axes });
}

/** The mean along axes; they go. */
export function mean(c: NodeContext, x: Value, axes: readonly number[]): Value {
  const sum = reduced(c, x, "add", axes);
  const n = productOf(axes.map((a) => x.dims[a] as Dim));
  if (x.dtype.isFloat && typeof n === "number") return c.withScalar("mul", sum, 1 / n);
  return c.g.one("div", [sum, c.g.broadcast(c.g.convert(dimValue(c.g, n), x.dtype), sum.dims, [])]);
}

/** Stretches what a reduction along `axes` gave back over dims. */
export function spread(c: NodeContext, v: Value, dims: readonly Dim[], axes: readonly number[]): Value {
  return c.g.broadcast(
    v,
    dims,
    dims.map((_, i) => i).filter((i) => !axes.includes(i)),
  );
}

type Reducer = (c: NodeContext, x: Value, axes: readonly number[]) => Value;

/** What a reduction combines: a value, the axes of it that go, and the dims of the result. */
interface Reduction {
  readonly value: Value;
  readonly axes: readonly number[];
  readonly dims: readonly Dim[];
}

const every = (rank: number): number[] => Array.from({ length: rank }, (_, i) => i);

/** Axes come as an attribute or, later, as an input; none mean all, or none when `noop_with_empty_axes` is set. */
function reductionAxes(c: NodeContext, rank: number): readonly number[] {
  const given = c.axes(1, rank);
  if (given !== null && given.length > 0) return given;
  return c.int("noop_with_empty_axes", 0) === 1 ? [] : every(rank);
}

/**
 * Axes that the model computes. Each dimension is taken apart into one of the result and one that is combined: n and 1, or
 * 1 and n where it is among the axes. So the reduction is an ordinary one, over sizes from data.
 */
function reductionByData(c: NodeContext, x: Operand, axes: Operand): Reduction {
  const s = c.sizes;
  const keep = c.int("keepdims", 1) === 1;
  const named = axisMask(c, axes, x.rank);
  const count = axes.dims[0] ?? 1;
  const whole = c.int("noop_with_empty_axes", 0) === 0 && typeof count !== "number";
  const mask = whole ? s.or(named, s.eq(s.times(count, x.rank), 0)) : named;
  const flags = s.count(mask);
  const parts = x.dims.map((n, i) => taken(c, n, s.entry(flags, i), keep ? c.declaredDim(0, i) : null));
  // From the last on, so that what is before has its place still.
  const apart = parts.reduceRight((v, [kept, combined], i) => c.g.reshape(v, v.dims.toSpliced(i, 1, kept, combined)), x.value);
  const dims = parts.map(([kept]) => kept);
  const combined = parts.map((_, i) => 2 * i + 1);
  if (keep) return { value: apart, axes: combined, dims };
  const left = x.rank - lengthOf(c, axes, whole || c.declaredRank(0) === null ? null : x.rank - (c.declaredRank(0) ?? 0), "'axes'");
  if (left < 0) return c.fail(`${x.rank - left} axes of a tensor of rank ${x.rank}`);
  return { value: apart, axes: combined, dims: sizesOf(c, withoutMasked(c, x.dims, mask, left), left, productOf(dims)) };
}

/** The size of a dimension in the result, and how much of it is combined, by a flag that says whether it goes. */
function taken(c: NodeContext, n: Dim, flag: Value, declared: number | null): readonly [Dim, Dim] {
  const s = c.sizes;
  if (n === 1) return [1, 1];
  const goes = s.eq(flag, 1);
  const kept = (d: Dim | null): Dim => s.size(s.select(goes, 1, n), "kept", 0, maxDim(n, 1), d);
  if (declared !== null && typeof n === "number") {
    if (declared !== 1 && declared !== n) return c.fail(`${n} elements are to give ${declared}`);
    kept(declared);
    return declared === 1 ? [1, n] : [n, 1];
  }
  return [kept(declared), s.size(s.select(goes, n, 1), "combined", 0, maxDim(n, 1))];
}

function reductionOf(c: NodeContext, x: Operand): Reduction {
  const given = c.ints("axes") === null ? c.optional(1) : null;
  if (given !== null && given.numbers === null && given.dims[0] !== 0 && x.rank > 0) return reductionByData(c, x, given);
  const axes = reductionAxes(c, x.rank);
  const dims = x.dims.flatMap((d, i) => (axes.includes(i) ? (c.int("keepdims", 1) === 1 ? [1] : []) : [d]));
  return { value: x.value, axes, dims };
}

function reduction(reduce: Reducer, monoid: OpName | null = null): OpMapping {
  return {
    since: 7,
    map(c) {
      const x = c.input(0);
      const { value, axes, dims } = reductionOf(c, x);
      const total = monoid === null || axes.length !== x.rank || value !== x.value ? null : knownTotal(x, monoid);
      if (total !== null) return c.knownOf(x.dtype, dims, [total]);
      return reshaped(c, c.of(reduce(c, value, axes)), dims);
    },
  };
}

/** The total of elements that are all known, or null. */
function knownTotal(x: Operand, op: OpName): Dim | null {
  const [first, ...rest] = x.known ?? [];
  if (first === undefined) return null;
  return rest.reduce<Dim | null>((a, b) => (a === null ? null : knownOp(op, [a, b], x.dtype, x.dtype)), first);
}

const sum: Reducer = (c, x, axes) => reduced(c, x, "add", axes);
const magnitude: Reducer = (c, x, axes) => sum(c, c.g.one("abs", [x]), axes);
const squares: Reducer = (c, x, axes) => sum(c, c.g.one("mul", [x, x]), axes);

/** Largest or smallest; true counts as more than false. */
const extremum =
  (monoid: "max" | "min"): Reducer =>
  (c, x, axes) =>
    reduced(c, x, x.dtype !== bool ? monoid : monoid === "max" ? "or" : "and", axes);

/** log Σ exp x, with the largest element taken out so that nothing overflows. */
const logSumExp: Reducer = (c, x, axes) => {
  const max = reduced(c, x, "max", axes);
  // An infinite maximum must not be subtracted from itself.
  const finite = c.g.one("select", [c.withScalar("lt", c.g.one("abs", [max]), Number.POSITIVE_INFINITY), max, c.g.splat(x.dtype, max.dims, 0)]);
  const total = sum(c, c.g.one("exp", [c.g.one("sub", [x, spread(c, finite, x.dims, axes)])]), axes);
  return c.g.one("add", [c.g.one("log", [total]), finite]);
};

const meanOf: Reducer = (c, x, axes) => (axes.length === 0 ? x : mean(c, x, axes));
const norm: Reducer = (c, x, axes) => {
  const total = squares(c, x, axes);
  // Of integers, rounded towards zero.
  return x.dtype.isFloat ? c.g.one("sqrt", [total]) : c.g.convert(c.g.one("sqrt", [c.g.convert(total, f64)]), x.dtype);
};

/** The first (or last) position of the extremum: the smallest (largest) position whose element equals it. */
function argument(monoid: "max" | "min"): OpMapping {
  return {
    since: 7,
    map(c) {
      const x = c.value(0);
      const axis = c.axis(c.int("axis", 0), x.dims.length);
      const last = c.int("select_last_index", 0) === 1;
      const best = spread(c, reduced(c, x, monoid, [axis]), x.dims, [axis]);
      const n = c.g.broadcast(dimValue(c.g, subDim(x.dims[axis] as Dim, 1)), x.dims, []);
      const elsewhere = last ? c.g.splat(i32, x.dims, 0) : n;
      const at = reduced(c, c.g.one("select", [c.g.one("eq", [x, best]), positions(c, x.dims, axis), elsewhere]), last ? "max" : "min", [axis]);
      const kept = c.int("keepdims", 1) === 1 ? c.g.reshape(at, x.dims.with(axis, 1)) : at;
      return c.of(c.g.convert(kept, i64));
    },
  };
}

/** Pooling over all spatial positions. */
function globalPool(reduce: Reducer): OpMapping {
  return {
    since: 7,
    map(c) {
      const x = c.value(0);
      if (x.dims.length < 3) return c.fail(`rank ${x.dims.length}, expected [batch, channels, size, …]`);
      const axes = x.dims.map((_, i) => i).slice(2);
      return c.of(
        c.g.reshape(
          reduce(c, x, axes),
          x.dims.map((d, i) => (i < 2 ? d : 1)),
        ),
      );
    },
  };
}

export const reductionOps: OpTable = {
  ReduceSum: reduction(sum, "add"),
  ReduceMean: reduction(meanOf),
  ReduceMax: reduction(extremum("max"), "max"),
  ReduceMin: reduction(extremum("min"), "min"),
  ReduceProd: reduction((c, x, axes) => reduced(c, x, "mul", axes), "mul"),
  ReduceL1: reduction(magnitude),
  ReduceL2: reduction(norm),
  ReduceSumSquare: reduction(squares),
  ReduceLogSum: reduction((c, x, axes) => c.g.one("log", [sum(c, x, axes)])),
  ReduceLogSumExp: reduction(logSumExp),
  ArgMax: argument("max"),
  ArgMin: argument("min"),
  GlobalAveragePool: globalPool(meanOf),
  GlobalMaxPool: globalPool(extremum("max")),
};

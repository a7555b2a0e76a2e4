import { type Dim, dimMin, productOf, subDim } from "../../../base/dim.ts";
import { bool, i32, i64 } from "../../../base/dtype.ts";
import type { GraphBuilder } from "../../../graph/builder.ts";
import type { Value } from "../../../graph/ir.ts";
import type { Mapped, NodeContext, OpMapping, OpTable } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { positions } from "./elementwise.ts";

/** The permutation that moves an axis to the end, and its inverse. */
function toEnd(rank: number, axis: number): { readonly there: number[]; readonly back: number[] } {
  const there = [...Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis), axis];
  return { there, back: there.map((_, i) => there.indexOf(i)) };
}

/** How many elements are wanted: an attribute, later an input. */
function wantedCount(c: NodeContext, n: Dim, axis: number): Dim {
  if (c.version < 10) return c.int("k", -1);
  const k = c.input(1);
  if (k.known !== null) return k.known[0] ?? c.fail("'K' is empty");
  return c.sizes.size(c.sizes.entry(c.sizes.of(k), 0), "k", 0, n, c.declaredDim(0, axis));
}

/** Positions of the first ones in order, and what stands there. */
function topK(c: NodeContext): Mapped {
  const x = c.value(0);
  const rank = x.dims.length;
  const axis = c.axis(c.int("axis", -1), rank);
  const n = x.dims[axis] as Dim;
  const k = wantedCount(c, n, axis);
  if (dimMin(subDim(k, n)) > 0 || (typeof k === "number" && k < 0)) return c.fail(`${k} elements of ${n}`);
  const { there, back } = toEnd(rank, axis);
  const sorted = c.g.one("argsort", [c.g.transpose(x, there)], { count: [k], descending: c.int("largest", 1) === 1 });
  const at = c.g.transpose(sorted, back);
  const index = x.dims.map((_, i) => (i === axis ? at : positions(c, at.dims, i)));
  const values = c.g.one("gather", [x, ...index], { axes: x.dims.map((_, i) => i), at: 0 });
  return [c.of(values), c.of(c.g.convert(at, i64))];
}

/** A running sum or product. An axis that the model computes is one of few: the run decides which of their kernels run. */
function running(monoid: "add" | "mul"): OpMapping {
  const map = (c: NodeContext): Operand => {
    const x = c.value(0);
    const rank = x.dims.length;
    const along = (g: GraphBuilder, axis: number): Value =>
      g.one("cumulative", [x], { monoid, axis, exclusive: c.int("exclusive", 0) === 1, reverse: c.int("reverse", 0) === 1 });
    const [given] = c.input(1).known ?? [];
    if (rank === 0) return c.fail("rank 0");
    if (typeof given === "number") return c.of(along(c.g, c.axis(given, rank)));
    const { sizes } = c;
    const wanted = sizes.entry(sizes.of(c.input(1)), 0);
    const fromStart = sizes.select(sizes.lt(wanted, 0), sizes.add(wanted, rank), wanted);
    const axis = sizes.size(fromStart, "axis", 0, rank - 1);
    const choose = (g: GraphBuilder, from: number): Value => {
      if (from === rank - 1) return along(g, from);
      const isHere = g.one("eq", [dimValue(g, axis), g.scalar(i32, from)]);
      const [then, otherwise] = [g.nested(), g.nested()];
      const regions = [then.region([], [along(then, from)]), otherwise.region([], [choose(otherwise, from + 1)])];
      return g.op("if", [isHere], {}, { regions })[0] as Value;
    };
    return c.of(choose(c.g, 0));
  };
  return { since: 11, map };
}

/** Do elements differ? NaNs count as equal. */
function differ(c: NodeContext, a: Value, b: Value): Value {
  const different = c.g.one("ne", [a, b]);
  if (!a.dtype.isFloat) return different;
  const bothNaN = c.g.one("and", [c.g.one("ne", [a, a]), c.g.one("ne", [b, b])]);
  return c.g.one("and", [different, c.g.one("not", [bothNaN])]);
}

const pick = (c: NodeContext, x: Value, at: Value): Value => c.g.one("gather", [x, at], { axes: [0], at: 0 });
const put = (c: NodeContext, dims: readonly Dim[], values: Value, at: Value): Value =>
  c.g.one("scatter", [c.g.splat(values.dtype, dims, 0), values, at], { axes: [0], at: 0, combiner: "none" });

/** Equal elements, or equal slices along an axis, side by side: the places in the sorted order where other ones begin. */
interface Groups {
  /** The positions in sorted order. */
  readonly order: Value;
  /** For each place of the sorted order, whether a group begins there. */
  readonly begins: Value;
}

function groupsOf(c: NodeContext, rows: Value): Groups {
  const [n, width] = rows.dims as [Dim, Dim];
  const { g, sizes } = c;
  const order = width === 1 ? g.one("argsort", [g.reshape(rows, [n])], { count: [n], descending: false }) : g.one("argsort_rows", [rows]);
  const place = sizes.positions([n], 0);
  const before = pick(c, order, sizes.max(sizes.sub(place, 1), 0));
  const changes = g.one("reduce", [differ(c, pick(c, rows, order), pick(c, rows, before))], { monoid: "or", axes: [1] });
  return { order, begins: sizes.or(sizes.eq(place, 0), changes) };
}

/** What Unique tells of each group, in the order of the result. */
interface Described {
  readonly first: Value;
  readonly counts: Value;
  readonly inverse: Value;
}

/** Groups in sorted order. */
function inOrder(c: NodeContext, { order, begins }: Groups, count: Dim): Described {
  const { g, sizes } = c;
  const n = order.dims[0] as Dim;
  const group = sizes.sub(g.one("cumulative", [sizes.count(begins)], { monoid: "add", axis: 0, exclusive: false, reverse: false }), 1);
  const starts = g.op("positions_where", [begins])[0] as Value;
  const index = sizes.positions([count], 0);
  const start = pick(c, starts, index);
  const next = sizes.select(sizes.eq(index, subDim(count, 1)), n, pick(c, starts, sizes.add(index, 1)));
  // The sort keeps the order of equal ones: the first of a group is its first occurrence.
  return { first: pick(c, order, start), counts: sizes.sub(next, start), inverse: put(c, [n], group, order) };
}

/** The same groups by their first occurrence. */
function byOccurrence(c: NodeContext, { order, begins }: Groups, sorted: Described, count: Dim): Described {
  const { g, sizes } = c;
  const n = order.dims[0] as Dim;
  const isFirst = put(c, [n], sizes.count(begins), order);
  const rank = sizes.sub(g.one("cumulative", [isFirst], { monoid: "add", axis: 0, exclusive: false, reverse: false }), 1);
  const firsts = g.op("positions_where", [g.convert(isFirst, bool)])[0] as Value;
  const place = pick(c, rank, sorted.first);
  return {
    first: pick(c, firsts, sizes.positions([count], 0)),
    counts: put(c, [count], sorted.counts, place),
    inverse: pick(c, place, sorted.inverse),
  };
}

export function unique(c: NodeContext): Mapped {
  const x = c.value(0);
  const { g, sizes } = c;
  const axis = c.attribute("axis") === null ? null : c.axis(c.int("axis", 0), x.dims.length);
  const n = axis === null ? productOf(x.dims) : (x.dims[axis] as Dim);
  const width = axis === null ? 1 : productOf(x.dims.filter((_, i) => i !== axis));
  if (n === 0) return [axis === null ? g.reshape(x, [0]) : x, ...[0, 1, 2].map(() => g.splat(i64, [0], 0n))].map((v) => c.of(v));
  const front = axis === null ? x : g.transpose(x, [axis, ...x.dims.map((_, i) => i).filter((i) => i !== axis)]);
  const groups = groupsOf(c, g.reshape(front, [n, width]));
  const total = sizes.combine("add", sizes.count(groups.begins));
  const count = sizes.size(total, "unique", Math.min(1, dimMin(n)), n, c.declaredDim(0, axis ?? 0));
  const sorted = inOrder(c, groups, count);
  const { first, counts, inverse } = c.int("sorted", 1) === 1 ? sorted : byOccurrence(c, groups, sorted, count);
  const flat = axis === null ? g.reshape(x, [n]) : x;
  const values = g.one("gather", [flat, first], { axes: [axis ?? 0], at: axis ?? 0 });
  return [values, ...[first, inverse, counts].map((v) => g.convert(v, i64))].map((v) => c.of(v));
}

export const sortingOps: OpTable = {
  TopK: { since: 7, map: topK },
  CumSum: running("add"),
  CumProd: running("mul"),
  Unique: { since: 11, map: unique },
};

import { type Dim, minDim, productOf } from "../../../base/dim.ts";
import { bool, f32, i32, i64 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";
import { slicedAlong } from "./shape.ts";

/** The positions where a mask holds, as many as there are: that is a size that the model computes. */
function positionsOf(c: NodeContext, mask: Value, name: string, declared: Dim | null): Value {
  const n = mask.dims[0] as Dim;
  const [positions, found] = c.g.op("positions_where", [mask]) as [Value, Value];
  const count = c.sizes.size(found, name, 0, n, declared);
  return c.g.one("slice", [positions], { start: [0], stride: [1], dims: [count] });
}

/** Row-major positions taken apart into an index for each dimension. */
function coordinates(c: NodeContext, flat: Value, dims: readonly Dim[]): Value[] {
  const { sizes } = c;
  let rest = flat;
  const out: Value[] = [];
  for (const d of dims.slice(1).reverse()) {
    const quotient = sizes.div(rest, d);
    out.unshift(sizes.sub(rest, sizes.mul(quotient, d)));
    rest = quotient;
  }
  return [rest, ...out];
}

/** Vectors as the rows of a matrix, or its columns. */
function stacked(c: NodeContext, vectors: readonly Value[], axis: 0 | 1): Value {
  const parts = vectors.map((v) => c.g.reshape(v, v.dims.toSpliced(axis, 0, 1)));
  return parts.length === 1 ? (parts[0] as Value) : c.g.one("concat", parts, { axis });
}

function isNonZero(c: NodeContext, x: Value): Value {
  return x.dtype === bool ? x : c.withScalar("ne", x, 0);
}

/** A scalar counts as a vector of one element. */
function nonZero(c: NodeContext): Operand {
  const x = c.value(0);
  const dims = x.dims.length === 0 ? [1] : x.dims;
  const flat = c.g.reshape(isNonZero(c, x), [productOf(dims)]);
  const at = positionsOf(c, flat, "nonzero", c.declaredDim(0, 1));
  return c.of(c.g.convert(stacked(c, coordinates(c, at, dims), 0), i64));
}

/** What a condition picks along an axis, or of all elements. It may be shorter than what it picks from. */
function compress(c: NodeContext): Operand {
  const [x, condition] = [c.input(0), c.input(1)];
  if (condition.rank !== 1) return c.fail(`a condition of rank ${condition.rank}, expected 1`);
  const axis = c.attribute("axis") === null ? null : c.axis(c.int("axis", 0), x.rank);
  const from = axis === null ? c.g.reshape(x.value, [productOf(x.dims)]) : x.value;
  const along = axis ?? 0;
  const n = minDim(condition.dims[0] as Dim, from.dims[along] as Dim);
  const picks = condition.numbers?.flatMap((v, i) => (v !== 0 && typeof n === "number" && i < n ? [i] : []));
  const mask = slicedAlong(c, condition, 0, 0, n);
  const at = picks === undefined || typeof n !== "number" ? positionsOf(c, mask.value, "compress", c.declaredDim(0, along)) : null;
  const index = at ?? c.knownOf(i32, [picks?.length ?? 0], picks ?? []).value;
  return c.of(c.g.one("gather", [from, index], { axes: [along], at: along }));
}

/** Boxes by their low and high corners, whichever corners are given, or by centres and sizes. */
function corners(c: NodeContext, boxes: Operand): Value {
  const [a, b] = [slicedAlong(c, boxes, 2, 0, 2).value, slicedAlong(c, boxes, 2, 2, 2).value];
  const { g } = c;
  if (c.int("center_point_box", 0) === 0) return g.one("concat", [g.one("min", [a, b]), g.one("max", [a, b])], { axis: 2 });
  const half = c.withScalar("mul", b, 0.5);
  return g.one("concat", [g.one("sub", [a, half]), g.one("add", [a, half])], { axis: 2 });
}

/** A tensor of one element as a scalar. */
function scalarOf(c: NodeContext, v: Value): Value {
  return c.g.reshape(v, []);
}

/**
 * Greedy selection of boxes for each batch and class. How many boxes all of them keep is a size that the model computes; each has
 * room for as many as the model asks for, where that is known, else for all boxes.
 */
function nonMaxSuppression(c: NodeContext): Operand {
  const [boxes, scores, limit, threshold, least] = [c.input(0), c.input(1), c.optional(2), c.optional(3), c.optional(4)];
  const { g, sizes } = c;
  const [batch, classes, n] = scores.dims;
  if (batch === undefined || classes === undefined || n === undefined || boxes.rank !== 3 || scores.rank !== 3)
    return c.fail(`boxes of rank ${boxes.rank} and scores of rank ${scores.rank}, expected 3`);
  c.sameDim(boxes.dims[0] as Dim, batch, "batches of boxes and scores");
  c.sameDim(boxes.dims[1] as Dim, n, "boxes and their scores");
  const [most] = limit === null ? [0] : (limit.known ?? []);
  if (limit === null || (typeof most === "number" && most <= 0)) return c.knownOf(i64, [0, 3], []);
  const capacity = most === undefined ? n : minDim(most, n);
  const levels = [threshold === null ? g.scalar(f32, 0) : scalarOf(c, threshold.value), ...(least === null ? [] : [scalarOf(c, least.value)])];
  const operands = [corners(c, boxes), scores.value, scalarOf(c, sizes.of(limit)), ...levels];
  const [selected, counts] = g.op("suppress_overlaps", operands, { capacity: [capacity] }) as [Value, Value];
  const places = g.one("iota", [], { dtype: i32, dims: selected.dims, axis: 2 });
  const isKept = g.one("lt", [places, g.broadcast(counts, selected.dims, [0, 1])]);
  const flat = [productOf(selected.dims)];
  const at = positionsOf(c, g.reshape(isKept, flat), "selected", c.declaredDim(0, 0));
  const box = g.one("gather", [g.reshape(selected, flat), at], { axes: [0], at: 0 });
  const [inBatch, inClass] = coordinates(c, at, [batch, classes, capacity]) as [Value, Value];
  return c.of(g.convert(stacked(c, [inBatch, inClass, box], 1), i64));
}

export const selectionOps: OpTable = {
  NonZero: { since: 9, map: nonZero },
  Compress: { since: 9, map: compress },
  NonMaxSuppression: { since: 10, map: nonMaxSuppression },
};

import type { Dim } from "../../base/dim.ts";
import type { Value } from "../../graph/ir.ts";
import type { NodeContext } from "./context.ts";
import type { Operand } from "./operand.ts";

/** Axes that the model computes: which dimensions they name, and the dims that follow, as small vectors of the graph. */

/** The elements of a list as an i32 vector; a scalar is a list of one. */
export function listOf(c: NodeContext, list: Operand): Value {
  const v = c.sizes.of(list);
  if (list.rank > 1) return c.fail(`a list of rank ${list.rank}, expected 1`);
  return list.rank === 0 ? c.g.reshape(v, [1]) : v;
}

/** How many entries a list has that decides on a rank: its own size, or what the model declares. */
export function lengthOf(c: NodeContext, list: Operand, declared: number | null, what: string): number {
  const n = list.dims[0] ?? 1;
  if (typeof n === "number") return n;
  const length = declared ?? c.unsupported(`${what} has ${n} entries, on which the rank of the result depends; the model has to declare that rank`);
  c.sameDim(n, length, what);
  return length;
}

/** Where a list of axes counts from the end: counted from the start. */
export function axesFromStart(c: NodeContext, axes: Value, rank: number): Value {
  const s = c.sizes;
  return s.select(s.lt(axes, 0), s.add(axes, rank), axes);
}

/** For each dimension whether the axes name it. A run fails where they name one twice, or one that there is not. */
export function axisMask(c: NodeContext, axes: Operand, rank: number): Value {
  const s = c.sizes;
  const given = axesFromStart(c, listOf(c, axes), rank);
  const n = given.dims[0] as Dim;
  const mask = s.combine("or", s.eq(s.rows(given, rank), s.positions([rank, n], 0)));
  s.size(s.combine("add", s.count(mask)), "axes", 0, rank, n);
  return mask;
}

/** For each dimension, how many before it the mask leaves out. */
function othersBefore(c: NodeContext, mask: Value, rank: number): Value {
  const s = c.sizes;
  const before = s.lt(s.positions([rank, rank], 1), s.positions([rank, rank], 0));
  return s.combine("add", s.count(s.and(s.rows(s.not(mask), rank), before)));
}

/** `dims` without those that the mask names, `left` of them. */
export function withoutMasked(c: NodeContext, dims: readonly Dim[], mask: Value, left: number): Value {
  const s = c.sizes;
  const rank = dims.length;
  const here = s.eq(s.rows(othersBefore(c, mask, rank), left), s.positions([left, rank], 0));
  return s.combine("add", s.select(s.and(here, s.rows(s.not(mask), left)), s.rows(s.vector(dims), left), 0));
}

/** `dims` in order where the mask leaves out, 1 where it names. */
export function withOnes(c: NodeContext, dims: readonly Dim[], mask: Value, rank: number): Value {
  const s = c.sizes;
  if (dims.length === 0) return s.vector(Array.from({ length: rank }, () => 1));
  const at = s.columns(othersBefore(c, mask, rank), dims.length);
  const old = s.combine("add", s.select(s.eq(at, s.positions([rank, dims.length], 1)), s.rows(s.vector(dims), rank), 0));
  return s.select(mask, 1, old);
}

/** A list that goes with axes, spread over all dimensions: `otherwise` where no axis names one. */
export function overAllAxes(c: NodeContext, list: Value, axes: Value, rank: number, otherwise: number): Value {
  const s = c.sizes;
  const n = axes.dims[0] as Dim;
  const here = s.eq(s.rows(axes, rank), s.positions([rank, n], 0));
  const sum = s.combine("add", s.select(here, s.rows(list, rank), 0));
  return s.select(s.combine("or", here), sum, otherwise);
}

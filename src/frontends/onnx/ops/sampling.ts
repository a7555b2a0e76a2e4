import type { Dim } from "../../../base/dim.ts";
import { type DType, f32, f64, i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import { type Operand, dimValue } from "../operand.ts";
import { identityOf } from "../../../scalar/scalars.ts";
import type { NodeContext } from "../context.ts";
import type { Formula, Term } from "./formula.ts";
import { slicedAlong } from "./shape.ts";

/** The dtype in which coordinates and weighted sums of x are computed. */
export function samplingType(d: DType): DType {
  return d === f64 || (d.isInteger && d.bits >= 32) ? f64 : f32;
}

/** A computed value back in the dtype of x: integers rounded to the nearest (ties to even) and kept in range. */
export function backTo(f: Formula, v: Value, dtype: DType): Value {
  if (v.dtype === dtype || !dtype.isInteger) return f.g.convert(v, dtype);
  const [low, high] = [Number(identityOf("max", dtype)), Number(identityOf("min", dtype))];
  return f.g.convert(f.clamp(f.op("round", v), low, high), dtype);
}

/** A size as a scalar of a float dtype, or as a number where it is one. */
export function floatSize(c: NodeContext, d: Dim, dtype: DType): Term {
  return typeof d === "number" ? d : c.g.convert(dimValue(c.g, d), dtype);
}

/** Entry `k` of the last dimension, which goes. */
export function lastEntry(c: NodeContext, x: Operand, k: number): Value {
  return c.g.reshape(slicedAlong(c, x, x.rank - 1, k, 1).value, x.dims.slice(0, -1));
}

/** What one axis contributes to a sample: a place and its weight, and where it exists (everywhere if null). */
export interface Tap {
  readonly at: Value;
  readonly weight: Value | null;
  readonly exists: Value | null;
}

/** Every choice of one tap for each axis. */
function choices(taps: readonly (readonly Tap[])[]): Tap[][] {
  return taps.reduce<Tap[][]>((all, axis) => all.flatMap((chosen) => axis.map((t) => [...chosen, t])), [[]]);
}

/**
 * Reads x at places of the taps of a choice: 0 where one does not exist. `outer` are indices of the axes before the sampled
 * ones that are walked along, by axis; the result has x's other axes, with the dims of the places put in at `at`.
 */
function read(c: NodeContext, f: Formula, x: Value, axes: readonly number[], index: readonly Value[], at: number, taps: readonly Tap[]): Value {
  const order = axes.map((axis, k) => ({ axis, index: index[k] as Value })).sort((a, b) => a.axis - b.axis);
  const v = c.g.one("gather", [x, ...order.map((o) => c.g.convert(o.index, i32))], { axes: order.map((o) => o.axis), at });
  const known = taps.flatMap((t) => (t.exists === null ? [] : [t.exists]));
  if (known.length === 0) return v;
  return f.select(
    placed(
      c,
      known.reduce((a, b) => f.and(a, b)),
      v,
      at,
    ),
    v,
    0,
  );
}

/** A value over the places, stretched over a sample's other dims. */
function placed(c: NodeContext, v: Value, over: Value, at: number): Value {
  return c.g.broadcast(
    v,
    over.dims,
    v.dims.map((_, i) => at + i),
  );
}

/** The product of the weights of a choice; null if it is 1. */
function weightOf(f: Formula, taps: readonly Tap[]): Value | null {
  const weights = taps.flatMap((t) => (t.weight === null ? [] : [t.weight]));
  return weights.length === 0 ? null : weights.reduce((a, b) => f.mul(a, b));
}

/** The sum over all choices of the product of a choice's weights and what x holds there. */
export function sample(
  c: NodeContext,
  f: Formula,
  x: Value,
  places: { readonly axes: readonly number[]; readonly outer: readonly Value[]; readonly at: number },
  taps: readonly (readonly Tap[])[],
): Value {
  const parts = choices(taps).map((chosen) => {
    const v = read(c, f, x, places.axes, [...places.outer, ...chosen.map((t) => t.at)], places.at, chosen);
    const weight = weightOf(f, chosen);
    return weight === null ? v : f.mul(v, placed(c, weight, v, places.at));
  });
  return parts.reduce((a, b) => f.add(a, b));
}

/** The weights of Keys' cubic convolution (Keys, 1981) with a = -0.75 for the elements at -1, 0, 1 and 2 from the one below. */
export function cubicWeights(f: Formula, t: Value): Value[] {
  const a = -0.75;
  const near = (d: Value): Value => f.add(f.mul(f.mul(f.sub(f.mul(d, a + 2), a + 3), d), d), 1);
  const far = (d: Value): Value => f.sub(f.mul(f.add(f.mul(f.sub(f.mul(d, a), 5 * a), d), 8 * a), d), 4 * a);
  return [far(f.add(t, 1)), near(t), near(f.sub(1, t)), far(f.sub(2, t))];
}

/** Sizes that input `i` gives: known ones, or bound when the model runs. `declared` are those that the model declares. */
export function sizesOf(c: NodeContext, i: number, count: number, declared: (k: number) => number | null): Dim[] {
  const o = c.input(i);
  const [n] = o.dims;
  if (o.rank !== 1 || n !== count) return c.fail(`input ${i} of dims [${o.dims.join(", ")}], expected ${count} sizes`);
  if (o.known !== null) return [...o.known];
  const elements = c.sizes.of(o);
  return Array.from({ length: count }, (_, k) => c.sizes.size(c.sizes.entry(elements, k), "size", 0, null, declared(k)));
}

import { type DType, bool, f32, i32 } from "../../base/dtype.ts";
import type { Dim } from "../../base/dim.ts";
import type { Num } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import { type Scalars, identityOf } from "../../scalar/scalars.ts";
import type { OpaqueBuilder } from "../../tensor/opaque-builder.ts";
import type { Tensor } from "../../tensor/ir.ts";

/**
 * The order in which ops sort, and the algorithms that they share. Ascending is the usual order with NaN after all numbers
 * and -0 equal to 0; descending is the reverse of that. Elements that are equal keep the order of their positions.
 */

/** The dtype in which elements are compared: the narrow ones in one of 32 bits, which has all their values. */
export function keyType(d: DType): DType {
  if (d.isFloat) return d.format === null ? d : f32;
  return d === bool || d.bits < 32 ? i32 : d;
}

/** Does `a` come strictly before `b`? */
export function comesBefore(sc: Scalars, a: Expr, b: Expr, descending: boolean): Expr {
  const [x, y] = descending ? [b, a] : [a, b];
  const less = sc.op("lt", [x, y]);
  if (!x.dtype.isFloat) return less;
  // x is a number and y is not.
  return sc.op("or", [less, sc.and(sc.op("eq", [x, x]), sc.op("ne", [y, y]))]);
}

/** The value that no other comes after. */
export function lastKey(sc: Scalars, d: DType, descending: boolean): Expr {
  if (!d.isFloat) return sc.const(identityOf(descending ? "max" : "min", d), d);
  return sc.const(descending ? Number.NEGATIVE_INFINITY : Number.NaN, d);
}

/** The order of two elements as a number below, equal to or above 0: the reference. */
export function compareElements(a: Num, b: Num, descending: boolean): number {
  const [x, y] = descending ? [b, a] : [a, b];
  const [xNaN, yNaN] = [Number.isNaN(x as number), Number.isNaN(y as number)];
  if (xNaN || yNaN) return Number(xNaN) - Number(yNaN);
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Steps by which widths double until they reach `n`; the most that there can be where it is not known. */
function doublings(n: Dim): number {
  return typeof n === "number" ? Math.ceil(Math.log2(Math.max(1, n))) : 31;
}

/**
 * Merge sort from the bottom up of the elements `[0, n)`, which the caller has put there. Every array has twice as many places as
 * elements: each pass merges from one half into the other. `before(x, y)`: does the element at place x come strictly before that at
 * place y? Gives the half (its first place) that has the result.
 */
export function mergeSort(o: OpaqueBuilder, n: Dim, arrays: readonly Tensor[], before: (x: Expr, y: Expr) => Expr): Expr {
  const { sc } = o;
  const size = sc.dim(n);
  const from = o.cell("from", sc.int(0));
  const width = o.cell("width", sc.int(1));
  o.for("pass", sc.int(0), sc.int(doublings(n)), () =>
    o.if(sc.op("lt", [width.value, size]), () => {
      const to = o.let("to", sc.sub(size, from.value));
      const w = o.let("w", width.value);
      const low = o.cell("low", sc.int(0));
      const pairs = sc.op("div", [sc.sub(sc.add(size, sc.add(w, w)), sc.int(1)), sc.add(w, w)]);
      o.for("pair", sc.int(0), pairs, () => {
        const mid = o.let("mid", sc.min(sc.add(low.value, w), size));
        const high = o.let("high", sc.min(sc.add(mid, w), size));
        mergeRuns(o, arrays, before, { from: from.value, to, low: low.value, mid, high });
        low.set(high);
      });
      from.set(to);
      width.set(sc.add(w, w));
    }),
  );
  return from.value;
}

interface Runs {
  readonly from: Expr;
  readonly to: Expr;
  readonly low: Expr;
  readonly mid: Expr;
  readonly high: Expr;
}

/** Merges the sorted runs `[low, mid)` and `[mid, high)`. */
function mergeRuns(o: OpaqueBuilder, arrays: readonly Tensor[], before: (x: Expr, y: Expr) => Expr, { from, to, low, mid, high }: Runs): void {
  const { sc } = o;
  const last = [o.let("lastLeft", sc.sub(mid, sc.int(1))), o.let("lastRight", sc.sub(high, sc.int(1)))] as const;
  const left = o.cell("left", low);
  const right = o.cell("right", mid);
  o.for("place", low, high, (place) => {
    // Places beyond a run's end are moved back into it; they are not chosen.
    const x = o.let("x", sc.add(from, sc.min(left.value, last[0])));
    const y = o.let("y", sc.add(from, sc.min(right.value, last[1])));
    const there = sc.op("lt", [right.value, high]);
    const takesRight = o.let("takesRight", sc.op("or", [sc.op("ge", [left.value, mid]), sc.and(there, before(y, x))]));
    const source = o.let("source", sc.select(takesRight, y, x));
    for (const t of arrays) o.write(t, [sc.add(to, place)], o.read(t, source));
    const step = o.let("step", sc.select(takesRight, sc.int(1), sc.int(0)));
    right.set(sc.add(right.value, step));
    left.set(sc.add(left.value, sc.sub(sc.int(1), step)));
  });
}

/** Keys with their positions, at the same places. */
export interface Keyed {
  readonly keys: Tensor;
  readonly positions: Tensor;
}
interface Item {
  readonly key: Expr;
  readonly position: Expr;
}

/** A total order of keys with positions, `top(a, b)`: does a belong nearer to the top of the heap than b? */
export type HeapOrder = (a: Item, b: Item) => Expr;

/** The order by key, then by position; `reversed` for a heap that has the last one at its top. */
export function heapOrder(sc: Scalars, descending: boolean, reversed: boolean): HeapOrder {
  return (p, q) => {
    const [a, b] = reversed ? [q, p] : [p, q];
    const after = comesBefore(sc, b.key, a.key, descending);
    const earlier = sc.and(sc.op("lt", [a.position, b.position]), sc.op("not", [after]));
    return sc.op("or", [comesBefore(sc, a.key, b.key, descending), earlier]);
  };
}

/**
 * Puts an item at place `start` of the heap in `[0, size)`, or below it where others belong nearer to the top. The heap has at most
 * `most` places.
 */
export function siftDown(o: OpaqueBuilder, heap: Keyed, order: HeapOrder, item: Item, start: Expr, size: Expr, most: Dim): void {
  const { sc } = o;
  const itemAt = (i: Expr): Item => ({ key: o.read(heap.keys, i), position: o.read(heap.positions, i) });
  const hole = o.cell("hole", start);
  const sinks = o.cell("sinks", sc.bool(true));
  o.for("level", sc.int(0), sc.int(doublings(most)), () => {
    const child = o.let("child", sc.add(sc.add(hole.value, hole.value), sc.int(1)));
    sinks.set(sc.and(sinks.value, sc.op("lt", [child, size])));
    o.if(sinks.value, () => {
      const other = o.let("other", sc.min(sc.add(child, sc.int(1)), sc.sub(size, sc.int(1))));
      const best = o.let("best", sc.select(order(itemAt(other), itemAt(child)), other, child));
      o.if(
        order(itemAt(best), item),
        () => {
          o.write(heap.keys, [hole.value], o.read(heap.keys, best));
          o.write(heap.positions, [hole.value], o.read(heap.positions, best));
          hole.set(best);
        },
        () => sinks.set(sc.bool(false)),
      );
    });
  });
  o.write(heap.keys, [hole.value], item.key);
  o.write(heap.positions, [hole.value], item.position);
}

/** Takes the item at a place of a heap out of memory. */
export function takeItem(o: OpaqueBuilder, heap: Keyed, at: Expr): Item {
  return { key: o.let("key", o.read(heap.keys, at)), position: o.let("position", o.read(heap.positions, at)) };
}

import { productOf } from "../base/dim.ts";
import { loadsOf } from "../scalar/expr.ts";
import { mentionedIn } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Kernel, type Tensor, allStages, stageExprs } from "../tensor/ir.ts";
import { stridesOf, typicalSize } from "./access.ts";

/**
 * How many times as dear a byte is that two cores read, if a kernel wrote it, as a byte of a constant: it comes from the
 * other core's cache, and the next kernel that writes there has to take the line from both (measured: 3.6 ns a line, where one
 * that a core has alone takes 0.7).
 */
const writtenBytes = 3;

/**
 * A launch runs over two axes as one range, the second inside the first. Is it better that each thread takes a part of the
 * second axis, for all of the first, than a part of the first? It is where less is read by all threads: an operand is that
 * moves with the other axis only. Between equals the axis counts along which the results lie further apart, for most
 * kernels can be shared so: then a thread finds in its core's caches what it wrote itself.
 */
export function sharesRows(sc: Scalars, k: Kernel, [first, second]: readonly [string, string], isConstant: (t: Tensor) => boolean): boolean {
  const [a, b] = [sharedBytes(k, first, isConstant), sharedBytes(k, second, isConstant)];
  if (a !== b) return b < a;
  const [index] = allStages(k).flatMap((s) => s.writes)[0]?.index ?? [];
  if (index === undefined) return false;
  const strides = [...stridesOf(sc, index)];
  const step = (axis: string): number => Math.abs(Number(strides.find(([v]) => v.name === axis)?.[1]?.constant ?? 0));
  return step(second) > step(first);
}

/** Bytes that all threads read when each takes a part of the axis; those of constants count as they are. */
function sharedBytes(k: Kernel, axis: string, isConstant: (t: Tensor) => boolean): number {
  const moves = new Map<Tensor, boolean>();
  for (const s of allStages(k))
    for (const l of loadsOf(...stageExprs(s))) {
      const t = l.attr as Tensor;
      const own = l.args.some((i) => [...mentionedIn(i)].some((v) => v.name === axis));
      if (!k.locals.includes(t)) moves.set(t, own || moves.get(t) === true);
    }
  let bytes = 0;
  for (const [t, own] of moves) if (!own) bytes += typicalSize(productOf(t.dims)) * t.dtype.byteWidth * (isConstant(t) ? 1 : writtenBytes);
  return bytes;
}

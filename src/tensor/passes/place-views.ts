import { type Dim, dimEquals } from "../../base/dim.ts";
import type { Expr } from "../../scalar/expr.ts";
import { affineIn } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Layout, type Tensor, type TensorFunction, rowMajor } from "../ir.ts";
import { soleStage, usersOf } from "./fusion.ts";
import { withKernels } from "./inline-producers.ts";

/**
 * Concatenation without copies: a stage that only copies a whole tensor to a place inside another is dropped, and the
 * tensor becomes a view of that place, so that its producer writes there directly.
 */
export function placeViews(sc: Scalars, f: TensorFunction): TensorFunction {
  const users = usersOf(f);
  const fixed = new Set<Tensor>([...f.inputs, ...f.outputs]);
  const layouts = new Map<Tensor, Layout>(f.layouts);
  const dropped = new Set<Kernel>();
  for (const k of f.kernels) {
    const copy = copyOf(sc, k);
    if (copy === null) continue;
    const { from, to, offset } = copy;
    const isTemporary = from.data === null && !fixed.has(from) && (users.writers.get(from)?.length ?? 0) > 0;
    if (!isTemporary || layouts.get(from)?.view != null || from.dtype !== to.dtype || viewedBy(layouts, to, from)) continue;
    layouts.set(from, { ...rowMajor(from.dims.length), view: { of: to, offset } });
    dropped.add(k);
  }
  if (dropped.size === 0) return f;
  return withKernels(
    { ...f, layouts },
    f.kernels.filter((k) => !dropped.has(k)),
  );
}

/** Would `t` lie inside itself? */
function viewedBy(layouts: ReadonlyMap<Tensor, Layout>, t: Tensor, target: Tensor): boolean {
  for (let at: Tensor | undefined = t; at !== undefined; at = layouts.get(at)?.view?.of) if (at === target) return true;
  return false;
}

/** `to[i + offset] = from[i]` over all of `from`. */
function copyOf(sc: Scalars, k: Kernel): { from: Tensor; to: Tensor; offset: Dim[] } | null {
  const s = soleStage(k);
  const w = s?.writes[0];
  if (s === null || w === undefined || s.accumulators.length > 0 || w.value.op !== "load") return null;
  const from = w.value.attr as Tensor;
  if (from.dims.length !== w.tensor.dims.length || from.dims.length !== s.axes.length) return null;
  const offset: Dim[] = [];
  for (const [d, e] of w.value.args.entries()) {
    const v = e.variable;
    const axis = s.axes.find((a) => a.variable === v);
    if (v === null || axis === undefined || !dimEquals(axis.extent, from.dims[d] as Dim)) return null;
    const at = affineIn(sc, w.index[d] as Expr, v);
    if (at === null || !at.coef.isConst(1) || at.rest.constant === null) return null;
    offset.push(Number(at.rest.constant));
  }
  return { from, to: w.tensor, offset };
}

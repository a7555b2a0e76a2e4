import { type Dim, dimEquals } from "../../base/dim.ts";
import { affineIn, mentions } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Layout, type Tensor, type TensorFunction, rowMajor, soleStage } from "../ir.ts";
import { substituteIndices, usersOf } from "./fusion.ts";
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
    const { from, to, offset, axes } = copy;
    const view = axes.every((a, d) => a === d) && axes.length === to.dims.length ? { of: to, offset } : { of: to, offset, axes };
    const isTemporary = from.data === null && !fixed.has(from) && (users.writers.get(from)?.length ?? 0) > 0;
    if (!isTemporary || layouts.get(from)?.view != null || from.dtype !== to.dtype || viewedBy(layouts, to, from)) continue;
    layouts.set(from, { ...rowMajor(from.dims.length), view });
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

/** `to[i + offset] = from[i]` over all of `from`; dims of one point may come and go on the way. */
function copyOf(sc: Scalars, k: Kernel): { from: Tensor; to: Tensor; offset: Dim[]; axes: number[] } | null {
  const s = soleStage(k);
  const w = s?.writes[0];
  if (s === null || w === undefined || s.accumulators.length > 0 || w.value.op !== "load") return null;
  const from = w.value.attr as Tensor;
  const points = new Map(s.axes.filter((a) => a.extent === 1).map((a) => [a.variable, sc.int(0)]));
  const read = w.value.args.map((e) => substituteIndices(sc, e, points));
  const written = w.index.map((e) => substituteIndices(sc, e, points));
  const moving = s.axes.filter((a) => a.extent !== 1).map((a) => a.variable);
  const axes: number[] = [];
  const offset: Dim[] = written.map(() => 0);
  for (const [d, e] of read.entries()) {
    const v = e.variable;
    if (v === null) {
      if (!e.isConst(0) || from.dims[d] !== 1) return null;
      axes.push(-1);
      continue;
    }
    const axis = s.axes.find((a) => a.variable === v);
    const to = written.findIndex((x) => mentions(x, v));
    if (axis === undefined || !dimEquals(axis.extent, from.dims[d] as Dim) || to < 0 || axes.includes(to)) return null;
    axes.push(to);
  }
  // In another order it would be a copy that makes vectors, which is not for its producer to do.
  const kept = axes.filter((a) => a >= 0);
  if (kept.length !== moving.length || kept.some((a, i) => i > 0 && a < (kept[i - 1] as number))) return null;
  for (const [d, e] of written.entries()) {
    const v = read[axes.indexOf(d)]?.variable ?? null;
    const rest = v === null ? e : affineIn(sc, e, v);
    if (rest === null) return null;
    if ("coef" in rest && !rest.coef.isConst(1)) return null;
    const start = "coef" in rest ? rest.rest.constant : rest.constant;
    if (start === null) return null;
    offset[d] = Number(start);
  }
  return { from, to: w.tensor, offset, axes: axes.map((a, d) => (a < 0 && from.dims.length === w.tensor.dims.length && !axes.includes(d) ? d : a)) };
}

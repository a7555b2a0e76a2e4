import { type Dim, dimEquals, dimMin, productOf, subDim } from "../../base/dim.ts";
import { type Expr, type Variable, loadsOf, postorder } from "../../scalar/expr.ts";
import { mentions, polynomialOf, simplifyIndices } from "../../scalar/index.ts";
import { type OpName, findScalarOp, scalarOps } from "../../scalar/ops/table.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Stage, type Tensor, type TensorFunction, mapStage, readsOf, soleStage, stageExprs, writesOf } from "../ir.ts";

/** What the fusion passes ask of a function: who writes and reads what. */
export interface Users {
  readonly writers: ReadonlyMap<Tensor, readonly Kernel[]>;
  readonly readers: ReadonlyMap<Tensor, readonly Kernel[]>;
  /** Tensors that must lie in memory whoever reads them by name: outputs, views, and what has views. */
  readonly visible: ReadonlySet<Tensor>;
}

export function usersOf(f: TensorFunction): Users {
  const writers = new Map<Tensor, Kernel[]>();
  const readers = new Map<Tensor, Kernel[]>();
  const add = (m: Map<Tensor, Kernel[]>, t: Tensor, k: Kernel) => {
    const list = m.get(t);
    if (list === undefined) m.set(t, [k]);
    else list.push(k);
  };
  for (const k of f.kernels) {
    for (const t of writesOf(k)) add(writers, t, k);
    for (const t of readsOf(k)) add(readers, t, k);
  }
  const visible = new Set(f.outputs);
  const direct = { writers: new Map(writers), readers: new Map(readers) };
  for (const [t, layout] of f.layouts) {
    // Who writes a view writes part of the whole; who reads the whole reads the view.
    for (let v = layout.view; v !== null; v = f.layouts.get(v.of)?.view ?? null) {
      visible.add(t).add(v.of);
      writers.set(v.of, [...new Set([...(writers.get(v.of) ?? []), ...(direct.writers.get(t) ?? [])])]);
      readers.set(t, [...new Set([...(readers.get(t) ?? []), ...(direct.readers.get(v.of) ?? [])])]);
    }
  }
  return { writers, readers, visible };
}

/** `T[i…] = value(i…)` with every axis one index: what can be computed anew wherever it is read. */
export interface Pointwise {
  readonly tensor: Tensor;
  readonly axes: readonly Variable[];
  readonly value: Expr;
}

export function pointwise(k: Kernel): Pointwise | null {
  const s = soleStage(k);
  const w = s?.writes[0];
  if (s === null || w === undefined || s.accumulators.length > 0) return null;
  const axes: Variable[] = [];
  for (const [d, e] of w.index.entries()) {
    const v = e.variable;
    if (v === null || axes.includes(v) || !s.axes.some((a) => a.variable === v && dimEquals(a.extent, w.tensor.dims[d] as Dim))) return null;
    axes.push(v);
  }
  return axes.length === s.axes.length ? { tensor: w.tensor, axes, value: w.value } : null;
}

/** Cost of the arithmetic on values; 0 for what only moves data (indices, guards and conversions between equal forms). */
export function valueCost(root: Expr): number {
  const skip = new Set<Expr>();
  for (const e of postorder([root])) {
    if (e.op === "load") for (const i of postorder(e.args)) skip.add(i);
    if (e.op === "select") for (const c of postorder([e.args[0] as Expr])) if (loadsOf(c).length === 0) skip.add(c);
  }
  let cost = 0;
  for (const e of postorder([root])) {
    const entry = scalarOps[e.op as OpName] as (typeof scalarOps)[OpName] | undefined;
    if (entry !== undefined && !skip.has(e) && e.op !== "select") cost += entry.cost;
  }
  return cost;
}

const mostNodes = 512;
const mostCost = 256;
/**
 * Has a value grown beyond what is worth computing in one place? Fusion stops there: one pass over memory more costs
 * little beside so much arithmetic, while code and compile time must not grow without bound along a chain.
 */
export function isLong(value: Expr): boolean {
  return postorder([value]).length > mostNodes || valueCost(value) > mostCost;
}

/** Replaces reads of inlined tensors in an expression by their values. */
export function inlineReads(sc: Scalars, roots: readonly Expr[], inlined: ReadonlyMap<Tensor, Pointwise>): Expr[] {
  return sc.rebuild(roots, (e, args) => {
    if (e.op !== "load") return null;
    const p = inlined.get(e.attr as Tensor);
    if (p === undefined) return e.lanes === 1 ? sc.load(e.attr as Tensor, simplifyIndices(sc, args)) : null;
    return substituteIndices(sc, p.value, new Map(p.axes.map((v, i) => [v, args[i] as Expr])));
  });
}

/** Substitution that simplifies the indices it makes. */
export function substituteIndices(sc: Scalars, e: Expr, map: ReadonlyMap<Variable, Expr>): Expr {
  return sc.rebuild([e], (x, args) => {
    if (x.op === "var") return map.get(x.attr as Variable) ?? null;
    return x.op === "load" ? sc.load(x.attr as Tensor, simplifyIndices(sc, args)) : null;
  })[0] as Expr;
}

export function inlineIntoKernel(
  sc: Scalars,
  k: Kernel,
  inlined: ReadonlyMap<Tensor, Pointwise>,
  origins: ReadonlyMap<Tensor, readonly string[]>,
): Kernel {
  const used = readsOf(k).filter((t) => inlined.has(t));
  if (used.length === 0) return k;
  const added = used.flatMap((t) => origins.get(t) ?? []);
  const stage = (s: Stage): Stage => {
    const reads = new Set(loadsOf(...stageExprs(s)).map((l) => l.attr as Tensor));
    const mapped = mapStage(s, (e) => inlineReads(sc, [e], inlined)[0] as Expr);
    return { ...mapped, origin: used.some((t) => reads.has(t)) ? [...new Set([...s.origin, ...added])] : s.origin };
  };
  return { ...k, stages: k.stages.map(stage) };
}

/** Is every position that the stage reads affine in all of its axes? What schedules can vectorise and tile well. */
export function isAffine(s: Stage, roots: readonly Expr[]): boolean {
  return loadsOf(...roots).every((l) =>
    l.args.every((index) =>
      [...polynomialOf(index).values()].every((m) => {
        const moving = m.atoms.filter((a) => s.axes.some((x) => mentions(a, x.variable)));
        return moving.length <= 1 && moving.every((a) => a.op === "var");
      }),
    ),
  );
}

/** Points of a stage's domain, and elements of a tensor. */
export const pointsOf = (s: Stage): Dim => productOf(s.axes.map((a) => a.extent));
export const elementsOf = (t: Tensor): Dim => productOf(t.dims);
/** Is `a ≤ b` for all sizes? */
export function atMost(a: Dim, b: Dim): boolean {
  return dimEquals(a, b) || dimMin(subDim(b, a)) >= 0;
}
/** A reduction over products of two reads that move differently along the parallel axes: worth tiling for reuse. */
export function isContraction(s: Stage): boolean {
  if (s.accumulators.length !== 1) return false;
  const lift = s.accumulators[0]?.lift;
  if (lift === undefined || findScalarOp(lift.op)?.bilinear !== true) return false;
  const reductions = s.axes.filter((a) => a.kind === "reduction");
  const parallel = s.axes.filter((a) => a.kind === "parallel" && a.extent !== 1);
  const sides = lift.args.map((a) => loadsOf(a));
  if (sides.some((l) => !l.some((x) => reductions.some((r) => mentions(x, r.variable))))) return false;
  return parallel.some((p) => sides.some((l) => !l.some((x) => mentions(x, p.variable))));
}

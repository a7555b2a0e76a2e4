import { dimEquals } from "../../base/dim.ts";
import type { Expr, Variable } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Stage, type Tensor, type TensorFunction, mapStage, readsOf, soleStage } from "../ir.ts";
import { atMost, elementsOf, isContraction, pointsOf, usersOf } from "./fusion.ts";
import { withKernels } from "./inline-producers.ts";

/**
 * Sibling fusion: two reductions over the same domain that read the same large tensor, and of which neither needs the
 * other (the minimum and the maximum, a sum and a sum of squares), become one stage with both accumulators, so that the
 * tensor is read once. Contractions stay apart: each fills the registers by itself.
 */
export function fuseSiblings(sc: Scalars, f: TensorFunction): TensorFunction {
  const { writers } = usersOf(f);
  const order = new Map(f.kernels.map((k, i) => [k, i]));
  const elder = new Map<string, Kernel>();
  const merged = new Map<Kernel, Kernel>();
  const gone = new Set<Kernel>();
  for (const k of f.kernels) {
    const s = soleStage(k);
    if (s === null || s.accumulators.length === 0 || isContraction(s)) continue;
    const shared = readsOf(k).filter((t) => atMost(pointsOf(s), elementsOf(t)));
    const keys = shared.map((t) => signature(s, t));
    const first = keys.map((key) => elder.get(key)).find((e) => e !== undefined);
    const ready =
      first !== undefined && readsOf(k).every((t) => (writers.get(t) ?? []).every((w) => (order.get(w) as number) < (order.get(first) as number)));
    if (first === undefined || !ready) {
      for (const key of keys) elder.set(key, k);
      continue;
    }
    merged.set(first, join(sc, merged.get(first) ?? first, s));
    gone.add(k);
  }
  if (gone.size === 0) return f;
  return withKernels(
    f,
    f.kernels.filter((k) => !gone.has(k)).map((k) => merged.get(k) ?? k),
  );
}

/** Equal for stages with the same axes that read the tensor. */
function signature(s: Stage, t: Tensor): string {
  return `${t.id}:${s.axes.map((a) => `${a.kind}${a.extent}`).join()}`;
}

/** The stage's accumulators and writes, over the axes of the other kernel's stage. */
function join(sc: Scalars, k: Kernel, s: Stage): Kernel {
  const [host] = k.stages;
  if (host === undefined || !s.axes.every((a, i) => dimEquals(a.extent, host.axes[i]?.extent ?? 0))) return k;
  const axes = new Map<Variable, Variable>(s.axes.map((a, i) => [a.variable, host.axes[i]?.variable as Variable]));
  const map = new Map<Variable, Expr>([...axes].map(([from, to]) => [from, sc.var(to)]));
  const memo = new Map<Expr, Expr>();
  const m = mapStage(s, (e) => sc.substituteAll([e], map, memo)[0] as Expr);
  const accumulators = m.accumulators.map((a) => ({ ...a, axes: a.axes.map((v) => axes.get(v) ?? v) }));
  return {
    ...k,
    stages: [
      {
        ...host,
        origin: [...new Set([...host.origin, ...s.origin])],
        accumulators: [...host.accumulators, ...accumulators],
        writes: [...host.writes, ...m.writes],
      },
    ],
  };
}

import { type Expr, type Variable, postorder } from "../scalar/expr.ts";
import { simplifyIndices } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Axis, type Kernel, type Stage, mapStage, stageExprs } from "../tensor/ir.ts";

/**
 * Splits axes that indices divide: where `floordiv(a, m)` or `mod(a, m)` stands (the group of a channel, a dim that was
 * reshaped), `a` becomes `a.o · m + a.i`, and every index moves evenly along both. Axes that run through memory as one
 * after all are joined again later. Works on linearised kernels of one stage.
 */
export function splitAxes(sc: Scalars, k: Kernel): Kernel {
  const [only] = k.stages;
  if (only === undefined || k.stages.length !== 1 || only.inner !== null) return k;
  let s = only;
  for (let next = divided(s); next !== null; next = divided(s)) {
    const split = splitAxis(sc, s, next.axis, next.by);
    if (split === null) break;
    s = split;
  }
  return s === only ? k : { ...k, stages: [s] };
}

/** An axis that some index divides evenly, and by what. */
function divided(s: Stage): { axis: Axis; by: number } | null {
  const axes = new Map(s.axes.filter((a) => a.kind !== "scan").map((a) => [a.variable, a]));
  for (const e of postorder(stageExprs(s))) {
    if (e.op !== "floordiv" && e.op !== "mod") continue;
    const [a, m] = e.args as [Expr, Expr];
    const axis = a.op === "var" ? axes.get(a.attr as Variable) : undefined;
    const by = Number(m.constant ?? 0);
    if (axis !== undefined && typeof axis.extent === "number" && by > 1 && by < axis.extent && axis.extent % by === 0) return { axis, by };
  }
  return null;
}

/** The stage with one axis as two; null where an index would not get simpler. */
function splitAxis(sc: Scalars, s: Stage, axis: Axis, by: number): Stage | null {
  const part = (suffix: string, extent: number): Axis => ({
    ...axis,
    extent,
    variable: sc.variable(`${axis.variable.name}.${suffix}`, undefined, { extent: sc.int(extent) }),
  });
  const [outer, inner] = [part("o", (axis.extent as number) / by), part("i", by)];
  const map = new Map([[axis.variable, sc.add(sc.mul(sc.var(outer.variable), sc.int(by)), sc.var(inner.variable))]]);
  const memo = new Map<Expr, Expr>();
  const replace = (e: Expr): Expr =>
    sc.rebuild([sc.substituteAll([e], map, memo)[0] as Expr], (x, args) =>
      x.op === "load" ? sc.load(x.storage as NonNullable<Expr["storage"]>, simplifyIndices(sc, args)) : null,
    )[0] as Expr;
  const mapped = mapStage(s, replace);
  const stays = postorder(stageExprs(mapped)).some(
    (e) => (e.op === "floordiv" || e.op === "mod") && e.args[1]?.isConst(by) && [outer.variable, inner.variable].some((v) => mentionsVariable(e, v)),
  );
  if (stays) return null;
  const both = (v: Variable) => (v === axis.variable ? [outer.variable, inner.variable] : [v]);
  return {
    ...mapped,
    axes: s.axes.flatMap((a) => (a === axis ? [outer, inner] : [a])),
    accumulators: mapped.accumulators.map((a) => ({ ...a, axes: a.axes.flatMap(both) })),
    writes: mapped.writes.map((w) => ({ ...w, index: simplifyIndices(sc, w.index) })),
  };
}

function mentionsVariable(e: Expr, v: Variable): boolean {
  return postorder([e]).some((x) => x.op === "var" && x.attr === v);
}

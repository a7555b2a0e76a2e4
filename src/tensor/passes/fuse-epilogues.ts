import { type Expr, type Variable, loadsOf } from "../../scalar/expr.ts";
import { simplifyIndices } from "../../scalar/index.ts";
import { invertIndexMap } from "../../scalar/invert.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Stage, type Tensor, type TensorFunction, soleStage } from "../ir.ts";
import { isLong, substituteIndices, usersOf } from "./fusion.ts";
import { withKernels } from "./inline-producers.ts";

/**
 * Epilogue fusion: a pointwise stage that is the only reader of a reduction's result becomes the end of that reduction
 * (bias, activation, residual addition; transposes and reshapes as well, as long as their index map can be inverted: the
 * result is then written where they would have put it).
 */
export function fuseEpilogues(sc: Scalars, f: TensorFunction): TensorFunction {
  let changed = false;
  const outputs = new Set(f.outputs);
  const users = usersOf(f);
  // Kernels as they are now; a reduction that took an epilogue moves to that epilogue's place.
  const current = new Map<Tensor, Kernel>();
  const gone = new Set<Kernel>();
  const result: Kernel[] = [];
  const position = new Map<Kernel, number>();
  for (const k of f.kernels) {
    const epilogue = soleStage(k);
    let fused: Kernel | null = null;
    if (epilogue !== null && epilogue.accumulators.length === 0) {
      // The latest producer: its operands and all others of the epilogue exist by then.
      const candidates = [...new Set(loadsOf(...epilogue.writes.map((w) => w.value)).map((l) => l.attr as Tensor))]
        .map((t) => ({ t, producer: current.get(t) }))
        .filter(
          ({ t, producer }) => producer !== undefined && !outputs.has(t) && users.readers.get(t)?.length === 1 && users.writers.get(t)?.length === 1,
        )
        .sort((a, b) => (position.get(b.producer as Kernel) ?? 0) - (position.get(a.producer as Kernel) ?? 0));
      for (const { t, producer } of candidates) {
        fused = fuse(sc, producer as Kernel, t, k, epilogue);
        if (fused !== null) {
          gone.add(producer as Kernel);
          break;
        }
      }
    }
    if (fused !== null) changed = true;
    const now = fused ?? k;
    position.set(now, result.push(now));
    const s = soleStage(now);
    if (s !== null && s.accumulators.length > 0) current.set((s.writes[0] as Stage["writes"][0]).tensor, now);
  }
  return changed
    ? withKernels(
        f,
        result.filter((k) => !gone.has(k)),
      )
    : f;
}

function fuse(sc: Scalars, producer: Kernel, t: Tensor, epilogue: Kernel, e: Stage): Kernel | null {
  const r = soleStage(producer);
  const [rw, ew] = [r?.writes[0], e.writes[0]];
  if (r === null || rw === undefined || ew === undefined) return null;
  const reads = loadsOf(ew.value).filter((l) => l.attr === t);
  const [read] = reads;
  if (read === undefined || reads.length !== 1) return null;
  // Where it writes may depend on the result, too: then that has to be there before.
  if (loadsOf(...ew.index, ...(ew.guard === null ? [] : [ew.guard])).some((l) => l.attr === t)) return null;
  // The reduction's own write must be plain too: it may carry the map of an epilogue that was fused before.
  const map = simplifyIndices(sc, read.args);
  const at = invertIndexMap(
    sc,
    map,
    t.dims.map((d) => sc.dim(d)),
    e.axes.map((a) => ({ variable: a.variable, extent: sc.dim(a.extent) })),
    rw.index,
  );
  if (at === null) return null;
  const value = substituteRead(sc, ew.value, read, rw.value, at);
  if (isLong(value)) return null;
  const index = simplifyIndices(
    sc,
    ew.index.map((x) => substituteIndices(sc, x, at)),
  );
  const stage: Stage = {
    ...r,
    origin: [...new Set([...r.origin, ...e.origin])],
    writes: [{ tensor: ew.tensor, index, value, combiner: null, guard: null }],
  };
  return { ...epilogue, name: producer.name, stages: [stage] };
}

/** The epilogue's value with its read of the reduction replaced by the reduction's own value, at the reduction's point. */
function substituteRead(sc: Scalars, value: Expr, read: Expr, result: Expr, at: ReadonlyMap<Variable, Expr>): Expr {
  return sc.rebuild([value], (x, args) => {
    if (x === read) return result;
    if (x.op === "var") return at.get(x.attr as Variable) ?? null;
    return x.op === "load" ? sc.load(x.attr as Tensor, simplifyIndices(sc, args)) : null;
  })[0] as Expr;
}

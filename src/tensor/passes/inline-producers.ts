import { loadsOf } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Stage, type Tensor, type TensorFunction, stageExprs } from "../ir.ts";
import {
  type Pointwise,
  atMost,
  elementsOf,
  inlineIntoKernel,
  inlineReads,
  isAffine,
  isLong,
  pointsOf,
  pointwise,
  usersOf,
  valueCost,
} from "./fusion.ts";

/** Which readers a producer may be inlined into. */
export type Scope = "pointwise" | "all";

/**
 * Producer fusion: a pointwise value is computed where it is read, instead of being stored. What only moves data (reshape,
 * transpose, slice, broadcast, padding) goes into every reader whose reads stay affine; arithmetic goes where that does not
 * repeat it. With scope `pointwise` only readers without reductions take it, so that epilogues can be fused before.
 */
export function inlineProducers(sc: Scalars, f: TensorFunction, scope: Scope): TensorFunction {
  const users = usersOf(f);
  const outputs = new Set(f.outputs);
  const inlined = new Map<Tensor, Pointwise>();
  const origins = new Map<Tensor, readonly string[]>();
  const kept: Kernel[] = [];
  // Readers that do not take a producer read what it stores: inlining is decided for each of them.
  const refused = new Map<Kernel, Set<Tensor>>();
  for (const original of f.kernels) {
    const no = refused.get(original);
    const mine = no === undefined ? inlined : new Map([...inlined].filter(([t]) => !no.has(t)));
    const k = inlineIntoKernel(sc, original, mine, origins);
    const p = pointwise(k);
    if (p === null || users.writers.get(p.tensor)?.length !== 1 || isLong(p.value)) {
      kept.push(k);
      continue;
    }
    const readers = users.readers.get(p.tensor) ?? [];
    const movement = valueCost(p.value) === 0;
    const accepts = readers.map((r) => accepted(sc, p, r, readers.length, scope));
    const anyTaken = movement ? accepts.some((a) => a) : accepts.length > 0 && accepts.every((a) => a);
    if (anyTaken) {
      inlined.set(p.tensor, p);
      origins.set(
        p.tensor,
        k.stages.flatMap((s) => s.origin),
      );
      readers.forEach((r, i) => {
        if (!accepts[i]) refused.set(r, (refused.get(r) ?? new Set()).add(p.tensor));
      });
    }
    if (!anyTaken || accepts.some((a) => !a) || outputs.has(p.tensor)) kept.push(k);
  }
  if (inlined.size === 0) return f;
  return withKernels(f, kept);
}

/** The function with other kernels, and the tensors that are still used. */
export function withKernels(f: TensorFunction, kernels: readonly Kernel[]): TensorFunction {
  const g = { ...f, kernels };
  const users = usersOf(g);
  const needed = new Set([...f.inputs, ...f.outputs]);
  for (const l of f.layouts.values()) if (l.view !== null) needed.add(l.view.of);
  return { ...g, tensors: f.tensors.filter((t) => needed.has(t) || users.writers.has(t) || users.readers.has(t)) };
}

function accepted(sc: Scalars, p: Pointwise, reader: Kernel, readerCount: number, scope: Scope): boolean {
  const stages = reader.stages.filter((s) => readsIn(s).has(p.tensor));
  return stages.every((s) => acceptedBy(sc, p, s, reader, readerCount, scope));
}

function readsIn(s: Stage): Set<Tensor> {
  return new Set(loadsOf(...[...(s.inner?.stages ?? []), s].flatMap(stageExprs)).map((l) => l.attr as Tensor));
}

function acceptedBy(sc: Scalars, p: Pointwise, s: Stage, reader: Kernel, readerCount: number, scope: Scope): boolean {
  const cost = valueCost(p.value);
  const reduces = s.accumulators.length > 0;
  if (reader.axes.some((a) => a.kind === "scan")) return false;
  const indirect = loadsOf(p.value).some((l) => loadsOf(...l.args).length > 0);
  if (!reduces) {
    if (cost === 0) return !indirect || readerCount === 1 || atMost(pointsOf(s), elementsOf(p.tensor));
    if (!atMost(pointsOf(s), elementsOf(p.tensor))) return readerCount === 1 && widening(p) >= muchWider;
    // Several readers: only if reading the operands again costs no more than reading the result.
    return readerCount === 1 || (cost <= 4 && loadsOf(p.value).filter((l) => !isSmaller(l.attr as Tensor, p.tensor)).length <= 1);
  }
  if (scope === "pointwise") return false;
  const inLift = loadsOf(...s.accumulators.map((a) => a.lift)).some((l) => l.attr === p.tensor);
  if (!inLift) return cost === 0 || readerCount === 1;
  if (indirect) return false;
  const inlinedLifts = inlineReads(
    sc,
    s.accumulators.map((a) => a.lift),
    new Map([[p.tensor, p]]),
  );
  if (!isAffine(s, inlinedLifts)) return false;
  return cost === 0 || (readerCount === 1 && (atMost(pointsOf(s), elementsOf(p.tensor)) || widening(p) > muchWider));
}

/** How much wider than all that it is made of a value is that readers make again and again: bytes that become words are not yet. */
const muchWider = 4;
/** How many times as large as all it is made of a value is, if most of that are elements of few bits: weights of four bits stay that, and a tile makes what it needs of them. */
function widening(p: Pointwise): number {
  const count = (t: Tensor): number => {
    const n = elementsOf(t);
    return typeof n === "number" ? n : Number.NaN;
  };
  const read = [...new Set(loadsOf(p.value).map((l) => l.attr as Tensor))];
  const isNarrow = (t: Tensor): boolean => t.dtype.isInteger && t.dtype.bits <= 8 && read.every((o) => count(o) <= count(t));
  if (!read.some(isNarrow)) return 1;
  return (count(p.tensor) * p.tensor.dtype.bits) / read.reduce((n, t) => n + count(t) * t.dtype.bits, 0);
}

function isSmaller(a: Tensor, b: Tensor): boolean {
  return !atMost(elementsOf(b), elementsOf(a));
}

import { productOf } from "../base/dim.ts";
import { hashText } from "../base/hash.ts";
import type { Expr, Storage, Variable } from "../scalar/expr.ts";
import { loadsOf } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { printExpr } from "../scalar/text.ts";
import { withoutOffsets } from "./choose.ts";
import { type Axis, type Kernel, type Stage, type Tensor, allStages } from "../tensor/ir.ts";

/** What tells a linearised kernel from others: equal keys mean the same computation on the same shapes and strides. */
export interface KernelIdentity {
  readonly key: string;
  /** The axes of its stages with their extents, for people. */
  readonly description: string;
}

/** The name of a stage's axis by its kind and place: `p0`, `r2`. */
export function axisName(s: Stage, position: number): string {
  return `${s.axes[position]?.kind[0] ?? "?"}${position}`;
}

/**
 * Identifies a linearised kernel by its structure, shape, strides, dtypes and which of its operands are constants; how
 * tensors, axes, stages and symbols are called does not matter, nor where in their buffers accesses begin.
 */
export function identifyKernel(sc: Scalars, kernel: Kernel, isConstant: (t: Tensor) => boolean): KernelIdentity {
  const k = withoutOffsets(sc, kernel);
  const stages = allStages(k);
  const variables = new Map<Variable, string>();
  const storages = new Map<Storage, string>();
  const locals = new Set<Storage>([...k.locals, ...stages.flatMap((s) => s.inner?.locals ?? [])]);
  const facts: string[] = [];
  const variable = (v: Variable): string => {
    let name = variables.get(v);
    if (name === undefined) {
      name = `n${variables.size}`;
      variables.set(v, name);
      facts.push(`${name}: ${v.min}..${v.max}/${v.multiple}`);
    }
    return name;
  };
  const storage = (s: Storage): string => {
    let name = storages.get(s);
    if (name === undefined) {
      name = `t${storages.size}`;
      storages.set(s, name);
      facts.push(`${name}: ${s.dtype}${locals.has(s) ? ` local ${productOf((s as Tensor).dims)}` : isConstant(s as Tensor) ? " constant" : ""}`);
    }
    return name;
  };
  const names = { variable, storage };
  const text = (e: Expr) => printExpr(e, names);

  k.axes.forEach((a, i) => variables.set(a.variable, `k${i}`));
  stages.forEach((s, i) => {
    s.axes.forEach((a, j) => variables.set(a.variable, `s${i}${axisName(s, j)}`));
    s.accumulators.forEach((a, j) => variables.set(a.left, `s${i}acc${j}`).set(a.right, `s${i}acc${j}'`));
  });
  const extent = (a: Axis) => (a.variable.extent === null ? String(a.extent) : text(a.variable.extent));
  const lines = [k.axes.map((a) => `${a.kind} ${extent(a)}`).join()];
  for (const s of stages) {
    lines.push(`${s.axes.map((a, j) => `${axisName(s, j)} ${extent(a)}`).join()}${s.inner === null ? "" : ` at ${variable(s.inner.axis)}`}`);
    for (const a of s.accumulators)
      lines.push(`${a.axes.map(variable).join()}: ${a.left.dtype} ${text(a.identity)} ${text(a.lift)} ${text(a.combine)}`);
    for (const w of s.writes) {
      const sign = w.combiner ?? "";
      lines.push(`${storage(w.tensor)}[${w.index.map(text).join()}] ${sign}= ${text(w.value)}${w.guard === null ? "" : ` if ${text(w.guard)}`}`);
    }
  }
  return { key: hashText([...lines, ...facts].join("\n")), description: describe(k, stages) };
}

/** `k0=12; p0=64 p1=64 r2=32; …` */
function describe(k: Kernel, stages: readonly Stage[]): string {
  const shared = k.axes.map((a, i) => `k${i}=${a.extent}`).join(" ");
  const own = stages.map((s) => s.axes.map((a, j) => `${axisName(s, j)}=${a.extent}`).join(" "));
  return [...(shared === "" ? [] : [shared]), ...own].map((t) => (t === "" ? "·" : t)).join("; ");
}

/** The distinct reads of a stage's lifts in the order in which the expressions mention them, whatever order they were made in. */
export function mentionedReads(s: Stage): Expr[] {
  return loadsOf(...s.accumulators.map((a) => a.lift));
}

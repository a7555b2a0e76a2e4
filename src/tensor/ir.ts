import type { ConstantData } from "../base/constant.ts";
import type { Dim, DimSymbol } from "../base/dim.ts";
import type { DType } from "../base/dtype.ts";
import type { Expr, Storage, Variable } from "../scalar/expr.ts";
import type { Opaque } from "./opaque.ts";

/**
 * Tensor IR: what to compute, before any decision on loops. A function is a list of kernels; a kernel runs its stages in
 * order for every point of its shared axes; a stage computes results over named axes from reads through index
 * expressions, by way of accumulators where it reduces.
 */

/** A tensor value. Locals of a kernel exist for one point of its shared axes, and have no dims for those. */
export class Tensor implements Storage {
  readonly kind = "storage";
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly Dim[];
  /** Bytes of a constant in row-major order, else null. */
  readonly data: ConstantData | null;
  /** Names of the nodes of the source model that this value stands for. */
  readonly origin: readonly string[];
  constructor(id: number, name: string, dtype: DType, dims: readonly Dim[], data: ConstantData | null = null, origin: readonly string[] = []) {
    this.id = id;
    this.name = name;
    this.dtype = dtype;
    this.dims = dims;
    this.data = data;
    this.origin = origin;
  }
}

/**
 * `parallel` axes may run in any order; `reduction` axes are combined by the stage's accumulators; `scan` axes (on kernels
 * only) run in order, and stages may read what earlier steps wrote.
 */
export type AxisKind = "parallel" | "reduction" | "scan";
export interface Axis {
  readonly variable: Variable;
  readonly extent: Dim;
  readonly kind: AxisKind;
}

/**
 * A component of the tuple that a stage's monoid works on. For every reduction point `lift` gives an element, which
 * `combine`, an expression of `left` (this accumulator) and `right` (the element), merges in; both may read the other
 * accumulators of the tuple as they were before the step. `axes` are the parallel axes it is indexed by: a wider
 * accumulator (online softmax's output) may be rescaled by a narrower one (its maximum).
 */
export interface Accumulator {
  readonly left: Variable;
  readonly right: Variable;
  readonly axes: readonly Variable[];
  readonly identity: Expr;
  readonly lift: Expr;
  readonly combine: Expr;
}

export type WriteCombiner = "add" | "mul" | "min" | "max";

/**
 * One result. `combiner` says how colliding writes merge (scatter); without it every element is written at most once. With
 * a `guard`, a condition over the axes, only the points where it holds write.
 */
export interface Write {
  readonly tensor: Tensor;
  readonly index: readonly Expr[];
  readonly value: Expr;
  readonly combiner: WriteCombiner | null;
  readonly guard: Expr | null;
}

/** Stages computed for each step of a reduction axis of the stage that holds them (attention's scores). */
export interface Inner {
  readonly axis: Variable;
  readonly locals: readonly Tensor[];
  readonly stages: readonly Stage[];
}

export interface Stage {
  readonly name: string;
  readonly origin: readonly string[];
  readonly axes: readonly Axis[];
  readonly inner: Inner | null;
  readonly accumulators: readonly Accumulator[];
  readonly writes: readonly Write[];
}

/** A kernel with `control` is a step of the host program, and has no axes, locals or stages. */
export interface Kernel {
  readonly name: string;
  readonly axes: readonly Axis[];
  readonly locals: readonly Tensor[];
  readonly stages: readonly Stage[];
  readonly control?: Control;
  readonly identity?: Identity;
}

/** A kernel that copies elements of one tensor to the same indices of the other: where both lie in one place, there is nothing to do. */
export interface Identity {
  readonly from: Tensor;
  readonly to: Tensor;
}

/** What the host program does between kernels; and opaque steps, which are kernels that passes do not look into. */
export type Control = Bind | Require | Branch | Loop | Opaque;

/** Gives a symbol its value: from here on it may stand in dims and indices. A run fails where it lies out of the symbol's range. */
export interface Bind {
  readonly kind: "bind";
  readonly symbol: DimSymbol;
  /** An integer of rank 0. */
  readonly value: Tensor;
}
/** A run fails where the two are not equal. */
export interface Require {
  readonly kind: "require";
  readonly dims: readonly [Dim, Dim];
}
/** Kernels that run or not, and what they make for the kernels outside; tensors they write besides are their own. */
export interface Body {
  readonly kernels: readonly Kernel[];
  /** May be tensors from outside, and one tensor more than once. */
  readonly outputs: readonly Tensor[];
}
/** Holds where a size is at least so much: what kernels are best may depend on it. */
export interface SizeCondition {
  readonly size: Dim;
  readonly least: number;
}
/** Runs the first body where the condition (bool[], or on a size) holds, else the second; `results` get its outputs. */
export interface Branch {
  readonly kind: "if";
  readonly condition: Tensor | SizeCondition;
  readonly bodies: readonly [Body, Body];
  readonly results: readonly Tensor[];
}
/**
 * Runs its body `length` times, with `index` as the number of the turn, or until `condition` (bool[]) does not hold. The
 * body's outputs are: the next value of the condition, if there is one; of the states; slices, of which those of turn i
 * become `stacked[…][i]`. Condition and states have their first values before. `turns` (i32[]) gets the number of turns.
 */
export interface Loop {
  readonly kind: "loop";
  readonly index: DimSymbol;
  readonly length: Dim;
  readonly condition: Tensor | null;
  readonly turns: Tensor;
  readonly states: readonly Tensor[];
  readonly stacked: readonly Tensor[];
  readonly bodies: readonly [Body];
}

/** A place inside another tensor. `axes` says which of its dims each dim of the view runs along, -1 for one of a single point; without it, the same. */
export interface View {
  readonly of: Tensor;
  /** For each dim of the other tensor. */
  readonly offset: readonly Dim[];
  readonly axes?: readonly number[];
}

/** The dim of the other tensor that a dim of a view runs along, or -1. */
export function viewAxis(v: View, dim: number): number {
  return v.axes === undefined ? dim : (v.axes[dim] ?? -1);
}

/**
 * Where a tensor's elements lie: its dims in the physical order `order` (outermost first), each padded by zeros on both
 * sides; or, with `view`, inside another tensor's buffer, shifted by `offset` in each dim. With a `capacity` the rows of a
 * dim take as much room as if there were so many: the tensor can grow where it lies.
 */
export interface Layout {
  readonly order: readonly number[];
  readonly pad: readonly (readonly [number, number])[];
  readonly view: View | null;
  readonly capacity?: Capacity;
}
export interface Capacity {
  readonly dim: number;
  readonly rows: Dim;
}

export interface TensorFunction {
  readonly name: string;
  readonly symbols: readonly DimSymbol[];
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Every tensor that kernels use, apart from their locals: inputs, constants, temporaries. */
  readonly tensors: readonly Tensor[];
  readonly kernels: readonly Kernel[];
  /** Layouts that differ from plain row-major. */
  readonly layouts: ReadonlyMap<Tensor, Layout>;
}

/** The stages of a kernel, those inside others included. */
export function allStages(k: Kernel): Stage[] {
  return k.stages.flatMap((s) => [...(s.inner?.stages ?? []), s]);
}

/** The stage of a kernel that is nothing but one stage with one plain write, else null. */
export function soleStage(k: Kernel): Stage | null {
  const [s] = k.stages;
  return k.stages.length === 1 &&
    k.axes.length === 0 &&
    s !== undefined &&
    s.inner === null &&
    s.writes.length === 1 &&
    s.writes[0]?.combiner === null &&
    s.writes[0].guard === null
    ? s
    : null;
}

/** Every expression of a stage, inner stages not included. */
export function stageExprs(s: Stage): Expr[] {
  return [
    ...s.accumulators.flatMap((a) => [a.identity, a.lift, a.combine]),
    ...s.writes.flatMap((w) => [...w.index, w.value, ...(w.guard === null ? [] : [w.guard])]),
  ];
}

/** Rebuilds a stage with every expression mapped. */
export function mapStage(s: Stage, f: (e: Expr) => Expr): Stage {
  return {
    ...s,
    inner: s.inner === null ? null : { ...s.inner, stages: s.inner.stages.map((t) => mapStage(t, f)) },
    accumulators: s.accumulators.map((a) => ({ ...a, identity: f(a.identity), lift: f(a.lift), combine: f(a.combine) })),
    writes: s.writes.map((w) => ({ ...w, index: w.index.map(f), value: f(w.value), guard: w.guard === null ? null : f(w.guard) })),
  };
}

export function rowMajor(rank: number): Layout {
  return { order: Array.from({ length: rank }, (_, i) => i), pad: Array.from({ length: rank }, () => [0, 0] as const), view: null };
}
export function layoutOf(f: TensorFunction, t: Tensor): Layout {
  return f.layouts.get(t) ?? rowMajor(t.dims.length);
}

/** The tensor whose buffer holds `t`. */
export function rootOf(f: TensorFunction, t: Tensor): Tensor {
  let r = t;
  for (let v = layoutOf(f, r).view; v !== null; v = layoutOf(f, r).view) r = v.of;
  return r;
}

/** Tensors that a kernel reads (as operands, not as combining writes), locals excluded, in order of first use. */
export function readsOf(k: Kernel): Tensor[] {
  if (k.control !== undefined) return controlReads(k.control);
  const locals = new Set<Tensor>([...k.locals, ...k.stages.flatMap((s) => s.inner?.locals ?? [])]);
  const out = new Set<Tensor>();
  const seen = new Set<Expr>();
  const visit = (root: Expr) => {
    const stack = [root];
    while (stack.length > 0) {
      const e = stack.pop() as Expr;
      if (seen.has(e)) continue;
      seen.add(e);
      if (e.op === "load" && !locals.has(e.attr as Tensor)) out.add(e.attr as Tensor);
      stack.push(...e.args);
    }
  };
  for (const s of allStages(k)) for (const e of stageExprs(s)) visit(e);
  return [...out];
}

/** Tensors that a kernel writes, locals excluded. */
export function writesOf(k: Kernel): Tensor[] {
  if (k.control !== undefined) return controlWrites(k.control);
  const locals = new Set<Tensor>([...k.locals, ...k.stages.flatMap((s) => s.inner?.locals ?? [])]);
  return [...new Set(allStages(k).flatMap((s) => s.writes.map((w) => w.tensor)))].filter((t) => !locals.has(t));
}

/** The bodies of a step of the host program. */
export function bodiesOf(c: Control): readonly Body[] {
  return c.kind === "if" || c.kind === "loop" ? c.bodies : [];
}

/** Kernels in order, those in bodies included, after the step that holds them. */
export function allKernels(kernels: readonly Kernel[]): Kernel[] {
  return kernels.flatMap((k) => [k, ...(k.control === undefined ? [] : bodiesOf(k.control).flatMap((b) => allKernels(b.kernels)))]);
}

/** What bodies take from outside counts as read; a loop's states are read, too. */
function controlReads(c: Control): Tensor[] {
  const inner = bodiesOf(c).flatMap((b) => {
    const own = new Set(b.kernels.flatMap(writesOf));
    return [...b.kernels.flatMap(readsOf), ...b.outputs].filter((t) => !own.has(t));
  });
  switch (c.kind) {
    case "bind":
      return [c.value];
    case "require":
      return [];
    case "opaque":
      return [...c.reads];
    case "if":
      return [...new Set([...(c.condition instanceof Tensor ? [c.condition] : []), ...inner])];
    case "loop":
      return [...new Set([...(c.condition === null ? [] : [c.condition]), ...c.states, ...inner])];
    default:
      throw c satisfies never;
  }
}

/** The results. What bodies write besides is their own. */
function controlWrites(c: Control): Tensor[] {
  switch (c.kind) {
    case "bind":
    case "require":
      return [];
    case "opaque":
      return [...c.writes];
    case "if":
      return [...c.results];
    case "loop":
      return [c.turns, ...c.states, ...c.stacked, ...(c.condition === null ? [] : [c.condition])];
    default:
      throw c satisfies never;
  }
}

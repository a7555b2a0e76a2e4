import { type ConstantData, inlineConstant } from "../base/constant.ts";
import { type Dim, addDim, mulDim, productOf } from "../base/dim.ts";
import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { typicalSize } from "../schedule/access.ts";
import { type Chooser, type Scheduled, constantsFrom } from "../schedule/choose.ts";
import { identifyKernel } from "../schedule/kernel-key.ts";
import { type Kernel, type Stage, Tensor, type TensorFunction, allStages, layoutOf, mapStage, readsOf, rootOf, writesOf } from "../tensor/ir.ts";
import { randomBytes } from "./data.ts";

/** A distinct kernel of a model that runs when the model runs: what is tuned. */
export interface Task {
  readonly key: string;
  /** Its axes with their extents. */
  readonly what: string;
  readonly origin: readonly string[];
  /** Launches of it in one run of the model. */
  readonly launches: number;
  /** Is it a part of another kernel's schedule (a copy, a part of an algorithm), whose time includes it? */
  readonly isPart: boolean;
  /**
   * The kernel alone, as a function: linearised, its tensors flat. What is written only in part is an input too, so that
   * a run's results depend on nothing else.
   */
  readonly function: TensorFunction;
  /** Modelled cost under the schedule that was chosen, in units of one vector multiply-add. */
  readonly cost: number;
}

/** Watches a chooser at work; `tasksOf` then tells what there is to tune. */
export class TaskRecorder {
  private readonly choose: Chooser;
  private readonly isConstant: (t: Tensor) => boolean;
  private readonly note: (k: Kernel) => void;
  private readonly calls: {
    sc: Scalars;
    kernel: Kernel;
    key: string;
    what: string;
    scheduled: Scheduled;
    isPart: boolean;
    constants: Set<Tensor>;
  }[] = [];
  /** Kernels that a schedule adds are chosen right after it, depth first. */
  private readonly pending: number[] = [];

  constructor(choose: Chooser, isConstant: (t: Tensor) => boolean) {
    this.choose = choose;
    const { has, note } = constantsFrom(isConstant);
    this.isConstant = has;
    this.note = note;
  }

  readonly chooser: Chooser = (sc, k) => {
    this.note(k);
    while (this.pending.at(-1) === 0) this.pending.pop();
    const isPart = this.pending.length > 0;
    if (isPart) this.pending.push((this.pending.pop() as number) - 1);
    const scheduled = this.choose(sc, k);
    if (scheduled.before.length > 0) this.pending.push(scheduled.before.length);
    const { key, description } = identifyKernel(sc, k, this.isConstant);
    const constants = new Set(readsOf(k).filter(this.isConstant));
    this.calls.push({ sc, kernel: k, key, what: description, scheduled, isPart, constants });
    return scheduled;
  };

  /** The distinct kernels among those for which `runs` holds of what was scheduled, in the order of their first launch. `f` tells the layouts. */
  tasks(f: TensorFunction, runs: (scheduled: Kernel) => boolean): Task[] {
    const found = new Map<string, Task>();
    for (const c of this.calls) {
      if (!runs(c.scheduled.kernel)) continue;
      const old = found.get(c.key);
      if (old !== undefined) {
        found.set(c.key, { ...old, launches: old.launches + 1, isPart: old.isPart && c.isPart });
        continue;
      }
      const origin = [...new Set(c.kernel.stages.flatMap((s) => s.origin))];
      found.set(c.key, {
        key: c.key,
        what: c.what,
        origin,
        launches: 1,
        isPart: c.isPart,
        function: isolate(c.sc, f, c.kernel, c.constants),
        cost: c.scheduled.cost,
      });
    }
    return [...found.values()];
  }
}

/** A linearised kernel as a function of its own: every buffer one flat tensor, constants that are computed ahead replaced by random ones. */
function isolate(sc: Scalars, f: TensorFunction, k: Kernel, constants: ReadonlySet<Tensor>): TensorFunction {
  const flat = new Map<Tensor, Tensor>();
  const writes = writesOf(k);
  const written = new Set(writes.map((t) => rootOf(f, t)));
  const flatten = (t: Tensor): Tensor => {
    const root = rootOf(f, t);
    const old = flat.get(root);
    if (old !== undefined) return old;
    const { pad } = layoutOf(f, root);
    const elements = productOf(root.dims.map((d, i) => addDim(d, (pad[i]?.[0] ?? 0) + (pad[i]?.[1] ?? 0))));
    // What is made of constants, but of a size that only a run tells, is made in every run.
    const fixed = constants.has(t) && !written.has(root) && (root.data !== null || typeof elements === "number");
    const data = fixed ? dataOf(root, elements) : null;
    const made = new Tensor(sc.freshId(), `t${flat.size}`, root.dtype, [elements], data, root.origin);
    flat.set(root, made);
    return made;
  };
  const locals = new Map<Tensor, Tensor>();
  for (const t of [...k.locals, ...allStages(k).flatMap((s) => s.inner?.locals ?? [])])
    locals.set(t, new Tensor(sc.freshId(), `l${locals.size}`, t.dtype, [productOf(t.dims)], null, t.origin));
  const kernel = { ...retarget(sc, k, (t) => locals.get(t) ?? flatten(t)), name: "kernel" };
  const roots = [...flat];
  const inputs = roots.filter(([root, t]) => t.data === null && (!written.has(root) || isPartial(f, k, root))).map(([, t]) => t);
  const outputs = roots.filter(([root]) => written.has(root)).map(([, t]) => t);
  // Inputs that are outputs too live to the end: no result takes their place, and every run finds what the first found.
  return {
    name: "task",
    symbols: f.symbols,
    inputs,
    outputs: [...outputs, ...inputs.filter((t) => !outputs.includes(t))],
    tensors: roots.map(([, t]) => t),
    kernels: [kernel],
    layouts: new Map(),
  };
}

/** A constant's bytes; random ones for what is itself computed from constants. */
function dataOf(root: Tensor, elements: Dim): ConstantData {
  if (root.data !== null) return root.data;
  return inlineConstant(randomBytes(root.dtype, typicalSize(elements), 1, "signed"));
}

/** May elements of the buffer be left as they were, or be merged with? */
function isPartial(f: TensorFunction, k: Kernel, root: Tensor): boolean {
  const layout = layoutOf(f, root);
  if (layout.pad.some(([a, b]) => a > 0 || b > 0)) return true;
  if (readsOf(k).some((t) => rootOf(f, t) === root)) return true;
  return allStages(k).some((s) =>
    s.writes.some((w) => rootOf(f, w.tensor) === root && (w.tensor !== root || w.combiner !== null || w.guard !== null)),
  );
}

/** The kernel with other tensors in the place of its own. */
function retarget(sc: Scalars, k: Kernel, of: (t: Tensor) => Tensor): Kernel {
  const memo = new Map<Expr, Expr>();
  const rewrite = (e: Expr) => sc.rebuild([e], (x, args) => (x.op === "load" ? sc.load(of(x.attr as Tensor), args) : null), memo)[0] as Expr;
  const stage = (s: Stage): Stage => {
    const mapped = mapStage({ ...s, inner: null }, rewrite);
    const inner = s.inner === null ? null : { ...s.inner, locals: s.inner.locals.map(of), stages: s.inner.stages.map(stage) };
    return { ...mapped, inner, writes: mapped.writes.map((w) => ({ ...w, tensor: of(w.tensor) })) };
  };
  return { ...k, locals: k.locals.map(of), stages: k.stages.map(stage) };
}

/** Values of a task's symbols to measure with. */
export function symbolValues(f: TensorFunction): number[] {
  return f.symbols.map((s) => {
    const lo = Math.max(1, s.min);
    const typical = Number.isFinite(s.max) ? Math.max(lo, Math.round(Math.sqrt(lo * s.max))) : Math.max(lo, 128);
    const whole = Math.max(s.multiple, Math.floor(typical / s.multiple) * s.multiple);
    return Math.min(s.max, whole);
  });
}

/** Bytes of all buffers of a task, at its symbols' typical sizes. */
export function taskBytes(f: TensorFunction): number {
  return f.tensors.reduce((n, t) => n + typicalSize(mulDim(t.dims[0] ?? 1, t.dtype.bits)) / 8, 0);
}

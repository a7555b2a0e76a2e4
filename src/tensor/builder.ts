import type { ConstantData } from "../base/constant.ts";
import type { Dim, DimSymbol } from "../base/dim.ts";
import { type DType, i32 } from "../base/dtype.ts";
import { InternalError } from "../base/errors.ts";
import { Names } from "../base/text.ts";
import type { Expr } from "../scalar/expr.ts";
import { type Scalars, identityOf } from "../scalar/scalars.ts";
import {
  type Accumulator,
  type Axis,
  type AxisKind,
  type Body,
  type Control,
  type Kernel,
  type Layout,
  type Stage,
  Tensor,
  type TensorFunction,
  type Write,
  type WriteCombiner,
  rowMajor,
  writesOf,
} from "./ir.ts";
import { OpaqueBuilder } from "./opaque-builder.ts";

export type Monoid = "add" | "mul" | "min" | "max" | "and" | "or";

/** Makes a tensor function stage by stage. */
export class TensorBuilder {
  readonly sc: Scalars;
  private readonly names = new Names();
  private readonly kernelNames = new Names();
  private readonly tensors: Tensor[] = [];
  private kernels: Kernel[] = [];
  private readonly layouts = new Map<Tensor, Layout>();
  /** Kernel axes and kernel that stages are added to, while a scan's body is lowered. */
  private open: { axes: readonly Axis[]; stages: Stage[]; locals: Tensor[] } | null = null;

  constructor(sc: Scalars) {
    this.sc = sc;
  }

  tensor(name: string, dtype: DType, dims: readonly Dim[], origin: readonly string[] = [], data: ConstantData | null = null): Tensor {
    const t = new Tensor(this.sc.freshId(), this.names.fresh(name), dtype, dims, data, origin);
    if (this.open === null || data !== null) this.tensors.push(t);
    else this.open.locals.push(t);
    return t;
  }

  axis(name: string, extent: Dim, kind: AxisKind = "parallel"): Axis {
    return { variable: this.sc.variable(name, i32, { extent: this.sc.dim(extent) }), extent, kind };
  }

  /** One accumulator with a named monoid over all parallel axes of its stage. */
  accumulator(monoid: Monoid, axes: readonly Axis[], lift: Expr): Accumulator {
    const left = this.sc.variable("acc", lift.dtype);
    const right = this.sc.variable("acc'", lift.dtype);
    return {
      left,
      right,
      axes: axes.filter((a) => a.kind === "parallel").map((a) => a.variable),
      identity: this.sc.const(identityOf(monoid, lift.dtype), lift.dtype),
      lift,
      combine: this.sc.op(monoid, [this.sc.var(left), this.sc.var(right)]),
    };
  }

  stage(name: string, axes: readonly Axis[], accumulators: readonly Accumulator[], writes: readonly Write[], origin: readonly string[]): void {
    const stage: Stage = { name: this.kernelNames.fresh(name), origin, axes, inner: null, accumulators, writes };
    if (this.open !== null) this.open.stages.push(stage);
    else this.kernels.push({ name: stage.name, axes: [], locals: [], stages: [stage] });
  }

  /** `result[i…] = value(i…)` */
  map(result: Tensor, value: (index: Expr[]) => Expr): void {
    const axes = result.dims.map((d, i) => this.axis(`i${i}`, d));
    const index = axes.map((a) => this.sc.var(a.variable));
    this.stage(result.name, axes, [], [{ tensor: result, index, value: value(index), combiner: null, guard: null }], result.origin);
  }

  /** `result[i…] = finish(monoid over r… of lift(i…, r…))` */
  reduce(
    result: Tensor,
    extents: readonly Dim[],
    monoid: Monoid,
    lift: (index: Expr[], reduced: Expr[]) => Expr,
    finish: (acc: Expr, index: Expr[]) => Expr = (a) => a,
  ): void {
    const axes = [...result.dims.map((d, i) => this.axis(`i${i}`, d)), ...extents.map((d, i) => this.axis(`r${i}`, d, "reduction"))];
    const vars = axes.map((a) => this.sc.var(a.variable));
    const index = vars.slice(0, result.dims.length);
    const lifted = lift(index, vars.slice(result.dims.length));
    if (extents.length === 0) {
      // One element each: nothing is accumulated.
      this.stage(result.name, axes, [], [{ tensor: result, index, value: finish(lifted, index), combiner: null, guard: null }], result.origin);
      return;
    }
    const acc = this.accumulator(monoid, axes, lifted);
    this.stage(
      result.name,
      axes,
      [acc],
      [{ tensor: result, index, value: finish(this.sc.var(acc.left), index), combiner: null, guard: null }],
      result.origin,
    );
  }

  /** Writes with a combiner: `result[index(i…)] ∘= value(i…)` over the given extents. */
  scatter(result: Tensor, extents: readonly Dim[], combiner: WriteCombiner | null, at: (index: Expr[]) => { index: Expr[]; value: Expr }): void {
    const axes = extents.map((d, i) => this.axis(`i${i}`, d));
    const w = at(axes.map((a) => this.sc.var(a.variable)));
    this.stage(result.name, axes, [], [{ tensor: result, index: w.index, value: w.value, combiner, guard: null }], result.origin);
  }

  /**
   * A kernel whose shared axis runs in order. `body` adds the stages of one step; tensors it makes are locals of the step
   * (those made before by the caller are kept across steps).
   */
  scan(name: string, extent: Dim, body: (step: Expr) => void): void {
    const axis = this.axis("t", extent, "scan");
    const outer = this.open;
    const open = { axes: [...(outer?.axes ?? []), axis], stages: [] as Stage[], locals: [] as Tensor[] };
    this.open = open;
    body(this.sc.var(axis.variable));
    this.open = outer;
    this.kernels.push({ name: this.kernelNames.fresh(name), axes: open.axes, locals: open.locals, stages: open.stages });
  }

  /** A size that the model computes: the value of an integer of rank 0. */
  bindSize(value: Tensor, symbol: DimSymbol): void {
    this.step("bind", { kind: "bind", symbol, value });
  }
  requireEqual(a: Dim, b: Dim): void {
    this.step("require", { kind: "require", dims: [a, b] });
  }

  /** Runs one of two bodies, made by functions that give its outputs. */
  branch(condition: Tensor, results: readonly Tensor[], then: () => readonly Tensor[], otherwise: () => readonly Tensor[]): void {
    const bodies = [this.body(then), this.body(otherwise)] as const;
    for (const b of bodies) this.placeInside(b, results);
    this.step("if", { kind: "if", condition, bodies, results });
  }

  /** Runs a body once for each value of `index` below `length`; see tensor IR's `Loop`. */
  loop(c: {
    readonly index: DimSymbol;
    readonly length: Dim;
    readonly condition: Tensor | null;
    readonly initial: readonly Tensor[];
    readonly turns: Tensor;
    readonly states: readonly Tensor[];
    readonly stacked: readonly Tensor[];
    readonly body: (states: readonly Tensor[]) => readonly Tensor[];
  }): void {
    const { sc } = this;
    c.states.forEach((s, i) => {
      this.map(s, (at) => sc.load(c.initial[i] as Tensor, at));
    });
    let condition: Tensor | null = null;
    if (c.condition !== null) {
      const first = c.condition;
      condition = this.tensor(`${c.turns.name}.more`, first.dtype, [], c.turns.origin);
      this.map(condition, () => sc.load(first, []));
    }
    const { index, length, turns, states, stacked } = c;
    this.step("loop", { kind: "loop", index, length, condition, turns, states, stacked, bodies: [this.body(() => c.body(states))] });
  }

  /**
   * A step that is a program: `body` writes down what runs at each point of the axes. `work` is about how many operations
   * a point takes.
   */
  opaque(name: string, extents: readonly Dim[], work: Dim, origin: readonly string[], body: (o: OpaqueBuilder, at: readonly Expr[]) => void): void {
    const axes = extents.map((d, i) => this.axis(`i${i}`, d));
    const local = (of: string, dtype: DType, dims: readonly Dim[]): Tensor =>
      new Tensor(this.sc.freshId(), this.names.fresh(`${name}.${of}`), dtype, dims);
    const o = new OpaqueBuilder(this.sc, local);
    body(
      o,
      axes.map((a) => this.sc.var(a.variable)),
    );
    this.step(name, o.finish(axes, work, origin));
  }

  private step(name: string, control: Control): void {
    if (this.open !== null) throw new InternalError("lower", `a '${name}' inside a scan: make the scan a loop`);
    this.kernels.push({ name: this.kernelNames.fresh(name), axes: [], locals: [], stages: [], control });
  }
  private body(make: () => readonly Tensor[]): Body {
    const outer = this.kernels;
    const kernels: Kernel[] = [];
    this.kernels = kernels;
    const outputs = make();
    this.kernels = outer;
    return { kernels, outputs };
  }
  /** What a body computes for a result only is computed in its place. */
  private placeInside(b: Body, results: readonly Tensor[]): void {
    const own = new Set(b.kernels.filter((k) => k.control === undefined).flatMap(writesOf));
    b.outputs.forEach((t, i) => {
      const of = results[i] as Tensor;
      if (!own.has(t) || this.layouts.has(t) || b.outputs.indexOf(t) !== i || t.dtype !== of.dtype) return;
      this.layouts.set(t, { ...rowMajor(t.dims.length), view: { of, offset: t.dims.map(() => 0) } });
    });
  }

  finish(name: string, symbols: readonly DimSymbol[], inputs: readonly Tensor[], outputs: readonly Tensor[]): TensorFunction {
    return { name, symbols, inputs, outputs, tensors: this.tensors, kernels: this.kernels, layouts: this.layouts };
  }
}

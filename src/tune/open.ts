import type { Num } from "../base/numeric.ts";
import { type Dim, type DimSymbol, substituteDim, symbolDim } from "../base/dim.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import { simplifyBook } from "../scalar/rules/simplify.ts";
import { Scalars } from "../scalar/scalars.ts";
import { type Axis, type Kernel, type Stage, Tensor, type TensorFunction, allStages, mapStage, stageExprs } from "../tensor/ir.ts";

/** A function in a compilation of its own: whatever is built of it is forgotten with it. */
export interface OpenFunction {
  readonly sc: Scalars;
  readonly function: TensorFunction;
}

/** An isolated kernel in a compilation of its own. */
export interface OpenTask extends OpenFunction {
  readonly kernel: Kernel;
}

/** Copies a function of one kernel into a new table of expressions. */
export function openTask(f: TensorFunction): OpenTask {
  const open = openFunction(f);
  return { ...open, kernel: open.function.kernels[0] as Kernel };
}

/**
 * Copies a function into a new table of expressions. Names stay, and so does the order in which expressions were made. Sizes that
 * the model computes become sizes that are given, for what computed them is not part of the function.
 */
export function openFunction(f: TensorFunction): OpenFunction {
  const symbols = f.symbols.map((s): DimSymbol => ({ ...s, source: "input", bound: null }));
  const c = new Copier(symbols);
  for (const t of f.tensors) c.tensor(t);
  c.exprs(f.kernels.flatMap((k) => allStages(k).flatMap(stageExprs)));
  const list = (ts: readonly Tensor[]) => ts.map(c.tensor);
  const kernels = f.kernels.map((k): Kernel => ({ ...k, axes: c.axes(k.axes), locals: list(k.locals), stages: k.stages.map((s) => c.stage(s)) }));
  const layouts = new Map(
    [...f.layouts].map(([t, l]) => [
      c.tensor(t),
      {
        ...l,
        view:
          l.view === null
            ? null
            : { of: c.tensor(l.view.of), offset: l.view.offset.map(c.dim), ...(l.view.axes === undefined ? {} : { axes: l.view.axes }) },
      },
    ]),
  );
  return { sc: c.sc, function: { ...f, symbols, inputs: list(f.inputs), outputs: list(f.outputs), tensors: list(f.tensors), kernels, layouts } };
}

class Copier {
  readonly sc = new Scalars(simplifyBook);
  private readonly symbols: ReadonlyMap<string, DimSymbol>;
  private readonly sizes: ReadonlyMap<string, Dim>;
  private readonly tensors = new Map<Tensor, Tensor>();
  private readonly variables = new Map<Variable, Variable>();
  private readonly memo = new Map<Expr, Expr>();

  constructor(symbols: readonly DimSymbol[]) {
    this.symbols = new Map(symbols.map((s) => [s.name, s]));
    this.sizes = new Map(symbols.map((s) => [s.name, symbolDim(s)]));
  }

  readonly dim = (d: Dim): Dim => substituteDim(d, this.sizes);

  readonly tensor = (t: Tensor): Tensor => {
    const copy = this.tensors.get(t) ?? new Tensor(this.sc.freshId(), t.name, t.dtype, t.dims.map(this.dim), t.data, t.origin);
    this.tensors.set(t, copy);
    return copy;
  };

  readonly variable = (v: Variable): Variable => {
    const old = this.variables.get(v);
    if (old !== undefined) return old;
    const symbol = v.extent === null ? this.symbols.get(v.name) : undefined;
    const { min, max, multiple, lanes } = v;
    const extent = v.extent === null ? {} : { extent: this.expr(v.extent) };
    const copy = symbol === undefined ? this.sc.variable(v.name, v.dtype, { min, max, multiple, lanes, ...extent }) : this.sc.symbol(symbol);
    this.variables.set(v, copy);
    return copy;
  };

  /** Operands are made before their users, so going by age keeps the order of making. */
  exprs(roots: readonly Expr[]): void {
    const found = new Set<Expr>();
    const open = [...roots];
    while (open.length > 0) {
      const e = open.pop() as Expr;
      if (this.memo.has(e) || found.has(e)) continue;
      found.add(e);
      open.push(...e.args);
    }
    for (const e of [...found].sort((a, b) => a.id - b.id)) if (!this.memo.has(e)) this.memo.set(e, this.copy(e));
  }
  private readonly expr = (e: Expr): Expr => {
    this.exprs([e]);
    return this.memo.get(e) as Expr;
  };
  private copy(e: Expr): Expr {
    const args = e.args.map((a) => this.memo.get(a) as Expr);
    switch (e.op) {
      case "const":
        return this.sc.const(e.attr as Num, e.dtype);
      case "var":
        return this.sc.var(this.variable(e.attr as Variable));
      case "load":
        return this.sc.load(this.tensor(e.attr as Tensor), args, e.lanes);
      default:
        return this.sc.with(e, args);
    }
  }

  axes(list: readonly Axis[]): Axis[] {
    return list.map((a) => ({ ...a, extent: this.dim(a.extent), variable: this.variable(a.variable) }));
  }
  stage(s: Stage): Stage {
    const inner =
      s.inner === null
        ? null
        : { axis: this.variable(s.inner.axis), locals: s.inner.locals.map(this.tensor), stages: s.inner.stages.map((t) => this.stage(t)) };
    const mapped = mapStage({ ...s, inner: null }, this.expr);
    return {
      ...mapped,
      inner,
      axes: this.axes(s.axes),
      accumulators: mapped.accumulators.map((a) => ({
        ...a,
        left: this.variable(a.left),
        right: this.variable(a.right),
        axes: a.axes.map(this.variable),
      })),
      writes: mapped.writes.map((w) => ({ ...w, tensor: this.tensor(w.tensor) })),
    };
  }
}

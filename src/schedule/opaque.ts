import { type Dim, productOf } from "../base/dim.ts";
import { i32 } from "../base/dtype.ts";
import { Buffer, type Kernel, type Stmt } from "../loop/ir.ts";
import { kernelText } from "../loop/print.ts";
import { type Expr, type Variable, variablesOf } from "../scalar/expr.ts";
import { simplifyIndices } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import type { Tensor, TensorFunction } from "../tensor/ir.ts";
import { type Opaque, type Statement, allStatements, statementExprs } from "../tensor/opaque.ts";
import { linearIndex } from "./linearize.ts";

/** An opaque step as a kernel over its points. There is nothing to choose: the statements are its loops. */
export interface OpaqueKernel {
  readonly kernel: Kernel;
  /** What to pass: addresses of these tensors, then these sizes, then memory for the locals. */
  readonly tensors: readonly Tensor[];
  readonly sizes: readonly Expr[];
  /** Bytes of each local, and the number of points. */
  readonly scratch: readonly Expr[];
  readonly count: Expr;
  /** Kernels of equal keys have equal code. */
  readonly key: string;
}

/** Makes loops of an opaque step, by the layouts of the tensors that it reads and writes. */
export function buildOpaque(sc: Scalars, f: TensorFunction, o: Opaque, name: string): OpaqueKernel {
  return new OpaqueLowering(sc, f, o).build(name);
}

class OpaqueLowering {
  private readonly sc: Scalars;
  private readonly f: TensorFunction;
  private readonly o: Opaque;
  private readonly tensors: readonly Tensor[];
  private readonly buffers = new Map<Tensor, Buffer>();
  /** Sizes become parameters: kernels know no symbols. */
  private readonly sizes = new Map<Variable, Variable>();
  private readonly memo = new Map<Expr, Expr>();

  constructor(sc: Scalars, f: TensorFunction, o: Opaque) {
    this.sc = sc;
    this.f = f;
    this.o = o;
    this.tensors = [...o.reads, ...o.writes];
  }

  build(name: string): OpaqueKernel {
    const { sc, o } = this;
    const own = new Set<Variable>(o.axes.map((a) => a.variable));
    for (const s of allStatements(o.body)) if (s.kind === "for" || s.kind === "let") own.add(s.variable);
    const count = sc.dim(productOf(o.axes.map((a) => a.extent)));
    // Strides mention sizes that the indices do not.
    const dims = [...this.tensors, ...o.locals].flatMap((t) => [t, ...this.aroundOf(t)]).flatMap((t) => t.dims);
    const exprs = [...allStatements(o.body).flatMap(statementExprs), ...o.axes.map((a) => sc.dim(a.extent)), ...dims.map((d) => sc.dim(d))];
    for (const v of variablesOf(...exprs)) if (!own.has(v)) this.sizes.set(v, sc.variable(`z${this.sizes.size}`, i32, { min: v.min }));
    this.tensors.forEach((t, i) => {
      this.buffers.set(t, new Buffer(sc.freshId(), `t${i}`, t.dtype, "param", null));
    });
    const scratch = o.locals.map((t, i) => {
      const b = new Buffer(sc.freshId(), `local${i}`, t.dtype, "scratch", this.size(productOf(t.dims)));
      this.buffers.set(t, b);
      return b;
    });
    const [begin, end] = [sc.variable("begin", i32, { min: 0 }), sc.variable("end", i32, { min: 0 })];
    const kernel = (as: string): Kernel => ({
      name: as,
      params: [...this.tensors.map((t) => this.bufferOf(t)), ...this.sizes.values(), ...scratch],
      begin,
      end,
      body,
      writes: new Set([...o.writes.map((t) => this.bufferOf(t)), ...scratch]),
    });
    const body = [this.points(begin, end)];
    const bytes = o.locals.map((t) => sc.mul(sc.dim(productOf(t.dims)), sc.int(t.dtype.byteWidth)));
    const sizes = [...this.sizes.keys()].map((v) => sc.var(v));
    return { kernel: kernel(name), tensors: this.tensors, sizes, scratch: bytes, count, key: kernelText(kernel("opaque")) };
  }

  /** The tensors whose buffer holds a view. */
  private aroundOf(t: Tensor): Tensor[] {
    const of = this.f.layouts.get(t)?.view?.of;
    return of === undefined ? [] : [of, ...this.aroundOf(of)];
  }
  private bufferOf(t: Tensor): Buffer {
    return this.buffers.get(t) as Buffer;
  }
  private size(d: Dim): Expr {
    return this.withParameters(this.sc.dim(d));
  }
  private withParameters(e: Expr): Expr {
    return this.sc.substitute(e, new Map([...this.sizes].map(([v, p]) => [v, this.sc.var(p)])));
  }

  /** The loop over the points given to a call: the axes as one range, which the body takes apart. */
  private points(begin: Variable, end: Variable): Stmt {
    const { sc, o } = this;
    const [only] = o.axes;
    const range = { kind: "for", begin: sc.var(begin), end: sc.var(end), loop: "serial" } as const;
    if (o.axes.length === 1 && only !== undefined) {
      const variable = sc.variable(only.variable.name, i32, { min: 0 });
      return { ...range, variable, body: [this.bindAxis(only.variable, sc.var(variable)), ...this.block(o.body)] };
    }
    const variable = sc.variable("point", i32, { min: 0 });
    const lets: Stmt[] = [];
    let rest = sc.var(variable);
    for (const a of [...o.axes].reverse()) {
      const n = this.size(a.extent);
      const isOutermost = a === only;
      lets.push(this.bindAxis(a.variable, isOutermost ? rest : sc.mod(rest, n)));
      rest = sc.floordiv(rest, n);
    }
    return { ...range, variable, body: [...lets, ...this.block(o.body)] };
  }
  private bindAxis(variable: Variable, value: Expr): Stmt {
    return { kind: "let", variable, value };
  }

  private expr(e: Expr): Expr {
    return this.sc.rebuild(
      [e],
      (x, args) => {
        if (x.op === "var") return this.parameterOf(x);
        return x.op === "load" ? this.sc.load(this.bufferOf(x.attr as Tensor), [this.place(x.attr as Tensor, args)]) : null;
      },
      this.memo,
    )[0] as Expr;
  }
  private parameterOf(x: Expr): Expr {
    const p = this.sizes.get(x.attr as Variable);
    return p === undefined ? x : this.sc.var(p);
  }
  private place(t: Tensor, index: readonly Expr[]): Expr {
    return this.withParameters(linearIndex(this.sc, this.f, t, simplifyIndices(this.sc, index)));
  }

  private block(b: readonly Statement[]): Stmt[] {
    return b.flatMap((s) => this.statement(s));
  }
  private statement(s: Statement): Stmt[] {
    const { sc } = this;
    switch (s.kind) {
      case "for": {
        const lets: Stmt[] = [];
        // A bound that statements may change is evaluated before the loop.
        const bound = (name: string, e: Expr): Expr => {
          const value = this.expr(e);
          if (value.constant !== null) return value;
          const v = sc.variable(name, i32);
          lets.push({ kind: "let", variable: v, value });
          return sc.var(v);
        };
        const [begin, end] = [bound("from", s.begin), bound("to", s.end)];
        return [...lets, { kind: "for", variable: s.variable, begin, end, loop: "serial", body: this.block(s.body) }];
      }
      case "let":
      case "assign":
        return [{ kind: s.kind, variable: s.variable, value: this.expr(s.value) }];
      case "if":
        return [{ kind: "if", condition: this.expr(s.condition), then: this.block(s.then), otherwise: this.block(s.otherwise) }];
      case "write": {
        const index = s.index.map((e) => this.expr(e));
        return [{ kind: "store", buffer: this.bufferOf(s.tensor), index: this.place(s.tensor, index), value: this.expr(s.value) }];
      }
      default:
        throw s satisfies never;
    }
  }
}

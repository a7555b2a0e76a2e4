import type { Dim } from "../base/dim.ts";
import { type DType, i32 } from "../base/dtype.ts";
import { type Expr, type Variable, loadsOf } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import type { Axis, Tensor } from "./ir.ts";
import { type Opaque, type Statement, allStatements, statementExprs } from "./opaque.ts";

/** A variable that statements change. */
class Cell {
  private readonly o: OpaqueBuilder;
  private readonly variable: Variable;
  constructor(o: OpaqueBuilder, variable: Variable) {
    this.o = o;
    this.variable = variable;
  }
  /** Its value where the expression stands. */
  get value(): Expr {
    return this.o.sc.var(this.variable);
  }
  set(value: Expr): void {
    this.o.add({ kind: "assign", variable: this.variable, value });
  }
  /** Adds one. */
  increment(): void {
    this.set(this.o.sc.add(this.value, this.o.sc.int(1)));
  }
}

/** Writes down the body of an opaque step, statement by statement. Expressions are evaluated where the statement that has them stands. */
export class OpaqueBuilder {
  readonly sc: Scalars;
  private readonly makeLocal: (name: string, dtype: DType, dims: readonly Dim[]) => Tensor;
  private readonly locals: Tensor[] = [];
  private block: Statement[] = [];

  constructor(sc: Scalars, makeLocal: (name: string, dtype: DType, dims: readonly Dim[]) => Tensor) {
    this.sc = sc;
    this.makeLocal = makeLocal;
  }

  add(s: Statement): void {
    this.block.push(s);
  }
  private inside(body: () => void): Statement[] {
    const outer = this.block;
    const block: Statement[] = [];
    this.block = block;
    body();
    this.block = outer;
    return block;
  }

  /** Memory for one point of the axes. */
  local(name: string, dtype: DType, dims: readonly Dim[]): Tensor {
    const t = this.makeLocal(name, dtype, dims);
    this.locals.push(t);
    return t;
  }
  /** Evaluates an expression here, once. */
  let(name: string, value: Expr): Expr {
    const variable = this.sc.variable(name, value.dtype);
    this.add({ kind: "let", variable, value });
    return this.sc.var(variable);
  }
  cell(name: string, initial: Expr): Cell {
    const variable = this.sc.variable(name, initial.dtype);
    this.add({ kind: "let", variable, value: initial });
    return new Cell(this, variable);
  }
  /** For each number from `begin`, which is not negative, to below `end`. */
  for(name: string, begin: Expr, end: Expr, body: (i: Expr) => void): void {
    const variable = this.sc.variable(name, i32, { min: 0 });
    this.add({ kind: "for", variable, begin, end, body: this.inside(() => body(this.sc.var(variable))) });
  }
  if(condition: Expr, then: () => void, otherwise: () => void = () => {}): void {
    this.add({ kind: "if", condition, then: this.inside(then), otherwise: this.inside(otherwise) });
  }
  read(tensor: Tensor, ...index: readonly Expr[]): Expr {
    return this.sc.load(tensor, index);
  }
  write(tensor: Tensor, index: readonly Expr[], value: Expr): void {
    this.add({ kind: "write", tensor, index, value });
  }

  finish(axes: readonly Axis[], work: Dim, origin: readonly string[]): Opaque {
    const statements = allStatements(this.block);
    const own = new Set(this.locals);
    const others = (tensors: readonly Tensor[]): Tensor[] => [...new Set(tensors)].filter((t) => !own.has(t));
    const reads = others(loadsOf(...statements.flatMap(statementExprs)).map((e) => e.attr as Tensor));
    const writes = others(statements.flatMap((s) => (s.kind === "write" ? [s.tensor] : [])));
    return { kind: "opaque", origin, axes, reads, writes, locals: this.locals, work, body: this.block };
  }
}

import { type DimSymbol, dimSymbols } from "../base/dim.ts";
import type { Dim } from "../base/dim.ts";
import { i32 } from "../base/dtype.ts";
import type { Violations } from "../base/verify.ts";
import { type Expr, type Variable, loadsOf } from "../scalar/expr.ts";
import type { Tensor } from "./ir.ts";
import { type Opaque, type Statement, allStatements, statementExprs } from "./opaque.ts";

/** What the verifier of tensor IR lends: it knows the function around the step. */
export interface OpaqueContext {
  readonly found: Violations;
  /** Where the step stands, for messages. */
  readonly at: string;
  readonly symbols: ReadonlyMap<string, DimSymbol>;
  /** Checks an expression under the variables that are bound and the locals that are visible. */
  readonly expr: (e: Expr, bound: ReadonlySet<Variable>, visible: ReadonlySet<Tensor>) => void;
}

/** Invariant T15 of tensor IR. */
export function verifyOpaque(o: Opaque, c: OpaqueContext): void {
  new OpaqueVerifier(o, c).run();
}

class OpaqueVerifier {
  private readonly o: Opaque;
  private readonly c: OpaqueContext;
  private readonly locals: ReadonlySet<Tensor>;
  private readonly writable: ReadonlySet<Tensor>;
  private readonly assignable = new Set<Variable>();

  constructor(o: Opaque, c: OpaqueContext) {
    this.o = o;
    this.c = c;
    this.locals = new Set(o.locals);
    this.writable = new Set([...o.locals, ...o.writes]);
  }

  run(): void {
    const { o } = this;
    this.declarations();
    const bound = new Set<Variable>();
    for (const a of o.axes) {
      this.check(a.kind === "parallel", () => `axis '${a.variable.name}' is a ${a.kind} axis, expected a parallel one`);
      this.size(a.extent);
      bound.add(a.variable);
    }
    this.size(o.work);
    this.block(o.body, bound);
    this.c.found.about = o;
  }

  private check(ok: boolean, message: () => string): void {
    this.c.found.check(ok, this.c.at, () => `T15: ${message()}`);
  }
  private size(d: Dim): void {
    for (const s of dimSymbols(d).keys()) this.check(this.c.symbols.has(s), () => `symbol '${s}' is not declared`);
  }

  private declarations(): void {
    const { o, locals } = this;
    const statements = allStatements(o.body);
    const read = new Set(loadsOf(...statements.flatMap(statementExprs)).map((e) => e.attr as Tensor));
    const written = new Set(statements.flatMap((s) => (s.kind === "write" ? [s.tensor] : [])));
    for (const t of read) this.check(locals.has(t) || o.reads.includes(t), () => `reads %${t.name} without saying so`);
    for (const t of o.reads) {
      this.check(read.has(t), () => `says that it reads %${t.name}, but does not`);
      this.check(!o.writes.includes(t), () => `reads %${t.name}, which it writes`);
    }
    for (const t of o.writes) this.check(written.has(t), () => `says that it writes %${t.name}, but does not`);
  }

  private block(b: readonly Statement[], outer: ReadonlySet<Variable>): void {
    const bound = new Set(outer);
    for (const s of b) this.statement(s, bound);
  }

  private statement(s: Statement, bound: Set<Variable>): void {
    this.c.found.about = s;
    for (const e of statementExprs(s)) this.c.expr(e, bound, this.locals);
    switch (s.kind) {
      case "for":
        for (const e of [s.begin, s.end]) this.check(e.dtype === i32 && e.lanes === 1, () => `a loop's ends are i32, got ${e.dtype}`);
        this.block(s.body, new Set(bound).add(s.variable));
        return;
      case "let":
      case "assign": {
        const { variable: v, value } = s;
        this.check(v.dtype === value.dtype, () => `'${v.name}' is ${v.dtype}, its value ${value.dtype}`);
        if (s.kind === "assign") this.check(bound.has(v) && this.assignable.has(v), () => `'${v.name}' is assigned to, but no let bound it here`);
        bound.add(v);
        this.assignable.add(v);
        return;
      }
      case "if":
        this.check(s.condition.dtype.kind === "bool", () => `a condition is a bool, got ${s.condition.dtype}`);
        this.block(s.then, bound);
        this.block(s.otherwise, bound);
        return;
      case "write":
        this.write(s);
        return;
      default:
        throw s satisfies never;
    }
  }

  private write({ tensor: t, index, value }: Extract<Statement, { kind: "write" }>): void {
    this.check(this.writable.has(t), () => `writes %${t.name} without saying so`);
    this.check(index.length === t.dims.length, () => `writes %${t.name} of rank ${t.dims.length} at ${index.length} indices`);
    this.check(value.dtype === t.dtype, () => `writes ${value.dtype} to %${t.name}, which is ${t.dtype}`);
    for (const e of index) this.check(e.dtype === i32, () => `an index of %${t.name} is ${e.dtype}, expected i32`);
  }
}

import { type DType, i32 } from "../base/dtype.ts";
import { type Allocation, Buffer, type DataSymbol, type Fault, type Program, type Stmt } from "../loop/ir.ts";
import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Bind, type Branch, type Loop, type Require, Tensor } from "../tensor/ir.ts";

/**
 * Makes the steps of the host program that are no launches: sizes that the model computes, checks, branches, loops. Sizes
 * that are bound outside of branches and loops, and what goes wrong, are told in the report, which is part of the arena.
 */
export class HostSteps {
  private readonly sc: Scalars;
  private readonly addressOf: (t: Tensor) => Expr;
  private readonly report: Allocation;
  private readonly reported: Buffer;
  private readonly dataSymbols: DataSymbol[] = [];
  private readonly faults: Fault[] = [];

  constructor(sc: Scalars, addressOf: (t: Tensor) => Expr) {
    this.sc = sc;
    this.addressOf = addressOf;
    this.report = { name: "report", address: sc.variable("at.report", i32, { min: 0 }), bytes: sc.int(0) };
    this.reported = new Buffer(sc.freshId(), "report", i32, "param", null);
  }

  private load(t: Tensor): Expr {
    return this.sc.loadAt(new Buffer(this.sc.freshId(), t.name, t.dtype, "param", null), this.addressOf(t), 0, 1);
  }
  private require(condition: Expr, text: string, value: Expr): Stmt {
    return { kind: "require", condition, fault: this.faults.push({ text }) - 1, value };
  }
  private store(i: number, value: Expr): Stmt {
    return { kind: "storeat", buffer: this.reported, address: this.sc.var(this.report.address), offset: 4 * i, value };
  }

  /** `outermost`: in no branch or loop. */
  bind({ symbol, value }: Bind, outermost: boolean): Stmt[] {
    const { sc } = this;
    const wide = sc.variable(`${symbol.name}.value`, value.dtype);
    const v = sc.var(wide);
    const [low, high] = [sc.int(symbol.min), symbol.bound === null ? sc.int(2 ** 31 - 1) : sc.dim(symbol.bound)];
    const inside = sc.and(sc.op("ge", [v, sc.cast(value.dtype, low)]), sc.op("le", [v, sc.cast(value.dtype, high)]));
    const text = `the size '${symbol.name}', which the model computes, is {}, but must be at least ${symbol.min}${symbol.bound === null ? "" : ` and at most ${symbol.bound}`}`;
    const variable = sc.symbol(symbol);
    const stmts: Stmt[] = [
      { kind: "let", variable: wide, value: this.load(value) },
      this.require(inside, text, narrowed(sc, value.dtype, v)),
      { kind: "let", variable, value: sc.cast(i32, v) },
    ];
    if (outermost) stmts.push(this.store(1 + this.dataSymbols.push({ symbol, variable }), sc.var(variable)));
    return stmts;
  }

  requireEqual({ dims: [a, b] }: Require): Stmt {
    const { sc } = this;
    return this.require(sc.op("eq", [sc.dim(a), sc.dim(b)]), `a size that has to be ${b} (${a}) is {}`, sc.dim(a));
  }

  branch({ condition }: Branch, then: readonly Stmt[], otherwise: readonly Stmt[]): Stmt {
    const { sc } = this;
    const holds = condition instanceof Tensor ? this.load(condition) : sc.op("ge", [sc.dim(condition.size), sc.int(condition.least)]);
    return { kind: "if", condition: holds, then, otherwise };
  }

  loop(c: Loop, body: readonly Stmt[]): Stmt[] {
    const { sc } = this;
    // The symbol is known to be below the length, so the comparison needs a variable that is not.
    const counter = sc.variable(`${c.index.name}.turns`, i32, { min: 0 });
    const n = sc.var(counter);
    const more = sc.op("lt", [n, sc.dim(c.length)]);
    return [
      { kind: "let", variable: counter, value: sc.int(0) },
      {
        kind: "while",
        condition: c.condition === null ? more : sc.and(more, this.load(c.condition)),
        body: [{ kind: "let", variable: sc.symbol(c.index), value: n }, ...body, { kind: "assign", variable: counter, value: sc.add(n, sc.int(1)) }],
      },
      {
        kind: "storeat",
        buffer: new Buffer(sc.freshId(), c.turns.name, i32, "param", null),
        address: this.addressOf(c.turns),
        offset: 0,
        value: n,
      },
    ];
  }

  /** What the program says of all this, and the statements with the report's preparation. */
  finish(main: readonly Stmt[]): Pick<Program, "dataSymbols" | "report" | "faults" | "main"> & { readonly allocations: readonly Allocation[] } {
    const { sc, dataSymbols, faults } = this;
    if (faults.length === 0) return { dataSymbols, report: null, faults, main, allocations: [] };
    const report = { ...this.report, bytes: sc.int(4 * (2 + dataSymbols.length)) };
    return { dataSymbols, report: sc.var(report.address), faults, main: [this.store(0, sc.int(0)), ...main], allocations: [report] };
  }
}

/** An integer as an i32, at its ends where it lies beyond them. */
function narrowed(sc: Scalars, d: DType, v: Expr): Expr {
  if (d.bits < 32 || d === i32) return sc.cast(i32, v);
  const low = d.kind === "uint" ? v : sc.max(v, sc.const(-(2 ** 31), d));
  return sc.cast(i32, sc.min(low, sc.const(2 ** 31 - 1, d)));
}

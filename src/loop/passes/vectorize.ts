import type { DType } from "../../base/dtype.ts";
import type { Capabilities } from "../../base/machine.ts";
import { type Expr, type Variable, isGuard, postorder } from "../../scalar/expr.ts";
import { mentions } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type For, type Kernel, type Stmt, mapBlock, mapStmt } from "../ir.ts";

/**
 * Turns vector loops into vector expressions: the loop variable becomes a ramp, and what depends on it a vector. A loop
 * that has no vector form (a branch or a guarded read that differs between lanes, elements of 64 bits, more lanes than the machine
 * has) is unrolled instead. Integers of 8 and 16 bits lie in lanes of 32: a load widens them, a store narrows them.
 */
export function vectorizeLoops(sc: Scalars, k: Kernel, machine: Capabilities): Kernel {
  const block = (b: readonly Stmt[]): readonly Stmt[] =>
    mapBlock(b, (s) => {
      if (s.kind !== "for" || s.loop !== "vector") return mapStmt(s, (e) => e, block);
      return new Vectorizer(sc, s, machine).run() ?? { ...s, loop: "unrolled", body: block(s.body) };
    });
  const body = block(k.body);
  return body === k.body ? k : { ...k, body };
}

/** Are there vectors of the dtype: lanes of 32 bits, in which narrower integers lie as i32? */
function inLanes(d: DType): boolean {
  return d.bits === 32 || (d.isInteger && (d.bits === 16 || d.bits === 8));
}

class NoVectorForm extends Error {}

class Vectorizer {
  private readonly sc: Scalars;
  private readonly loop: For;
  private readonly lanes: number;
  private readonly map = new Map<Variable, Expr>();

  private readonly most: number;

  constructor(sc: Scalars, loop: For, machine: Capabilities) {
    this.sc = sc;
    this.loop = loop;
    this.lanes = Number(loop.end.constant ?? 0);
    this.most = machine.lanes.f32;
  }

  run(): readonly Stmt[] | null {
    if (![4, 8, 16].includes(this.lanes) || this.lanes > this.most || !this.loop.begin.isConst(0)) return null;
    this.map.set(this.loop.variable, this.sc.ramp(this.sc.int(0), this.sc.int(1), this.lanes));
    try {
      return this.block(this.loop.body);
    } catch (e) {
      if (e instanceof NoVectorForm) return null;
      throw e;
    }
  }

  private expr(e: Expr): Expr {
    const out = this.sc.substitute(e, this.map);
    for (const x of postorder([out])) this.check(x);
    return out;
  }
  private check(x: Expr): void {
    if (x.lanes === 1) return;
    if (!inLanes(x.dtype) && x.dtype.kind !== "bool") throw new NoVectorForm();
    // What is widened when it is read are neighbours.
    const [place] = x.args;
    if (x.op === "load" && x.dtype.bits < 32 && place?.op === "ramp" && !place.args[1]?.isConst(1)) throw new NoVectorForm();
    if (x.op === "load" && (x.args[0] as Expr).op !== "ramp" && (x.args[0] as Expr).op !== "broadcast") throw new NoVectorForm();
    if (x.op === "select" && isGuard(x) && (x.args[0] as Expr).lanes > 1 && (x.args[0] as Expr).op !== "broadcast") {
      // Lanes would take different branches: a read in one of them may lie outside of its tensor.
      if (postorder(x.args.slice(1)).some((y) => y.op === "load")) throw new NoVectorForm();
    }
    if ((x.op === "shl" || x.op === "shr") && (x.args[1] as Expr).op !== "broadcast") throw new NoVectorForm();
    if (["div", "rem", "floordiv", "mod"].includes(x.op) && !x.dtype.isFloat) throw new NoVectorForm();
  }

  private block(b: readonly Stmt[]): readonly Stmt[] {
    return b.map((s): Stmt => {
      switch (s.kind) {
        case "store": {
          const [index, value] = [this.expr(s.index), this.expr(s.value)];
          if (index.lanes === 1 && value.lanes === 1) return { ...s, index, value };
          if (index.lanes === 1 || index.op !== "ramp" || !inLanes(s.buffer.dtype)) throw new NoVectorForm();
          if (s.buffer.dtype.bits < 32 && !index.args[1]?.isConst(1)) throw new NoVectorForm();
          return { ...s, index, value: this.sc.broadcast(value, value.lanes === 1 ? index.lanes : 1) };
        }
        case "let": {
          const value = this.expr(s.value);
          if (value.lanes === s.variable.lanes) return { ...s, value };
          const variable = this.sc.variable(s.variable.name, s.variable.dtype, { lanes: value.lanes });
          this.map.set(s.variable, this.sc.var(variable));
          return { ...s, variable, value };
        }
        case "if": {
          const condition = this.expr(s.condition);
          if (condition.lanes > 1) throw new NoVectorForm();
          return { ...s, condition, then: this.block(s.then), otherwise: this.block(s.otherwise) };
        }
        case "for":
          if (mentions(s.begin, this.loop.variable) || mentions(s.end, this.loop.variable)) throw new NoVectorForm();
          return { ...s, body: this.block(s.body) };
        case "alloc":
          return s;
        case "assign":
        case "storeat":
        case "launch":
        case "while":
        case "require":
          throw new NoVectorForm();
        default:
          throw s satisfies never;
      }
    });
  }
}

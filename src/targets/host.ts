import { type Program, type Stmt, mapStmt } from "../loop/ir.ts";
import { decomposer } from "../loop/passes/decompose.ts";
import { type Expr, type Variable, postorder } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";

/**
 * Main's expressions as targets write them: core ops, and truncating divisions. Sizes that symbols tell are never negative, so
 * that their divisions need no correction; what main computes may be anything, zero among divisors too.
 */
export function hostExpressions(sc: Scalars, p: Program): (e: Expr) => Expr {
  const given = new Set<Variable>([...p.symbolVariables, p.arena, p.weights]);
  const careful = decomposer(sc);
  const memo = new Map<Expr, Expr>();
  return (e) => {
    const computed = postorder([e]).some((x) => x.op === "loadat" || (x.op === "var" && !given.has(x.attr as Variable)));
    return computed ? careful(e) : sc.decompose(truncating(sc, e, memo));
  };
}

/** The expression with truncating divisions, of numbers that are not negative. */
export function truncating(sc: Scalars, e: Expr, memo: Map<Expr, Expr> = new Map()): Expr {
  const replace = (x: Expr, args: readonly Expr[]): Expr | null =>
    x.op === "floordiv" ? sc.op("div", args) : x.op === "mod" ? sc.op("rem", args) : null;
  return sc.rebuild([e], replace, memo)[0] as Expr;
}

/** The program with every expression of its main replaced. */
export function mapMain(p: Program, expr: (e: Expr) => Expr): Program {
  const block = (b: readonly Stmt[]): readonly Stmt[] => b.map((s) => mapStmt(s, expr, block));
  return { ...p, main: block(p.main) };
}

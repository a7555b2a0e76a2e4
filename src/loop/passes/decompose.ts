import type { Expr } from "../../scalar/expr.ts";
import { rangeOf } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Stmt, mapBlock, mapStmt } from "../ir.ts";

/**
 * Replaces derived scalar ops by core ones (exp by its polynomial, …), and division rounded down by the truncating one:
 * directly where the operands are known not to be negative, with a correction else.
 */
export function decomposeOps(sc: Scalars, k: Kernel): Kernel {
  const memo = new Map<Expr, Expr>();
  const expr = (e: Expr): Expr =>
    sc.rebuild(
      [sc.decompose(e)],
      (x, args) => {
        if (x.op !== "floordiv" && x.op !== "mod") return null;
        const [a, b] = args as [Expr, Expr];
        if (x.dtype.kind === "uint" || (rangeOf(a)[0] >= 0 && rangeOf(b)[0] >= 0)) return sc.op(x.op === "mod" ? "rem" : "div", [a, b]);
        return x.op === "mod" ? floorMod(sc, a, b) : floorDiv(sc, a, b);
      },
      memo,
    )[0] as Expr;
  const block = (b: readonly Stmt[]): readonly Stmt[] => mapBlock(b, (s) => mapStmt(s, expr, block));
  const body = block(k.body);
  return body === k.body ? k : { ...k, body };
}

/** Does truncation round up: a remainder whose sign differs from the divisor's? */
function roundsUp(sc: Scalars, a: Expr, b: Expr): Expr {
  const zero = sc.const(0, a.dtype);
  const rest = sc.op("rem", [a, b]);
  return sc.and(sc.op("ne", [rest, zero]), sc.op("lt", [sc.op("xor", [rest, b]), zero]));
}
function floorDiv(sc: Scalars, a: Expr, b: Expr): Expr {
  const q = sc.op("div", [a, b]);
  return sc.select(roundsUp(sc, a, b), sc.sub(q, sc.const(1, a.dtype)), q);
}
function floorMod(sc: Scalars, a: Expr, b: Expr): Expr {
  const r = sc.op("rem", [a, b]);
  return sc.select(roundsUp(sc, a, b), sc.add(r, b), r);
}

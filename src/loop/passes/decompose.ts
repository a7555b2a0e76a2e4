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
        const [a, b] = args as [Expr, Expr];
        if (x.op === "rem" && x.dtype.isFloat) return sc.sub(a, sc.mul(sc.op("trunc", [sc.op("div", [a, b])]), b));
        if ((x.op === "div" || x.op === "rem") && !x.dtype.isFloat) return safeDivision(sc, x.op, a, b);
        if (x.op !== "floordiv" && x.op !== "mod") return null;
        if (x.dtype.kind === "uint" || (rangeOf(a)[0] >= 0 && rangeOf(b)[0] >= 0))
          return safeDivision(sc, x.op === "mod" ? "rem" : "div", a, b) ?? sc.op(x.op === "mod" ? "rem" : "div", [a, b]);
        if (rangeOf(b)[0] <= 0 && b.constant === null) {
          const zero = sc.const(0, a.dtype);
          const safe = sc.select(sc.op("eq", [b, zero]), sc.const(1, a.dtype), b);
          return sc.select(sc.op("eq", [b, zero]), zero, x.op === "mod" ? floorMod(sc, a, safe) : floorDiv(sc, a, safe));
        }
        return x.op === "mod" ? floorMod(sc, a, b) : floorDiv(sc, a, b);
      },
      memo,
    )[0] as Expr;
  const block = (b: readonly Stmt[]): readonly Stmt[] => mapBlock(b, (s) => mapStmt(s, expr, block));
  const body = block(k.body);
  return body === k.body ? k : { ...k, body };
}

/** Machines trap where the scalar ops are defined: division by zero gives 0, and the lowest number over -1 itself. */
function safeDivision(sc: Scalars, op: "div" | "rem", a: Expr, b: Expr): Expr | null {
  const [low, high] = rangeOf(b);
  const constant = b.constant !== null && Number(b.constant) !== 0 && Number(b.constant) !== -1;
  if (low > 0 || high < -1 || constant) return null;
  const zero = sc.const(0, a.dtype);
  const safe = sc.op(op, [a, sc.select(sc.op("eq", [b, zero]), sc.const(1, a.dtype), b)]);
  const divided = sc.select(sc.op("eq", [b, zero]), zero, safe);
  if (a.dtype.kind === "uint") return divided;
  return sc.select(sc.op("eq", [b, sc.const(-1, a.dtype)]), op === "div" ? sc.op("neg", [a]) : zero, divided);
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

import { f32, f64, i32, i64 } from "../../base/dtype.ts";
import type { Expr } from "../../scalar/expr.ts";
import { rangeOf } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Stmt, mapBlock, mapStmt } from "../ir.ts";

/**
 * Replaces derived scalar ops by core ones (exp by its polynomial, …), and division rounded down by the truncating one:
 * directly where the operands are known not to be negative, with a correction else.
 */
export function decomposeOps(sc: Scalars, k: Kernel): Kernel {
  const expr = decomposer(sc);
  const block = (b: readonly Stmt[]): readonly Stmt[] => mapBlock(b, (s) => mapStmt(s, expr, block));
  const body = block(k.body);
  return body === k.body ? k : { ...k, body };
}

/** What `decomposeOps` makes of expressions. */
export function decomposer(sc: Scalars): (e: Expr) => Expr {
  const memo = new Map<Expr, Expr>();
  return (e) =>
    sc.rebuild(
      [sc.decompose(e)],
      (x, args) => {
        const [a, b] = args as [Expr, Expr];
        if (x.op === "rem" && x.dtype.isFloat) return floatRemainder(sc, a, b);
        if ((x.op === "div" || x.op === "rem") && !x.dtype.isFloat) return safeDivision(sc, x.op, a, b);
        if (x.op !== "floordiv" && x.op !== "mod") return null;
        if (x.dtype.kind === "uint" || (rangeOf(a)[0] >= 0 && rangeOf(b)[0] >= 0)) return safeDivision(sc, x.op === "mod" ? "rem" : "div", a, b);
        return x.op === "mod" ? floorMod(sc, a, b) : floorDiv(sc, a, b);
      },
      memo,
    )[0] as Expr;
}

/**
 * Remainder with the sign of the dividend (fmod): a itself where b is infinite; NaN where b is 0, a infinite, or either NaN.
 * f32 goes by way of f64: exact while |a / b| < 2^58, beyond that the result is only one between 0 and b. In f64 the product
 * of quotient and divisor is rounded: the result is off by up to 2^-52·|a|, counted modulo b, and is always between 0 and b.
 */
function floatRemainder(sc: Scalars, a: Expr, b: Expr): Expr {
  const c = (v: number) => sc.const(v, f64);
  const zero = c(0);
  const [x, y] = [sc.op("abs", [sc.cast(f64, a)]), sc.op("abs", [sc.cast(f64, b)])];
  const modulo = (u: Expr, v: Expr): Expr => sc.sub(u, sc.mul(sc.op("trunc", [sc.op("div", [u, v])]), v));
  if (a.dtype === f64) {
    const r = modulo(x, y);
    // Where rounding carried the quotient up to the next integer, the rest is below 0.
    const inside = sc.min(sc.max(sc.select(sc.op("lt", [r, zero]), sc.add(r, y), r), zero), y);
    const whole = sc.and(sc.op("eq", [y, c(Number.POSITIVE_INFINITY)]), sc.op("lt", [x, y]));
    return withSign(sc, sc.select(whole, x, inside), a);
  }
  // A quotient below 2^29 of two f32 times its divisor is exact in f64: two such steps. What divisor stands for infinity is the same.
  const divisor = sc.min(y, c(2 ** 200));
  const rest = modulo(modulo(x, sc.mul(divisor, c(2 ** 29))), divisor);
  return withSign(sc, sc.cast(f32, sc.min(sc.max(rest, zero), divisor)), a);
}

/** A number that is not negative with another's sign. */
function withSign(sc: Scalars, magnitude: Expr, from: Expr): Expr {
  const wide = from.dtype === f64;
  const integer = wide ? i64 : i32;
  const sign = sc.and(sc.bitcast(integer, from), sc.const(wide ? -(2n ** 63n) : -(2 ** 31), integer));
  return sc.bitcast(from.dtype, sc.op("or", [sc.bitcast(integer, magnitude), sign]));
}

/**
 * Machines trap where the scalar ops are defined: division by zero gives 0, and the lowest number over -1 itself. Such divisors
 * are replaced by 1, so that the division may be evaluated anywhere; its remainder is then the 0 that is wanted.
 */
function safeDivision(sc: Scalars, op: "div" | "rem", a: Expr, b: Expr): Expr {
  const [low, high] = rangeOf(b);
  const equals = (v: number): Expr => sc.op("eq", [b, sc.const(v, b.dtype)]);
  const isZero = low <= 0 && high >= 0 ? equals(0) : null;
  const isMinusOne = a.dtype.kind === "int" && low <= -1 && high >= -1 ? equals(-1) : null;
  const unsafe = isZero !== null && isMinusOne !== null ? sc.op("or", [isZero, isMinusOne]) : (isZero ?? isMinusOne);
  if (unsafe === null) return sc.op(op, [a, b]);
  const result = sc.op(op, [a, sc.select(unsafe, sc.const(1, b.dtype), b)]);
  if (op === "rem") return result;
  const negated = isMinusOne === null ? result : sc.select(isMinusOne, sc.op("neg", [a]), result);
  return isZero === null ? negated : sc.select(isZero, sc.const(0, a.dtype), negated);
}

/** Does truncation round up: a remainder whose sign differs from the divisor's? */
function roundsUp(sc: Scalars, a: Expr, b: Expr): Expr {
  const zero = sc.const(0, a.dtype);
  const rest = safeDivision(sc, "rem", a, b);
  return sc.and(sc.op("ne", [rest, zero]), sc.op("lt", [sc.op("xor", [rest, b]), zero]));
}
function floorDiv(sc: Scalars, a: Expr, b: Expr): Expr {
  const q = safeDivision(sc, "div", a, b);
  return sc.select(roundsUp(sc, a, b), sc.sub(q, sc.const(1, a.dtype)), q);
}
function floorMod(sc: Scalars, a: Expr, b: Expr): Expr {
  const r = safeDivision(sc, "rem", a, b);
  return sc.select(roundsUp(sc, a, b), sc.add(r, b), r);
}

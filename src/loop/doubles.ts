import { f64 } from "../base/dtype.ts";
import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";

/**
 * A size in floating point: where its i32 arithmetic would wrap around, this one does not, and it is exact below 2^53. What is no
 * arithmetic of sizes is taken as it is.
 */
export function inDoubles(sc: Scalars, size: Expr): Expr {
  const memo = new Map<Expr, Expr>();
  const one = (e: Expr): Expr => {
    let r = memo.get(e);
    if (r === undefined) {
      r = convert(e);
      memo.set(e, r);
    }
    return r;
  };
  const convert = (e: Expr): Expr => {
    if (e.constant !== null) return sc.const(Number(e.constant), f64);
    switch (e.op) {
      case "add":
      case "sub":
      case "mul":
      case "min":
      case "max":
        return sc.op(e.op, e.args.map(one));
      case "floordiv":
      case "div":
        return quotient(e);
      case "mod":
      case "rem": {
        const [a, b] = e.args.map(one) as [Expr, Expr];
        return sc.sub(a, sc.mul(quotient(e), b));
      }
      default:
        return sc.cast(f64, e);
    }
  };
  const quotient = (e: Expr): Expr => {
    const [a, b] = e.args.map(one) as [Expr, Expr];
    return sc.op("floor", [sc.op("div", [a, b])]);
  };
  // Sizes up to 4 GiB are kept modulo 2^32.
  return size.constant !== null ? sc.const(Number(size.constant) >>> 0, f64) : one(size);
}

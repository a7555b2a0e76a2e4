import { f32, i32 } from "../../base/dtype.ts";
import type { Expr } from "../expr.ts";
import type { ScalarOp } from "../op.ts";
import type { Scalars } from "../scalars.ts";
import { sameFloat } from "./arith.ts";
import { inF32, logF32, poly, unary } from "./transcendental.ts";

/**
 * Inverses of the trigonometric and hyperbolic functions, in terms of core ops as those of transcendental.ts are: f32
 * arithmetic without branches, coefficients from scripts/fit-polynomials.py, `ulp` tested. Odd ones take their argument's
 * sign bit.
 */

/** (asin s - s) / s³ in s², s in [0, 1/2] */
const asinCoefficients = [0.04215701296925545, 0.024185502901673317, 0.045469019562006, 0.0749531015753746, 0.16666752099990845];
/** (atan t - t) / t³ in t², t in [0, 1] */
const atanCoefficients = [
  0.0029197600670158863, -0.016364244744181633, 0.043205976486206055, -0.07551728934049606, 0.10665786266326904, -0.14211003482341766,
  0.19993767142295837, -0.33333152532577515,
];

const c = (sc: Scalars, v: number): Expr => sc.const(v, f32);
const abs = (sc: Scalars, x: Expr): Expr => sc.op("abs", [x]);

/** A value that is not negative, with the sign of x. */
function signed(sc: Scalars, value: Expr, x: Expr): Expr {
  const sign = sc.op("and", [sc.bitcast(i32, x), sc.const(-(2 ** 31), i32)]);
  return sc.bitcast(f32, sc.op("or", [sc.bitcast(i32, value), sign]));
}

/**
 * asin of s, which is |x| up to 1/2 and sqrt((1 - |x|) / 2) beyond, where asin|x| is π/2 - 2·asin s and acos|x| 2·asin s
 * (1 - |x| is exact there; it is negative, and the root NaN, where |x| is above 1).
 */
function asinOfHalf(sc: Scalars, x: Expr): { readonly far: Expr; readonly angle: Expr } {
  const a = abs(sc, x);
  const far = sc.op("gt", [a, c(sc, 0.5)]);
  const z = sc.select(far, sc.mul(sc.sub(c(sc, 1), a), c(sc, 0.5)), sc.mul(a, a));
  const s = sc.select(far, sc.op("sqrt", [z]), a);
  return { far, angle: sc.add(sc.mul(sc.mul(s, z), poly(sc, z, asinCoefficients)), s) };
}

function asinF32(sc: Scalars, x: Expr): Expr {
  const { far, angle } = asinOfHalf(sc, x);
  return signed(sc, sc.select(far, sc.sub(c(sc, Math.PI / 2), sc.mul(angle, c(sc, 2))), angle), x);
}

function acosF32(sc: Scalars, x: Expr): Expr {
  const { far, angle } = asinOfHalf(sc, x);
  const negative = sc.op("lt", [x, c(sc, 0)]);
  const twice = sc.mul(angle, c(sc, 2));
  const end = sc.select(negative, sc.sub(c(sc, Math.PI), twice), twice);
  return sc.select(far, end, sc.sub(c(sc, Math.PI / 2), signed(sc, angle, x)));
}

/** atan|x| is π/2 - atan(1/|x|) beyond 1. */
function atanF32(sc: Scalars, x: Expr): Expr {
  const a = abs(sc, x);
  const far = sc.op("gt", [a, c(sc, 1)]);
  const t = sc.select(far, sc.op("div", [c(sc, 1), a]), a);
  const z = sc.mul(t, t);
  const angle = sc.add(sc.mul(sc.mul(t, z), poly(sc, z, atanCoefficients)), t);
  return signed(sc, sc.select(far, sc.sub(c(sc, Math.PI / 2), angle), angle), x);
}

/** log(1 + u): the logarithm of the rounded sum, and what rounding it took away. */
function log1pF32(sc: Scalars, u: Expr): Expr {
  const w = sc.add(u, c(sc, 1));
  const lost = sc.op("div", [sc.sub(u, sc.sub(w, c(sc, 1))), w]);
  return sc.add(logF32(sc, w), sc.select(sc.op("lt", [w, c(sc, 2 ** 30)]), lost, c(sc, 0)));
}

/** Beyond this x² + 1 is x² and x² - 1 too, and squares might overflow. */
const squareLimit = 2 ** 30;

/** log(a + sqrt(a² + 1)) as log1p(a + a² / (1 + sqrt(a² + 1))) */
function asinhF32(sc: Scalars, x: Expr): Expr {
  const a = abs(sc, x);
  const square = sc.mul(a, a);
  const root = sc.op("sqrt", [sc.add(square, c(sc, 1))]);
  const near = log1pF32(sc, sc.add(a, sc.op("div", [square, sc.add(root, c(sc, 1))])));
  const far = sc.add(logF32(sc, a), c(sc, Math.LN2));
  return signed(sc, sc.select(sc.op("gt", [a, c(sc, squareLimit)]), far, near), x);
}

/** log(x + sqrt(x² - 1)) as log1p(t + sqrt(t·(t + 2))) with t = x - 1 */
function acoshF32(sc: Scalars, x: Expr): Expr {
  const t = sc.sub(x, c(sc, 1));
  const near = log1pF32(sc, sc.add(t, sc.op("sqrt", [sc.mul(t, sc.add(t, c(sc, 2)))])));
  const far = sc.add(logF32(sc, x), c(sc, Math.LN2));
  const value = sc.select(sc.op("gt", [x, c(sc, squareLimit)]), far, near);
  return sc.select(sc.op("lt", [x, c(sc, 1)]), c(sc, Number.NaN), value);
}

/** log((1 + a) / (1 - a)) / 2 as log1p(2a / (1 - a)) / 2 */
function atanhF32(sc: Scalars, x: Expr): Expr {
  const a = abs(sc, x);
  const u = sc.op("div", [sc.add(a, a), sc.sub(c(sc, 1), a)]);
  return signed(sc, sc.mul(log1pF32(sc, u), c(sc, 0.5)), x);
}

export const inverse = {
  asin: {
    name: "asin",
    doc: "Inverse sine, in radians; NaN outside of [-1, 1].",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.asin),
    cost: 26,
    decompose: inF32((sc, x) => asinF32(sc, x as Expr)),
    ulp: 3,
  },
  acos: {
    name: "acos",
    doc: "Inverse cosine, in radians; NaN outside of [-1, 1].",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.acos),
    cost: 28,
    decompose: inF32((sc, x) => acosF32(sc, x as Expr)),
    ulp: 2,
  },
  atan: {
    name: "atan",
    doc: "Inverse tangent, in radians.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.atan),
    cost: 26,
    decompose: inF32((sc, x) => atanF32(sc, x as Expr)),
    ulp: 3,
  },
  asinh: {
    name: "asinh",
    doc: "Inverse hyperbolic sine.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.asinh),
    cost: 86,
    decompose: inF32((sc, x) => asinhF32(sc, x as Expr)),
    ulp: 3,
  },
  acosh: {
    name: "acosh",
    doc: "Inverse hyperbolic cosine; NaN below 1.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.acosh),
    cost: 80,
    decompose: inF32((sc, x) => acoshF32(sc, x as Expr)),
    ulp: 3,
  },
  atanh: {
    name: "atanh",
    doc: "Inverse hyperbolic tangent; NaN outside of [-1, 1].",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.atanh),
    cost: 48,
    decompose: inF32((sc, x) => atanhF32(sc, x as Expr)),
    ulp: 3,
  },
} as const satisfies Record<string, ScalarOp>;

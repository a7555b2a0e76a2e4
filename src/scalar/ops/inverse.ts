import { f32, f64 } from "../../base/dtype.ts";
import type { Expr } from "../expr.ts";
import type { ScalarOp } from "../op.ts";
import type { Scalars } from "../scalars.ts";
import { sameFloat } from "./arith.ts";
import { inF32, logF32, poly, unary } from "./transcendental.ts";
import { logF64, series, withSign } from "./wide.ts";

/**
 * Inverses of the trigonometric and hyperbolic functions, in terms of core ops as those of transcendental.ts are:
 * arithmetic without branches, coefficients from scripts/fit-polynomials.py, `ulp` tested. Odd ones take their argument's
 * sign bit. The trigonometric ones have an algorithm for f32 and one for f64, the hyperbolic ones are the same in both.
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
  return withSign(sc, sc.select(far, sc.sub(c(sc, Math.PI / 2), sc.mul(angle, c(sc, 2))), angle), x);
}

function acosF32(sc: Scalars, x: Expr): Expr {
  const { far, angle } = asinOfHalf(sc, x);
  const negative = sc.op("lt", [x, c(sc, 0)]);
  const twice = sc.mul(angle, c(sc, 2));
  const end = sc.select(negative, sc.sub(c(sc, Math.PI), twice), twice);
  return sc.select(far, end, sc.sub(c(sc, Math.PI / 2), withSign(sc, angle, x)));
}

/** atan|x| is π/2 - atan(1/|x|) beyond 1. */
function atanF32(sc: Scalars, x: Expr): Expr {
  const a = abs(sc, x);
  const far = sc.op("gt", [a, c(sc, 1)]);
  const t = sc.select(far, sc.op("div", [c(sc, 1), a]), a);
  const z = sc.mul(t, t);
  const angle = sc.add(sc.mul(sc.mul(t, z), poly(sc, z, atanCoefficients)), t);
  return withSign(sc, sc.select(far, sc.sub(c(sc, Math.PI / 2), angle), angle), x);
}

/** A constant of x's dtype. */
const like = (sc: Scalars, x: Expr, v: number): Expr => sc.const(v, x.dtype);
const log = (sc: Scalars, x: Expr): Expr => (x.dtype === f64 ? logF64 : logF32)(sc, x);

/** log(1 + u): the logarithm of the rounded sum, and what rounding it took away. This and the functions below are for f32 and f64. */
function log1p(sc: Scalars, u: Expr): Expr {
  const one = like(sc, u, 1);
  const w = sc.add(u, one);
  const lost = sc.op("div", [sc.sub(u, sc.sub(w, one)), w]);
  return sc.add(log(sc, w), sc.select(sc.op("lt", [w, like(sc, u, 2 ** 30)]), lost, like(sc, u, 0)));
}

/** Beyond this x² + 1 is x² and x² - 1 too, and squares might overflow. */
const squareLimit = 2 ** 30;

/** log(a + sqrt(a² + 1)) as log1p(a + a² / (1 + sqrt(a² + 1))) */
function asinh(sc: Scalars, x: Expr): Expr {
  const a = abs(sc, x);
  const [square, one] = [sc.mul(a, a), like(sc, x, 1)];
  const root = sc.op("sqrt", [sc.add(square, one)]);
  const near = log1p(sc, sc.add(a, sc.op("div", [square, sc.add(root, one)])));
  const far = sc.add(log(sc, a), like(sc, x, Math.LN2));
  return withSign(sc, sc.select(sc.op("gt", [a, like(sc, x, squareLimit)]), far, near), x);
}

/** log(x + sqrt(x² - 1)) as log1p(t + sqrt(t·(t + 2))) with t = x - 1 */
function acosh(sc: Scalars, x: Expr): Expr {
  const one = like(sc, x, 1);
  const t = sc.sub(x, one);
  const near = log1p(sc, sc.add(t, sc.op("sqrt", [sc.mul(t, sc.add(t, like(sc, x, 2)))])));
  const far = sc.add(log(sc, x), like(sc, x, Math.LN2));
  const value = sc.select(sc.op("gt", [x, like(sc, x, squareLimit)]), far, near);
  return sc.select(sc.op("lt", [x, one]), like(sc, x, Number.NaN), value);
}

/** log((1 + a) / (1 - a)) / 2 as log1p(2a / (1 - a)) / 2 */
function atanh(sc: Scalars, x: Expr): Expr {
  const a = abs(sc, x);
  const u = sc.op("div", [sc.add(a, a), sc.sub(like(sc, x, 1), a)]);
  return withSign(sc, sc.mul(log1p(sc, u), like(sc, x, 0.5)), x);
}

/** Centres of the arguments of arc tangents in f64 up to 1, and theirs in two parts. From the first arguments on `from` they are taken. */
const atanCentres = [
  { from: 0.21, centre: 0.4140625, high: 0.3925701350118286, low: 1.4769733768267405e-17 },
  { from: 0.68, centre: 1, high: 0.7853981633974483, low: 3.061616997868383e-17 },
] as const;
const [halfPiHigh, halfPiLow] = [1.5707963267948966, 6.123233995736766e-17] as const;
/** (atan u - u) / u³ in u², |u| up to 0.21 */
const atanTerms = Array.from({ length: 11 }, (_, k) => (k % 2 === 0 ? -1 : 1) / (2 * k + 3));

/** atan|x| is π/2 - atan(1/|x|) beyond 1; atan t is atan k + atan((t - k) / (1 + t·k)) for a centre k near t. */
function atanF64(sc: Scalars, x: Expr): Expr {
  const d = (v: number): Expr => sc.const(v, f64);
  const a = abs(sc, x);
  const far = sc.op("gt", [a, d(1)]);
  const t = sc.select(far, sc.op("div", [d(1), a]), a);
  const near = (part: "centre" | "high" | "low"): Expr => atanCentres.reduce((v, k) => sc.select(sc.op("lt", [t, d(k.from)]), v, d(k[part])), d(0));
  const centre = near("centre");
  const u = sc.op("div", [sc.sub(t, centre), sc.add(sc.mul(t, centre), d(1))]);
  const z = sc.mul(u, u);
  const rest = sc.add(sc.mul(sc.mul(u, z), series(sc, z, atanTerms)), near("low"));
  const angle = sc.add(near("high"), sc.add(u, rest));
  return withSign(sc, sc.select(far, sc.sub(d(halfPiHigh), sc.sub(angle, d(halfPiLow))), angle), x);
}

/** atan(x / sqrt(1 - x²)); the root is of a negative number, and NaN, where |x| is above 1. */
function asinF64(sc: Scalars, x: Expr): Expr {
  const one = like(sc, x, 1);
  return atanF64(sc, sc.op("div", [x, sc.op("sqrt", [sc.mul(sc.sub(one, x), sc.add(one, x))])]));
}

/** 2·atan(sqrt((1 - x) / (1 + x))) */
function acosF64(sc: Scalars, x: Expr): Expr {
  const one = like(sc, x, 1);
  return sc.mul(atanF64(sc, sc.op("sqrt", [sc.op("div", [sc.sub(one, x), sc.add(one, x)])])), like(sc, x, 2));
}

export const inverse = {
  asin: {
    name: "asin",
    doc: "Inverse sine, in radians; NaN outside of [-1, 1].",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.asin),
    cost: 26,
    decompose: inF32(asinF32, asinF64),
    ulp: 3,
  },
  acos: {
    name: "acos",
    doc: "Inverse cosine, in radians; NaN outside of [-1, 1].",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.acos),
    cost: 28,
    decompose: inF32(acosF32, acosF64),
    ulp: 2,
  },
  atan: {
    name: "atan",
    doc: "Inverse tangent, in radians.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.atan),
    cost: 26,
    decompose: inF32(atanF32, atanF64),
    ulp: 3,
  },
  asinh: {
    name: "asinh",
    doc: "Inverse hyperbolic sine.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.asinh),
    cost: 86,
    decompose: inF32(asinh, asinh),
    ulp: 3,
  },
  acosh: {
    name: "acosh",
    doc: "Inverse hyperbolic cosine; NaN below 1.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.acosh),
    cost: 80,
    decompose: inF32(acosh, acosh),
    ulp: 3,
  },
  atanh: {
    name: "atanh",
    doc: "Inverse hyperbolic tangent; NaN outside of [-1, 1].",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.atanh),
    cost: 48,
    decompose: inF32(atanh, atanh),
    ulp: 3,
  },
} as const satisfies Record<string, ScalarOp>;

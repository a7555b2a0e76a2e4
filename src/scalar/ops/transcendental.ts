import { f32, i32 } from "../../base/dtype.ts";
import type { Num } from "../../base/numeric.ts";
import type { Expr } from "../expr.ts";
import type { ScalarOp } from "../op.ts";
import type { Scalars } from "../scalars.ts";
import { sameFloat, sameNumber } from "./arith.ts";

/**
 * Functions that decompose into core ops, so that every target vectorises them alike. Polynomials are minimax fits made
 * for this project (Remez on the reduced interval); each op's `ulp` is tested over its range against the exact value.
 */

/** Horner's scheme; coefficients from the highest power down. */
function poly(sc: Scalars, x: Expr, coefficients: readonly number[]): Expr {
  const [head, ...rest] = coefficients.map((c) => sc.const(c, x.dtype));
  return rest.reduce((acc, c) => sc.add(sc.mul(acc, x), c), head as Expr);
}

/** Runs the f32 algorithm on other float dtypes through a cast; f64 keeps f32's accuracy there. */
function inF32(f: (sc: Scalars, x: Expr) => Expr) {
  return (sc: Scalars, [x]: readonly Expr[]): Expr => {
    const v = x as Expr;
    return v.dtype === f32 ? f(sc, v) : sc.cast(v.dtype, f(sc, sc.cast(f32, v)));
  };
}

const log2e = 1.4426950408889634;
const ln2High = 0.693145751953125;
const ln2Low = 1.42860682030941723212e-6;

/** exp on f32: x = n·ln2 + r, |r| ≤ ln2/2, polynomial of degree 6 in r, scaled by 2^n in two halves (so that results in the subnormal range stay right). */
function expF32(sc: Scalars, x: Expr): Expr {
  const clamped = sc.min(sc.max(x, sc.const(-104, f32)), sc.const(89, f32));
  const n = sc.op("round", [sc.mul(clamped, sc.const(log2e, f32))]);
  const r = sc.sub(sc.sub(clamped, sc.mul(n, sc.const(ln2High, f32))), sc.mul(n, sc.const(ln2Low, f32)));
  const p = poly(sc, r, [1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1, 1]);
  const whole = sc.cast(i32, n);
  const half = sc.op("shr", [whole, sc.const(1, i32)]);
  return sc.mul(sc.mul(p, pow2(sc, half)), pow2(sc, sc.sub(whole, half)));
}

/** 2^n for an i32 expression, by its exponent bits. */
function pow2(sc: Scalars, n: Expr): Expr {
  return sc.bitcast(f32, sc.op("shl", [sc.add(n, sc.const(127, i32)), sc.const(23, i32)]));
}

/** log on f32: mantissa m in [√½, √2), log m = 2·atanh((m-1)/(m+1)) as an odd polynomial, plus exponent·ln2. */
function logF32(sc: Scalars, x: Expr): Expr {
  const c = (v: number) => sc.const(v, f32);
  const i = (v: number) => sc.const(v, i32);
  const tiny = sc.op("lt", [x, c(1.1754943508222875e-38)]);
  const scaled = sc.select(tiny, sc.mul(x, c(8388608)), x);
  const bits = sc.bitcast(i32, scaled);
  const shifted = sc.sub(bits, i(0x3f3504f3));
  const e = sc.op("shr", [shifted, i(23)]);
  const m = sc.bitcast(f32, sc.sub(bits, sc.op("shl", [e, i(23)])));
  const exponent = sc.sub(sc.cast(f32, e), sc.select(tiny, c(23), c(0)));
  const f = sc.sub(m, c(1));
  const s = sc.op("div", [f, sc.add(f, c(2))]);
  const z = sc.mul(s, s);
  const tail = sc.mul(z, poly(sc, z, [0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693]));
  const half = sc.mul(sc.mul(f, f), c(0.5));
  const main = sc.sub(f, sc.sub(half, sc.mul(s, sc.add(half, tail))));
  const value = sc.add(sc.add(sc.mul(exponent, c(ln2Low)), main), sc.mul(exponent, c(ln2High)));
  const positive = sc.op("gt", [x, c(0)]);
  const finite = sc.select(sc.op("lt", [x, c(Number.POSITIVE_INFINITY)]), value, x);
  const special = sc.select(sc.op("eq", [x, c(0)]), c(Number.NEGATIVE_INFINITY), c(Number.NaN));
  return sc.select(positive, finite, special);
}

/** tanh on f32: an odd polynomial near 0, and 1 - 2/(exp(2|x|)+1) with the sign of x beyond. */
function tanhF32(sc: Scalars, x: Expr): Expr {
  const c = (v: number) => sc.const(v, f32);
  const a = sc.op("abs", [x]);
  const z = sc.mul(x, x);
  const small = sc.add(x, sc.mul(sc.mul(x, z), poly(sc, z, [-0.00570498872745, 0.0206390887954, -0.0537397155531, 0.133314422036, -0.333332819422])));
  const e = expF32(sc, sc.mul(a, c(2)));
  const large = sc.sub(c(1), sc.op("div", [c(2), sc.add(e, c(1))]));
  const signed = sc.select(sc.op("lt", [x, c(0)]), sc.op("neg", [large]), large);
  return sc.select(sc.op("lt", [a, c(0.625)]), small, sc.select(sc.op("ne", [x, x]), x, signed));
}

/** 1 / (1 + exp(-x)), by exp of the negative magnitude, which cannot overflow. */
function sigmoidF32(sc: Scalars, x: Expr): Expr {
  const c = (v: number) => sc.const(v, f32);
  return sc.op("div", [c(1), sc.add(c(1), expF32(sc, sc.op("neg", [x])))]);
}

/** erf on f32: an odd polynomial below 0.921875, beyond it 1 - exp(P(|x|)) (both minimax, after Abramowitz & Stegun's split). */
function erfF32(sc: Scalars, x: Expr): Expr {
  const c = (v: number) => sc.const(v, f32);
  const a = sc.op("abs", [x]);
  const z = sc.mul(x, x);
  const small = sc.add(x, sc.mul(x, poly(sc, z, [-0.000600769, 0.00499119423, -0.0267953873, 0.112819925, -0.376125336, 0.128379166])));
  const clamped = sc.min(a, c(4));
  const p = poly(sc, clamped, [-1.72853470e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1, -1.28717512e-1]);
  const exponent = sc.sub(sc.mul(clamped, p), clamped);
  const large = sc.sub(c(1), expF32(sc, exponent));
  const signed = sc.select(sc.op("lt", [x, c(0)]), sc.op("neg", [large]), large);
  return sc.select(sc.op("lt", [a, c(0.921875)]), small, sc.select(sc.op("ne", [x, x]), x, signed));
}

/** Cody-Waite reduction by π/2 in three parts, then sine or cosine polynomials by quadrant; good to |x| about 1e5. */
function sinCosF32(sc: Scalars, x: Expr, shift: number): Expr {
  const c = (v: number) => sc.const(v, f32);
  const i = (v: number) => sc.const(v, i32);
  const n = sc.op("round", [sc.mul(x, c(0.6366197723675814))]);
  const r = sc.sub(sc.sub(sc.sub(x, sc.mul(n, c(1.5703125))), sc.mul(n, c(4.837512969970703e-4))), sc.mul(n, c(7.549789948768648e-8)));
  const z = sc.mul(r, r);
  const sin = sc.add(r, sc.mul(sc.mul(r, z), poly(sc, z, [2.7181216275e-6, -1.9839334836e-4, 8.3333293855e-3, -1.6666666641e-1])));
  const cos = sc.add(sc.sub(c(1), sc.mul(z, c(0.5))), sc.mul(sc.mul(z, z), poly(sc, z, [2.4433157118e-5, -1.3887316255e-3, 4.1666645683e-2])));
  const quadrant = sc.add(sc.cast(i32, n), i(shift));
  const odd = sc.op("ne", [sc.op("and", [quadrant, i(1)]), i(0)]);
  const flip = sc.op("ne", [sc.op("and", [quadrant, i(2)]), i(0)]);
  const v = sc.select(odd, cos, sin);
  return sc.select(flip, sc.op("neg", [v]), v);
}

function powF32(sc: Scalars, [x, y]: readonly Expr[]): Expr {
  const [a, b] = [x as Expr, y as Expr];
  const exponent = b.constant;
  const whole = exponent === null ? Number.NaN : Number(exponent);
  if (Number.isInteger(whole) && Math.abs(whole) <= 16) return powWhole(sc, a, whole);
  if (whole === 0.5) return sc.op("sqrt", [a]);
  const c = (v: number) => sc.const(v, a.dtype);
  // |a|^b by exp and log; a negative base is allowed with an integral exponent, its sign by the exponent's parity.
  const magnitude = sc.op("exp", [sc.mul(b, sc.op("log", [sc.op("abs", [a])]))]);
  const integral = sc.op("eq", [sc.op("floor", [b]), b]);
  const halved = sc.mul(b, c(0.5));
  const odd = sc.op("ne", [sc.op("floor", [halved]), halved]);
  const signed = sc.select(sc.op("and", [integral, odd]), sc.op("neg", [magnitude]), magnitude);
  const negative = sc.select(integral, signed, c(Number.NaN));
  const value = sc.select(sc.op("lt", [a, c(0)]), negative, magnitude);
  return sc.select(sc.op("eq", [b, c(0)]), c(1), value);
}

function powWhole(sc: Scalars, x: Expr, n: number): Expr {
  if (n < 0) return sc.op("div", [sc.const(1, x.dtype), powWhole(sc, x, -n)]);
  if (n === 0) return sc.const(1, x.dtype);
  const half = powWhole(sc, x, n >> 1);
  if (n === 1) return x;
  const square = sc.mul(half, half);
  return n % 2 === 0 ? square : sc.mul(square, x);
}

const unary = (f: (x: number) => number) => ([x]: readonly Num[]): Num => f(Number(x));

/** erf to double precision: its Taylor series for small arguments, a continued fraction of erfc beyond. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let [term, sum] = [a, a];
    for (let n = 1; n < 100; n++) {
      term *= -(a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * sum * 2) / Math.sqrt(Math.PI);
  }
  let f = 0;
  for (let n = 60; n >= 1; n--) f = n / 2 / (a + f);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + f) * Math.sqrt(Math.PI)));
}

export const transcendental = {
  exp: { name: "exp", doc: "e to the power x.", arity: 1, type: sameFloat, evaluate: unary(Math.exp), cost: 14, decompose: inF32(expF32), ulp: 2 },
  log: { name: "log", doc: "Natural logarithm.", arity: 1, type: sameFloat, evaluate: unary(Math.log), cost: 24, decompose: inF32(logF32), ulp: 2 },
  tanh: { name: "tanh", doc: "Hyperbolic tangent.", arity: 1, type: sameFloat, evaluate: unary(Math.tanh), cost: 26, decompose: inF32(tanhF32), ulp: 4 },
  sigmoid: { name: "sigmoid", doc: "1 / (1 + exp(-x)).", arity: 1, type: sameFloat, evaluate: unary((x) => 1 / (1 + Math.exp(-x))), cost: 19, decompose: inF32(sigmoidF32), ulp: 4 },
  erf: { name: "erf", doc: "Error function.", arity: 1, type: sameFloat, evaluate: unary(erf), cost: 34, decompose: inF32(erfF32), ulp: 4 },
  sin: { name: "sin", doc: "Sine of an angle in radians.", arity: 1, type: sameFloat, evaluate: unary(Math.sin), cost: 20, decompose: inF32((sc, x) => sinCosF32(sc, x, 0)), ulp: 4 },
  cos: { name: "cos", doc: "Cosine of an angle in radians.", arity: 1, type: sameFloat, evaluate: unary(Math.cos), cost: 20, decompose: inF32((sc, x) => sinCosF32(sc, x, 1)), ulp: 4 },
  pow: { name: "pow", doc: "x to the power y.", arity: 2, type: sameFloat, evaluate: ([a, b]) => Number(a) ** Number(b), cost: 45, decompose: powF32, ulp: 64 },
  rsqrt: { name: "rsqrt", doc: "1 / sqrt(x).", arity: 1, type: sameFloat, evaluate: unary((x) => 1 / Math.sqrt(x)), cost: 10, decompose: (sc: Scalars, [x]: readonly Expr[]): Expr => sc.op("div", [sc.const(1, (x as Expr).dtype), sc.op("sqrt", [x as Expr])]), ulp: 2 },
  sign: {
    name: "sign",
    doc: "-1, 0 or 1; NaN stays.",
    arity: 1,
    type: sameNumber,
    evaluate: ([a]) => (typeof a === "bigint" ? (a > 0n ? 1n : a < 0n ? -1n : 0n) : Math.sign(a as number)),
    cost: 3,
    decompose: (sc: Scalars, [a]: readonly Expr[]): Expr => {
      const x = a as Expr;
      const zero = sc.const(0, x.dtype);
      return sc.select(sc.op("gt", [x, zero]), sc.const(1, x.dtype), x.dtype.kind === "uint" ? zero : sc.select(sc.op("lt", [x, zero]), sc.const(-1, x.dtype), x));
    },
    ulp: 0,
  },
} as const satisfies Record<string, ScalarOp>;

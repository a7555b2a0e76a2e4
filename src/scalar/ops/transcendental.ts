import { f32, f64, i32 } from "../../base/dtype.ts";
import type { Num } from "../../base/numeric.ts";
import type { Expr } from "../expr.ts";
import type { ScalarOp } from "../op.ts";
import type { Scalars } from "../scalars.ts";
import { sameFloat, sameNumber } from "./arith.ts";
import { erfF64, expF64, logF64, powF64, sigmoidF64, sinCosF64, tanhF64 } from "./wide.ts";

/**
 * Functions that decompose into core ops without branches, so that every target vectorises them alike. Coefficients are
 * minimax fits printed by scripts/fit-polynomials.py; each op's `ulp` is tested over its range against the exact value, with
 * multiply-adds fused and not. Where a sine or cosine is below 2^-10, an ulp is that of 2^-10. f16 and bf16 round the result of
 * f32. f64 has algorithms of its own (wide.ts). Signs of zero results are not kept, except by tanh, erf and sign.
 *
 * Clamps have their constant second: a target may then use an instruction that keeps a NaN of the first operand.
 */

/** Horner's scheme; coefficients from the highest power down. */
export function poly(sc: Scalars, x: Expr, coefficients: readonly number[]): Expr {
  const [head, ...rest] = coefficients.map((c) => sc.const(c, x.dtype));
  return rest.reduce((acc, c) => sc.add(sc.mul(acc, x), c), head as Expr);
}

/** The f32 algorithm on f32, and through casts on the shorter floats; f64 has its own. */
export function inF32(f: (sc: Scalars, ...args: Expr[]) => Expr, wide: typeof f) {
  return (sc: Scalars, args: readonly Expr[]): Expr => {
    const { dtype } = args[0] as Expr;
    if (dtype === f64) return wide(sc, ...args);
    return dtype === f32 ? f(sc, ...args) : sc.cast(dtype, f(sc, ...args.map((a) => sc.cast(f32, a))));
  };
}

/**
 * Adding this to a float rounds it to an integer (to nearest even), which then stands in the low bits of the sum; half as
 * much again as 2^23, so that negative integers have that form too. Valid below 2^22; one addition where a conversion to
 * an integer, which must saturate, takes several instructions.
 */
const roundingBias = 12582912;

const ln2High = 0.693145751953125;
const ln2Low = 1.428606765330187e-6;
/** e^r = 1 + r + …, |r| ≤ ln2 / 2 */
const expCoefficients = [0.001382130547426641, 0.008368668146431446, 0.04166825860738754, 0.1666652113199234, 0.4999999403953552, 1, 1];

/**
 * e^(sign·x): sign·x = n·ln2 + r, and the result is 2·e^r times 2^(n-1), whose exponent bits are n + 126. With that factor 2
 * overflow is left to the last product; results below 2^-125.5 (1.7e-38) are flushed to 0, which spares a second
 * scaling, and the slow arithmetic on subnormals to what follows.
 */
function expF32(sc: Scalars, x: Expr, sign: 1 | -1 = 1): Expr {
  const c = (v: number) => sc.const(v, f32);
  // Beyond these the result is infinite, or 0; n stays in [-126, 128].
  const [low, high] = sign === 1 ? [-87.5, 89] : [-89, 87.5];
  const clamped = sc.min(sc.max(x, c(low)), c(high));
  const biased = sc.add(sc.mul(clamped, c(sign * Math.LOG2E)), c(roundingBias + 126));
  const n = sc.sub(biased, c(roundingBias + 126));
  const r = sc.sub(sc.sub(clamped, sc.mul(n, c(sign * ln2High))), sc.mul(n, c(sign * ln2Low)));
  const p = poly(
    sc,
    r,
    expCoefficients.map((v, i) => 2 * v * sign ** (expCoefficients.length - 1 - i)),
  );
  return sc.mul(p, sc.bitcast(f32, sc.op("shl", [sc.bitcast(i32, biased), sc.const(23, i32)])));
}

/** (log(1 + f) - f + f²/2) / f³ and, with it, the -1/2, f in [√½ - 1, √2 - 1] */
const logCoefficients = [
  0.08700359612703323, -0.14266914129257202, 0.14914511144161224, -0.16577653586864471, 0.199631005525589, -0.2500133514404297, 0.3333390951156616,
  -0.5,
];

/** Natural logarithm: x = 2^e·(1 + f) with 1 + f in [√½, √2), e·ln2 + f + f²·P(f). */
export function logF32(sc: Scalars, x: Expr): Expr {
  const c = (v: number) => sc.const(v, f32);
  const i = (v: number) => sc.const(v, i32);
  const subnormal = sc.op("lt", [x, c(2 ** -126)]);
  const bits = sc.bitcast(i32, sc.select(subnormal, sc.mul(x, c(2 ** 23)), x));
  // The bits of √½: what is left of the exponent field counts octaves from there.
  const e = sc.op("shr", [sc.sub(bits, i(0x3f3504f3)), i(23)]);
  const f = sc.sub(sc.bitcast(f32, sc.sub(bits, sc.op("shl", [e, i(23)]))), c(1));
  const exponent = sc.sub(sc.cast(f32, e), sc.select(subnormal, c(23), c(0)));
  const mantissa = sc.add(sc.mul(sc.mul(f, f), poly(sc, f, logCoefficients)), f);
  const value = sc.add(sc.mul(exponent, c(Math.LN2)), mantissa);
  // Infinity and NaN stay; 0 gives -infinity and what is negative NaN.
  const finite = sc.select(sc.op("lt", [x, c(Number.POSITIVE_INFINITY)]), value, x);
  const special = sc.select(sc.op("eq", [x, c(0)]), c(Number.NEGATIVE_INFINITY), c(Number.NaN));
  return sc.select(sc.op("le", [x, c(0)]), special, finite);
}

/** x·P(x²) / Q(x²) for |x| up to `limit`, where f32 rounds the function to 1; rounding must not carry it beyond. */
function oddRational(sc: Scalars, x: Expr, limit: number, top: readonly number[], bottom: readonly number[]): Expr {
  const c = (v: number) => sc.const(v, f32);
  const clamped = sc.min(sc.max(x, c(-limit)), c(limit));
  const u = sc.mul(clamped, clamped);
  const value = sc.op("div", [sc.mul(clamped, poly(sc, u, top)), poly(sc, u, bottom)]);
  return sc.min(sc.max(value, c(-1)), c(1));
}

const tanhTop = [1.3387276176501928e-8, 2.063693682430312e-5, 0.0034974762238562107, 0.1338268667459488, 1];
const tanhBottom = [7.791173288751452e-7, 0.0003288582665845752, 0.02588438056409359, 0.46716007590293884, 1];

const erfTop = [1.956873120434466e-6, 0.0002870630123652518, 0.004020087420940399, 0.053534578531980515, 0.19682526588439941, 1.1283791065216064];
const erfBottom = [3.723391273524612e-5, 0.0012173436116427183, 0.015486207790672779, 0.11670415103435516, 0.5077639818191528, 1];

/** 1 / (1 + exp(-x)): an overflow of exp gives 0. */
function sigmoidF32(sc: Scalars, x: Expr): Expr {
  const one = sc.const(1, f32);
  return sc.op("div", [one, sc.add(expF32(sc, x, -1), one)]);
}

/** π/2 in parts of 8 bits, whose products with integers below 2^16 are exact, and the rest. */
const halfPi = [1.5703125, 0.000484466552734375, -6.407499313354492e-7, 9.92093629470503e-10];
/** (sin r - r) / r³ and (cos r - 1 + r²/2) / r⁴ in r², |r| ≤ π/4 */
const sinCoefficients = [-0.00019518291810527444, 0.008332189172506332, -0.16666655242443085];
const cosCoefficients = [2.4432567443000153e-5, -0.0013887310633435845, 0.04166664555668831];

/** sin(x + shift·π/2): reduction by multiples of π/2 (exact up to |x| = 1e5), then sine or cosine by quadrant. */
function sinCosF32(sc: Scalars, x: Expr, shift: 0 | 1): Expr {
  const c = (v: number) => sc.const(v, f32);
  const i = (v: number) => sc.const(v, i32);
  const biased = sc.add(sc.mul(x, c(2 / Math.PI)), c(roundingBias));
  const n = sc.sub(biased, c(roundingBias));
  const reduced = halfPi.reduce((r, part) => sc.sub(r, sc.mul(n, c(part))), x);
  // Where reduction fails, far out, the result is at least a sine.
  const r = sc.min(sc.max(reduced, c(-0.8)), c(0.8));
  const z = sc.mul(r, r);
  const sin = sc.add(sc.mul(sc.mul(r, z), poly(sc, z, sinCoefficients)), r);
  const cos = poly(sc, z, [...cosCoefficients, -0.5, 1]);
  const quadrant = shift === 0 ? sc.bitcast(i32, biased) : sc.add(sc.bitcast(i32, biased), i(shift));
  const odd = sc.op("ne", [sc.op("and", [quadrant, i(1)]), i(0)]);
  // Bit 1 of the quadrant is the sign.
  const sign = sc.op("shl", [sc.op("and", [quadrant, i(2)]), i(30)]);
  return sc.bitcast(f32, sc.op("xor", [sc.bitcast(i32, sc.select(odd, cos, sin)), sign]));
}

/** Powers by a constant are products, or a square root; others go by exp and log. */
function decomposePow(sc: Scalars, args: readonly Expr[]): Expr {
  const [x, y] = args as [Expr, Expr];
  const exponent = y.constant === null ? Number.NaN : Number(y.constant);
  if (Number.isInteger(exponent) && Math.abs(exponent) <= 16) return powWhole(sc, x, exponent);
  if (exponent === 0.5) return sc.op("sqrt", [x]);
  return inF32(
    (s, a, b) => powF32(s, a as Expr, b as Expr),
    (s, a, b) => powF64(s, a as Expr, b as Expr),
  )(sc, args);
}

/** exp(y·log|x|), with x's sign where y is odd, and NaN where x is negative and y no integer. */
function powF32(sc: Scalars, x: Expr, y: Expr): Expr {
  const c = (v: number) => sc.const(v, f32);
  const i = (v: number) => sc.const(v, i32);
  const magnitude = expF32(sc, sc.mul(y, logF32(sc, sc.op("abs", [x]))));
  const integral = sc.op("eq", [sc.op("floor", [y]), y]);
  const half = sc.mul(y, c(0.5));
  const odd = sc.and(integral, sc.op("ne", [sc.op("floor", [half]), half]));
  const sign = sc.select(odd, sc.op("and", [sc.bitcast(i32, x), i(-(2 ** 31))]), i(0));
  const signed = sc.bitcast(f32, sc.op("xor", [sc.bitcast(i32, magnitude), sign]));
  const real = sc.op("or", [integral, sc.op("or", [sc.op("ge", [x, c(0)]), sc.op("eq", [x, c(Number.NEGATIVE_INFINITY)])])]);
  return sc.select(sc.op("eq", [y, c(0)]), c(1), sc.select(real, signed, c(Number.NaN)));
}

function powWhole(sc: Scalars, x: Expr, n: number): Expr {
  if (n < 0) return sc.op("div", [sc.const(1, x.dtype), powWhole(sc, x, -n)]);
  if (n === 0) return sc.const(1, x.dtype);
  if (n === 1) return x;
  const half = powWhole(sc, x, n >> 1);
  const square = sc.mul(half, half);
  return n % 2 === 0 ? square : sc.mul(square, x);
}

function decomposeSign(sc: Scalars, [a]: readonly Expr[]): Expr {
  const x = a as Expr;
  const zero = sc.const(0, x.dtype);
  const below = x.dtype.kind === "uint" ? zero : sc.select(sc.op("lt", [x, zero]), sc.const(-1, x.dtype), x);
  return sc.select(sc.op("gt", [x, zero]), sc.const(1, x.dtype), below);
}

/** Evaluates with a function on numbers. */
export const unary =
  (f: (x: number) => number) =>
  ([x]: readonly Num[]): Num =>
    f(Number(x));

/** erf to double precision: its Taylor series for small arguments, a continued fraction of erfc beyond. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (a > 6) return Math.sign(x);
  if (a < 1.5) {
    let [term, sum] = [a, a];
    for (let n = 1; n < 50; n++) {
      term *= -(a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * sum * 2) / Math.sqrt(Math.PI);
  }
  let f = 0;
  for (let n = 300; n >= 1; n--) f = n / 2 / (a + f);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + f) * Math.sqrt(Math.PI)));
}

export const transcendental = {
  exp: {
    name: "exp",
    doc: "e to the power x; results below 1.7e-38 may be 0.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.exp),
    cost: 15,
    decompose: inF32(
      (sc, x) => expF32(sc, x as Expr),
      (sc, x) => expF64(sc, x as Expr),
    ),
    ulp: 1.5,
  },
  log: {
    name: "log",
    doc: "Natural logarithm.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.log),
    cost: 28,
    decompose: inF32(
      (sc, x) => logF32(sc, x as Expr),
      (sc, x) => logF64(sc, x as Expr),
    ),
    ulp: 1.5,
  },
  tanh: {
    name: "tanh",
    doc: "Hyperbolic tangent.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.tanh),
    cost: 18,
    decompose: inF32(
      (sc, x) => oddRational(sc, x as Expr, 9.02, tanhTop, tanhBottom),
      (sc, x) => tanhF64(sc, x as Expr),
    ),
    ulp: 6,
  },
  sigmoid: {
    name: "sigmoid",
    doc: "1 / (1 + exp(-x)).",
    arity: 1,
    type: sameFloat,
    evaluate: unary((x) => 1 / (1 + Math.exp(-x))),
    cost: 20,
    decompose: inF32(
      (sc, x) => sigmoidF32(sc, x as Expr),
      (sc, x) => sigmoidF64(sc, x as Expr),
    ),
    ulp: 2.5,
  },
  erf: {
    name: "erf",
    doc: "Error function.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(erf),
    cost: 20,
    decompose: inF32(
      (sc, x) => oddRational(sc, x as Expr, 3.93, erfTop, erfBottom),
      (sc, x) => erfF64(sc, x as Expr),
    ),
    ulp: 6,
  },
  sin: {
    name: "sin",
    doc: "Sine of an angle in radians, up to |x| = 1e5; beyond that only its bounds are kept.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.sin),
    cost: 24,
    decompose: inF32(
      (sc, x) => sinCosF32(sc, x as Expr, 0),
      (sc, x) => sinCosF64(sc, x as Expr, 0),
    ),
    ulp: 2.5,
  },
  cos: {
    name: "cos",
    doc: "Cosine of an angle in radians, up to |x| = 1e5; beyond that only its bounds are kept.",
    arity: 1,
    type: sameFloat,
    evaluate: unary(Math.cos),
    cost: 25,
    decompose: inF32(
      (sc, x) => sinCosF32(sc, x as Expr, 1),
      (sc, x) => sinCosF64(sc, x as Expr, 1),
    ),
    ulp: 2.5,
  },
  pow: {
    name: "pow",
    doc: "x to the power y. The error grows with the result's logarithm: 3 + 3.5 · |y · log x| ulp.",
    arity: 2,
    type: sameFloat,
    evaluate: ([a, b]) => Number(a) ** Number(b),
    cost: 60,
    decompose: decomposePow,
    ulp: 256,
  },
  rsqrt: {
    name: "rsqrt",
    doc: "1 / sqrt(x).",
    arity: 1,
    type: sameFloat,
    evaluate: unary((x) => 1 / Math.sqrt(x)),
    cost: 10,
    decompose: (sc: Scalars, [x]: readonly Expr[]): Expr => sc.op("div", [sc.const(1, (x as Expr).dtype), sc.op("sqrt", [x as Expr])]),
    ulp: 1.5,
  },
  sign: {
    name: "sign",
    doc: "-1, 0 or 1; NaN stays.",
    arity: 1,
    type: sameNumber,
    evaluate: ([a]) => (typeof a === "bigint" ? (a > 0n ? 1n : a < 0n ? -1n : 0n) : Math.sign(a as number)),
    cost: 3,
    decompose: decomposeSign,
    ulp: 0,
  },
} as const satisfies Record<string, ScalarOp>;

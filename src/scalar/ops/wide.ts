import { f64, i32, i64 } from "../../base/dtype.ts";
import type { Expr } from "../expr.ts";
import type { Scalars } from "../scalars.ts";

/**
 * Transcendental functions in f64: the arguments are reduced until a few terms of the Taylor series are as exact as the dtype. Two
 * parts of a constant are one whose products with the integers that occur are exact, and the rest.
 */
const c = (sc: Scalars, v: number): Expr => sc.const(v, f64);
const i = (sc: Scalars, v: bigint): Expr => sc.const(v, i64);

/** Horner's scheme; coefficients from the lowest power up. */
export function series(sc: Scalars, x: Expr, coefficients: readonly number[]): Expr {
  return coefficients.slice(0, -1).reduceRight<Expr>((sum, v) => sc.add(sc.mul(sum, x), c(sc, v)), c(sc, coefficients.at(-1) ?? 0));
}

/** Adding it rounds to an integer, which stands in the low bits of the sum. */
const roundingBias = 1.5 * 2 ** 52;
/** The nearest integer as a float and as an integer; |x| below 2^31. */
function rounded(sc: Scalars, x: Expr): readonly [Expr, Expr] {
  const biased = sc.add(x, c(sc, roundingBias));
  const bits = new BigInt64Array(Float64Array.of(roundingBias).buffer)[0] ?? 0n;
  return [sc.sub(biased, c(sc, roundingBias)), sc.sub(sc.bitcast(i64, biased), i(sc, bits))];
}

const factorials = Array.from({ length: 20 }).reduce<number[]>((out) => [...out, (out.at(-1) ?? 1) * out.length], [1]);
/** 1 / k! from k = `first` on, every `step`-th, `n` of them. */
const inverses = (first: number, n: number, step = 1): number[] => Array.from({ length: n }, (_, k) => 1 / (factorials[first + k * step] as number));

const [ln2High, ln2Low] = [0.6931471803691238, 1.9082149292705877e-10] as const;
/** x less the nearest multiple of ln 2, and that multiple's number. */
function withoutLn2(sc: Scalars, x: Expr): readonly [r: Expr, n: Expr] {
  const [n, whole] = rounded(sc, sc.mul(x, c(sc, Math.LOG2E)));
  return [sc.sub(sc.sub(x, sc.mul(n, c(sc, ln2High))), sc.mul(n, c(sc, ln2Low))), whole];
}

/** 2^n for an integer from -1022 to 1023. */
const powerOfTwo = (sc: Scalars, n: Expr): Expr => sc.bitcast(f64, sc.op("shl", [sc.add(n, i(sc, 1023n)), i(sc, 52n)]));

/** x · 2^n, the power in two halves, so that results may be subnormal. */
function timesPowerOfTwo(sc: Scalars, x: Expr, n: Expr): Expr {
  const half = sc.op("shr", [n, i(sc, 1n)]);
  return sc.mul(sc.mul(x, powerOfTwo(sc, half)), powerOfTwo(sc, sc.sub(n, half)));
}

/** e^x: 2^n · e^r. */
export function expF64(sc: Scalars, x: Expr): Expr {
  const [r, n] = withoutLn2(sc, sc.min(sc.max(x, c(sc, -746)), c(sc, 710)));
  return timesPowerOfTwo(sc, series(sc, r, inverses(0, 14)), n);
}

/** x = 2^e · (1 + f) with 1 + f in [√½, √2). */
function octaveOf(sc: Scalars, x: Expr): { readonly f: Expr; readonly e: Expr } {
  const subnormal = sc.op("lt", [x, c(sc, 2 ** -1022)]);
  const bits = sc.bitcast(i64, sc.select(subnormal, sc.mul(x, c(sc, 2 ** 54)), x));
  // The bits of √½: what is left of the exponent field counts octaves from there.
  const octaves = sc.op("shr", [sc.sub(bits, i(sc, 0x3fe6a09e667f3bcdn)), i(sc, 52n)]);
  const f = sc.sub(sc.bitcast(f64, sc.sub(bits, sc.op("shl", [octaves, i(sc, 52n)]))), c(sc, 1));
  return { f, e: sc.sub(sc.cast(f64, octaves), sc.select(subnormal, c(sc, 54), c(sc, 0))) };
}

/** 2 artanh(s) = 2 s + s · s² · (2/3 + 2/5 s² + …) */
const artanhTerms = Array.from({ length: 10 }, (_, k) => 2 / (2 * k + 3));

/** The logarithm where x is 0, infinite, negative or NaN; else the value. */
function logAtEnds(sc: Scalars, x: Expr, value: Expr): Expr {
  const finite = sc.select(sc.op("lt", [x, c(sc, Number.POSITIVE_INFINITY)]), value, x);
  const special = sc.select(sc.op("eq", [x, c(sc, 0)]), c(sc, Number.NEGATIVE_INFINITY), c(sc, Number.NaN));
  return sc.select(sc.op("le", [x, c(sc, 0)]), special, finite);
}

/** Natural logarithm: log(1 + f) = 2 artanh(s), s = f / (2 + f). */
export function logF64(sc: Scalars, x: Expr): Expr {
  const { f, e } = octaveOf(sc, x);
  const s = sc.op("div", [f, sc.add(f, c(sc, 2))]);
  const z = sc.mul(s, s);
  const rest = sc.mul(z, series(sc, z, artanhTerms));
  // f - (f²/2 - s · (f²/2 + rest)): the largest term is exact.
  const square = sc.mul(sc.mul(f, f), c(sc, 0.5));
  const small = sc.add(sc.mul(s, sc.add(square, rest)), sc.mul(e, c(sc, ln2Low)));
  return logAtEnds(sc, x, sc.add(sc.mul(e, c(sc, ln2High)), sc.sub(f, sc.sub(square, small))));
}

export function sigmoidF64(sc: Scalars, x: Expr): Expr {
  const one = c(sc, 1);
  return sc.op("div", [one, sc.add(expF64(sc, sc.sub(c(sc, 0), x)), one)]);
}

/** A value that is not negative, with the sign of x; both f32 or f64. */
export function withSign(sc: Scalars, value: Expr, x: Expr): Expr {
  const [word, top] = x.dtype === f64 ? [i64, i(sc, -(2n ** 63n))] : [i32, sc.const(-(2 ** 31), i32)];
  return sc.bitcast(x.dtype, sc.op("or", [sc.bitcast(word, value), sc.op("and", [sc.bitcast(word, x), top])]));
}

/** p / (p + 2) for p = e^2|x| - 1, which is a series of its own where e^2|x| is near 1; with x's sign. */
export function tanhF64(sc: Scalars, x: Expr): Expr {
  const twice = sc.min(sc.mul(sc.op("abs", [x]), c(sc, 2)), c(sc, 40));
  const near = sc.mul(twice, series(sc, twice, inverses(1, 14)));
  const p = sc.select(sc.op("lt", [twice, c(sc, 0.35)]), near, sc.sub(expF64(sc, twice), c(sc, 1)));
  const value = sc.op("div", [p, sc.add(p, c(sc, 2))]);
  // NaN stays, whatever min made of it.
  return sc.select(sc.op("ne", [x, x]), x, withSign(sc, value, x));
}

/** 2/√π · (-1)^k / (k! · (2k + 1)): the error function's series, in x² and times x. */
const erfTerms = Array.from({ length: 15 }, (_, k) => ((2 / Math.sqrt(Math.PI)) * (-1) ** k) / ((factorials[k] as number) * (2 * k + 1)));
/** e^(x²) · erfc x in 1 / (x + 2), for x from 0.75 to 6: from scripts/fit-polynomials.py. */
const erfcCoefficients = [
  -6.17810293814172e-6, 0.564517662308396, 1.120348057763812, 2.094500658418295, 1.6077045361766966, 11.443349017606678, -46.389005073336975,
  169.02801798915817, -488.70402989396814, 823.1745766811267, -620.4597891760267, -253.6197895360031, 972.0551218272432, -816.2249222959234,
  251.8207537902794,
];

/** The series near 0, 1 - erfc|x| beyond; with x's sign. */
export function erfF64(sc: Scalars, x: Expr): Expr {
  const a = sc.min(sc.op("abs", [x]), c(sc, 6));
  const square = sc.mul(a, a);
  const scaled = series(sc, sc.op("div", [c(sc, 1), sc.add(a, c(sc, 2))]), erfcCoefficients);
  const far = sc.sub(c(sc, 1), sc.mul(expF64(sc, sc.sub(c(sc, 0), square)), scaled));
  const value = sc.select(sc.op("lt", [a, c(sc, 0.75)]), sc.mul(a, series(sc, square, erfTerms)), far);
  return sc.select(sc.op("ne", [x, x]), x, withSign(sc, value, x));
}

/** π/2 in parts of 33 bits, whose products with integers below 2^20 are exact, and the rest. */
const halfPi = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21] as const;

/** sin(x + shift·π/2): reduction by multiples of π/2 (up to |x| = 1e5 without loss), then sine or cosine by quadrant. */
export function sinCosF64(sc: Scalars, x: Expr, shift: 0 | 1): Expr {
  const [n, whole] = rounded(sc, sc.mul(x, c(sc, 2 / Math.PI)));
  const reduced = halfPi.reduce<Expr>((r, part) => sc.sub(r, sc.mul(n, c(sc, part))), x);
  // Where reduction fails, far out, the result is at least a sine.
  const r = sc.min(sc.max(reduced, c(sc, -0.8)), c(sc, 0.8));
  const z = sc.mul(r, r);
  const alternating = (v: number, k: number): number => (k % 2 === 0 ? v : -v);
  const sin = sc.sub(r, sc.mul(sc.mul(r, z), series(sc, z, inverses(3, 8, 2).map(alternating))));
  const fourth = sc.mul(sc.mul(z, z), series(sc, z, inverses(4, 8, 2).map(alternating)));
  const cos = sc.add(sc.sub(c(sc, 1), sc.mul(z, c(sc, 0.5))), fourth);
  const quadrant = shift === 0 ? whole : sc.add(whole, i(sc, 1n));
  const odd = sc.op("ne", [sc.op("and", [quadrant, i(sc, 1n)]), i(sc, 0n)]);
  // Bit 1 of the quadrant is the sign.
  const sign = sc.op("shl", [sc.op("and", [quadrant, i(sc, 2n)]), i(sc, 62n)]);
  return sc.bitcast(f64, sc.op("xor", [sc.bitcast(i64, sc.select(odd, cos, sin)), sign]));
}

/** A number that is the sum of two, the second far below the first. */
type Pair = readonly [high: Expr, low: Expr];

/** a + b without loss; |a| must not be below |b|, or be 0. */
function pairSum(sc: Scalars, a: Expr, b: Expr): Pair {
  const sum = sc.add(a, b);
  return [sum, sc.sub(b, sc.sub(sum, a))];
}

/** a · b without loss (Dekker, A Floating-Point Technique for Extending the Available Precision, 1971); factors below 2^996. */
function pairProduct(sc: Scalars, a: Expr, b: Expr): Pair {
  const halves = (v: Expr): Pair => {
    const scaled = sc.mul(v, c(sc, 2 ** 27 + 1));
    const high = sc.sub(scaled, sc.sub(scaled, v));
    return [high, sc.sub(v, high)];
  };
  const [[ah, al], [bh, bl], product] = [halves(a), halves(b), sc.mul(a, b)];
  const crossed = sc.add(sc.add(sc.sub(sc.mul(ah, bh), product), sc.mul(ah, bl)), sc.mul(al, bh));
  return [product, sc.add(crossed, sc.mul(al, bl))];
}

/** log x for x from 0 on to some 60 bits: as `logF64`, with what s and the sum leave over. The second part holds for finite x above 0. */
function logPair(sc: Scalars, x: Expr): Pair {
  const { f, e } = octaveOf(sc, x);
  const [t, tRest] = pairSum(sc, c(sc, 2), f);
  const s = sc.op("div", [f, t]);
  const [product, lost] = pairProduct(sc, s, t);
  const sRest = sc.op("div", [sc.sub(sc.sub(sc.sub(f, product), lost), sc.mul(s, tRest)), t]);
  const z = sc.mul(s, s);
  const rest = sc.mul(s, sc.mul(z, series(sc, z, artanhTerms)));
  const [high, error] = pairSum(sc, sc.mul(e, c(sc, ln2High)), sc.mul(s, c(sc, 2)));
  const low = sc.add(error, sc.add(sc.mul(sRest, c(sc, 2)), sc.add(rest, sc.mul(e, c(sc, ln2Low)))));
  const [value, left] = pairSum(sc, high, low);
  return [logAtEnds(sc, x, value), left];
}

/** e^(high + low), for a low part below 1e-6. */
function expPair(sc: Scalars, [high, low]: Pair): Expr {
  const x = sc.min(sc.max(high, c(sc, -746)), c(sc, 710));
  const [n, whole] = rounded(sc, sc.mul(x, c(sc, Math.LOG2E)));
  const [r, error] = pairSum(sc, sc.sub(x, sc.mul(n, c(sc, ln2High))), sc.sub(low, sc.mul(n, c(sc, ln2Low))));
  const rest = sc.add(sc.mul(sc.mul(r, r), series(sc, r, inverses(2, 13))), error);
  return timesPowerOfTwo(sc, sc.add(c(sc, 1), sc.add(r, rest)), whole);
}

/**
 * exp(y·log|x|) with the product in two parts, so that results that f64 holds exactly are exact; with x's sign where y is odd, and
 * NaN where x is negative and y no integer.
 */
export function powF64(sc: Scalars, x: Expr, y: Expr): Expr {
  const [logHigh, logLow] = logPair(sc, sc.op("abs", [x]));
  const [product, lost] = pairProduct(sc, y, logHigh);
  const below = (v: Expr, limit: number): Expr => sc.op("lt", [sc.op("abs", [v]), c(sc, limit)]);
  const low = sc.select(sc.and(below(product, 1100), below(y, 2 ** 900)), sc.add(lost, sc.mul(y, logLow)), c(sc, 0));
  const magnitude = expPair(sc, [product, low]);
  const integral = sc.op("eq", [sc.op("floor", [y]), y]);
  const half = sc.mul(y, c(sc, 0.5));
  const odd = sc.and(integral, sc.op("ne", [sc.op("floor", [half]), half]));
  const sign = sc.select(odd, sc.op("and", [sc.bitcast(i64, x), i(sc, -(2n ** 63n))]), i(sc, 0n));
  const signed = sc.bitcast(f64, sc.op("xor", [sc.bitcast(i64, magnitude), sign]));
  const real = sc.op("or", [integral, sc.op("or", [sc.op("ge", [x, c(sc, 0)]), sc.op("eq", [x, c(sc, Number.NEGATIVE_INFINITY)])])]);
  return sc.select(sc.op("eq", [y, c(sc, 0)]), c(sc, 1), sc.select(real, signed, c(sc, Number.NaN)));
}

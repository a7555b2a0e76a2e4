import { type Dim, mulDim } from "../../../base/dim.ts";
import type { DType } from "../../../base/dtype.ts";
import { hostFrom } from "../../../graph/host.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext } from "../context.ts";
import { dimValue } from "../operand.ts";

/**
 * Discrete Fourier transforms as products with matrices: one matrix where it is small, else products along the factors of
 * the length (Cooley & Tukey, An Algorithm for the Machine Calculation of Complex Fourier Series, 1965), and convolution
 * with a chirp for large primes (Bluestein, A Linear Filtering Approach to the Computation of the Discrete Fourier
 * Transform, 1970). Parts of complex numbers are a dimension of size 2, real part first.
 */

/** Elements of the largest matrix that a transform is done by at once: 1 MB of f32. */
const largestMatrix = 2 ** 18;

/** -1: forward, 1: inverse, but for its division by the length. */
export type Sign = -1 | 1;

/** e^(i·sign·2π·t/n); the turns are reduced before they are rounded. */
function onCircle(sign: Sign, t: number, n: number): readonly [number, number] {
  const angle = (sign * 2 * Math.PI * (t % n)) / n;
  return [Math.cos(angle), Math.sin(angle)];
}

/** An entry of the real matrix that multiplies by a complex number: from part `from` to part `to`. */
function entry([re, im]: readonly [number, number], from: number, to: number): number {
  return from === to ? re : to === 0 ? -im : im;
}

/** How a transform is asked for: of `n` samples, of which `parts` (1: real numbers) are given, to `bins` bins of two parts. */
export interface Transform {
  readonly sign: Sign;
  readonly n: Dim;
  readonly parts: number;
  readonly bins: Dim;
  readonly scale: number;
}

/** The matrix [n, parts, bins, 2] of a transform; of a symbolic length it is computed when the model runs. */
export function fourierMatrix(c: NodeContext, dtype: DType, { sign, n, parts, bins, scale }: Transform): Value {
  if (typeof n !== "number" || typeof bins !== "number") return matrixAtRun(c, dtype, { sign, n, parts, bins, scale });
  const at = (flat: number): number => {
    const [to, k, from, j] = [flat % 2, Math.floor(flat / 2) % bins, Math.floor(flat / 2 / bins) % parts, Math.floor(flat / 2 / bins / parts)];
    return scale * entry(onCircle(sign, j * k, n), from, to);
  };
  return c.g.host(hostFrom(dtype, [n, parts, bins, 2], at), "fourier");
}

function matrixAtRun(c: NodeContext, dtype: DType, { sign, n, parts, bins, scale }: Transform): Value {
  const { g, sizes } = c;
  const turns = g.one("mod", [sizes.mul(sizes.positions([n, bins], 0), sizes.positions([n, bins], 1)), g.broadcast(dimValue(g, n), [n, bins], [])]);
  const [re, im] = circleAtRun(c, dtype, turns, n).map((x, part) =>
    g.reshape(c.withScalar("mul", x, part === 0 ? scale : sign * scale), [n, 1, bins, 1]),
  ) as [Value, Value];
  const row = (a: Value, b: Value) => g.one("concat", [a, b], { axis: 3 });
  const real = row(re, im);
  return parts === 1 ? real : g.one("concat", [real, row(g.one("neg", [im]), re)], { axis: 1 });
}

/**
 * Cosine and sine of 2π·t/n for integers t in [0, n). Whole quarters are split off in integers, as an angle up to 2π is wrong
 * by more in f32 than the result may be: what is left is at most an eighth, and zeros of the functions come out as zeros.
 */
function circleAtRun(c: NodeContext, dtype: DType, t: Value, n: Dim): readonly [Value, Value] {
  const { g, sizes } = c;
  const quarters = sizes.div(sizes.add(sizes.mul(t, 8), n), mulDim(n, 2));
  const rest = g.convert(sizes.sub(sizes.mul(t, 4), sizes.mul(quarters, n)), dtype);
  const length = g.broadcast(g.convert(dimValue(g, n), dtype), t.dims, []);
  const angle = g.one("div", [c.withScalar("mul", rest, Math.PI / 2), length]);
  const [cos, sin] = [g.one("cos", [angle]), g.one("sin", [angle])];
  const quarter = c.withScalar("mod", quarters, 4);
  const odd = c.withScalar("eq", c.withScalar("mod", quarters, 2), 1);
  const signed = (negative: Value, x: Value) => g.one("select", [negative, g.one("neg", [x]), x]);
  const middle = sizes.or(c.withScalar("eq", quarter, 1), c.withScalar("eq", quarter, 2));
  return [signed(middle, g.one("select", [odd, sin, cos])), signed(sizes.lt(1, quarter), g.one("select", [odd, cos, sin]))];
}

/** Is one matrix the way to go? */
export function isDirect({ n, parts, bins }: Transform): boolean {
  return typeof n !== "number" || typeof bins !== "number" || n * parts * bins * 2 <= largestMatrix;
}

/** The transform of [batch, 2, n] along its last dimension, all n bins. */
export function fullTransform(c: NodeContext, x: Value, sign: Sign): Value {
  const { g } = c;
  const [batch, , n] = x.dims as [Dim, Dim, number];
  const whole: Transform = { sign, n, parts: 2, bins: n, scale: 1 };
  if (isDirect(whole)) {
    const y = g.one("dot", [x, fourierMatrix(c, x.dtype, whole)], { batchA: [], batchB: [], contractA: [2, 1], contractB: [0, 1] });
    return g.transpose(y, [0, 2, 1]);
  }
  const first = balancedFactor(n);
  if (first === 1) return byChirp(c, x, sign);
  // Sample second·j + l and bin k + first·m: along j to k, turned by l·k, along l to m.
  const second = n / first;
  const apart = g.transpose(g.reshape(x, [batch, 2, first, second]), [0, 3, 1, 2]);
  const inner = fullTransform(c, g.reshape(apart, [mulDim(batch, second), 2, first]), sign);
  const turned = turnedBy(c, g.reshape(inner, [batch, second, 2, first]), [second, first], (l, k) => onCircle(sign, l * k, n));
  const across = g.reshape(g.transpose(turned, [0, 3, 2, 1]), [mulDim(batch, first), 2, second]);
  const outer = g.reshape(fullTransform(c, across, sign), [batch, first, 2, second]);
  return g.reshape(g.transpose(outer, [0, 2, 3, 1]), [batch, 2, n]);
}

/** The divisor next to the root, from below. */
function balancedFactor(n: number): number {
  for (let d = Math.floor(Math.sqrt(n)); d > 1; d--) if (n % d === 0) return d;
  return 1;
}

/** Products with complex constants of dims [rows, columns], or [columns]; x is [..., rows,] 2, columns]. */
function turnedBy(c: NodeContext, x: Value, dims: readonly number[], at: (...index: number[]) => readonly [number, number]): Value {
  const columns = dims[dims.length - 1] as number;
  const make = (element: (z: readonly [number, number], part: number) => number): Value => {
    const own = [...dims.slice(0, -1), 2, columns];
    const value = (flat: number): number => {
      const [k, part, l] = [flat % columns, Math.floor(flat / columns) % 2, Math.floor(flat / columns / 2)];
      return element(dims.length === 1 ? at(k) : at(l, k), part);
    };
    return c.stretch(c.g.host(hostFrom(x.dtype, own, value), "turns"), x.dims);
  };
  return complexProduct(
    c,
    x,
    make(([re]) => re),
    make(([, im], part) => (part === 0 ? -im : im)),
  );
}

/** x times complex numbers whose real parts, and imaginary parts with those for the real part negated, are given for each part of x. */
function complexProduct(c: NodeContext, x: Value, real: Value, imaginary: Value): Value {
  const rank = x.dims.length;
  const part = rank - 2;
  const swapped = c.g.one("slice", [x], {
    start: x.dims.map((_, i) => (i === part ? 1 : 0)),
    stride: x.dims.map((_, i) => (i === part ? -1 : 1)),
    dims: x.dims,
  });
  return c.g.one("add", [c.g.one("mul", [x, real]), c.g.one("mul", [swapped, imaginary])]);
}

/** A prime length: jk is (j² + k² - (k - j)²) / 2, so that what is left of the sum is a convolution, done by longer transforms. */
function byChirp(c: NodeContext, x: Value, sign: Sign): Value {
  const { g } = c;
  const [batch, , n] = x.dims as [Dim, Dim, number];
  const chirp = (j: number): readonly [number, number] => onCircle(sign, (j * j) % (2 * n), 2 * n);
  let size = 1;
  while (size < 2 * n - 1) size *= 2;
  const padded = g.one("pad", [turnedBy(c, x, [n], chirp), g.scalar(x.dtype, 0)], { low: [0, 0, 0], high: [0, 0, size - n] });
  const filter = hostFrom(x.dtype, [1, 2, size], (flat) => {
    const at = flat % size;
    const j = Math.min(at, size - at);
    const [re, im] = j < n ? chirp(j) : [0, 0];
    return (flat < size ? re : -im) / size;
  });
  const spectrum = fullTransform(c, g.host(filter, "chirp"), -1);
  const half = (k: number) => g.one("slice", [spectrum], { start: [0, k, 0], stride: [1, 1, 1], dims: [1, 1, size] });
  const imaginary = g.one("concat", [g.one("neg", [half(1)]), half(1)], { axis: 1 });
  const bins = fullTransform(c, padded, -1);
  const over = (v: Value) => c.stretch(v, bins.dims);
  const product = complexProduct(c, bins, over(half(0)), over(imaginary));
  const back = fullTransform(c, product, 1);
  return turnedBy(c, g.one("slice", [back], { start: [0, 0, 0], stride: [1, 1, 1], dims: [batch, 2, n] }), [n], chirp);
}

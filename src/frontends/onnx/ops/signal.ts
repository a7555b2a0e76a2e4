import { type Dim, addDim, dimEquals, floorDivDim, maxDim, mulDim, productOf, subDim } from "../../../base/dim.ts";
import { type DType, f32, i32 } from "../../../base/dtype.ts";
import { hostFrom } from "../../../graph/host.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpMapping, OpTable } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { wideFloat } from "./elementwise.ts";
import { fourierMatrix, fullTransform, isDirect } from "./fourier.ts";
import { melWeightMatrix } from "./mel.ts";

/** A size that an input gives, known or not. */
function sizeInput(c: NodeContext, i: number, name: string, least: number, bound: Dim | null): Dim {
  const o = c.input(i);
  return o.known?.[0] ?? c.g.bindSize(c.g.reshape(o.value, []), name, least, bound);
}

/** x cut, or padded with zeros, to `size` along an axis. */
function resized(c: NodeContext, x: Value, axis: number, size: Dim): Value {
  const n = x.dims[axis] as Dim;
  if (dimEquals(n, size)) return x;
  const none: Dim[] = x.dims.map(() => 0);
  const missing = maxDim(subDim(size, n), 0);
  const long = missing === 0 ? x : c.g.one("pad", [x, c.g.scalar(x.dtype, 0)], { low: none, high: none.with(axis, missing) });
  if (dimEquals(long.dims[axis] as Dim, size)) return long;
  return c.g.one("slice", [long], { start: none, stride: x.dims.map(() => 1), dims: x.dims.with(axis, size) });
}

/** `[start, start + size)` along an axis, turned around if need be. */
function part(c: NodeContext, x: Value, axis: number, start: Dim, size: Dim, step: 1 | -1 = 1): Value {
  const none: Dim[] = x.dims.map(() => 0);
  return c.g.one("slice", [x], {
    start: none.with(axis, start),
    stride: x.dims.map((_, i) => (i === axis ? step : 1)),
    dims: x.dims.with(axis, size),
  });
}

const half = (n: Dim): Dim => addDim(floorDivDim(n, 2), 1);

/** Bins of `n` samples along `axis` of [..., parts], the last dimension being 2 then. */
function forward(c: NodeContext, x: Value, axis: number, n: Dim, onesided: boolean): Value {
  const parts = Number(x.dims[x.dims.length - 1]);
  const how = { sign: -1, n, parts, bins: onesided ? half(n) : n, scale: 1 } as const;
  if (isDirect(how)) return alongAxis(c, x, axis, fourierMatrix(c, x.dtype, how));
  const all = inRows(c, x, axis, (rows) => fullTransform(c, resized(c, rows, 1, 2), -1));
  return onesided ? part(c, all, axis, 0, how.bins) : all;
}
function inverse(c: NodeContext, x: Value, axis: number, n: Dim): Value {
  const parts = Number(x.dims[x.dims.length - 1]);
  const how = { sign: 1, n, parts, bins: n, scale: 1 } as const;
  const y = isDirect(how)
    ? alongAxis(c, x, axis, fourierMatrix(c, x.dtype, how))
    : inRows(c, x, axis, (rows) => fullTransform(c, resized(c, rows, 1, 2), 1));
  return over(c, y, n);
}
/** Real samples of the bins of their first half: the other half is conjugate to it. */
function inverseOfHalf(c: NodeContext, x: Value, axis: number, n: Dim): Value {
  const last = x.dims.length - 1;
  const given = resized(c, x, last, 2);
  const bins = half(n);
  // Bins n/2 - 1 (or (n - 1)/2) down to 1.
  const count = subDim(n, bins);
  const mirrored = part(c, given, axis, count, count, -1);
  const sign = c.g.host(
    hostFrom(x.dtype, [2], (i) => (i === 0 ? 1 : -1)),
    "conjugate",
  );
  const conjugate = c.g.one("mul", [mirrored, c.stretch(sign, mirrored.dims)]);
  const all = c.g.one("concat", [given, conjugate], { axis });
  return part(c, inverse(c, all, axis, n), last, 0, 1);
}

/** x / n */
function over(c: NodeContext, x: Value, n: Dim): Value {
  if (typeof n === "number") return c.withScalar("mul", x, 1 / n);
  return c.g.one("div", [x, c.g.broadcast(c.g.convert(dimValue(c.g, n), x.dtype), x.dims, [])]);
}

/** The product with a matrix [n, parts, bins, 2] over an axis and the parts. */
function alongAxis(c: NodeContext, x: Value, axis: number, matrix: Value): Value {
  const rank = x.dims.length;
  const y = c.g.one("dot", [x, matrix], { batchA: [], batchB: [], contractA: [axis, rank - 1], contractB: [0, 1] });
  const others = Array.from({ length: rank - 2 }, (_, i) => i);
  return c.g.transpose(y, [...others.toSpliced(axis, 0, rank - 2), rank - 1]);
}

/** What `f` makes of x as [rows, parts, n]. */
function inRows(c: NodeContext, x: Value, axis: number, f: (rows: Value) => Value): Value {
  const rank = x.dims.length;
  const others = x.dims.map((_, i) => i).filter((i) => i !== axis && i !== rank - 1);
  const perm = [...others, rank - 1, axis];
  const moved = c.g.transpose(x, perm);
  const outer = moved.dims.slice(0, -2);
  const y = f(c.g.reshape(moved, [productOf(outer), ...moved.dims.slice(-2)]));
  return c.g.transpose(
    c.g.reshape(y, [...outer, ...y.dims.slice(1)]),
    x.dims.map((_, i) => perm.indexOf(i)),
  );
}

/** What a DFT node asks for, but the axis. */
interface Asked {
  readonly inverse: boolean;
  readonly onesided: boolean;
  /** The length, if it is given. */
  readonly length: Dim | null;
}
/** The length of the transform along an axis. */
function lengthAlong({ inverse: back, onesided, length }: Asked, x: Value, axis: number): Dim {
  const size = x.dims[axis] as Dim;
  return length ?? (back && onesided ? mulDim(subDim(size, 1), 2) : size);
}
/** Dims of the transform along an axis. */
function dimsAlong(how: Asked, x: Value, axis: number): readonly Dim[] {
  const n = lengthAlong(how, x, axis);
  return x.dims.with(axis, how.onesided && !how.inverse ? half(n) : n).with(x.dims.length - 1, how.onesided && how.inverse ? 1 : 2);
}

function dftAlong(c: NodeContext, how: Asked, x: Value, axis: number): Value {
  const n = lengthAlong(how, x, axis);
  if (typeof n === "number" && n < 1) return c.fail(`a transform of length ${n} along axis ${axis} of [${x.dims.join(", ")}]`);
  const wide = c.g.convert(x, wideFloat(x.dtype));
  const samples = resized(c, wide, axis, how.inverse && how.onesided ? half(n) : n);
  const y = !how.inverse
    ? forward(c, samples, axis, n, how.onesided)
    : how.onesided
      ? inverseOfHalf(c, samples, axis, n)
      : inverse(c, samples, axis, n);
  return c.g.convert(y, x.dtype);
}

function dft(c: NodeContext): Operand {
  const x = c.value(0);
  const rank = x.dims.length;
  const parts = x.dims[rank - 1];
  if (rank < 2 || (parts !== 1 && parts !== 2)) return c.fail(`[${x.dims.join(", ")}], expected dimensions of a signal, then 1 or 2`);
  const length = c.optional(1) === null ? null : sizeInput(c, 1, "dft_length", 1, null);
  const how: Asked = { inverse: c.int("inverse", 0) === 1, onesided: c.int("onesided", 0) === 1, length };
  const given = c.version >= 20 ? c.optional(2) : null;
  if (given !== null && given.numbers === null) return c.of(dftAtRun(c, how, x, given));
  const axis = c.axis(given?.numbers?.[0] ?? (c.version >= 20 ? -2 : c.int("axis", 1)), rank);
  if (axis === rank - 1) return c.fail(`axis ${axis} holds the parts of complex numbers`);
  return c.of(dftAlong(c, how, x, axis));
}

/** An axis that is known when the model runs: of the axes that give the declared result, the one that the input names. */
function dftAtRun(c: NodeContext, how: Asked, x: Value, given: Operand): Value {
  const rank = x.dims.length;
  const declared = x.dims.map((_, i) => c.declaredDim(0, i));
  const shapes = Array.from({ length: rank - 1 }, (_, axis) => ({ axis, dims: dimsAlong(how, x, axis) }));
  const fits = shapes.filter(({ dims }) => dims.every((d, i) => declared[i] === null || dimEquals(d, declared[i] as number)));
  const [first] = fits;
  if (first === undefined || fits.some(({ dims }) => !dims.every((d, i) => dimEquals(d, first.dims[i] as Dim))))
    return c.unsupported("an axis that is computed from the model's data, where the shape of the result depends on it");
  const raw = c.g.convert(c.g.reshape(given.value, []), i32);
  const at = c.g.one("select", [c.withScalar("lt", raw, 0), c.withScalar("add", raw, rank), raw]);
  // The run fails for an axis that there is not.
  c.g.bindSize(at, "axis", first.axis, (fits[fits.length - 1] ?? first).axis);
  return fits
    .map(({ axis }) => ({ axis, y: dftAlong(c, how, x, axis) }))
    .reduce((a, b) => ({ axis: b.axis, y: c.g.one("select", [c.g.broadcast(c.withScalar("eq", at, b.axis), b.y.dims, []), b.y, a.y]) })).y;
}

/** Transforms of windowed frames of the signal: a convolution with the windowed matrix where that is small, frames else. */
function stft(c: NodeContext): Operand {
  const signal = c.value(0);
  if (signal.dims.length !== 3) return c.fail(`rank ${signal.dims.length}, expected [batch, samples, 1 or 2]`);
  const { g } = c;
  const x = g.convert(signal, wideFloat(signal.dtype));
  const [, length, parts] = x.dims as [Dim, Dim, number];
  const window = c.optional(2);
  const n = c.optional(3) !== null ? sizeInput(c, 3, "frame_length", 1, length) : (window?.dims[0] ?? length);
  if (window !== null) c.sameDim(window.dims[0] as Dim, n, "length of the window and of frames");
  const how = { sign: -1, n, parts, bins: c.int("onesided", 1) === 1 ? half(n) : n, scale: 1 } as const;
  const step = c.input(1).known?.[0] ?? null;
  const weights = window === null ? null : g.convert(window.value, x.dtype);
  const y =
    typeof step === "number" && typeof n === "number" && isDirect(how)
      ? byConvolution(c, x, weights === null ? fourierMatrix(c, x.dtype, how) : weightedRows(c, fourierMatrix(c, x.dtype, how), weights), step)
      : forward(c, weightedFrames(c, x, n, weights), 2, n, c.int("onesided", 1) === 1);
  return c.of(g.convert(y, signal.dtype));
}

function weightedRows(c: NodeContext, matrix: Value, weights: Value): Value {
  return c.g.one("mul", [matrix, c.g.broadcast(weights, matrix.dims, [0])]);
}

/** [batch, frames, bins, 2] with the matrix [n, parts, bins, 2] as the window of a convolution. */
function byConvolution(c: NodeContext, x: Value, matrix: Value, step: number): Value {
  const { g } = c;
  const [n, parts, bins] = matrix.dims as [Dim, Dim, Dim];
  if (step < 1) return c.fail(`frame_step ${step}, expected at least 1`);
  const y = g.one("convolution", [x, g.reshape(matrix, [n, parts, mulDim(bins, 2)])], {
    strides: [step],
    pads: [[0, 0]],
    dilation: [1],
    inputDilation: [1],
    groups: 1,
    xDims: [0, 2, 1],
    wDims: [2, 1, 0],
    resultDims: [0, 2, 1],
  });
  return g.reshape(y, [...y.dims.slice(0, 2), bins, 2]);
}

/** [batch, frames, n, parts], each frame times the window. */
function weightedFrames(c: NodeContext, x: Value, n: Dim, weights: Value | null): Value {
  const { g } = c;
  const step = sizeInput(c, 1, "frame_step", 1, null);
  const room = subDim(x.dims[1] as Dim, n);
  const count = typeof step === "number" ? addDim(floorDivDim(room, step), 1) : framesAtRun(c, room, step);
  const dims: readonly Dim[] = [count, n];
  const iota = (axis: number) => g.one("iota", [], { dtype: i32, dims, axis });
  const at = g.one("add", [g.one("mul", [iota(0), g.broadcast(dimValue(g, step), dims, [])]), iota(1)]);
  const frames = g.one("gather", [x, at], { axes: [1], at: 1 });
  return weights === null ? frames : g.one("mul", [frames, g.broadcast(weights, frames.dims, [2])]);
}
function framesAtRun(c: NodeContext, room: Dim, step: Dim): Dim {
  const count = c.g.one("floordiv", [dimValue(c.g, room), dimValue(c.g, step)]);
  return c.g.bindSize(c.withScalar("add", count, 1), "frames", 0, addDim(room, 1));
}

/** a - b·cos(2πi / n) + d·cos(4πi / n), where n is the size, or one less for symmetric windows. */
function window(a: number, b: number, d: number): OpMapping {
  return {
    since: 17,
    map(c) {
      const size = sizeInput(c, 0, "window", 0, null);
      const dtype: DType = c.dtype("output_datatype", f32);
      const period = maxDim(c.int("periodic", 1) === 1 ? size : subDim(size, 1), 1);
      const { g } = c;
      if (typeof size === "number") {
        const turn = (i: number) => (2 * Math.PI * i) / Number(period);
        return c.of(
          g.host(
            hostFrom(dtype, [size], (i) => a - b * Math.cos(turn(i)) + d * Math.cos(2 * turn(i))),
            "window",
          ),
        );
      }
      const wide = dtype.isFloat ? wideFloat(dtype) : f32;
      const at = g.one("iota", [], { dtype: wide, dims: [size], axis: 0 });
      const turns = g.one("div", [c.withScalar("mul", at, 2 * Math.PI), g.broadcast(g.convert(dimValue(g, period), wide), [size], [])]);
      const first = c.withScalar("add", c.withScalar("mul", g.one("cos", [turns]), -b), a);
      const second = c.withScalar("mul", g.one("cos", [c.withScalar("mul", turns, 2)]), d);
      return c.of(g.convert(d === 0 ? first : g.one("add", [first, second]), dtype));
    },
  };
}

export const signalOps: OpTable = {
  DFT: { since: 17, map: dft },
  STFT: { since: 17, map: stft },
  HannWindow: window(0.5, 0.5, 0),
  HammingWindow: window(25 / 46, 21 / 46, 0),
  BlackmanWindow: window(0.42, 0.5, 0.08),
  MelWeightMatrix: { since: 17, map: melWeightMatrix },
};

import { type Dim, dimEquals, mulDim, productOf } from "../../../base/dim.ts";
import { type DType, f32, i32, u8 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Operand, dataOperand } from "../operand.ts";
import { castValue, clamp } from "./cast.ts";
import { Formula } from "./formula.ts";
import { matrixProduct } from "./matmul.ts";
import { convolve } from "./nn.ts";

/** The integers that a dtype of at most 16 bits holds. */
function integerRange(d: DType): readonly [number, number] {
  return d.kind === "int" ? [-(2 ** (d.bits - 1)), 2 ** (d.bits - 1) - 1] : [0, 2 ** d.bits - 1];
}

/** Is there one value for the whole tensor? */
export function isSingle(v: Value): boolean {
  return productOf(v.dims) === 1;
}

/** One value for all, or one for each slice along a dimension, stretched to dims. */
export function along(c: NodeContext, v: Value, axis: number, dims: readonly Dim[]): Value {
  if (isSingle(v)) return c.g.broadcast(c.g.reshape(v, []), dims, []);
  if (v.dims.length !== 1 || axis >= dims.length)
    return c.fail(
      `a scale or zero point of shape [${v.dims.join(", ")}], expected one value${axis < dims.length ? `, or a list of ${dims[axis]}` : ""}`,
    );
  c.sameDim(v.dims[0] as Dim, dims[axis] as Dim, `scale or zero point along dimension ${axis}`);
  return c.g.broadcast(v, dims, [axis]);
}

/** Scale or zero point of QuantizeLinear and DequantizeLinear at every element: for the tensor, along an axis, or of blocks along it. */
function parameter(c: NodeContext, v: Value, dims: readonly Dim[]): Value {
  const rank = dims.length;
  if (isSingle(v) && (v.dims.length <= 1 || v.dims.length !== rank)) return along(c, v, 0, dims);
  const given = c.int("axis", 1);
  const axis = rank === 1 ? 0 : c.axis(given, rank);
  if (v.dims.length === 1 && c.int("block_size", 0) === 0) return along(c, v, axis, dims);
  return blocked(c, v, axis, dims);
}

/** Each value stands for a block of neighbours along the axis, of which the last may be short. */
function blocked(c: NodeContext, v: Value, axis: number, dims: readonly Dim[]): Value {
  if (v.dims.length !== dims.length) return c.fail(`a scale or zero point of shape [${v.dims.join(", ")}] for blocks of [${dims.join(", ")}]`);
  dims.forEach((d, i) => {
    if (i !== axis) c.sameDim(v.dims[i] as Dim, d, `scale or zero point, dimension ${i}`);
  });
  const [whole, blocks] = [dims[axis] as Dim, v.dims[axis] as Dim];
  if (dimEquals(whole, blocks)) return v;
  const given = c.int("block_size", 0);
  const size = given > 0 ? given : typeof whole === "number" && typeof blocks === "number" ? Math.ceil(whole / blocks) : 0;
  if (size < 1) return c.fail(`block_size ${given} for ${blocks} blocks of ${whole}`);
  if (typeof whole === "number" && typeof blocks === "number" && Math.ceil(whole / size) !== blocks)
    return c.fail(`${blocks} blocks of ${size} for a dimension of ${whole}`);
  const apart = v.dims.toSpliced(axis + 1, 0, 1);
  const repeated = c.g.broadcast(
    c.g.reshape(v, apart),
    apart.with(axis + 1, size),
    apart.map((_, i) => i),
  );
  const joined = c.g.reshape(repeated, v.dims.with(axis, mulDim(blocks, size)));
  if (dimEquals(joined.dims[axis] as Dim, whole)) return joined;
  return c.g.one("slice", [joined], { start: dims.map(() => 0), stride: dims.map(() => 1), dims });
}

/** round(x) + zero point, held within the range of an integer dtype. `x` and `zero` are f32, in which that is exact. */
export function toInteger(c: NodeContext, x: Value, zero: Value | null, to: DType): Value {
  const whole = c.g.one("round", [x]);
  const moved = zero === null ? whole : c.g.one("add", [whole, c.g.convert(zero, f32)]);
  const [low, high] = integerRange(to);
  return c.g.convert(clamp(c, moved, low, high), to);
}

function quantizedType(c: NodeContext, zero: Operand | null): DType {
  const own = named(c, "output_dtype");
  if (own !== null && zero !== null && own !== zero.dtype) return c.fail(`output_dtype ${own}, but a zero point of ${zero.dtype}`);
  return zero?.dtype ?? own ?? u8;
}

/** The float dtype that an attribute names, 0 meaning none. */
function named(c: NodeContext, name: string): DType | null {
  return c.int(name, 0) === 0 ? null : c.dtype(name, null);
}

export function quantize(c: NodeContext): Operand {
  const [x, scale, zero] = [c.value(0), c.value(1), c.optional(2)];
  const to = quantizedType(c, zero);
  const isFloat = (d: DType) => d.isFloat && d.bits > 8;
  const precision = named(c, "precision") ?? [scale.dtype, x.dtype].find(isFloat) ?? f32;
  const at = (v: Value) => parameter(c, v, x.dims);
  const quotient = c.g.one("div", [c.g.convert(x, precision), at(c.g.convert(scale, precision))]);
  const exact = c.g.convert(quotient, f32);
  if (to.isInteger) {
    if (to.bits > 16) return c.unsupported(`quantisation to ${to}`);
    return c.of(toInteger(c, exact, zero === null ? null : at(zero.value), to));
  }
  const moved = to.bits === 8 || zero === null ? exact : c.g.one("add", [exact, c.g.convert(at(zero.value), f32)]);
  return c.of(castValue(c, moved, to, { saturate: c.int("saturate", 1) !== 0, round: "up" }));
}

/** Values of at most 16 bits less their zero point are integers that f32 holds. */
export function centred(c: NodeContext, x: Value, zero: Value | null): Value {
  const wide = c.g.convert(x, i32);
  return zero === null ? wide : c.g.one("sub", [wide, c.g.convert(zero, i32)]);
}

export function dequantize(c: NodeContext): Operand {
  const [x, scale, zero] = [c.value(0), c.value(1), c.optional(2)];
  const to = named(c, "output_dtype") ?? (scale.dtype.bits > 8 ? scale.dtype : f32);
  const at = (v: Value) => parameter(c, v, x.dims);
  const offset = zero === null ? null : at(zero.value);
  let value: Value;
  if (!x.dtype.isFloat) value = c.g.convert(centred(c, x, offset), f32);
  else {
    value = c.g.convert(x, f32);
    // Zero points of floats of 8 bits say no more than the dtype.
    if (offset !== null && x.dtype.bits < 8) value = c.g.one("sub", [value, c.g.convert(offset, f32)]);
  }
  return c.of(c.g.convert(c.g.one("mul", [value, c.g.convert(at(scale), f32)]), to));
}

/**
 * Data as the nearest of the 255 steps over its range, 0 included, and their size and number at zero, all in f32. Data of nothing
 * but zeros gets the scale 1 / 255.
 */
export function ownSteps(f: Formula, x: Value): { readonly steps: Value; readonly scale: Value; readonly zero: Value } {
  const axes = x.dims.map((_, i) => i);
  const [high, low] = [f.max(f.g.one("reduce", [x], { monoid: "max", axes }), 0), f.min(f.g.one("reduce", [x], { monoid: "min", axes }), 0)];
  const range = f.sub(high, low);
  const scale = f.div(f.select(f.op("eq", range, 0), 1, range), 255);
  const zero = f.op("round", f.clamp(f.op("neg", f.div(low, scale)), 0, 255));
  return { steps: f.clamp(f.add(f.op("round", f.div(x, scale)), zero), 0, 255), scale, zero };
}

/** u8 over the range of the data. */
export function dynamicQuantize(c: NodeContext): readonly Operand[] {
  const { steps, scale, zero } = ownSteps(new Formula(c.g), c.value(0));
  return [c.of(c.g.convert(steps, u8)), c.of(scale), c.of(c.g.convert(zero, u8))];
}

/** A zero point that stands in the model as nothing but zeros. */
function isZero(o: Operand | null): boolean {
  return o === null || (o.numbers?.every((v) => v === 0) ?? false);
}

/** Rows of a left operand, columns of a right one: a list goes along them; more dimensions line up as they are. */
export function matrixParameter(c: NodeContext, v: Value, x: Value, side: "rows" | "columns"): Value {
  const rank = x.dims.length;
  if (isSingle(v)) return along(c, v, 0, x.dims);
  if (v.dims.length === 1 && rank > 1) return along(c, v, side === "rows" ? rank - 2 : rank - 1, x.dims);
  return c.stretch(v, x.dims);
}

/** Sums of f32 are exact while they stay below this. */
const exactSum = 2 ** 24;
/** In more parts than this a product is not computed. */
const mostParts = 8;

/** The largest magnitude of an element less its zero point. */
function largestCentred(d: DType, zero: Operand | null): number {
  const [low, high] = integerRange(d);
  const zeros = isZero(zero) ? [0] : (zero?.numbers ?? [low, high]);
  return Math.max(...zeros.map((z) => Math.max(high - z, z - low)));
}

/**
 * The product of the integers that two quantised matrices stand for, in i32. An even number of terms is multiplied in pairs (the
 * pass pair-integers). Others, where few enough are added up, f32 does exactly, with multiply-adds, where machines multiply i32
 * slowly; longer sums are made of parts that are short enough.
 */
export function integerProduct(c: NodeContext, a: Operand, aZero: Operand | null, b: Operand, bZero: Operand | null): Value {
  const integers = (o: Operand, zero: Operand | null, side: "rows" | "columns") =>
    centred(c, o.value, zero === null || isZero(zero) ? null : matrixParameter(c, zero.value, o.value, side));
  const [x, y] = [integers(a, aZero, "rows"), integers(b, bZero, "columns")];
  const terms = a.dims[a.rank - 1];
  const [axisA, axisB] = [a.rank - 1, Math.max(0, b.rank - 2)];
  const longest = Math.floor(exactSum / (largestCentred(a.dtype, aZero) * largestCentred(b.dtype, bZero)));
  const parts = typeof terms === "number" && terms % 2 === 1 ? Math.ceil(terms / longest) : Number.POSITIVE_INFINITY;
  if (typeof terms !== "number" || parts > mostParts || a.rank === 0 || b.rank === 0 || !dimEquals(b.dims[axisB] as Dim, terms))
    return matrixProduct(c, x, y);
  const [wideX, wideY] = [c.g.convert(x, f32), c.g.convert(y, f32)];
  const size = Math.ceil(terms / parts);
  const sums = Array.from({ length: Math.ceil(terms / size) }, (_, i) => {
    const length = Math.min(size, terms - i * size);
    return c.g.convert(matrixProduct(c, part(c, wideX, axisA, i * size, length), part(c, wideY, axisB, i * size, length)), i32);
  });
  return sums.reduce((p, q) => c.g.one("add", [p, q]));
}

/** The elements from a place on along one dimension. */
function part(c: NodeContext, v: Value, axis: number, from: number, length: number): Value {
  if (dimEquals(v.dims[axis] as Dim, length)) return v;
  const start = v.dims.map((_, i) => (i === axis ? from : 0));
  return c.g.one("slice", [v], { start, stride: v.dims.map(() => 1), dims: v.dims.with(axis, length) });
}

/** The convolution of the integers; padding is 0 of these, so the zero point of what is stored. */
function integerConvolution(c: NodeContext, x: Operand, xZero: Operand | null, w: Operand, wZero: Operand | null): Value {
  const integers = (o: Operand, zero: Operand | null): Operand =>
    dataOperand(centred(c, o.value, zero === null || isZero(zero) ? null : along(c, zero.value, 0, o.value.dims)));
  return convolve(c, integers(x, xZero), integers(w, wZero));
}

/** An i32 sum times a factor, as a quantised value. */
function requantize(c: NodeContext, sum: Value, factor: Value, zero: Value, to: DType): Operand {
  return c.of(toInteger(c, c.g.one("mul", [c.g.convert(sum, f32), factor]), zero, to));
}

export function qlinearConv(c: NodeContext): Operand {
  const [x, w, yZero] = [c.input(0), c.input(3), c.input(7)];
  const scale = (i: number) => c.g.convert(c.value(i), f32);
  let sum = integerConvolution(c, x, c.optional(2), w, c.optional(5));
  const bias = c.optional(8);
  if (bias !== null) sum = c.g.one("add", [sum, c.g.broadcast(bias.value, sum.dims, [1])]);
  const [byX, byW, byY] = [scale(1), scale(4), scale(6)];
  const together = (v: Value) => along(c, v, 0, byW.dims);
  const factor = c.g.one("div", [c.g.one("mul", [together(byX), byW]), together(byY)]);
  return requantize(c, sum, along(c, factor, 1, sum.dims), along(c, yZero.value, 1, sum.dims), yZero.dtype);
}

function qlinearMatMul(c: NodeContext): Operand {
  const [a, b, yZero] = [c.input(0), c.input(3), c.input(7)];
  const sum = integerProduct(c, a, c.optional(2), b, c.optional(5));
  const scale = (i: number, side: "rows" | "columns") => matrixParameter(c, c.g.convert(c.value(i), f32), sum, side);
  const factor = c.g.one("div", [c.g.one("mul", [scale(1, "rows"), scale(4, "columns")]), scale(6, "rows")]);
  return requantize(c, sum, factor, matrixParameter(c, yZero.value, sum, "rows"), yZero.dtype);
}

export const quantizationOps: OpTable = {
  QuantizeLinear: { since: 10, map: quantize },
  DequantizeLinear: { since: 10, map: dequantize },
  DynamicQuantizeLinear: { since: 11, map: dynamicQuantize },
  QLinearConv: { since: 10, map: qlinearConv },
  QLinearMatMul: { since: 10, map: qlinearMatMul },
  ConvInteger: { since: 10, map: (c) => c.of(integerConvolution(c, c.input(0), c.optional(2), c.input(1), c.optional(3))) },
  MatMulInteger: { since: 10, map: (c) => c.of(integerProduct(c, c.input(0), c.optional(2), c.input(1), c.optional(3))) },
};

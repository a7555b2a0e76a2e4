import type { ConstantData } from "../../../../base/constant.ts";
import { type Dim, ceilDivDim, dimEquals, mulDim, productOf, subDim } from "../../../../base/dim.ts";
import { type DType, f32, i32, u2, u4, u8 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import { type Operand, dimValue } from "../../operand.ts";
import { wideFloat } from "../elementwise.ts";
import { Formula } from "../formula.ts";
import { part } from "./heads.ts";
import { type LeftBytes, type PackedWeights, columns, inColumns, packedProduct } from "./packed-weights.ts";

const packedTypes: Readonly<Record<number, DType>> = { 2: u2, 4: u4, 8: u8 };

/** The node's width of quantised elements. */
function width(c: NodeContext): number {
  const bits = c.int("bits", 4);
  return packedTypes[bits] === undefined ? c.fail(`bits ${bits}, expected 2, 4 or 8`) : bits;
}

/** A block's size: a power of two from 16 on. */
function blockSize(c: NodeContext): number {
  const size = c.int("block_size", 0);
  return size >= 16 && Number.isInteger(Math.log2(size)) ? size : c.fail(`block_size ${size}, expected a power of two from 16 on`);
}

/**
 * Elements that lie several in a byte, the first in its lowest bits, along the last dimension. A tensor of the model stays in
 * its bytes, which are only read as the narrower dtype; what a run computes is taken apart.
 */
export function unpacked(c: NodeContext, x: Operand, bits: number): Value {
  if (x.dtype !== u8) return c.fail(`packed elements in ${x.dtype}, expected u8`);
  const each = 8 / bits;
  if (each === 1) return x.value;
  const last = x.rank - 1;
  const dims = x.dims.with(last, mulDim(x.dims[last] ?? c.fail("a packed scalar"), each));
  const { tensor } = x;
  if (tensor !== null) return c.g.outside(() => c.g.constant(packedTypes[bits] as DType, dims, tensor.data, "packed"));
  const f = new Formula(c.g);
  const wide = [...x.dims, each];
  const bytes = c.g.broadcast(
    c.g.convert(x.value, i32),
    wide,
    x.dims.map((_, i) => i),
  );
  const shift = f.mul(c.g.one("iota", [], { dtype: i32, dims: wide, axis: x.rank }), bits);
  return c.g.reshape(f.and(f.op("shr", bytes, shift), c.g.splat(i32, wide, 2 ** bits - 1)), dims);
}

/** Packed elements of a constant with a byte for each: they are few, and vectors read bytes. */
function bytesOf(data: ConstantData, bits: number): ConstantData {
  const each = 8 / bits;
  if (each === 1) return data;
  const read = (offset: number, length: number): Uint8Array => {
    const first = Math.floor(offset / each);
    const from = data.read(first, Math.ceil((offset + length) / each) - first);
    return Uint8Array.from({ length }, (_, i) => {
      const at = offset + i - first * each;
      return ((from[Math.floor(at / each)] as number) >> (bits * (at % each))) & (2 ** bits - 1);
    });
  };
  return { byteLength: data.byteLength * each, read, key: data.key === null ? null : `${data.key} of ${bits} bits` };
}

/** Zero points of rows of blocks, [rows, blocks]: floats, or packed along each row; the middle of the range where there are none. */
function zerosOf(c: NodeContext, given: Operand | null, rows: Dim, blocks: Dim, bits: number, to: DType): Value | number {
  if (given === null) return 2 ** (bits - 1);
  if (given.dtype.isFloat) return c.g.convert(c.sizes.reshape(given.value, [rows, blocks]), to);
  const bytes = ceilDivDim(mulDim(blocks, bits), 8);
  if (!dimEquals(productOf(given.dims), mulDim(rows, bytes)))
    return c.fail(`zero points [${given.dims.join(", ")}], expected [${rows}, ${bytes}] bytes`);
  const { tensor } = given;
  const dims = [rows, mulDim(bytes, 8 / bits)];
  const whole =
    tensor === null ? c.g.reshape(unpacked(c, given, bits), dims) : c.g.outside(() => c.g.constant(u8, dims, bytesOf(tensor.data, bits), "zeros"));
  return c.g.convert(part(c, whole, 1, 0, blocks), to);
}

/** Integers in blocks, [rows, blocks, …], as the numbers that are meant. */
function inBlocks(c: NodeContext, x: Value, scales: Value, zeros: Value | number): Value {
  const f = new Formula(c.g);
  const over = (v: Value): Value => c.g.broadcast(v, x.dims, [0, 1]);
  const whole = f.sub(c.g.convert(x, scales.dtype), typeof zeros === "number" ? zeros : over(zeros));
  return f.mul(whole, over(scales));
}

/**
 * x · Wᵀ, where W is kept in a few bits for each element, in blocks along its rows with a scale (and zero point) for each. The
 * product runs over blocks and places within them: a scale depends on the block alone.
 */
function matMulNBits(c: NodeContext): Operand {
  if (c.int("weight_prepacked", 0) !== 0) return c.unsupported("weight_prepacked (a layout of one execution provider)");
  const [bits, size, n, k] = [width(c), blockSize(c), c.int("N", 0), c.int("K", 0)];
  const x = c.input(0);
  const last = x.rank - 1;
  if (x.rank < 1 || n < 1 || k < 1) return c.fail(`N ${n} and K ${k}, expected at least 1`);
  c.sameDim(x.dims[last] as Dim, k, "features of the input");
  const blocks = Math.ceil(k / size);
  const b = c.input(1);
  const bytes = (size * bits) / 8;
  if (!dimEquals(productOf(b.dims), n * blocks * bytes)) return c.fail(`weights [${b.dims.join(", ")}], expected [${n}, ${blocks}, ${bytes}]`);
  const wide = wideFloat(x.dtype);
  const group = c.optional(4);
  const rows = x.dims.slice(0, -1);
  const all = c.g.convert(padded(c, x.value, blocks * size - k), wide);
  const fixed = group === null ? fixedWeights(c, bits, [n, blocks, size], wide) : null;
  if (fixed !== null) return withBias(c, packedProduct(c, all, fixed, leftBytes(c)), x.dtype);
  const scales = c.g.convert(c.sizes.reshape(c.value(2), [n, blocks]), wide);
  const zeros = zerosOf(c, c.optional(3), n, blocks, bits, wide);
  const w =
    group === null
      ? inBlocks(c, c.g.reshape(unpacked(c, b, bits), [n, blocks, size]), scales, zeros)
      : inGroups(c, c.g.reshape(unpacked(c, b, bits), [n, blocks * size]), scales, zeros, group, k);
  const dims = w.dims.slice(1);
  const left = c.g.reshape(all, [...rows, ...dims]);
  const axes = dims.map((_, i) => i);
  const dot = c.g.one("dot", [left, w], { batchA: [], batchB: [], contractA: axes.map((i) => i + last), contractB: axes.map((i) => i + 1) });
  return withBias(c, dot, x.dtype);
}

/** How the left side may be rounded: not beyond f32 where the model says nothing (or 1), as far as f16 and bf16 (2, 3), or to bytes (4). */
function leftBytes(c: NodeContext): LeftBytes {
  const level = c.int("accuracy_level", 0);
  return level === 4 ? 1 : level === 2 || level === 3 ? 2 : 3;
}

function withBias(c: NodeContext, product: Value, dtype: DType): Operand {
  const bias = c.optional(5);
  const y = bias === null ? product : c.g.one("add", [product, c.stretch(c.g.convert(bias.value, product.dtype), product.dims)]);
  return c.of(c.g.convert(y, dtype));
}

/** Weights that are constants of the model with all that belongs to them, in the order in which vectors of columns read them; null for others. */
function fixedWeights(c: NodeContext, bits: number, [rows, blocks, size]: readonly [number, number, number], to: DType): PackedWeights | null {
  const [w, scales, zeros] = [c.input(1), c.input(2), c.optional(3)];
  if (bits === 8 || to !== f32 || w.dtype !== u8 || w.tensor === null) return null;
  const each = numbersOf(c, scales, scales.dtype, [rows, blocks]);
  const bytes = Math.ceil((blocks * bits) / 8);
  const points =
    zeros === null
      ? 2 ** (bits - 1)
      : zeros.dtype.isFloat
        ? numbersOf(c, zeros, zeros.dtype, [rows, blocks])
        : numbersOf(c, zeros, u8, [rows, (bytes * 8) / bits], bits);
  if (each === null || points === null) return null;
  const numbers = (v: Value): Value => c.g.convert(part(c, v, 1, 0, blocks), to);
  return { bits, rows, blocks, size, data: w.tensor.data, scales: numbers(each), zeros: typeof points === "number" ? points : numbers(points) };
}

/** A constant with a number for each block, [rows, blocks], as [groups, blocks, columns]; null where it is no constant of that size. */
function numbersOf(c: NodeContext, x: Operand, dtype: DType, [rows, blocks]: readonly [number, number], bits = 8): Value | null {
  const { tensor } = x;
  if (tensor === null || !dimEquals(mulDim(productOf(x.dims), 8 / bits), rows * blocks)) return null;
  const data = inColumns(bytesOf(tensor.data, bits), rows, blocks, dtype.byteWidth);
  return c.g.outside(() => c.g.constant(dtype, [Math.ceil(rows / columns), blocks, columns], data, "packed"));
}

/** Zeros behind the features, so that they fill whole blocks. */
function padded(c: NodeContext, x: Value, more: number): Value {
  if (more === 0) return x;
  const none = x.dims.map(() => 0);
  return c.g.one("pad", [x, c.g.scalar(x.dtype, 0)], { low: none, high: none.with(-1, more) });
}

/** Integers whose scale is that of the group that a list names for each column, [rows, columns]. */
function inGroups(c: NodeContext, x: Value, scales: Value, zeros: Value | number, group: Operand, k: number): Value {
  const f = new Formula(c.g);
  c.sameDim(group.dims[0] ?? 1, k, "length of g_idx");
  const columns = x.dims[1] as Dim;
  const index = padded(c, c.g.convert(group.value, i32), Number(subDim(columns, k)));
  const pick = (v: Value): Value => c.g.one("gather", [v, index], { axes: [1], at: 1 });
  return f.mul(f.sub(c.g.convert(x, scales.dtype), typeof zeros === "number" ? zeros : pick(zeros)), pick(scales));
}

/** Rows that are picked out of a quantised table, as the numbers that are meant. */
function gatherBlockQuantized(c: NodeContext): Operand {
  const data = c.input(0);
  const size = blockSize(c);
  const isPacked = data.dtype === u8;
  const bits = isPacked ? width(c) : data.dtype.bits;
  const axis = c.axis(c.int("gather_axis", 0), data.rank);
  const along = c.axis(c.int("quantize_axis", 1), data.rank);
  if (along !== data.rank - 1) return c.unsupported(`quantize_axis ${along}, expected the last dimension`);
  if (axis === along) return c.fail(`gather_axis ${axis} is the quantised one`);
  const whole = isPacked ? unpacked(c, data, bits) : data.value;
  const scales = c.value(2);
  const [blocks, columns] = [scales.dims[along] as Dim, whole.dims[along] as Dim];
  if (!dimEquals(ceilDivDim(columns, size), blocks)) return c.fail(`${blocks} scales for ${columns} elements in blocks of ${size}`);
  const given = c.optional(3);
  const zeros = given === null ? null : isPacked ? part(c, unpacked(c, given, bits), along, 0, blocks) : given.value;
  const { dtype } = scales;
  const rows = scales.dims.slice(0, -1);
  const all = [...rows, blocks, size];
  const each = all.map((_, i) => i);
  const over = (v: Value): Value => part(c, spreadBlocks(c, v, all, each), along, 0, columns);
  const f = new Formula(c.g);
  const zero = zeros === null ? (isPacked ? 2 ** (bits - 1) : 0) : over(c.g.convert(zeros, dtype));
  const real = f.mul(f.sub(c.g.convert(whole, dtype), zero), over(scales));
  const entries = real.dims[axis] as Dim;
  const index = c.g.convert(c.value(1), i32);
  const fromStart = f.select(f.op("lt", index, 0), f.add(index, dimValue(c.g, entries)), index);
  return c.of(c.g.one("gather", [real, fromStart], { axes: [axis], at: axis }));
}
function spreadBlocks(c: NodeContext, v: Value, all: readonly Dim[], each: readonly number[]): Value {
  const flat = [...all.slice(0, -2), mulDim(all.at(-2) as Dim, all.at(-1) as Dim)];
  return c.g.reshape(c.g.broadcast(v, all, each.slice(0, -1)), flat);
}

export const bitOps: OpTable = {
  MatMulNBits: { since: 1, map: matMulNBits },
  GatherBlockQuantized: { since: 1, map: gatherBlockQuantized },
};

import type { ConstantData } from "../../../../base/constant.ts";
import { productOf } from "../../../../base/dim.ts";
import { i32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext } from "../../context.ts";
import { Formula, type Term } from "../formula.ts";
import { part } from "./heads.ts";

/** Columns that lie side by side: the lanes of the widest vectors, and the words of a line. */
export const columns = 16;
/** Elements of a block whose products are summed before they are scaled; larger blocks are cut: registers hold what so many are multiplied by. */
const largestBlock = 32;

/**
 * Rows of `units` units of `unitBytes` bytes each, in groups of 16 rows: [groups, units, 16]. Rows that fill the last group up are
 * zeros. Only what is read is put in order.
 */
export function inColumns(data: ConstantData, rows: number, units: number, unitBytes: number): ConstantData {
  const rowBytes = units * unitBytes;
  const groupBytes = columns * rowBytes;
  const group = (g: number): Uint8Array => {
    const count = Math.min(columns, rows - g * columns);
    const from = data.read(g * groupBytes, count * rowBytes);
    const to = new Uint8Array(groupBytes);
    for (let r = 0; r < count; r++)
      for (let u = 0; u < units; u++)
        for (let b = 0; b < unitBytes; b++) to[(u * columns + r) * unitBytes + b] = from[r * rowBytes + u * unitBytes + b] as number;
    return to;
  };
  const read = (offset: number, length: number): Uint8Array => {
    const out = new Uint8Array(length);
    for (let at = offset; at < offset + length; ) {
      const start = at % groupBytes;
      const piece = group(Math.floor(at / groupBytes)).subarray(start, start + offset + length - at);
      out.set(piece, at - offset);
      at += piece.length;
    }
    return out;
  };
  const byteLength = Math.ceil(rows / columns) * groupBytes;
  return { byteLength, read, key: data.key === null ? null : `${data.key} in columns, ${rows}, ${units}, ${unitBytes}` };
}

/** Weights of a few bits in blocks along their rows: [rows, blocks, size], with a scale and a zero point for each block. */
export interface PackedWeights {
  readonly bits: number;
  readonly rows: number;
  readonly blocks: number;
  readonly size: number;
  /** The elements, the first of a byte in its lowest bits. */
  readonly data: ConstantData;
  /** [groups, blocks, 16], of the dtype of the product. */
  readonly scales: Value;
  /** The same, integers as floats; or one number for all. */
  readonly zeros: Value | number;
}

/** May bytes stand for the left side's elements, scaled block by block? */
export type LeftSide = "floats" | "bytes";

/**
 * x · Wᵀ for x[…, blocks · size]: sums over blocks of `scale · (Σ x·w − zero · Σ x)`, which makes nothing of a weight but a number.
 * Of bytes, the sums in the blocks are exact.
 */
export function packedProduct(c: NodeContext, x: Value, w: PackedWeights, left: LeftSide): Value {
  const f = new Formula(c.g);
  const size = Math.min(w.size, largestBlock);
  const parts = w.size / size;
  const groups = Math.ceil(w.rows / columns);
  const blocks = w.blocks * parts;
  const words = (size * w.bits) / 32;
  const packed = c.g.outside(() => c.g.constant(i32, [groups, blocks, words, columns], inColumns(w.data, w.rows, blocks * words, 4), "packed"));
  const outer = x.dims.slice(0, -1);
  const cut = c.g.reshape(x, [...outer, blocks, size]);
  const own = left === "bytes" ? asBytes(c, cut, w.bits) : { elements: cut, sums: rowSums(c, cut), scales: null };
  const products = c.g.one("packed_dot", [own.elements, packed], { bits: w.bits });
  // A block that was cut has one scale for its parts.
  const sums = c.g.reshape(products, [...outer, groups, w.blocks, parts, columns]);
  const [r, { dims }] = [outer.length, sums];
  const ofRows = (v: Value): Value => c.g.broadcast(c.g.reshape(v, [...outer, w.blocks, parts]), dims, [...outer.keys(), r + 1, r + 2]);
  const ofColumns = (v: Value): Value => c.g.broadcast(v, dims, [r, r + 1, r + 3]);
  const zeros: Term = typeof w.zeros === "number" ? w.zeros : ofColumns(w.zeros);
  const numbers = (v: Value): Value => c.g.convert(v, w.scales.dtype);
  const centred =
    typeof w.zeros === "number" && left === "bytes"
      ? numbers(f.sub(sums, ofRows(f.mul(own.sums, w.zeros))))
      : f.sub(numbers(sums), f.mul(ofRows(numbers(own.sums)), zeros));
  const scaled = f.mul(centred, ofColumns(w.scales));
  const terms = own.scales === null ? scaled : f.mul(scaled, ofRows(own.scales));
  const y = c.g.one("reduce", [terms], { monoid: "add", axes: [r + 1, r + 2] });
  const whole = c.g.reshape(y, [...outer, groups * columns]);
  return part(c, whole, whole.dims.length - 1, 0, w.rows);
}

function rowSums(c: NodeContext, x: Value): Value {
  return c.g.one("reduce", [x], { monoid: "add", axes: [x.dims.length - 1] });
}

/** What a left side of bytes is: words of them, the sums of each block's, and the block's scale. */
interface Bytes {
  readonly elements: Value;
  readonly sums: Value;
  readonly scales: Value;
}

/** Elements in blocks, [..., blocks, size], as the nearest of 255 steps between the block's largest magnitude and its opposite. */
function asBytes(c: NodeContext, x: Value, bits: number): Bytes {
  const f = new Formula(c.g);
  const last = x.dims.length - 1;
  const size = x.dims[last] as number;
  const largest = c.g.one("reduce", [f.op("abs", x)], { monoid: "max", axes: [last] });
  const scales = f.mul(largest, 1 / 127);
  // Not a product with 127 / largest, which tiny numbers would make infinite.
  const divisor = c.g.broadcast(f.select(f.op("gt", largest, 0), largest, 1), x.dims, [...x.dims.keys()].slice(0, -1));
  const whole = c.g.convert(f.op("round", f.mul(f.div(x, divisor), 127)), i32);
  // Byte q of word (j, p) is element p + q · planes of the elements of word j of the weights.
  const planes = 8 / bits;
  const apart = c.g.reshape(whole, [...x.dims.slice(0, -1), size / (4 * planes), 4, planes]);
  const shift = f.mul(c.g.one("iota", [], { dtype: i32, dims: apart.dims, axis: last + 1 }), 8);
  const bytes = f.op("shl", f.op("and", apart, 255), shift);
  const words = c.g.one("reduce", [bytes], { monoid: "add", axes: [last + 1] });
  return { elements: c.g.reshape(words, [...x.dims.slice(0, -1), Number(productOf(words.dims.slice(last)))]), sums: rowSums(c, whole), scales };
}

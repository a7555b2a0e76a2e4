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

/**
 * Bytes of the integers that stand for the left side's elements: multiples of a fraction of their block's largest magnitude. Three
 * are what f32 has for the largest one.
 */
export type LeftBytes = 1 | 2 | 3;

/**
 * x · Wᵀ for x[…, blocks · size]: sums over blocks of `scale · (Σ x·w − zero · Σ x)`, which makes nothing of a weight but a number.
 * The left side is taken as integers, so that the sums in the blocks are exact.
 */
export function packedProduct(c: NodeContext, x: Value, w: PackedWeights, bytes: LeftBytes): Value {
  const f = new Formula(c.g);
  const size = Math.min(w.size, largestBlock);
  const parts = w.size / size;
  const groups = Math.ceil(w.rows / columns);
  const blocks = w.blocks * parts;
  const words = (size * w.bits) / 32;
  const packed = c.g.outside(() => c.g.constant(i32, [groups, blocks, words, columns], inColumns(w.data, w.rows, blocks * words, 4), "packed"));
  const outer = x.dims.slice(0, -1);
  const cut = c.g.reshape(x, [...outer, blocks, size]);
  const own = inBytes(c, cut, w.bits, bytes);
  // A block that was cut has one scale for its parts.
  const dims = [...outer, groups, w.blocks, parts, columns];
  const r = outer.length;
  const ofRows = (v: Value): Value => c.g.broadcast(c.g.reshape(v, [...outer, w.blocks, parts]), dims, [...outer.keys(), r + 1, r + 2]);
  const ofColumns = (v: Value): Value => c.g.broadcast(v, dims, [r, r + 1, r + 3]);
  const zeros: Term = typeof w.zeros === "number" ? w.zeros : ofColumns(w.zeros);
  const numbers = (v: Value): Value => c.g.convert(v, w.scales.dtype);
  const inSteps = (i: Integers): Value => {
    const products = i.bytes.map((x) => c.g.one("packed_dot", [x, packed], { bits: w.bits })).reduce((high, low) => f.add(f.mul(high, 256), low));
    const sums = c.g.reshape(products, dims);
    // A zero point that all have is taken off before anything is rounded.
    if (typeof zeros === "number") return numbers(f.sub(sums, ofRows(f.mul(i.sums, zeros))));
    return f.sub(numbers(sums), f.mul(ofRows(numbers(i.sums)), zeros));
  };
  const steps = own.integers.map(inSteps).reduce((high, low) => f.add(f.mul(high, 256), low));
  const terms = f.mul(f.mul(steps, ofColumns(w.scales)), ofRows(own.scales));
  const y = c.g.one("reduce", [terms], { monoid: "add", axes: [r + 1, r + 2] });
  const whole = c.g.reshape(y, [...outer, groups * columns]);
  return part(c, whole, whole.dims.length - 1, 0, w.rows);
}

/** Integers of one or two bytes: what fills a word with the sum of a block's products. */
interface Integers {
  /** The highest byte first: words of four signed bytes, as packed_dot takes them. */
  readonly bytes: readonly Value[];
  /** The sum of each block's. */
  readonly sums: Value;
}
interface LeftSide {
  /** Together each element's multiple; where there are two, the first counts 256 of the second's steps. */
  readonly integers: readonly Integers[];
  /** Each block's step. */
  readonly scales: Value;
}

/** Elements in blocks, [..., blocks, size], as the nearest multiples that have so many bytes. */
function inBytes(c: NodeContext, x: Value, bits: number, bytes: LeftBytes): LeftSide {
  const f = new Formula(c.g);
  const last = x.dims.length - 1;
  // Each byte is signed, the lower ones from -128 on.
  const most = [127, 127 * 257, 127 * 65793][bytes - 1] as number;
  const largest = c.g.one("reduce", [f.op("abs", x)], { monoid: "max", axes: [last] });
  const scales = f.mul(largest, 1 / most);
  // Not a product with most / largest, which tiny numbers would make infinite.
  const divisor = c.g.broadcast(f.select(f.op("gt", largest, 0), largest, 1), x.dims, [...x.dims.keys()].slice(0, -1));
  const whole = c.g.convert(f.op("round", f.mul(f.div(x, divisor), most)), i32);
  const words = (v: Value): Value => inWords(c, v, bits);
  const rowSums = (v: Value): Value => c.g.one("reduce", [v], { monoid: "add", axes: [last] });
  if (bytes === 1) return { integers: [{ bytes: [words(whole)], sums: rowSums(whole) }], scales };
  // The lowest byte is signed, so that what stands above it counts the nearest multiple of 256. (A bias makes a logical shift do.)
  const above = f.sub(f.op("shr", f.add(whole, 2 ** 30 + 128), 8), 2 ** 22);
  if (bytes === 2) return { integers: [{ bytes: [words(above), words(whole)], sums: rowSums(whole) }], scales };
  const top = f.op("shr", f.add(above, 128), 8);
  const low = f.sub(whole, f.mul(above, 256));
  return {
    integers: [
      { bytes: [words(top), words(above)], sums: rowSums(above) },
      { bytes: [words(whole)], sums: rowSums(low) },
    ],
    scales,
  };
}

/** The lowest bytes of integers, [..., size], four in a word: byte q of word (j, p) is that of element p + q · planes of the elements of word j of the weights. */
function inWords(c: NodeContext, whole: Value, bits: number): Value {
  const f = new Formula(c.g);
  const last = whole.dims.length - 1;
  const [size, planes] = [whole.dims[last] as number, 8 / bits];
  const apart = c.g.reshape(whole, [...whole.dims.slice(0, -1), size / (4 * planes), 4, planes]);
  const shifts = f.mul(c.g.one("iota", [], { dtype: i32, dims: [4], axis: 0 }), 8);
  const bytes = f.op("shl", f.op("and", apart, 255), c.g.broadcast(shifts, apart.dims, [last + 1]));
  const words = c.g.one("reduce", [bytes], { monoid: "add", axes: [last + 1] });
  return c.g.reshape(words, [...whole.dims.slice(0, -1), Number(productOf(words.dims.slice(last)))]);
}

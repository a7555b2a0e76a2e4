import { dimEquals, productOf } from "../../base/dim.ts";
import { i32 } from "../../base/dtype.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { forEachIndex, hostTensor, stridesOf } from "../host.ts";
import { type TensorType, defineOp } from "../op.ts";

/** As many products of bytes and elements fit into sums of 16 bits, two of each in each: 2 · 15 · 128 · 8 < 2^15. */
const mostTerms = 8;
const ones = 0x00010001;

/** Every (8 / bits)th element of a word from the `plane`th on, a byte for each. */
function bytesOf(sc: Scalars, word: Expr, bits: number, plane: number): Expr {
  const shifted = plane === 0 ? word : sc.op("shr", [word, sc.int(bits * plane)]);
  return sc.and(shifted, sc.int((2 ** bits - 1) * 0x01010101));
}

/** The sum of dot8 products: in halves as long as those hold them, then in whole words. */
function sumOfBytes(sc: Scalars, terms: readonly Expr[]): Expr {
  const sums: Expr[] = [];
  for (let i = 0; i < terms.length; i += mostTerms) {
    const halves = terms.slice(i, i + mostTerms).reduce((a, b) => sc.op("add16", [a, b]));
    sums.push(sc.op("dot16", [halves, sc.int(ones)]));
  }
  return sums.reduce((a, b) => sc.add(a, b));
}

const packedDot = defineOp({
  name: "packed_dot",
  doc: "Sums of products within blocks, both sides packed: a word of w holds 32 / bits unsigned elements, the first in its lowest bits, and the words of neighbouring columns lie side by side; a word of x holds four signed bytes, that at j · 8 / bits + p those of elements p, p + 8 / bits, … of word j of w. Result[…, g, b, l] sums the products of the bytes of x[…, b, :] and the elements of w[g, b, :, l], exactly.",
  operands: ["x", "w"],
  attrs: { bits: "int" },
  constraints: [
    "C1: w is i32[groups, blocks, words, columns], words a number.",
    "C2: `bits` is 2 or 4.",
    "C3: x is i32[…, blocks, words · 8 / bits].",
  ],
  infer({ operands: [x, w], attrs: { bits }, fail }) {
    const [a, b] = [x as TensorType, w as TensorType];
    const [groups, blocks, words, columns] = b.dims;
    if (b.dtype !== i32 || groups === undefined || blocks === undefined || typeof words !== "number" || columns === undefined || b.dims.length !== 4)
      return fail("C1", `got ${b.dtype}[${b.dims.join(", ")}]`);
    if (bits !== 2 && bits !== 4) fail("C2", `got ${bits}`);
    const last = (words * 8) / bits;
    const [own, size] = [a.dims.at(-2), a.dims.at(-1)];
    if (a.dtype !== i32 || own === undefined || !dimEquals(own, blocks) || size !== last)
      return fail("C3", `got ${a.dtype}[${a.dims.join(", ")}], expected i32[…, ${blocks}, ${last}]`);
    return [{ dtype: i32, dims: [...a.dims.slice(0, -2), groups, blocks, columns] }];
  },
  evaluate({ operands: [x, w], attrs: { bits }, types: [out] }) {
    if (x === undefined || w === undefined || out === undefined) return [];
    const result = hostTensor(i32, out.dims);
    const [sx, sw] = [stridesOf(x.dims), stridesOf(w.dims)];
    const [words, each, planes] = [w.dims[2] as number, 32 / bits, 8 / bits];
    const byte = (word: number, q: number): number => (word << (24 - 8 * q)) >> 24;
    forEachIndex(out.dims, (index, flat) => {
      const [g, b, l] = index.slice(-3) as [number, number, number];
      const from = [...index.slice(0, -3), b].reduce((n, i, d) => n + i * (sx[d] as number), 0);
      let sum = 0;
      for (let j = 0; j < words; j++) {
        const word = Number(w.data[g * (sw[0] as number) + b * (sw[1] as number) + j * (sw[2] as number) + l]);
        for (let i = 0; i < each; i++)
          sum += byte(Number(x.data[from + j * planes + (i % planes)]), Math.floor(i / planes)) * ((word >> (bits * i)) & (2 ** bits - 1));
      }
      result.data[flat] = sum | 0;
    });
    return [result];
  },
  lower({ b, sc, operands: [, w], results: [result], read, attrs: { bits } }) {
    if (w === undefined || result === undefined) return;
    const [words, planes] = [w.dims[2] as number, 8 / bits];
    b.map(result, (index) => {
      const rows = index.slice(0, -3);
      const [g, block, l] = index.slice(-3) as [Expr, Expr, Expr];
      const left = (i: number): Expr => read(0, [...rows, block, sc.int(i)]);
      const terms = Array.from({ length: words }, (_, j) => read(1, [g, block, sc.int(j), l])).flatMap((word, j) =>
        Array.from({ length: planes }, (_, p) => sc.op("dot8", [left(j * planes + p), bytesOf(sc, word, bits, p)])),
      );
      return sumOfBytes(sc, terms);
    });
  },
  examples: [
    {
      operands: [
        { type: "i32[3, 2, 18]", range: [-2147483648, 2147483647] },
        { type: "i32[2, 2, 9, 16]", range: [-2147483648, 2147483647] },
      ],
      attrs: { bits: 4 },
    },
    {
      operands: [
        { type: "i32[2, 3, 4]", range: [-2147483648, 2147483647] },
        { type: "i32[3, 3, 1, 5]", range: [-2147483648, 2147483647] },
      ],
      attrs: { bits: 2 },
    },
  ],
  flops: ([x], [r]) => 8 * Number(productOf(r?.dims ?? [])) * Number(x?.dims.at(-1)),
});

export const packedOps = [packedDot];

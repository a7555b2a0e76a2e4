import type { Dim } from "../../base/dim.ts";
import { f32, i32, u8, u16, u32 } from "../../base/dtype.ts";
import { scalarOps } from "../../scalar/ops/table.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { hostFrom } from "../host.ts";
import { type TensorType, defineOp } from "../op.ts";

const bitcast = defineOp({
  name: "bitcast",
  doc: "The same bits as another dtype of equal width.",
  operands: ["x"],
  attrs: { dtype: "dtype" },
  constraints: ["C1: x's dtype and `dtype` have equal widths, and neither is bool."],
  infer({ operands: [x], attrs, fail }) {
    const t = x as TensorType;
    if (t.dtype.bits !== attrs.dtype.bits || t.dtype.kind === "bool" || attrs.dtype.kind === "bool") fail("C1", `got ${t.dtype} and ${attrs.dtype}`);
    return [{ dtype: attrs.dtype, dims: t.dims }];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    return [hostFrom(attrs.dtype, out.dims, (i) => scalarOps.bitcast.evaluate([x.data[i] as number], attrs.dtype, [x.dtype]))];
  },
  lower({ b, sc, results: [result], read, attrs }) {
    // Between integers a conversion wraps, which keeps the bits.
    if (result !== undefined)
      b.map(result, (i) => {
        const x = read(0, i);
        return x.dtype.isInteger && attrs.dtype.isInteger ? sc.cast(attrs.dtype, x) : sc.bitcast(attrs.dtype, x);
      });
  },
  examples: [
    { operands: [{ type: "f32[3, 5]" }], attrs: { dtype: i32 } },
    { operands: [{ type: "i32[9]", range: [0, 1_000_000_000] }], attrs: { dtype: f32 } },
    { operands: [{ type: "f16[7]" }], attrs: { dtype: u16 } },
    { operands: [{ type: "i8[11]", range: [-128, 128] }], attrs: { dtype: u8 } },
  ],
});

/** Rotations of Threefry-2x32, round by round, over and over. */
const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const rounds = 20;
const parity = 0x1bd11bda;

/** The key's words, after them the word that makes their parity that of a constant. */
function keySchedule(key: readonly number[]): readonly [number, number, number] {
  const [a, b] = [key[0] as number, key[1] as number];
  return [a, b, (a ^ b ^ parity) >>> 0];
}

/** One block of Threefry-2x32-20 for the counter (i, 0). */
function threefry(key: readonly number[], i: number): readonly [number, number] {
  const k = keySchedule(key);
  let [x, y] = [(i + k[0]) >>> 0, k[1]];
  for (let r = 0; r < rounds; r++) {
    const by = rotations[r % 8] as number;
    x = (x + y) >>> 0;
    y = (((y << by) | (y >>> (32 - by))) ^ x) >>> 0;
    if (r % 4 !== 3) continue;
    const n = (r + 1) / 4;
    x = (x + (k[n % 3] as number)) >>> 0;
    y = (y + (k[(n + 1) % 3] as number) + n) >>> 0;
  }
  return [x, y];
}

/** The same as an expression of the counter. */
function threefryExpr(sc: Scalars, key: readonly number[], i: Expr): readonly [Expr, Expr] {
  const k = keySchedule(key);
  const c = (v: number): Expr => sc.const(v >>> 0, u32);
  let [x, y] = [sc.add(sc.cast(u32, i), c(k[0])), c(k[1])];
  for (let r = 0; r < rounds; r++) {
    const by = rotations[r % 8] as number;
    x = sc.add(x, y);
    y = sc.op("xor", [sc.op("or", [sc.op("shl", [y, c(by)]), sc.op("shr", [y, c(32 - by)])]), x]);
    if (r % 4 !== 3) continue;
    const n = (r + 1) / 4;
    x = sc.add(x, c(k[n % 3] as number));
    y = sc.add(y, c((k[(n + 1) % 3] as number) + n));
  }
  return [x, y];
}

const isWord = (v: number | undefined): boolean => v !== undefined && Number.isInteger(v) && v >= 0 && v < 2 ** 32;

const randomBits = defineOp({
  name: "random_bits",
  doc: "Random 32-bit words, the same on every run and machine: element i, counted in row-major order, is word `word` of the block that Threefry-2x32 with 20 rounds makes of the counter (i, 0) under the key (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011).",
  operands: [],
  attrs: { dims: "dims", key: "ints", word: "int" },
  constraints: ["C1: key has two words, integers of 32 bits without sign.", "C2: word is 0 or 1."],
  infer({ attrs, fail }) {
    if (attrs.key.length !== 2 || !attrs.key.every(isWord)) fail("C1", `got [${attrs.key.join(", ")}]`);
    if (attrs.word !== 0 && attrs.word !== 1) fail("C2", `got ${attrs.word}`);
    return [{ dtype: u32, dims: attrs.dims }];
  },
  evaluate: ({ attrs, types: [out] }) => [hostFrom(u32, out?.dims ?? [], (i) => threefry(attrs.key, i)[attrs.word as 0 | 1])],
  lower({ b, sc, results: [result], attrs }) {
    if (result === undefined) return;
    b.map(result, (index) => {
      const flat = index.reduce<Expr>((sum, i, d) => sc.add(sc.mul(sum, sc.dim(attrs.dims[d] as Dim)), i), sc.int(0));
      return threefryExpr(sc, attrs.key, flat)[attrs.word as 0 | 1];
    });
  },
  examples: [
    { operands: [], attrs: { dims: [3, 5], key: [0x13198a2e, 0x03707344], word: 0 } },
    { operands: [], attrs: { dims: [2, 9], key: [7, 0xffffffff], word: 1 } },
  ],
});

export const bitOps = [bitcast, randomBits] as const;

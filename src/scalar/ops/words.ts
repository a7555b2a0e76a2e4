import { type DType, i32 } from "../../base/dtype.ts";
import type { Expr } from "../expr.ts";
import type { ScalarOp } from "../op.ts";
import type { Scalars } from "../scalars.ts";

/**
 * Words: an i32 as two signed integers of 16 bits, or four of 8, the first in its lowest bits. Machines multiply and add them
 * in one instruction on vectors of words (x86: pmaddwd, pmaddubsw, paddw; WebAssembly: dot and add of i16x8).
 */
function words(args: readonly DType[]): DType | { readonly error: string } {
  return args.every((a) => a === i32) ? i32 : { error: `needs words of i32, got ${args.join(", ")}` };
}
/** Bits from `at` on, as a signed integer of so many. */
const signed = (x: number, at: number, bits: number): number => (x << (32 - bits - at)) >> (32 - bits);
const halves = (low: number, high: number): number => (low & 0xffff) | (high << 16);

const signedPart = (sc: Scalars, x: Expr, at: number, bits: number): Expr =>
  sc.op("shr", [sc.op("shl", [x, sc.int(32 - bits - at)]), sc.int(32 - bits)]);
const joined = (sc: Scalars, low: Expr, high: Expr): Expr => sc.op("or", [sc.and(low, sc.int(0xffff)), sc.op("shl", [high, sc.int(16)])]);

export const wordOps = {
  dot16: {
    name: "dot16",
    doc: "Of words as two signed integers of 16 bits: the sum of their products, in 32 bits.",
    arity: 2,
    type: words,
    evaluate: ([a, b]) => {
      const [x, y] = [Number(a), Number(b)];
      return (Math.imul(signed(x, 0, 16), signed(y, 0, 16)) + Math.imul(signed(x, 16, 16), signed(y, 16, 16))) | 0;
    },
    cost: 1,
    commutative: true,
    bilinear: true,
    expand: (sc, [a, b]) => {
      const product = (at: number): Expr => sc.mul(signedPart(sc, a as Expr, at, 16), signedPart(sc, b as Expr, at, 16));
      return sc.add(product(0), product(16));
    },
  },
  dot8: {
    name: "dot8",
    doc: "Of words as four integers of 8 bits, the first word's signed and the second's from 0 to 127 (of others the result is any): sums of the products of the first two and of the last two, as halves of 16 bits.",
    arity: 2,
    type: words,
    evaluate: ([a, b]) => {
      const product = (at: number): number => signed(Number(a), at, 8) * ((Number(b) >> at) & 0xff);
      return halves(product(0) + product(8), product(16) + product(24));
    },
    cost: 1,
    expand: (sc, [a, b]) => {
      const product = (at: number): Expr => sc.mul(signedPart(sc, a as Expr, at, 8), sc.and(sc.op("shr", [b as Expr, sc.int(at)]), sc.int(0xff)));
      return joined(sc, sc.add(product(0), product(8)), sc.add(product(16), product(24)));
    },
  },
  add16: {
    name: "add16",
    doc: "Of words as two integers of 16 bits: their sums, each of which wraps.",
    arity: 2,
    type: words,
    evaluate: ([a, b]) => halves(Number(a) + Number(b), (Number(a) >> 16) + (Number(b) >> 16)),
    cost: 1,
    commutative: true,
    expand: (sc, [a, b]) => {
      const [x, y] = [a as Expr, b as Expr];
      const high = (e: Expr): Expr => sc.op("shr", [e, sc.int(16)]);
      return joined(sc, sc.add(x, y), sc.add(high(x), high(y)));
    },
  },
} as const satisfies Record<string, ScalarOp>;

import type { DType } from "../../src/base/dtype.ts";
import { type Num, roundTo } from "../../src/base/numeric.ts";

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Values of a dtype where arithmetic goes wrong, if it does. */
export function valuesOf(d: DType): Num[] {
  const { POSITIVE_INFINITY: inf, NaN: nan } = Number;
  if (d.kind === "bool") return [0, 1];
  if (d.isFloat) {
    const numbers = [
      0,
      -0,
      1,
      -1,
      0.5,
      -0.5,
      1.5,
      2.5,
      -2.5,
      3,
      -7,
      1e-7,
      100.25,
      -12345.678,
      2 ** -14,
      2 ** -24,
      65504,
      1e-40,
      -1e-40,
      3e38,
      -3e38,
      2 ** 31,
      -(2 ** 31),
      2 ** 32,
      1e19,
      -1e19,
    ];
    // Not all floats have infinities, or two zeros.
    return [...new Set(numbers.map((v) => roundTo(d, v))), ...[-0, inf, -inf, nan].filter((v) => Object.is(roundTo(d, v), v))];
  }
  const bits = BigInt(d.bits);
  const [low, high] = d.kind === "int" ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
  const wanted = [low, low + 1n, high, high - 1n, high / 2n, 0n, 1n, 2n, 3n, 5n, 7n, -1n, -2n, -3n, -7n, 31n, 100n];
  return [...new Set(wanted.filter((v) => v >= low && v <= high))].map((v) => (d.bits === 64 ? v : Number(v)));
}

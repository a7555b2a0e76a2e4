import { expect, test } from "vitest";
import { runElementwise } from "../../../test/support/scalar-kernel.ts";
import { type DType, f32, f64 } from "../../base/dtype.ts";
import type { Expr } from "../../scalar/expr.ts";
import { simplifyBook } from "../../scalar/rules/simplify.ts";
import { Scalars } from "../../scalar/scalars.ts";

const [inf, nan] = [Number.POSITIVE_INFINITY, Number.NaN];

function remainders(d: DType, pairs: readonly (readonly [number, number])[]): number[] {
  const padded = [...pairs, ...Array.from({ length: (4 - (pairs.length % 4)) % 4 }, () => [1, 1] as const)];
  const inputs = [0, 1].map((k) => ({ dtype: d, values: padded.map((p) => p[k as 0 | 1]) }));
  const got = runElementwise(new Scalars(simplifyBook), { lanes: 4, relaxed: false }, inputs, d, (sc, a, b) => sc.op("rem", [a as Expr, b as Expr]));
  return got.slice(0, pairs.length) as number[];
}

test.each([f32, f64])("special remainders of %s are those of fmod", (d) => {
  const numbers = [0, -0, 1, -1, 5.5, -5.5, 3, 1e-45, 3e38, inf, -inf, nan];
  const largest = d === f64 ? [1.7976931348623157e308, 5e-324] : [3.4028234663852886e38];
  const all = [...numbers, ...largest].flatMap((a) =>
    [...numbers, ...largest].map((b) => [a, b].map((v) => (d === f32 ? Math.fround(v) : v)) as [number, number]),
  );
  // The quotient of what follows is too large for the remainder to be exact.
  const pairs = all.filter(([a, b]) => !Number.isFinite(a) || !(Math.abs(a / b) > (d === f32 ? 2 ** 58 : 2 ** 50) && b !== 0));
  const got = remainders(d, pairs);
  expect(pairs.flatMap(([a, b], i) => (Object.is(got[i], a % b) ? [] : [`${a} % ${b} = ${a % b}, got ${got[i]}`]))).toEqual([]);
});

test("remainders of f32 are exact up to quotients of 2^58, and bounded beyond", () => {
  const random = (i: number) => (Math.imul(i, 0x9e3779b1) >>> 0) / 2 ** 32;
  const pairs = Array.from({ length: 8000 }, (_, i): readonly [number, number] => {
    const b = Math.fround((1 + random(3 * i)) * 2 ** (20 * random(3 * i + 1) - 10));
    // Every fourth is next to a multiple of the divisor, where the quotient's rounding matters.
    const q = 2 ** (57 * random(3 * i + 2));
    const a = i % 4 === 0 ? Math.fround(Math.fround(Math.round(q) * b) * (1 - (i % 8 === 0 ? 2 ** -24 : 0))) : Math.fround(q * b);
    return [i % 2 === 0 ? a : -a, i % 3 === 0 ? b : -b];
  });
  const got = remainders(f32, pairs);
  expect(pairs.flatMap(([a, b], i) => (Object.is(got[i], a % b) ? [] : [`${a} % ${b} = ${a % b}, got ${got[i]}`]))).toEqual([]);
  const far = [3e38, -3e38, 1e30].flatMap((a) => [1e-45, 3e-10, 0.7].map((b) => [a, b].map(Math.fround) as [number, number]));
  expect(remainders(f32, far).every((r, i) => Math.abs(r) <= (far[i]?.[1] ?? 0) && r * (far[i]?.[0] ?? 0) >= 0)).toBe(true);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DType, arrayOf, bool, dtypes, f16, i4, i64, u4, u64 } from "./dtype.ts";
import { type Num, fromBfloatBits, fromHalfBits, readElement, roundTo, toBfloatBits, toHalfBits, writeElement } from "./numeric.ts";

const finiteFloat = fc.float({ noNaN: true, noDefaultInfinity: true });

/** The value of bits by the definition of the format: sign, exponent, mantissa. */
function decode(bits: number, exponentBits: number, mantissaBits: number): number {
  const sign = bits >>> 15 === 1 ? -1 : 1;
  const e = (bits >>> mantissaBits) & (2 ** exponentBits - 1);
  const m = bits & (2 ** mantissaBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (e === 2 ** exponentBits - 1) return m === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return e === 0 ? sign * m * 2 ** (1 - bias - mantissaBits) : sign * (1 + m / 2 ** mantissaBits) * 2 ** (e - bias);
}

describe.each([
  { name: "f16", to: toHalfBits, from: fromHalfBits, exponent: 5, mantissa: 10 },
  { name: "bf16", to: toBfloatBits, from: fromBfloatBits, exponent: 8, mantissa: 7 },
])("$name", ({ to, from, exponent, mantissa }) => {
  test("all 65,536 bit patterns", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const want = decode(bits, exponent, mantissa);
      const got = from(bits);
      if (!Object.is(got, want)) expect.fail(`${bits.toString(16)} is ${got}, expected ${want}`);
      if (Number.isNaN(want) ? !Number.isNaN(from(to(got))) : to(got) !== bits) expect.fail(`${bits.toString(16)} became ${to(got).toString(16)}`);
    }
  });

  test("halfway between neighbours goes to the even one, all else to the nearer", () => {
    const largest = 2 ** (exponent + mantissa) - 2 ** mantissa - 1;
    for (let bits = 0; bits < largest; bits++) {
      const [a, b] = [from(bits), from(bits + 1)];
      const middle = (a + b) / 2;
      // The middle is an f32 of its own, except among f32's least subnormals.
      if (Math.fround(middle) !== middle) continue;
      const nudge = Math.max(middle * 2 ** -20, 2 ** -149);
      const even = bits % 2 === 0 ? bits : bits + 1;
      const [below, at, above] = [to(middle - nudge), to(middle), to(middle + nudge)];
      if (below !== bits || at !== even || above !== bits + 1)
        expect.fail(`around ${middle}: ${below} ${at} ${above}, expected ${bits} ${even} ${bits + 1}`);
    }
  });

  test("overflow goes to infinity, and signs are kept", () => {
    expect(from(to(3.4e38))).toBe(Number.POSITIVE_INFINITY);
    expect(from(to(Number.NEGATIVE_INFINITY))).toBe(Number.NEGATIVE_INFINITY);
    expect(Object.is(from(to(-0)), -0)).toBe(true);
    fc.assert(fc.property(finiteFloat, (v) => void expect(to(-v)).toBe(to(v) ^ 0x8000)));
  });
});

describe("roundTo", () => {
  /** An integer modulo 2^bits, by bigints. */
  const wrapped = (d: DType, v: bigint): Num => {
    const r = d.kind === "int" ? BigInt.asIntN(d.bits, v) : BigInt.asUintN(d.bits, v);
    return d.bits === 64 ? r : Number(r);
  };
  test.each(dtypes.filter((d) => d.isInteger))("%s wraps numbers and bigints", (d) => {
    fc.assert(
      fc.property(
        fc.oneof(fc.bigInt(-(2n ** 70n), 2n ** 70n), fc.bigInt(-300n, 300n), fc.constantFrom(-(2n ** 31n), 2n ** 31n, 2n ** 32n, 2n ** 63n)),
        (v) => {
          expect(roundTo(d, v)).toBe(wrapped(d, v));
          const n = Number(v);
          expect(roundTo(d, n)).toBe(wrapped(d, BigInt(n)));
        },
      ),
    );
    expect(roundTo(d, Number.NaN)).toBe(wrapped(d, 0n));
    expect(roundTo(d, Number.POSITIVE_INFINITY)).toBe(wrapped(d, 0n));
    expect(roundTo(d, -2.75)).toBe(wrapped(d, -2n));
  });
  test.each(dtypes)("%s: rounding twice changes nothing", (d) => {
    fc.assert(
      fc.property(fc.oneof(fc.double(), fc.bigInt(-(2n ** 65n), 2n ** 65n)), (v) => {
        const once = roundTo(d, v);
        expect(Object.is(roundTo(d, once), once)).toBe(true);
      }),
    );
  });
  test("bool is 0 or 1", () => {
    expect([0, -0, 0n, 0.1, -3, 5n, Number.NaN].map((v) => roundTo(bool, v))).toEqual([0, 0, 0, 1, 1, 1, 1]);
  });
  test("floats go to the nearest value", () => {
    fc.assert(fc.property(finiteFloat, (v) => void expect(roundTo(f16, v)).toBe(fromHalfBits(toHalfBits(v)))));
  });
});

describe("elements", () => {
  test.each(dtypes)("%s: what is written is read, and its neighbours stay", (d) => {
    fc.assert(
      fc.property(fc.array(fc.double(), { minLength: 5, maxLength: 9 }), (numbers) => {
        const values = numbers.map((v) => roundTo(d, v));
        const array = new (arrayOf(d))(values.length) as { [i: number]: number | bigint; length: number };
        values.forEach((v, i) => void writeElement(d, array, i, v));
        writeElement(d, array, 2, values[0] as Num);
        writeElement(d, array, 2, values[2] as Num);
        values.forEach((v, i) => void expect(Object.is(readElement(d, array, i), v), `${readElement(d, array, i)} for ${v}`).toBe(true));
      }),
    );
  });
  test("4-bit elements lie low nibble first", () => {
    const bytes = new Uint8Array([0x8f, 0x21]);
    expect([0, 1, 2, 3].map((i) => readElement(u4, bytes, i))).toEqual([15, 8, 1, 2]);
    expect([0, 1, 2, 3].map((i) => readElement(i4, bytes, i))).toEqual([-1, -8, 1, 2]);
  });
  test("64-bit elements are bigints", () => {
    expect(readElement(i64, new BigInt64Array([-5n]), 0)).toBe(-5n);
    expect(readElement(u64, new BigUint64Array([2n ** 64n - 1n]), 0)).toBe(2n ** 64n - 1n);
  });
});

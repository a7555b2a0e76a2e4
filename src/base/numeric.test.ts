import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DType, type FloatFormat, arrayOf, bool, dtypes, f16, findDType, i2, i4, i64, u2, u4, u64 } from "./dtype.ts";
import {
  type Num,
  floatFromBits,
  floatToBits,
  fromBfloatBits,
  fromHalfBits,
  largestFinite,
  readElement,
  roundTo,
  toBfloatBits,
  toHalfBits,
  writeElement,
} from "./numeric.ts";

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

/** Codes and what they stand for, from the formats' definitions (OCP 8-bit floats and microscaling; the FNUZ formats of ONNX). */
const known: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  f8e4m3fn: [
    [0, 0],
    [0x80, -0],
    [1, 2 ** -9],
    [7, 7 * 2 ** -9],
    [8, 2 ** -6],
    [0x38, 1],
    [0x7e, 448],
    [0xfe, -448],
    [0x7f, Number.NaN],
    [0xff, Number.NaN],
  ],
  f8e4m3fnuz: [
    [0, 0],
    [0x80, Number.NaN],
    [1, 2 ** -10],
    [8, 2 ** -7],
    [0x40, 1],
    [0x7f, 240],
    [0xff, -240],
  ],
  f8e5m2: [
    [0, 0],
    [0x80, -0],
    [1, 2 ** -16],
    [4, 2 ** -14],
    [0x3c, 1],
    [0x7b, 57344],
    [0xfb, -57344],
    [0x7c, Number.POSITIVE_INFINITY],
    [0xfc, Number.NEGATIVE_INFINITY],
    [0x7d, Number.NaN],
    [0xff, Number.NaN],
  ],
  f8e5m2fnuz: [
    [0, 0],
    [0x80, Number.NaN],
    [1, 2 ** -17],
    [4, 2 ** -15],
    [0x40, 1],
    [0x7f, 57344],
    [0xff, -57344],
  ],
  f8e8m0: [
    [0, 2 ** -127],
    [1, 2 ** -126],
    [127, 1],
    [128, 2],
    [254, 2 ** 127],
    [255, Number.NaN],
  ],
  f4e2m1: [
    [0, 0],
    [1, 0.5],
    [2, 1],
    [3, 1.5],
    [4, 2],
    [5, 3],
    [6, 4],
    [7, 6],
    [8, -0],
    [15, -6],
  ],
};
describe.each(Object.entries(known))("%s", (name, codes) => {
  const d = findDType(name) as DType;
  const format = d.format as FloatFormat;
  const every = Array.from({ length: 2 ** d.bits }, (_, code) => ({ code, value: floatFromBits(d, format, code) }));

  test("codes", () => {
    expect(codes.map(([code]) => [code, floatFromBits(d, format, code)])).toEqual(codes);
    expect(largestFinite(format)).toBe(Math.max(...every.map((e) => e.value).filter(Number.isFinite)));
    for (const { code, value } of every) if (!Number.isNaN(value)) expect(floatToBits(d, format, value)).toBe(code);
  });

  test("numbers go to the nearest value, in the middle to the even one (of scales to the greater); beyond, where the format says", () => {
    const finite = every.filter((e) => Number.isFinite(e.value));
    const largest = largestFinite(format);
    // Where the value after the largest would be.
    const next = format.special === "scale" ? 2 * largest : largest + (largest - Math.max(...finite.map((e) => e.value).filter((v) => v < largest)));
    const middles = finite.flatMap(({ value }) =>
      finite
        .filter((o) => o.value > value)
        .slice(0, 1)
        .map((o) => (value + o.value) / 2),
    );
    const numbers = [
      ...middles,
      ...middles.map((v) => v * 1.01),
      ...fc.sample(fc.float({ noNaN: true, noDefaultInfinity: true }), { numRuns: 500, seed: 1 }),
      next,
      -next,
    ];
    for (const v of numbers) {
      const x = Math.fround(v);
      const got = floatFromBits(d, format, floatToBits(d, format, x));
      const outside = Math.abs(x) > (largest + next) / 2 || (Math.abs(x) === (largest + next) / 2 && format.special !== "nan");
      if (format.special === "scale" && (x <= 0 || outside)) expect(got).toBeNaN();
      else if (outside && format.special !== "finite")
        expect(got).toBe(format.special === "ieee" ? Math.sign(x) * Number.POSITIVE_INFINITY : Number.NaN);
      else {
        const [zero, inside] = [x < 0 || Object.is(x, -0) ? -0 : 0, Math.max(-next, Math.min(x, next))];
        const far = (e: { value: number }) => Math.abs(e.value - inside);
        const least = Math.min(...finite.map(far));
        const near = finite.filter((e) => far(e) === least && (e.value !== 0 || Object.is(e.value, format.special === "unsigned-zero" ? 0 : zero)));
        const want = near.length === 1 ? near[0] : format.special === "scale" ? near[1] : near.find((e) => e.code % 2 === 0);
        expect(got, `${x}`).toBe(want?.value);
      }
    }
  });

  test("what is no number", () => {
    for (const v of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const got = floatFromBits(d, format, floatToBits(d, format, v));
      if (format.special === "finite") expect(got).toBe(Number.isNaN(v) ? 0 : Math.sign(v) * 6);
      else expect(got).toBe(format.special === "ieee" ? v : Number.NaN);
    }
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
  test("2-bit elements lie in the lowest bits first, floats of 4 bits too", () => {
    const bytes = new Uint8Array([0b11_10_01_00]);
    expect([0, 1, 2, 3].map((i) => readElement(u2, bytes, i))).toEqual([0, 1, 2, 3]);
    expect([0, 1, 2, 3].map((i) => readElement(i2, bytes, i))).toEqual([0, 1, -2, -1]);
    const f4 = findDType("f4e2m1") as DType;
    expect([0, 1].map((i) => readElement(f4, new Uint8Array([0x9f]), i))).toEqual([-6, -0.5]);
  });
  test("64-bit elements are bigints", () => {
    expect(readElement(i64, new BigInt64Array([-5n]), 0)).toBe(-5n);
    expect(readElement(u64, new BigUint64Array([2n ** 64n - 1n]), 0)).toBe(2n ** 64n - 1n);
  });
});

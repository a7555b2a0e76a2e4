import { describe, expect, test } from "vitest";
import { type Form, runElementwise } from "../../../test/support/scalar-kernel.ts";
import { Reader } from "../../base/text.ts";
import { type DType, type FloatFormat, bool, dtypes, f32, f64, i16, i32, i64, i8, u16, u8 } from "../../base/dtype.ts";
import { type Num, floatFromBits, floatToBits, roundTo } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import { type OpName, scalarOps } from "../../scalar/ops/table.ts";
import { simplifyBook } from "../../scalar/rules/simplify.ts";
import { Scalars } from "../../scalar/scalars.ts";
import { parseProgram } from "../parse.ts";
import { verifyProgram } from "../verify.ts";
import { unpackFloats } from "./unpack-floats.ts";

/** Elements of 4 bits are packed, which a kernel of one element at a time cannot be given: executions-narrow.test.ts has them. */
const narrow = dtypes.filter((d) => d.format !== null && d.bits >= 8);
const forms: readonly Form[] = [
  { lanes: 1, relaxed: false },
  { lanes: 4, relaxed: false },
];
const toBits = (d: DType, v: number) => floatToBits(d, d.format as FloatFormat, v);
const fromBits = (d: DType, b: number) => floatFromBits(d, d.format as FloatFormat, b);
const patterns = (d: DType) => Array.from({ length: 2 ** d.bits }, (_, i) => i);

const word = new DataView(new ArrayBuffer(4));
function f32FromBits(bits: number): number {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}

/** The same number, or NaN both. */
function same(d: DType, a: number, b: number): boolean {
  return Object.is(fromBits(d, a), fromBits(d, b));
}

function run(form: Form, inputs: readonly { dtype: DType; values: readonly Num[] }[], out: DType, f: (sc: Scalars, ...args: Expr[]) => Expr): Num[] {
  return runElementwise(new Scalars(simplifyBook), form, inputs, out, f);
}

describe.each(narrow)("%s as WASM", (d) => {
  const everyPattern = patterns(d);
  const { fraction, bias } = d.format as FloatFormat;
  const [unsigned, signed] = d.bits === 16 ? [u16, i16] : [u8, i8];
  test.each(forms)("all values widen exactly and narrow back ($lanes lanes)", (form) => {
    const wide = run(form, [{ dtype: d, values: everyPattern }], f32, (sc, x) => sc.cast(f32, x)) as number[];
    expect(everyPattern.filter((b, i) => !Object.is(wide[i], fromBits(d, b)))).toEqual([]);
    const back = run(form, [{ dtype: d, values: everyPattern }], d, (_, x) => x) as number[];
    expect(everyPattern.filter((b, i) => !same(d, back[i] as number, b))).toEqual([]);
  });

  test.each(forms)("f32 rounds to nearest even: every value, the middle to the next and its neighbours ($lanes lanes)", (form) => {
    const shift = 23 - fraction;
    const values = everyPattern.flatMap((b) => {
      word.setFloat32(0, fromBits(d, b));
      const bits = word.getUint32(0);
      return [0, 1, (1 << (shift - 1)) - 1, 1 << (shift - 1), (1 << (shift - 1)) + 1, (1 << shift) - 1].map((k) => f32FromBits((bits + k) >>> 0));
    });
    // The middles between subnormals, whose spacing is fixed.
    const half = 2 ** (-bias - fraction);
    for (let k = 0; k < 2 ** (fraction + 1); k++)
      for (const e of [-1e-4, 0, 1e-4]) values.push(Math.fround(half * (k + e)), -Math.fround(half * (k + e)));
    values.push(0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38, -3e38);
    while (values.length % 4 !== 0) values.push(0);
    const got = run(form, [{ dtype: f32, values }], d, (sc, x) => sc.cast(d, x)) as number[];
    expect(values.filter((v, i) => !same(d, got[i] as number, toBits(d, v)))).toEqual([]);
  });

  test("every step is rounded, as the interpreters do", () => {
    const pick = (seed: number) => Array.from({ length: 4096 }, (_, i) => Math.imul(i + seed, 0x9e3779b1) >>> (32 - d.bits));
    const [a, b] = [pick(1), pick(77777)];
    const operands = [a, b].map((values) => ({ dtype: d, values }));
    const number = (bits: readonly number[], i: number) => fromBits(d, bits[i] as number);
    const binary: OpName[] = ["add", "sub", "mul", "div", "min", "max", "rem"];
    for (const name of binary) {
      const got = run({ lanes: 1, relaxed: false }, operands, d, (sc, x, y) => sc.op("add", [sc.op(name, [x, y]), x])) as number[];
      const wrong = a.filter((_, i) => {
        const [x, y] = [number(a, i), number(b, i)];
        const inner = roundTo(d, scalarOps[name].evaluate([x, y], d, [d, d])) as number;
        // Quotients beyond 2^58 have no exact remainder.
        if (name === "rem" && Math.abs(x / y) > 2 ** 58 && y !== 0) return false;
        return !same(d, got[i] as number, toBits(d, inner + x));
      });
      expect(wrong, name).toEqual([]);
    }
    const unary: OpName[] = ["neg", "abs", "sqrt", "floor", "ceil", "trunc", "round", "sign"];
    for (const name of unary) {
      const got = run({ lanes: 1, relaxed: false }, [{ dtype: d, values: everyPattern }], d, (sc, x) => sc.op(name, [x])) as number[];
      const want = (p: number) => roundTo(d, scalarOps[name].evaluate([fromBits(d, p)], d, [d])) as number;
      const wrong = everyPattern.filter((p, i) => !same(d, got[i] as number, toBits(d, want(p))));
      expect(wrong, name).toEqual([]);
    }
  });

  test("conversions to and from other dtypes", () => {
    const integers = [0, 1, -1, 127, 255, 256, 257, 2047, 2049, 2051, -2049, 65503, 65519, 65520, -65520, 100_000];
    const from = (dtype: DType, values: readonly Num[]) =>
      run({ lanes: 1, relaxed: false }, [{ dtype, values }], d, (sc, x) => sc.cast(d, x)) as number[];
    expect(from(i32, integers)).toEqual(integers.map((v) => toBits(d, v)));
    expect(from(i64, integers.map(BigInt))).toEqual(integers.map((v) => toBits(d, v)));
    expect(from(f64, [...integers, 1e300, -1e300, 1e-300, 0.1])).toEqual([...integers, 1e300, -1e300, 1e-300, 0.1].map((v) => toBits(d, v)));
    const bytes = Array.from({ length: 256 }, (_, i) => i);
    expect(from(u8, bytes)).toEqual(bytes.map((v) => toBits(d, v)));
    const to = (dtype: DType) => run({ lanes: 1, relaxed: false }, [{ dtype: d, values: everyPattern }], dtype, (sc, x) => sc.cast(dtype, x));
    for (const dtype of [i32, bool, f64]) {
      const got = to(dtype);
      expect(everyPattern.filter((b, i) => !Object.is(got[i], roundTo(dtype, scalarOps.cast.evaluate([fromBits(d, b)], dtype, [d]))))).toEqual([]);
    }
    const one = everyPattern.map((b) => scalarOps.bitcast.evaluate([fromBits(d, b)], signed, [d]) as number);
    expect(everyPattern.filter((b, i) => !same(d, (one[i] as number) & (2 ** d.bits - 1), b))).toEqual([]);
    expect(everyPattern.filter((b) => !Object.is(scalarOps.bitcast.evaluate([b], d, [unsigned]), fromBits(d, b)))).toEqual([]);
    for (const dtype of [unsigned, signed]) {
      const bits = run({ lanes: 1, relaxed: false }, [{ dtype: d, values: everyPattern }], unsigned, (sc, x) =>
        sc.cast(unsigned, sc.bitcast(dtype, x)),
      ) as number[];
      expect(everyPattern.filter((b, i) => !same(d, bits[i] as number, b))).toEqual([]);
      const back = run({ lanes: 1, relaxed: false }, [{ dtype, values: everyPattern }], d, (sc, x) => sc.bitcast(d, x)) as number[];
      expect(everyPattern.filter((b, i) => !same(d, back[i] as number, b))).toEqual([]);
    }
  });
});

const text = `program @p {
  memory weights, arena bytes 0
  alloc %x as at.x bytes 32
  alloc %y as at.y bytes 32
  input %x: f16[16] at at.x
  output %y: bf16[16] at at.y
  kernel @k(param %x: f16, out param %y: bf16) over [begin, end) {
    for i in [begin, end) {
      alloc register %acc: f16[1]
      %acc[0] = f16(0.5)
      for r in [0, 4) {
        let t: f16 = %x[i] * %acc[0]
        if t < %x[0] {
          %acc[0] = %acc[0] + t
        }
      }
      %y[i] = bf16(%acc[0])
    }
  }
  main {
    launch @k(at.x, at.y) over [0, 16) grain 16
  }
}`;

test("buffers, variables and accumulators of the dtypes are gone; what has none stays the same object", () => {
  const sc = new Scalars(simplifyBook);
  const p = parseProgram(new Reader(text, "p.tw"), sc);
  verifyProgram(p);
  expect(() => verifyProgram(p, { forbidden: ["narrow float"] })).toThrow(/L10/);
  const made = new Map(p.kernels.map((k) => [k, unpackFloats(sc, k)]));
  const kernels = [...made.values()];
  const main = p.main.map((s) => (s.kind === "launch" ? { ...s, kernel: made.get(s.kernel) ?? s.kernel } : s));
  verifyProgram({ ...p, kernels, main }, { forbidden: ["narrow float"] });
  for (const k of kernels) expect(unpackFloats(sc, k)).toBe(k);
});

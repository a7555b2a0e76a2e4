import { expect, test } from "vitest";
import { forms, runElementwise } from "../../../test/support/scalar-kernel.ts";
import { i32 } from "../../base/dtype.ts";
import { seededRandom } from "../../schedule/random.ts";
import { simplifyBook } from "../rules/simplify.ts";
import { Scalars } from "../scalars.ts";
import { wordOps } from "./words.ts";

const random = seededRandom(3);
const byte = (): number => Math.floor(random() * 256);
const word = (part: () => number): number => part() | (part() << 8) | (part() << 16) | (part() << 24);
const edges = [0, -1, 0x7fff7fff, -0x7fff8000, 0x7f7f7f7f, 0x00ff00ff];
/** Words with all values of bytes, and of bytes below 128. */
const any = [...edges, ...edges.map((_, i) => edges[(i + 1) % edges.length] as number), ...Array.from({ length: 500 }, () => word(byte))];
const small = any.map((_, i) => (i < 12 ? [0x7f7f7f7f, 0, 0x7f00007f][i % 3] : word(() => byte() >> 1)) as number);

const halves = (x: number): [number, number] => [(x << 16) >> 16, x >> 16];
const bytes = (x: number): number[] => [24, 16, 8, 0].map((by) => (x << by) >> 24);
const pack = (low: number, high: number): number => (low & 0xffff) | (high << 16);

/** What the ops are for, said in another way. */
const meaning: Readonly<Record<keyof typeof wordOps, (a: number, b: number) => number>> = {
  dot16: (a, b) => {
    const [[p, q], [r, s]] = [halves(a), halves(b)];
    return Number(BigInt.asIntN(32, BigInt(p) * BigInt(r) + BigInt(q) * BigInt(s)));
  },
  dot8: (a, b) => {
    const products = bytes(a).map((v, i) => v * (bytes(b)[i] as number)) as [number, number, number, number];
    return pack(products[0] + products[1], products[2] + products[3]);
  },
  add16: (a, b) => pack(halves(a)[0] + halves(b)[0], halves(a)[1] + halves(b)[1]),
};

test.each(Object.keys(wordOps) as (keyof typeof wordOps)[])("%s: by its definition, as scalars, in vectors with and without relaxed SIMD", (name) => {
  const right = name === "dot8" ? small : [...any.slice(7), ...any.slice(0, 7)];
  const want = any.map((a, i) => meaning[name](a, right[i] as number));
  expect(any.map((a, i) => wordOps[name].evaluate([a, right[i] as number]))).toEqual(want);
  for (const form of forms) {
    const inputs = [any, right].map((values) => ({ dtype: i32, values }));
    const got = runElementwise(new Scalars(simplifyBook), form, inputs, i32, (sc, a, b) => sc.op(name, [a as never, b as never]));
    expect(got, JSON.stringify(form)).toEqual(want);
  }
});

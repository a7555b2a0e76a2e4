import { describe, expect, test } from "vitest";
import { type Model, KeptTensor, compile } from "../src/index.ts";

// Caches that grow where they lie: kept outputs that begin with a kept input's rows.

const text = `graph @cache {
  symbol past in [0, inf]
  symbol tokens in [1, inf]
  input %cache: f32[2, past, 3]
  input %added: f32[2, tokens, 3]
  %twice: f32[2, tokens, 3] = add(%added, %added)
  %grown: f32[2, past + tokens, 3] = concat(%cache, %twice) {axis = 1}
  %sum: f32[2, 3] = reduce(%grown) {axes = [1], monoid = "add"}
  output %grown, %sum
}`;
const bytes = new TextEncoder().encode(text);

const rows = (n: number, from: number) => ({ data: Float32Array.from({ length: 2 * n * 3 }, (_, i) => from + i), dims: [2, n, 3] });
type Value = { readonly data: ArrayLike<number | bigint>; readonly dims: readonly number[] };

/** Row-major concatenation along the middle dim. */
function joined(a: Value, b: Value): number[] {
  const [n, m] = [a.dims[1] as number, b.dims[1] as number];
  return [0, 1].flatMap((o) => [
    ...Array.from({ length: 3 * n }, (_, i) => Number(a.data[o * n * 3 + i])),
    ...Array.from({ length: 3 * m }, (_, i) => 2 * Number(b.data[o * m * 3 + i])),
  ]);
}
const numbers = (v: Value) => Array.from(v.data, Number);

/** A step with the cache kept inside; checks what it gives. */
async function step(model: Model, cache: KeptTensor | Value, added: ReturnType<typeof rows>): Promise<KeptTensor> {
  const before = cache instanceof KeptTensor ? model.read(cache) : cache;
  const { grown, sum } = await model.run({ cache: cache as KeptTensor, added }, { keep: ["grown"] });
  if (!(grown instanceof KeptTensor) || sum === undefined || sum instanceof KeptTensor) throw new Error("grown was not kept");
  const expected = joined(before, added);
  expect(numbers(model.read(grown))).toEqual(expected);
  const n = grown.dims[1] as number;
  const sums = [0, 1].flatMap((o) =>
    [0, 1, 2].map((k) => Array.from({ length: n }, (_, i) => expected[(o * n + i) * 3 + k] ?? 0).reduce((x, y) => x + y, 0)),
  );
  expect(numbers(sum)).toEqual(sums);
  if (cache instanceof KeptTensor) expect(numbers(model.read(cache))).toEqual(numbers(before));
  return grown;
}
const blockOf = (t: KeptTensor) => t.block;

describe("a cache that is kept", () => {
  test("grows where it lies, and is copied where there is no room", async () => {
    const model = await compile(bytes);
    let cache = await step(model, rows(0, 1), rows(3, 100));
    const places = new Set([blockOf(cache)]);
    for (let i = 0; i < 60; i++) {
      const next = await step(model, cache, rows(1 + (i % 3), 10 * i));
      cache.dispose();
      cache = next;
      places.add(blockOf(cache));
    }
    expect(cache.dims).toEqual([2, 3 + 60 + 60, 3]);
    // 123 rows in rooms for at least 16 more each time, then half as many again.
    expect(places.size).toBeGreaterThan(1);
    expect(places.size).toBeLessThan(8);
    model.dispose();
  });

  test("goes on from one handle more than once: what others added stays", async () => {
    const model = await compile(bytes);
    const start = await step(model, rows(2, 1), rows(1, 50));
    const one = await step(model, start, rows(1, 100));
    const other = await step(model, start, rows(2, 200));
    expect(blockOf(one)).toBe(blockOf(start));
    expect(blockOf(other)).not.toBe(blockOf(start));
    const first = numbers(model.read(one));
    await step(model, other, rows(1, 300));
    await step(model, start, rows(1, 400));
    expect(numbers(model.read(one))).toEqual(first);
    model.dispose();
  });

  test("lives as long as one of its handles", async () => {
    const model = await compile(bytes);
    const start = await step(model, rows(2, 1), rows(1, 50));
    const next = await step(model, start, rows(1, 100));
    const held = numbers(model.read(next));
    start.dispose();
    start.dispose();
    // A new one must not take the place that `next` has.
    await step(model, rows(3, 7), rows(1, 8));
    expect(numbers(model.read(next))).toEqual(held);
    expect(() => model.read(start)).toThrow(/not kept/);
    model.dispose();
  });

  test("can be given where it does not grow, though its rows have room around them", async () => {
    const both = `graph @two {
      symbol past in [1, inf]
      input %cache: f32[2, past, 3]
      input %other: f32[2, past, 3]
      %one: f32[2, 1, 3] = slice(%other) {start = [0, 0, 0], stride = [1, 1, 1], dims = [2, 1, 3]}
      %grown: f32[2, past + 1, 3] = concat(%cache, %one) {axis = 1}
      %more: f32[2, past, 3] = add(%other, %other)
      output %grown, %more
    }`;
    const model = await compile(new TextEncoder().encode(both));
    const { grown } = await model.run({ cache: rows(2, 1), other: rows(2, 20) }, { keep: ["grown"] });
    const held = model.read(grown);
    const { grown: next, more } = await model.run({ cache: rows(3, 5), other: grown }, {});
    expect(numbers(more as Value)).toEqual(numbers(held).map((x) => 2 * x));
    expect(numbers(next as Value).slice(9, 12)).toEqual(numbers(held).slice(0, 3));
    model.dispose();
  });

  test("keeps to the largest size where symbols have a bound", async () => {
    const model = await compile(bytes, { symbols: { past: { min: 1, max: 9 }, tokens: { min: 1, max: 3 } } });
    let cache = await step(model, rows(2, 1), rows(1, 50));
    for (let i = 0; i < 6; i++) {
      const next = await step(model, cache, rows(1, i));
      cache.dispose();
      cache = next;
    }
    expect(cache.dims[1]).toBe(9);
    model.dispose();
  });
});

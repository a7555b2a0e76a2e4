import { describe, expect, test } from "vitest";
import { type DType, dtypes, f32, i32 } from "../src/base/dtype.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { hostFrom } from "../src/graph/host.ts";
import type { Value } from "../src/graph/ir.ts";
import { seededRandom } from "../src/schedule/random.ts";
import { CBatch, testBatch } from "./support/c.ts";
import { graphDisagreements } from "./support/executions.ts";

/** Floats of 8 and 4 bits and integers of 4 and 2: all executions read, write and round them alike. */
const narrow = dtypes.filter((d) => d.bits < 8 || (d.isFloat && d.bits === 8));
const batch = new CBatch(["default"]);

/** A graph of parameters of those types, run with elements of all kinds: every code occurs. */
async function check(
  types: readonly (readonly [DType, readonly number[]])[],
  make: (g: GraphBuilder, ...x: Value[]) => readonly Value[],
): Promise<void> {
  const g = new GraphBuilder();
  const params = types.map(([dtype, dims], i) => g.param(`p${i}`, { dtype, dims }));
  const graph = g.finish("narrow", [], make(g, ...params));
  const random = seededRandom(3);
  const wide = (d: DType) =>
    d.format?.special === "scale" ? 2 ** (40 * random() - 20) : d.isFloat ? 20 * (random() - 0.5) : Math.floor(600 * random() - 300);
  const inputs = types.map(([d, dims]) => hostFrom(d, dims, () => wide(d)));
  expect(await graphDisagreements({ graph, inputs }, { schedules: 1, seed: 5, batch })).toEqual([]);
}

describe.each(narrow)("%s", (d) => {
  // Odd counts: the last byte of what is packed is shared with nothing.
  test("conversions from and to wider dtypes", () =>
    check(
      [
        [d, [5, 7]],
        [f32, [5, 7]],
        [i32, [35]],
      ],
      (g, x, y, z) => [g.convert(x as Value, f32), g.convert(y as Value, d), g.convert(g.convert(z as Value, d), i32)],
    ));
  test("elements move", () =>
    check(
      [
        [d, [3, 5]],
        [d, [2, 5]],
      ],
      (g, x, y) => {
        const both = g.one("concat", [x as Value, y as Value], { axis: 0 });
        return [both, g.transpose(both, [1, 0]), g.one("slice", [both], { start: [1, 1], stride: [2, 3], dims: [2, 2] })];
      },
    ));
  test("choices and extremes", () =>
    check(
      [
        [d, [4, 16]],
        [d, [4, 16]],
      ],
      (g, x, y) => {
        const [a, b] = [x as Value, y as Value];
        const larger = g.one("select", [g.one("lt", [a, b]), b, a]);
        return [larger, g.one("min", [a, b]), g.one("reduce", [larger], { monoid: "max", axes: [1] })];
      },
    ));
  test.skipIf(d.format?.special === "scale")("arithmetic, rounded or wrapped after every step", () =>
    check(
      [
        [d, [4, 16]],
        [d, [4, 16]],
      ],
      (g, x, y) => {
        const [a, b] = [x as Value, y as Value];
        return [g.one("sub", [g.one("mul", [a, b]), a]), g.one("neg", [b]), g.one("abs", [a])];
      },
    ),
  );
});

describe("products of integers of 8 bits", () => {
  const [u8, i8] = ["u8", "i8"].map((n) => dtypes.find((d) => d.name === n) as DType) as [DType, DType];
  const attrs = { batchA: [], batchB: [], contractA: [1], contractB: [0] };
  test("in i32, less a zero point", () =>
    check(
      [
        [u8, [6, 33]],
        [i8, [33, 20]],
        [u8, []],
      ],
      (g, x, w, z) => {
        const zero = g.broadcast(g.convert(z as Value, i32), [6, 33], []);
        const centred = g.one("sub", [g.convert(x as Value, i32), zero]);
        return [g.one("dot", [centred, g.convert(w as Value, i32)], attrs)];
      },
    ));
  test("requantised", () =>
    check(
      [
        [i8, [5, 16]],
        [i8, [16, 24]],
        [f32, [24]],
      ],
      (g, x, w, s) => {
        const sum = g.one("dot", [g.convert(x as Value, i32), g.convert(w as Value, i32)], attrs);
        const whole = g.one("floor", [g.one("mul", [g.convert(sum, f32), g.splat(f32, sum.dims, 2 ** -8)])]);
        const held = g.one("min", [g.one("max", [whole, g.splat(f32, sum.dims, -128)]), g.splat(f32, sum.dims, 127)]);
        return [g.convert(held, i8), g.one("mul", [g.convert(g.convert(held, i8), f32), g.broadcast(s as Value, sum.dims, [1])])];
      },
    ));
});

testBatch(batch, "-O0");

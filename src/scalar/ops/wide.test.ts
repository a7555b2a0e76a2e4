import { describe, expect, test } from "vitest";
import { type Form, forms, runElementwise } from "../../../test/support/scalar-kernel.ts";
import { f64 } from "../../base/dtype.ts";
import { seededRandom } from "../../schedule/random.ts";
import type { Expr } from "../expr.ts";
import { simplifyBook } from "../rules/simplify.ts";
import { Scalars } from "../scalars.ts";
import { type OpName, scalarOps } from "./table.ts";

/** One unit in the last place of the f64 nearest to x. */
const ulp = (x: number): number => 2 ** (Math.max(-1022, Math.floor(Math.log2(Math.abs(x)))) - 52);
const infinite = Number.POSITIVE_INFINITY;

/** Numbers between two, half of them spread by their logarithms where both have one sign. */
function between(low: number, high: number): number[] {
  const random = seededRandom(Math.round(Math.abs(high) * 1000) + 1);
  return Array.from({ length: 400 }, (_, i) =>
    i % 2 === 0 && low * high > 0 ? Math.sign(low) * Math.abs(low) ** random() * Math.abs(high) ** (1 - random()) : low + random() * (high - low),
  ).filter((x) => x >= Math.min(low, high) && x <= Math.max(low, high));
}

interface Case {
  readonly name: OpName;
  readonly xs: readonly number[];
  readonly exact: (x: number) => number;
  /** Allowed error, in ulp of the result; the engine's own functions are within one. */
  readonly ulps: number;
  /** What an error is measured by at least. */
  readonly least?: number;
}
const special = [0, -0, 1, -1, infinite, -infinite, Number.NaN, 5e-324, -5e-324, 1e-310, 1e-40, 1e40];
const cases: readonly Case[] = [
  { name: "exp", xs: [...special, ...between(-745, 709.7), ...between(-1, 1), -745.2, 709.8, 1000, -1000], exact: Math.exp, ulps: 3 },
  { name: "log", xs: [...special, ...between(1e-320, 1e300), ...between(0.5, 2), ...between(0.99, 1.01)], exact: Math.log, ulps: 3 },
  { name: "tanh", xs: [...special, ...between(-20, 20), ...between(-0.3, 0.3), ...between(1e-300, 1)], exact: Math.tanh, ulps: 4 },
  {
    name: "sigmoid",
    xs: [...special, ...between(-700, 40), ...between(-5, 5)],
    exact: (x) => 1 / (1 + Math.exp(-x)),
    ulps: 4,
  },
  // Near its zeros a sine inherits the error of the reduction.
  {
    name: "sin",
    xs: [0, 1, -1, Number.NaN, ...between(-10, 10), ...between(-1e5, 1e5), ...between(1e-300, 1)],
    exact: Math.sin,
    ulps: 3,
    least: 2 ** -10,
  },
  { name: "asin", xs: [...special, ...between(-1, 1), ...between(0.999, 1), ...between(1e-300, 1)], exact: Math.asin, ulps: 4 },
  { name: "acos", xs: [...special, ...between(-1, 1), ...between(0.999, 1), ...between(1e-300, 1)], exact: Math.acos, ulps: 4 },
  { name: "atan", xs: [...special, ...between(-5, 5), ...between(-1e5, 1e5), ...between(1e-300, 1)], exact: Math.atan, ulps: 3 },
  { name: "asinh", xs: [...special, ...between(-5, 5), ...between(-1e300, 1e300), ...between(1e-300, 1)], exact: Math.asinh, ulps: 4 },
  { name: "acosh", xs: [...special, ...between(1, 5), ...between(1, 1.01), ...between(1, 1e300)], exact: Math.acosh, ulps: 4 },
  { name: "atanh", xs: [...special, ...between(-1, 1), ...between(0.999, 1), ...between(1e-300, 1)], exact: Math.atanh, ulps: 4 },
  { name: "cos", xs: [0, 1, -1, Number.NaN, ...between(-10, 10), ...between(-1e5, 1e5)], exact: Math.cos, ulps: 3, least: 2 ** -10 },
];

/** The error function at points on both sides of where its forms meet, computed with 40 digits. */
const erfValues: ReadonlyMap<number, number> = new Map([
  [0, 0],
  [1e-300, 1.1283791670955126e-300],
  [1e-9, 1.1283791670955127e-9],
  [0.1, 0.1124629160182849],
  [0.3, 0.3286267594591274],
  [0.5, 0.5204998778130465],
  [0.7, 0.6778011938374184],
  [0.749999, 0.7111549907219638],
  [0.75, 0.7111556336535151],
  [0.8, 0.7421009647076605],
  [1.0, 0.8427007929497149],
  [1.2, 0.9103139782296353],
  [1.4999, 0.9660932516622953],
  [1.5, 0.9661051464753108],
  [1.7, 0.9837904585907745],
  [2.0, 0.9953222650189527],
  [2.3, 0.9988568234026434],
  [2.5, 0.999593047982555],
  [3.0, 0.9999779095030014],
  [3.5, 0.9999992569016276],
  [4.0, 0.9999999845827421],
  [4.8, 0.9999999999886479],
  [5.5, 0.9999999999999927],
  [5.9, 0.9999999999999999],
  [6.5, 1.0],
  [infinite, 1],
]);

/** The op on all elements, the last one repeated so that there are whole vectors. */
function run(form: Form, name: OpName, ...given: readonly (readonly number[])[]): readonly unknown[] {
  const n = given[0]?.length ?? 0;
  const operands = given.map((v) => ({ dtype: f64, values: [...v, ...new Array<number>((4 - (n % 4)) % 4).fill(v[n - 1] ?? 0)] }));
  return runElementwise(new Scalars(simplifyBook), form, operands, f64, (sc, ...args) => sc.op(name, args as Expr[])).slice(0, n);
}

describe("f64 has its own accuracy and range", () => {
  test.each(cases)("$name", ({ name, xs, exact, ulps, least = 0 }) => {
    for (const form of forms) {
      run(form, name, xs).forEach((y, i) => {
        const [got, want] = [Number(y), exact(xs[i] as number)];
        if (!Number.isFinite(want) || !Number.isFinite(got)) expect(got, `${name}(${xs[i]})`).toEqual(want);
        else
          expect(Math.abs(got - want) / ulp(Math.max(Math.abs(want), least)), `${name}(${xs[i]}) = ${got}, exactly ${want}`).toBeLessThanOrEqual(
            ulps,
          );
      });
    }
  });

  test("erf, as it is compiled and as it is evaluated", () => {
    const xs = [...erfValues.keys()].flatMap((x) => [x, -x]);
    const evaluated = xs.map((x) => scalarOps.erf.evaluate([x], f64, [f64]));
    for (const ys of [evaluated, ...forms.map((form) => run(form, "erf", xs))])
      ys.forEach((y, i) => {
        const x = xs[i] as number;
        const want = Math.sign(x) * (erfValues.get(Math.abs(x)) as number);
        expect(Math.abs(Number(y) - want), `erf(${x}) = ${y}, exactly ${want}`).toBeLessThanOrEqual(3 * ulp(want));
      });
    for (const form of forms) expect(run(form, "erf", [Number.NaN, -0])).toEqual([Number.NaN, -0]);
  });

  test("pow: a result that f64 holds is exact", () => {
    const powers: { x: number; y: number; exact: number }[] = [];
    for (let x = 2; x <= 60; x++)
      for (let y = 1, v = x; v <= 2 ** 53; y++, v *= x) powers.push({ x, y, exact: v }, { x: -x, y, exact: y % 2 === 0 ? v : -v });
    for (const x of [2, 4, 9, 625, 1e6]) powers.push({ x: x * x, y: 0.5, exact: x }, { x: x * x, y: 1.5, exact: x ** 3 });
    for (const y of [-1022, -1074, -3, 1023]) powers.push({ x: 4, y: y / 2, exact: 2 ** y });
    for (const form of forms)
      run(
        form,
        "pow",
        powers.map((p) => p.x),
        powers.map((p) => p.y),
      ).forEach((z, i) => {
        const { x, y, exact } = powers[i] as (typeof powers)[number];
        expect(z, `${x} ** ${y}`).toBe(exact);
      });
  });

  test("pow: within two ulp over the whole range; its ends", () => {
    const ends = [0, -0, 1, -1, 2, -2.5, 0.5, infinite, -infinite, Number.NaN, 1e308, -1e308, 5e-324, 1 + 2 ** -52];
    const [xs, ys] = [ends.flatMap((x) => ends.map(() => x)), ends.flatMap(() => ends)];
    for (const form of forms)
      run(form, "pow", xs, ys).forEach((z, i) => {
        const want = (xs[i] as number) ** (ys[i] as number);
        if (Number.isFinite(want) && want !== 0) expect(Math.abs(Number(z) - want) / ulp(want), `${xs[i]} ** ${ys[i]}`).toBeLessThanOrEqual(2);
        else expect(Math.abs(Number(z)), `${xs[i]} ** ${ys[i]} = ${z}`).toEqual(Math.abs(want));
      });
  });

  test("pow: the error hardly grows with the logarithm of the result", () => {
    const xs = between(1e-3, 1e3);
    const ys = between(-30, 30).slice(0, xs.length);
    const used = xs.slice(0, ys.length);
    for (const form of forms) {
      run(form, "pow", used, ys).forEach((z, i) => {
        const [x, y] = [used[i] as number, ys[i] as number];
        const want = x ** y;
        expect(Math.abs(Number(z) - want) / ulp(want), `${x} ** ${y}`).toBeLessThanOrEqual(1.5 + 0.02 * Math.abs(y * Math.log(x)));
      });
      const negative = run(form, "pow", [-2, -2, -8, 0, -0.5], [3, 2, 0.5, 0, -3]).map(Number);
      [-8, 4, Number.NaN, 1, -8].forEach((v, i) => (Number.isNaN(v) ? expect(negative[i]).toBeNaN() : expect(negative[i]).toBeCloseTo(v, 12)));
    }
  });
});

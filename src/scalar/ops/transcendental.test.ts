import { describe, expect, test } from "vitest";
import { evaluator } from "../../../test/support/evaluate.ts";
import { type Form, forms, runElementwise } from "../../../test/support/scalar-kernel.ts";
import { specialTable } from "../../../test/support/tables.ts";
import { bf16, f16, f32, f64 } from "../../base/dtype.ts";
import { roundTo } from "../../base/numeric.ts";
import type { Expr } from "../expr.ts";
import { simplifyBook } from "../rules/simplify.ts";
import { Scalars } from "../scalars.ts";
import { type OpName, scalarOps } from "./table.ts";

/** A range an op's `ulp` is promised on, and how points are spread over it. */
interface Range {
  readonly from: number;
  readonly to: number;
  readonly spread: "linear" | "logarithmic";
}
/** One unit in the last place of the f32 nearest to x (of the least normal number at least). */
function ulpAt(x: number): number {
  return 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(x)))) - 23);
}

/** Points of a range, from a fixed sequence of low discrepancy, ends included. */
function points({ from, to, spread }: Range, n: number): number[] {
  const out = [from, to];
  for (let i = 0; out.length < n; i++) {
    const t = ((i + 1) * 0.6180339887498949) % 1;
    out.push(spread === "linear" ? from + t * (to - from) : Math.sign(from) * Math.abs(from) ** (1 - t) * Math.abs(to) ** t);
  }
  return out.map(Math.fround);
}

const both = (r: Range): Range[] => [r, { ...r, from: -r.from, to: -r.to }];
const linear = (from: number, to: number): Range => ({ from, to, spread: "linear" });
const logarithmic = (from: number, to: number): Range => ({ from, to, spread: "logarithmic" });

const ranges: Partial<Record<OpName, readonly Range[]>> = {
  exp: [linear(-86.9, 88.72283), linear(-1, 1), ...both(logarithmic(1e-20, 1))],
  log: [logarithmic(1e-45, 3.4e38), linear(0.5, 2), linear(0.98, 1.02), linear(1e-3, 100)],
  tanh: [linear(-10, 10), linear(-1, 1), ...both(logarithmic(1e-37, 10)), linear(8, 100)],
  sigmoid: [linear(-87, 100), linear(-5, 5), ...both(logarithmic(1e-20, 1))],
  erf: [linear(-5, 5), linear(-1, 1), ...both(logarithmic(1e-37, 4)), linear(3.5, 30)],
  sin: [linear(-10, 10), linear(-1e5, 1e5), ...both(logarithmic(1e-30, 1))],
  cos: [linear(-10, 10), linear(-1e5, 1e5), ...both(logarithmic(1e-30, 1))],
  asin: [linear(-1, 1), ...both(linear(0.45, 0.55)), ...both(logarithmic(1e-30, 1))],
  acos: [linear(-1, 1), ...both(linear(0.45, 0.55)), linear(0.99, 1), ...both(logarithmic(1e-30, 1))],
  atan: [linear(-2, 2), linear(-100, 100), ...both(logarithmic(1e-30, 3e38))],
  asinh: [linear(-2, 2), ...both(logarithmic(1e-30, 3e38))],
  acosh: [linear(1, 1.01), linear(1, 4), logarithmic(1, 3e38)],
  atanh: [linear(-0.9999999, 0.9999999), ...both(linear(0.99, 0.9999999)), ...both(logarithmic(1e-30, 0.9))],
  rsqrt: [logarithmic(1e-37, 3e38), linear(0.25, 4)],
};

/** Sines near their zeros inherit the error of the reduction: there an ulp of 2^-10 counts. */
const smallest: Partial<Record<OpName, number>> = { sin: 2 ** -10, cos: 2 ** -10 };

const inf = Number.POSITIVE_INFINITY;
const special = [0, -0, 1, -1, inf, -inf, Number.NaN, 1e-45, -1e-45, 1e-38, -1e-38, 3.4e38, -3.4e38, 88.8, -104, -200, 1e10, -1e10, 1000, 0.5].map(
  Math.fround,
);
const identical = (got: number, want: number): boolean => Object.is(got, want) || (got === 0 && want === 0);

function decomposed(name: OpName): (...args: number[]) => number {
  const sc = new Scalars();
  const variables = Array.from({ length: scalarOps[name].arity }, (_, i) => sc.variable(`x${i}`, f32));
  const run = evaluator(
    sc.decompose(
      sc.op(
        name,
        variables.map((v) => sc.var(v)),
      ),
    ),
    variables,
  );
  return (...args) => Number(run(args));
}
const exact = (name: OpName, ...args: number[]): number =>
  Number(
    scalarOps[name].evaluate(
      args,
      f32,
      args.map(() => f32),
    ),
  );

/** Error in ulp; 0 for equal infinities, NaNs, and values that f32 rounds to infinity. */
function errorOf(got: number, want: number, smallest = 0): number {
  if (identical(got, want) || (Math.abs(want) > 3.4028234663852886e38 && got === Math.sign(want) * inf)) return 0;
  return Math.abs(got - want) / ulpAt(Math.max(Math.abs(want), smallest));
}

/** Largest error over points, in ulp. A NaN among them counts. */
function worst(name: OpName, xs: readonly (readonly number[])[], got: readonly number[]): { error: number; at: readonly number[] } {
  let out = { error: 0, at: [] as readonly number[] };
  xs.forEach((args, i) => {
    const error = errorOf(got[i] as number, exact(name, ...args), smallest[name]);
    if (!(error <= out.error)) out = { error, at: args };
  });
  return out;
}

/** The documented value at a special point: flushed where exp flushes, only bounded where sines are. */
function expectSpecial(name: OpName, got: number, ...args: number[]): void {
  const want = exact(name, ...args);
  const text = `${name}(${args}) = ${got}, exactly ${want}`;
  if ((name === "sin" || name === "cos") && Number.isFinite(args[0]) && Math.abs(args[0] as number) > 1e5)
    expect(Math.abs(got), text).toBeLessThanOrEqual(1);
  else if (Math.abs(want) < 1.7e-38) expect(Math.abs(got - want), text).toBeLessThan(1.7e-38);
  else expect(errorOf(got, want), text).toBeLessThanOrEqual(scalarOps[name].ulp ?? 0);
}

function run(name: OpName, form: Form, columns: readonly (readonly number[])[]): number[] {
  const inputs = columns.map((values) => ({ dtype: f32, values }));
  return runElementwise(new Scalars(simplifyBook), form, inputs, f32, (sc, ...args) => sc.op(name, args)).map(Number);
}

describe.each(Object.keys(ranges) as OpName[])("%s keeps its bound", (name) => {
  const bound = scalarOps[name].ulp ?? Number.NaN;
  const xs = (ranges[name] ?? []).flatMap((r) => points(r, 6000));
  const args = xs.map((x) => [x]);
  const f = decomposed(name);

  test("interpreted", () => {
    const w = worst(
      name,
      args,
      xs.map((x) => f(x)),
    );
    expect(w.error, `at ${w.at}`).toBeLessThanOrEqual(bound);
    // A bound that is far off would hide a loss of accuracy.
    expect(w.error).toBeGreaterThan(bound / 2);
    for (const x of special) expectSpecial(name, f(x), x);
  });
  test.each(forms)("WASM, $lanes lanes, relaxed $relaxed", (form) => {
    const ys = run(name, form, [xs]);
    const w = worst(name, args, ys);
    expect(w.error, `at ${w.at}`).toBeLessThanOrEqual(bound);
    // Without fused multiply-adds the bits are the interpreter's.
    if (!form.relaxed) xs.forEach((x, i) => void (identical(ys[i] as number, f(x)) || expect.fail(`${name}(${x}) = ${ys[i]}, interpreted ${f(x)}`)));
    run(name, form, [special]).forEach((y, i) => void expectSpecial(name, y, special[i] as number));
  });
  test("values stay within the function's bounds", () => {
    if (!["tanh", "erf", "sigmoid"].includes(name)) return;
    for (const form of forms) for (const y of run(name, form, [xs])) if (!(Math.abs(y) <= 1)) expect.fail(`${name} gave ${y}`);
  });
});

describe("pow", () => {
  const bases = points(logarithmic(1e-30, 1e30), 12000);
  // Exponents that lead to results over the whole range.
  const exponents = points(linear(-86, 86), 12000).map((t, i) => Math.fround(t / Math.log(bases[i] as number)));
  const pairs = bases.map((b, i) => [b, exponents[i] as number]).filter(([b, e]) => Math.abs(Math.log(b as number) * (e as number)) < 86);
  while (pairs.length % 4 !== 0) pairs.pop();

  test.each(forms)("stays within its bound, which grows with the result's logarithm: $lanes lanes, relaxed $relaxed", (form) => {
    const ys = run("pow", form, [pairs.map((p) => p[0] as number), pairs.map((p) => p[1] as number)]);
    let most = 0;
    pairs.forEach(([b, e], i) => {
      const error = errorOf(ys[i] as number, exact("pow", b as number, e as number));
      most = Math.max(most, error);
      if (!(error <= 3 + 3.5 * Math.abs((e as number) * Math.log(b as number)))) expect.fail(`pow(${b}, ${e}) = ${ys[i]}, off by ${error} ulp`);
    });
    const bound = scalarOps.pow.ulp ?? Number.NaN;
    expect(most).toBeLessThanOrEqual(bound);
    if (!form.relaxed) expect(most).toBeGreaterThan(bound / 2);
  });

  test("special values", () => {
    const values = [0, -0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, inf, -inf, Number.NaN, 4, 100, 101, -101, 2.5, -2.5, 16777216];
    const columns = [values.flatMap((x) => values.map(() => x)), values.flatMap(() => values)];
    const f = decomposed("pow");
    for (const form of forms) {
      run("pow", form, columns).forEach((got, i) => {
        const [x, y] = [columns[0]?.[i] as number, columns[1]?.[i] as number];
        expect(identical(got, f(x, y)) || form.relaxed, `pow(${x}, ${y}) = ${got}, interpreted ${f(x, y)}`).toBe(true);
        const want = exact("pow", x, y);
        // (-2)^101 = -2.5e30 has a logarithm of 70, so an error of some tens of ulp.
        if (Number.isFinite(want) && Math.abs(want) > 1.7e-38)
          expect(errorOf(got, want), `pow(${x}, ${y}) = ${got}`).toBeLessThanOrEqual(scalarOps.pow.ulp ?? 0);
        else if (want !== 0 && Number.isFinite(want)) expect(Math.abs(got), `pow(${x}, ${y})`).toBeLessThan(1.7e-38);
        else expect(Object.is(got, want), `pow(${x}, ${y}) = ${got}, exactly ${want}`).toBe(true);
      });
    }
  });

  test("constant exponents", () => {
    const xs = points(linear(-5, 5), 400);
    for (const e of [0, 1, 2, 3, 4, 5, 7, 15, 16, -1, -2, -3, 0.5]) {
      for (const form of forms) {
        const ys = runElementwise(new Scalars(simplifyBook), form, [{ dtype: f32, values: xs }], f32, (sc, x) =>
          sc.op("pow", [x as Expr, sc.f32(e)]),
        );
        xs.forEach((x, i) => {
          expect(errorOf(Number(ys[i]), x ** e), `pow(${x}, ${e}) = ${ys[i]}`).toBeLessThanOrEqual(Math.abs(e));
        });
      }
    }
  });
});

describe("other float dtypes compute in f32", () => {
  test.each([f16, bf16, f64])("%s", (d) => {
    for (const name of [
      "exp",
      "log",
      "tanh",
      "sigmoid",
      "erf",
      "sin",
      "cos",
      "pow",
      "rsqrt",
      "sign",
      "asin",
      "acos",
      "atan",
      "asinh",
      "acosh",
      "atanh",
    ] as const) {
      const sc = new Scalars();
      const variables = Array.from({ length: scalarOps[name].arity }, (_, i) => sc.variable(`x${i}`, d));
      const e = sc.decompose(
        sc.op(
          name,
          variables.map((v) => sc.var(v)),
        ),
      );
      expect(e.dtype).toBe(d);
      const f = evaluator(e, variables);
      for (const x of [0.5, 1.5, 3].map((v) => roundTo(d, v))) {
        const args = variables.map(() => x);
        const want = Number(
          scalarOps[name].evaluate(
            args,
            d,
            args.map(() => d),
          ),
        );
        const unit = d === f16 ? 2 ** -10 : d === bf16 ? 2 ** -7 : 8 * 2 ** -23;
        if (Number.isNaN(want)) expect(f(args), `${name}(${x})`).toBeNaN();
        else expect(Math.abs(Number(f(args)) - want), `${name}(${x})`).toBeLessThanOrEqual(unit * Math.abs(want));
      }
    }
  });
});

describe("tables of complex log1p and expm1", () => {
  // Columns: re z, im z, re log1p(z), im log1p(z), re expm1(z), im expm1(z).
  const table = specialTable("log1p_expm1_complex", 6);
  test.skipIf(table === null)("exp, sin, cos and log agree with them", () => {
    const [exp, sin, cos, log] = (["exp", "sin", "cos", "log"] as const).map(decomposed) as ((x: number) => number)[];
    let compared = 0;
    for (const [re, im, logRe, , expRe, expIm] of (table ?? []) as [number, number, number, number, number, number][]) {
      if (![re, im, logRe, expRe, expIm].every(Number.isFinite) || Math.abs(re) > 60 || Math.abs(im) > 1e5) continue;
      compared++;
      const scale = Math.exp(re);
      // The operands are rounded to f32, which moves exp by |re| half ulps and the sines by |im|.
      const bound = (8 + Math.abs(re) + Math.abs(im)) * 2 ** -23;
      const [e, s, c] = [exp?.(re) as number, sin?.(im) as number, cos?.(im) as number];
      expect(Math.abs(e * s - expIm), `exp(${re}) sin(${im})`).toBeLessThanOrEqual(bound * scale);
      expect(Math.abs(e * c - 1 - expRe), `exp(${re}) cos(${im})`).toBeLessThanOrEqual(bound * Math.max(1, scale));
      const modulus = Math.hypot(1 + re, im);
      if (modulus > 1e-30 && modulus < 1e30)
        expect(Math.abs((log?.(Math.fround(modulus)) as number) - Math.log(modulus)), `log(${modulus})`).toBeLessThanOrEqual(
          2 ** -22 * Math.max(1, Math.abs(logRe)),
        );
    }
    expect(compared).toBeGreaterThan(500);
  });
});

import { describe, expect, test } from "vitest";
import {
  type ScalarCase,
  choicesFor,
  constantsOf,
  core,
  evaluate,
  expectedOf,
  machineTypes,
  operandTypes,
  operands,
  resultType,
  text,
} from "../../../test/support/scalar-cases.ts";
import { type Form, forms, runElementwise } from "../../../test/support/scalar-kernel.ts";
import { valuesOf } from "../../../test/support/values.ts";
import { type DType, f32, i64, u64 } from "../../base/dtype.ts";
import { type Num, roundTo } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import { scalarOps } from "../../scalar/ops/table.ts";
import { simplifyBook } from "../../scalar/rules/simplify.ts";
import { Scalars } from "../../scalar/scalars.ts";

const formName = (f: Form): string => `${f.lanes} lanes${f.relaxed ? ", relaxed" : ""}`;

function check(c: ScalarCase): void {
  for (const form of forms) {
    const inputs = c.types.map((dtype, i) => ({ dtype, values: c.columns[i] as Num[] }));
    const got = runElementwise(new Scalars(simplifyBook), form, inputs, c.out, c.make);
    got.forEach((v, k) => {
      const values = c.columns.map((x) => x[k] as Num);
      const wanted = c.expected(values);
      if (!wanted.some((w) => Object.is(w, v)))
        expect.fail(`${c.name}(${values.map(text)}) on ${formName(form)} gave ${text(v)}, expected ${wanted.map(text)}`);
    });
  }
}

describe.each(core)("%s", (name) => {
  const typed = machineTypes.flatMap((d) => {
    const types = operandTypes(name, d);
    return types === null ? [] : [[d.name, types] as const];
  });
  test.each(typed)("on %s", (dtype, types) => {
    const out = resultType(name, types);
    const columns = operands(...choicesFor(types));
    if (name === "rem" && types[0]?.isFloat) return checkFloatRemainder(types[0], columns);
    check({
      name: `${name}.${dtype}`,
      types,
      out,
      columns,
      make: (sc, ...args) => sc.op(name, args),
      expected: (values) => expectedOf(name, values, types, out),
    });
  });
  const binary = typed.filter(([, types]) => types.length === 2);
  test.runIf(binary.length > 0).each(binary)("on %s with a constant", (dtype, types) => {
    const [first, second] = choicesFor(types) as [readonly Num[], readonly Num[]];
    const out = resultType(name, types);
    if (name === "rem" && types[0]?.isFloat) return;
    for (const constant of constantsOf(second)) {
      const expected = (values: readonly Num[]): Num[] => {
        const w = evaluate(name, [values[0] as Num, constant], types, out);
        // Against a constant the faster minimum keeps either zero.
        return (name === "min" || name === "max") && w === 0 ? [0, -0] : [w];
      };
      check({
        name: `${name}.${dtype}(., ${text(constant)})`,
        types: types.slice(0, 1),
        out,
        columns: operands(first),
        make: (sc, x) => sc.op(name, [x as Expr, sc.const(constant, types[1] as DType)]),
        expected,
      });
    }
  });
});

/** Float remainders are a - trunc(a / b)·b: exact while that product is, that is for moderate quotients. */
function checkFloatRemainder(d: DType, columns: readonly (readonly Num[])[]): void {
  for (const form of forms) {
    const got = runElementwise(
      new Scalars(simplifyBook),
      form,
      columns.map((values) => ({ dtype: d, values })),
      d,
      (sc, ...args) => sc.op("rem", args),
    );
    got.forEach((v, k) => {
      const [a, b] = [Number(columns[0]?.[k]), Number(columns[1]?.[k])];
      const want = Number(evaluate("rem", [a, b], [d, d], d));
      if (Math.abs(a / b) > 1e5 || Math.abs(a) < 1e-37 || Math.abs(b) < 1e-37 || Math.abs(b) === Number.POSITIVE_INFINITY) return;
      const same = Number.isNaN(want)
        ? Number.isNaN(Number(v))
        : Math.abs(Number(v) - want) <= Math.abs(a) * 2 ** -22 || Math.abs(Math.abs(Number(v) - want) - Math.abs(b)) <= Math.abs(a) * 2 ** -22;
      if (!same) expect.fail(`rem(${text(a)}, ${text(b)}) on ${formName(form)} gave ${text(v)}, expected ${text(want)}`);
    });
  }
}

describe("cast", () => {
  test.each(machineTypes)("from %s", (from) => {
    for (const to of machineTypes) {
      check({
        name: `${to}`,
        types: [from],
        out: to,
        columns: operands(valuesOf(from)),
        make: (sc, x) => sc.cast(to, x as Expr),
        expected: ([v]) => [evaluate("cast", [v as Num], [from], to)],
      });
    }
  });
});

describe("bitcast", () => {
  test.each(machineTypes)("from %s", (from) => {
    for (const to of machineTypes) {
      if ("error" in scalarOps.bitcast.type([from], to)) continue;
      check({
        name: `bitcast.${to}`,
        types: [from],
        out: to,
        columns: operands(valuesOf(from)),
        make: (sc, x) => sc.bitcast(to, x as Expr),
        expected: ([v]) => [evaluate("bitcast", [v as Num], [from], to)],
      });
    }
  });
});

describe("vectors", () => {
  test("a select between vectors by a comparison of others", () => {
    for (const d of machineTypes.filter((x) => x.bits === 32)) {
      const columns = operands(
        valuesOf(d),
        valuesOf(d),
        [1, 2].map((v) => roundTo(d, v)),
      );
      check({
        name: `select.${d}`,
        types: [d, d, d],
        out: d,
        columns,
        make: (sc, a, b, c) => sc.select(sc.op("lt", [a as Expr, b as Expr]), sc.op("neg", [a as Expr]), c as Expr),
        expected: ([a, b, c]) => [(a as Num) < (b as Num) ? evaluate("neg", [a as Num], [d], d) : (c as Num)],
      });
    }
  });
  test("logic on truth values", () => {
    const columns = operands(valuesOf(f32), valuesOf(f32));
    check({
      name: "logic",
      types: [f32, f32],
      out: f32,
      columns,
      make: (sc, a, b) => {
        const [x, y] = [sc.op("lt", [a as Expr, b as Expr]), sc.op("ge", [a as Expr, sc.f32(1)])];
        const both = sc.op("or", [sc.op("xor", [x, y]), sc.op("not", [sc.and(x, y)])]);
        return sc.cast(f32, sc.op("eq", [both, sc.min(x, y)]));
      },
      expected: ([a, b]) => {
        const [x, y] = [(a as number) < (b as number), (a as number) >= 1];
        return [(x !== y || !(x && y)) === (x && y) ? 1 : 0];
      },
    });
  });
  test("64-bit elements, which have no vector form, agree in loops over vectors too", () => {
    for (const d of [i64, u64]) {
      check({
        name: `sum.${d}`,
        types: [d, d],
        out: d,
        columns: operands(valuesOf(d), valuesOf(d)),
        make: (sc, a, b) => sc.add(sc.mul(a as Expr, b as Expr), sc.const(1, d)),
        expected: ([a, b]) => [roundTo(d, (a as bigint) * (b as bigint) + 1n)],
      });
    }
  });
});

import { describe, expect, test } from "vitest";
import { type Form, forms, runElementwise } from "../../../test/support/scalar-kernel.ts";
import { randomSource, valuesOf } from "../../../test/support/values.ts";
import { type DType, bf16, dtypes, f16, f32, i4, i64, u4, u64 } from "../../base/dtype.ts";
import { type Num, roundTo } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import { isCore } from "../../scalar/op.ts";
import { type OpName, opNames, scalarOps } from "../../scalar/ops/table.ts";
import { simplifyBook } from "../../scalar/rules/simplify.ts";
import { Scalars } from "../../scalar/scalars.ts";

/** Dtypes whose elements a kernel loads and stores as they are. */
const machineTypes = dtypes.filter((d) => ![f16, bf16, i4, u4].includes(d));
const text = (v: Num | undefined): string => (Object.is(v, -0) ? "-0" : String(v));
const formName = (f: Form): string => `${f.lanes} lanes${f.relaxed ? ", relaxed" : ""}`;
const random = randomSource(3);

/** Columns of operand values: every combination, or a sample; a multiple of four rows. */
function operands(...choices: readonly (readonly Num[])[]): Num[][] {
  const total = choices.reduce((n, c) => n * c.length, 1);
  const rows = Math.ceil(Math.min(total, 1200) / 4) * 4;
  const pick = (k: number): number => (total <= 1200 ? k % total : Math.floor(random() * total));
  const columns: Num[][] = choices.map(() => []);
  for (let k = 0; k < rows; k++) {
    let rest = pick(k);
    choices.forEach((c, i) => {
      columns[i]?.push(c[rest % c.length] as Num);
      rest = Math.floor(rest / c.length);
    });
  }
  return columns;
}

interface Case {
  readonly name: string;
  readonly types: readonly DType[];
  readonly out: DType;
  readonly columns: readonly (readonly Num[])[];
  readonly make: (sc: Scalars, ...args: Expr[]) => Expr;
  readonly expected: (values: readonly Num[]) => readonly Num[];
}

function check(c: Case): void {
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

const evaluate = (name: OpName, values: readonly Num[], types: readonly DType[], out: DType): Num =>
  roundTo(out, scalarOps[name].evaluate(values, out, types));

/** What a machine may give: a multiply-add has one rounding or two. */
function expectedOf(name: OpName, values: readonly Num[], types: readonly DType[], out: DType): Num[] {
  const once = evaluate(name, values, types, out);
  if (name !== "fma") return [once];
  if (out === f32)
    return [
      multiplyAdd(...(values as [number, number, number])),
      evaluate("add", [evaluate("mul", values.slice(0, 2), types, out), values[2] as Num], types, out),
    ];
  const product = evaluate("mul", values.slice(0, 2), types, out);
  return [once, evaluate("add", [product, values[2] as Num], types, out)];
}

/** a·b + c on f32 with one rounding: f64 holds the product exactly, and its sum is rounded to odd, so that a tie is seen as none. */
function multiplyAdd(a: number, b: number, c: number): number {
  const p = a * b;
  const s = p + c;
  const t = s - p;
  const rest = p - (s - t) + (c - t);
  if (!Number.isFinite(s) || rest === 0) return Math.fround(s);
  const word = new DataView(new ArrayBuffer(8));
  word.setFloat64(0, s);
  const bits = word.getBigInt64(0);
  if ((bits & 1n) === 0n) word.setBigInt64(0, bits + (rest > 0 === s > 0 ? 1n : -1n));
  return Math.fround(word.getFloat64(0));
}

const choicesFor = (types: readonly DType[]): readonly (readonly Num[])[] => types.map(valuesOf);

/** The constants that are tried: every one is a kernel of its own. */
const constantsOf = (values: readonly Num[]): readonly Num[] =>
  values.filter((v, i) => i === 0 || [0, 1, 2, 7, -1, -7, 2.5].includes(Number(v)) || !Number.isFinite(Number(v)) || values.every((o) => o <= v));

const core = opNames.filter((n) => isCore(scalarOps[n]) && n !== "cast" && n !== "bitcast");
function operandTypes(name: OpName, d: DType): DType[] | null {
  const types = Array.from({ length: scalarOps[name].arity }, (_, i) =>
    name === "select" && i === 0 ? (dtypes.find((x) => x.kind === "bool") as DType) : d,
  );
  return "error" in scalarOps[name].type(types, null) ? null : types;
}
function resultType(name: OpName, types: readonly DType[]): DType {
  const r = scalarOps[name].type(types, null);
  if ("error" in r) throw new Error(r.error);
  return r;
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

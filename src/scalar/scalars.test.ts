import { describe, expect, test } from "vitest";
import { evaluator } from "../../test/support/evaluate.ts";
import { randomSource } from "../../test/support/values.ts";
import { addDim, evaluateDim, floorDivDim, makeSymbol, mulDim, symbolDim } from "../base/dim.ts";
import { type DType, bool, dtypes, f32, f64, f8e8m0, i32, i64, i8, u64, u8 } from "../base/dtype.ts";
import { type Num, roundTo } from "../base/numeric.ts";
import { type Expr, type Variable, postorder, variablesOf } from "./expr.ts";
import { type OpName, opNames, scalarOps } from "./ops/table.ts";
import { simplifyBook } from "./rules/simplify.ts";
import { Scalars, identityOf } from "./scalars.ts";

const deep = 100_000;

/** A chain of additions and products over a few variables, none of which folds. */
function chain(sc: Scalars, variables: readonly Variable[], length: number): Expr {
  let e = sc.var(variables[0] as Variable);
  for (let i = 0; i < length; i++) e = sc.op(i % 2 === 0 ? "add" : "mul", [e, sc.var(variables[(i % 3) + 1] as Variable)]);
  return e;
}

describe("interning", () => {
  test("equal constructions are one object, whatever the order of making them", () => {
    const sc = new Scalars();
    const random = randomSource(1);
    const variables = ["a", "b", "c", "d"].map((n) => sc.variable(n, f32));
    const names = opNames.filter(
      (n) => scalarOps[n].arity === 2 && !("error" in scalarOps[n].type([f32, f32], null)) && scalarOps[n].type([f32, f32], null) === f32,
    );
    const recipe = Array.from({ length: 500 }, () => [names[Math.floor(random() * names.length)] as OpName, random(), random()] as const);
    const make = (): Expr[] => {
      const made: Expr[] = variables.map((v) => sc.var(v));
      for (const [name, x, y] of recipe)
        made.push(sc.op(name, [made[Math.floor(x * made.length)] as Expr, made[Math.floor(y * made.length)] as Expr]));
      return made;
    };
    const [first, second] = [make(), make()];
    first.forEach((e, i) => void expect(second[i]).toBe(e));
    const distinct = new Set(first);
    for (const e of distinct)
      expect([...distinct].filter((o) => o.op === e.op && o.attr === e.attr && o.args.every((a, i) => a === e.args[i])).length).toBe(1);
  });

  test("constants differ by dtype and by every bit", () => {
    const sc = new Scalars();
    expect(sc.const(1, i32)).toBe(sc.const(1, i32));
    expect(sc.const(1, i32)).not.toBe(sc.const(1, f32));
    expect(sc.const(0, f32)).not.toBe(sc.const(-0, f32));
    expect(sc.const(Number.NaN, f32)).toBe(sc.const(Number.NaN, f32));
    expect(sc.const(2n ** 63n, u64)).toBe(sc.const(2n ** 63n, u64));
    expect(sc.const(-1n, i64)).not.toBe(sc.const(-(2n ** 32n) - 1n, i64));
    expect(sc.const(300, u8)).toBe(sc.const(44, u8));
    expect(sc.const(0.1, f32)).toBe(sc.const(Math.fround(0.1), f32));
  });

  test("variables and storages of one name are different things", () => {
    const sc = new Scalars();
    expect(sc.var(sc.variable("x"))).not.toBe(sc.var(sc.variable("x")));
    const [s, t] = [sc.storage("s", f32), sc.storage("s", f32)];
    expect(sc.load(s, [sc.int(0)])).toBe(sc.load(s, [sc.int(0)]));
    expect(sc.load(s, [sc.int(0)])).not.toBe(sc.load(t, [sc.int(0)]));
  });

  test("constants fold to what evaluation gives, on every dtype", () => {
    const sc = new Scalars(simplifyBook);
    const fold = (name: OpName, d: DType, ...values: Num[]): Num | null =>
      sc.op(
        name,
        values.map((v) => sc.const(v, d)),
      ).constant;
    expect(fold("add", i8, 127, 1)).toBe(-128);
    expect(fold("mul", i32, 65536, 65537)).toBe(65536);
    expect(fold("mul", u64, 2n ** 63n, 2n)).toBe(0n);
    expect(fold("div", i32, -7, 2)).toBe(-3);
    expect(fold("floordiv", i32, -7, 2)).toBe(-4);
    expect(fold("div", i32, 7, 0)).toBe(0);
    expect(fold("add", f32, 2 ** 24, 1)).toBe(2 ** 24);
    expect(fold("add", f64, 2 ** 24, 1)).toBe(2 ** 24 + 1);
    expect(fold("lt", f32, Number.NaN, 1)).toBe(0);
  });

  test("operands that do not fit are an internal error that says why", () => {
    const sc = new Scalars();
    expect(() => sc.add(sc.int(1), sc.f32(1))).toThrow(/one dtype.*i32.*f32/s);
    expect(() => sc.op("sqrt", [sc.int(1)])).toThrow(/float/);
    expect(() => sc.op("floordiv", [sc.bool(true), sc.bool(true)])).toThrow(/integer/);
    expect(() => sc.bitcast(f64, sc.f32(1))).toThrow(/equal width/);
  });
});

describe("deep and shared expressions", () => {
  test("are rebuilt, substituted and walked without recursion", () => {
    const sc = new Scalars(simplifyBook);
    const variables = ["a", "b", "c", "d"].map((n) => sc.variable(n, f32));
    const e = chain(sc, variables, deep);
    expect(postorder([e]).length).toBeGreaterThan(deep);
    expect(variablesOf(e).size).toBe(4);
    const fresh = sc.variable("z", f32);
    const replaced = sc.substitute(e, new Map([[variables[0] as Variable, sc.var(fresh)]]));
    expect(variablesOf(replaced).has(variables[0] as Variable)).toBe(false);
    expect(sc.substitute(replaced, new Map([[fresh, sc.var(variables[0] as Variable)]]))).toBe(e);
    expect(sc.rebuild([e], () => null)[0]).toBe(e);
    expect(sc.decompose(e)).toBe(e);
    // A derived op at every level.
    let s = sc.var(variables[0] as Variable);
    for (let i = 0; i < 5000; i++) s = sc.op("sigmoid", [s]);
    expect(postorder([sc.decompose(s)]).some((x) => x.op === "sigmoid")).toBe(false);
  });

  test("a doubling chain takes time in proportion to its nodes, not to its tree", () => {
    const sc = new Scalars(simplifyBook);
    const v = sc.variable("x", f32);
    let e = sc.var(v);
    for (let i = 0; i < 2000; i++) e = sc.add(e, sc.mul(e, e));
    const w = sc.var(sc.variable("y", f32));
    const replaced = sc.substitute(e, new Map([[v, w]]));
    expect(postorder([replaced]).length).toBe(postorder([e]).length);
  });

  test("substitution of constants gives the value", () => {
    const sc = new Scalars(simplifyBook);
    const variables = ["a", "b", "c", "d"].map((n) => sc.variable(n, i32));
    const e = chain(sc, variables, 500);
    const values = [3, 5, -7, 11];
    const folded = sc.substitute(e, new Map(variables.map((v, i) => [v, sc.int(values[i] as number)])));
    expect(folded.constant).toBe(evaluator(e, variables)(values));
  });
});

describe("vectors", () => {
  test("ramps stay ramps, broadcasts stay broadcasts", () => {
    const sc = new Scalars(simplifyBook);
    const x = sc.var(sc.variable("x"));
    const ramp = sc.ramp(x, sc.int(1), 4);
    expect(sc.add(ramp, sc.int(8))).toBe(sc.ramp(sc.add(x, sc.int(8)), sc.int(1), 4));
    expect(sc.mul(ramp, sc.int(3))).toBe(sc.ramp(sc.mul(x, sc.int(3)), sc.int(3), 4));
    expect(sc.sub(ramp, ramp)).toBe(sc.broadcast(sc.int(0), 4));
    const y = sc.var(sc.variable("y", f32));
    expect(sc.op("exp", [sc.broadcast(y, 4)])).toBe(sc.broadcast(sc.op("exp", [y]), 4));
    expect(sc.extract(sc.broadcast(y, 4), 2)).toBe(y);
    expect(sc.add(sc.broadcast(y, 4), y).lanes).toBe(4);
  });
});

describe("sizes", () => {
  test("a dimension as an expression has the dimension's value", () => {
    const sc = new Scalars(simplifyBook);
    const n = makeSymbol("n", 1, 20);
    const d = addDim(mulDim(floorDivDim(addDim(symbolDim(n), 3), 4), 6), mulDim(symbolDim(n), symbolDim(n)));
    const v = sc.symbol(n);
    expect(sc.symbol(n)).toBe(v);
    const f = evaluator(sc.dim(d), [v]);
    for (let k = 1; k <= 20; k++) expect(f([k])).toBe(evaluateDim(d, new Map([["n", k]])));
  });
});

describe("identities of monoids", () => {
  test.each(dtypes)("%s", (d) => {
    const names =
      d === bool
        ? (["and", "or", "min", "max"] as const)
        : d === f8e8m0
          ? // It has no 0.
            (["mul", "min", "max"] as const)
          : d.isFloat
            ? (["add", "mul", "min", "max"] as const)
            : (["add", "mul", "min", "max", "and", "or"] as const);
    for (const name of names) {
      for (const v of [0, 1, -1, 5, 100].map((x) => roundTo(d, x))) {
        expect(roundTo(d, scalarOps[name].evaluate([identityOf(name, d), v], d, [d, d])), `${name} of ${v}`).toBe(v);
      }
    }
  });
});

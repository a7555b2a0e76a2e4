import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluator } from "../../test/support/evaluate.ts";
import { type Expr, type Variable, variablesOf } from "./expr.ts";
import { affineIn, fromPolynomial, mentions, polynomialOf, rangeOf, simplifyIndex } from "./index.ts";
import { simplifyBook } from "./rules/simplify.ts";
import { Scalars } from "./scalars.ts";

/** What an index is made of: axes of known and of symbolic extent, sizes, constants. */
type Leaf = "i" | "j" | "k" | "row" | "n" | "m" | number;
type Op = "add" | "sub" | "mul" | "floordiv" | "mod" | "min" | "max" | "select";
type Tree = { readonly leaf: Leaf } | { readonly op: Op; readonly a: Tree; readonly b: Tree };

const divisor: fc.Arbitrary<Tree> = fc.oneof(
  fc.record({ leaf: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom<Leaf>("n", "m")) }),
  fc.record({
    op: fc.constant<Op>("mul"),
    a: fc.record({ leaf: fc.constantFrom<Leaf>("n", "m") }),
    b: fc.record({ leaf: fc.integer({ min: 1, max: 4 }) }),
  }),
  fc.record({
    op: fc.constant<Op>("add"),
    a: fc.record({ leaf: fc.constantFrom<Leaf>("n", "m") }),
    b: fc.record({ leaf: fc.constantFrom<Leaf>(1, 3, "m") }),
  }),
);
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.record({ leaf: fc.oneof(fc.integer({ min: -5, max: 12 }), fc.constantFrom<Leaf>("i", "j", "k", "row", "n", "m")) }),
    fc.record({ op: fc.constantFrom<Op>("add", "sub", "min", "max", "select"), a: tie("tree"), b: tie("tree") }),
    fc.record({ op: fc.constantFrom<Op>("add", "mul"), a: tie("tree"), b: tie("tree") }),
    fc.record({
      op: fc.constantFrom<Op>("mul"),
      a: tie("tree"),
      b: fc.record({ leaf: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom<Leaf>("n", "m")) }),
    }),
    fc.record({ op: fc.constantFrom<Op>("floordiv", "mod"), a: tie("tree"), b: divisor }),
  ),
}));

type Env = Readonly<Record<Exclude<Leaf, number>, number>>;
const environment: fc.Arbitrary<Env> = fc
  .record({
    i: fc.nat(3),
    j: fc.nat(5),
    k: fc.integer({ min: -2, max: 6 }),
    row: fc.nat(1000),
    n: fc.integer({ min: 1, max: 9 }),
    m: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ row, m, ...rest }) => ({ ...rest, m: 4 * m, row: row % rest.n }));

class Setting {
  readonly sc: Scalars;
  readonly variables: Readonly<Record<Exclude<Leaf, number>, Variable>>;
  constructor(rules = true) {
    const sc = new Scalars(rules ? simplifyBook : null);
    const n = sc.variable("n", undefined, { min: 1, max: 9 });
    this.sc = sc;
    this.variables = {
      n,
      m: sc.variable("m", undefined, { min: 4, max: 16, multiple: 4 }),
      i: sc.variable("i", undefined, { extent: sc.int(4) }),
      j: sc.variable("j", undefined, { extent: sc.int(6) }),
      k: sc.variable("k", undefined, { min: -2, max: 6 }),
      row: sc.variable("row", undefined, { extent: sc.var(n) }),
    };
  }
  build(t: Tree): Expr {
    const { sc } = this;
    if ("leaf" in t) return typeof t.leaf === "number" ? sc.int(t.leaf) : sc.var(this.variables[t.leaf]);
    const [a, b] = [this.build(t.a), this.build(t.b)];
    return t.op === "select" ? sc.select(sc.op("lt", [a, b]), b, a) : sc.op(t.op, [a, b]);
  }
  value(e: Expr, env: Env): number {
    const used = [...variablesOf(e)];
    const names = Object.keys(this.variables) as (keyof Env)[];
    return Number(evaluator(e, used)(used.map((v) => env[names.find((name) => this.variables[name] === v) as keyof Env])));
  }
}
function treeValue(t: Tree, env: Env): number {
  if ("leaf" in t) return typeof t.leaf === "number" ? t.leaf : env[t.leaf];
  const [a, b] = [treeValue(t.a, env), treeValue(t.b, env)];
  switch (t.op) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
    case "floordiv":
      return Math.floor(a / b);
    case "mod":
      return a - b * Math.floor(a / b);
    case "min":
      return Math.min(a, b);
    case "max":
    case "select":
      return Math.max(a, b);
    default:
      throw t.op satisfies never;
  }
}
/** Index arithmetic is assumed not to overflow, in any intermediate form; degrees here stay far below that. */
function small(t: Tree): boolean {
  const bound = (x: Tree): number => {
    if ("leaf" in x) return typeof x.leaf === "number" ? Math.abs(x.leaf) : 16;
    const [a, b] = [bound(x.a), bound(x.b)];
    return x.op === "mul" ? a * b : x.op === "add" || x.op === "sub" ? a + b : x.op === "mod" ? a * b : Math.max(a, b);
  };
  return bound(t) < 1e7;
}
const cases = fc.tuple(tree.filter(small), fc.array(environment, { minLength: 8, maxLength: 8 }));
const runs = { numRuns: 800 };

describe("index expressions keep their value", () => {
  test("when they are built, under the local rules", () => {
    fc.assert(
      fc.property(cases, ([t, envs]) => {
        const s = new Setting();
        const e = s.build(t);
        for (const env of envs) expect(s.value(e, env) + 0).toBe(treeValue(t, env) + 0);
      }),
      runs,
    );
  });

  test.each([true, false])("in normal form (rules: %s), which simplifying again does not change in value", (rules) => {
    fc.assert(
      fc.property(cases, ([t, envs]) => {
        const s = new Setting(rules);
        const once = simplifyIndex(s.sc, s.build(t));
        const twice = simplifyIndex(s.sc, once);
        for (const env of envs) {
          expect(s.value(once, env) + 0).toBe(treeValue(t, env) + 0);
          expect(s.value(twice, env) + 0).toBe(treeValue(t, env) + 0);
        }
      }),
      runs,
    );
  });

  test("as polynomials", () => {
    fc.assert(
      fc.property(cases, ([t, envs]) => {
        const s = new Setting();
        const e = s.build(t);
        const back = fromPolynomial(s.sc, polynomialOf(e));
        expect(fromPolynomial(s.sc, polynomialOf(back))).toBe(back);
        for (const env of envs) expect(s.value(back, env) + 0).toBe(treeValue(t, env) + 0);
      }),
      runs,
    );
  });

  test("split by a variable", () => {
    fc.assert(
      fc.property(cases, fc.constantFrom<keyof Env>("i", "k", "n"), ([t, envs], name) => {
        const s = new Setting();
        const e = s.build(t);
        const v = s.variables[name];
        const split = affineIn(s.sc, e, v);
        if (split === null) {
          expect(mentions(e, v)).toBe(true);
          return;
        }
        expect(mentions(split.coef, v) || mentions(split.rest, v)).toBe(false);
        for (const env of envs) expect(s.value(split.coef, env) * env[name] + s.value(split.rest, env) + 0).toBe(treeValue(t, env) + 0);
      }),
      runs,
    );
  });

  test("within their range", () => {
    fc.assert(
      fc.property(cases, fc.boolean(), ([t, envs], rules) => {
        const s = new Setting(rules);
        const e = s.build(t);
        const [lo, hi] = rangeOf(e);
        for (const env of envs) {
          expect(treeValue(t, env)).toBeGreaterThanOrEqual(lo);
          expect(treeValue(t, env)).toBeLessThanOrEqual(hi);
        }
      }),
      runs,
    );
  });
});

describe("what reshapes leave behind becomes affine", () => {
  const s = new Setting();
  const { sc, variables } = s;
  const [i, j, n, row] = [variables.i, variables.j, variables.n, variables.row].map((v) => sc.var(v)) as [Expr, Expr, Expr, Expr];
  const flat = sc.add(sc.mul(i, sc.int(6)), j);

  test("known extents", () => {
    expect(simplifyIndex(sc, sc.floordiv(flat, sc.int(6)))).toBe(i);
    expect(simplifyIndex(sc, sc.mod(flat, sc.int(6)))).toBe(j);
    expect(simplifyIndex(sc, sc.floordiv(sc.add(sc.mul(flat, sc.int(3)), sc.int(2)), sc.int(18)))).toBe(i);
  });
  test("a symbolic extent", () => {
    const at = sc.add(sc.mul(i, n), row);
    expect(simplifyIndex(sc, sc.floordiv(at, n))).toBe(i);
    expect(simplifyIndex(sc, sc.mod(at, n))).toBe(row);
    expect(simplifyIndex(sc, sc.floordiv(sc.add(sc.mul(at, sc.int(6)), j), sc.mul(n, sc.int(6))))).toBe(i);
  });
  test("an extent that is a sum", () => {
    const total = sc.add(n, sc.var(variables.m));
    const inner = sc.var(sc.variable("t", undefined, { extent: total }));
    const at = sc.add(sc.mul(i, total), inner);
    expect(simplifyIndex(sc, sc.floordiv(at, total))).toBe(i);
    expect(simplifyIndex(sc, sc.mod(at, total))).toBe(inner);
  });
});

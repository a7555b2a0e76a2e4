import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Dim,
  type DimSymbol,
  addDim,
  ceilDivDim,
  dimEquals,
  dimMax,
  dimMin,
  dimMultiple,
  dimRange,
  dimSymbols,
  divideExactly,
  evaluateDim,
  floorDivDim,
  makeSymbol,
  maxDim,
  minDim,
  modDim,
  mulDim,
  productOf,
  subDim,
  substituteDim,
  symbolDim,
} from "./dim.ts";
import { InternalError, UserError } from "./errors.ts";
import { Reader } from "./text.ts";

const symbols: readonly DimSymbol[] = [makeSymbol("n", 1, 9), makeSymbol("batch", 2, 12, 2), makeSymbol("past", 0, 7), makeSymbol("free")];

type Op = "add" | "sub" | "mul" | "floordiv" | "mod" | "ceildiv" | "max" | "min";
const build: { readonly [K in Op]: (a: Dim, b: Dim) => Dim } = {
  add: addDim,
  sub: subDim,
  mul: mulDim,
  floordiv: floorDivDim,
  mod: modDim,
  ceildiv: ceilDivDim,
  max: maxDim,
  min: minDim,
};
const compute: { readonly [K in Op]: (a: number, b: number) => number } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  floordiv: (a, b) => Math.floor(a / b),
  mod: (a, b) => a - b * Math.floor(a / b),
  ceildiv: (a, b) => Math.ceil(a / b),
  max: Math.max,
  min: Math.min,
};
type Tree = { readonly leaf: number | DimSymbol } | { readonly op: Op; readonly a: Tree; readonly b: Tree };

const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.record({ leaf: fc.oneof(fc.integer({ min: -6, max: 12 }), fc.constantFrom(...symbols)) }),
    fc.record({ op: fc.constantFrom<Op>("add", "sub", "mul", "floordiv", "mod", "ceildiv", "max", "min"), a: tie("tree"), b: tie("tree") }),
  ),
}));
const values = fc
  .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 7 }), fc.integer({ min: 1, max: 50 }))
  .map(
    ([n, b, p, f]) =>
      new Map([
        ["n", n],
        ["batch", 2 * b],
        ["past", p],
        ["free", f],
      ]),
  );

function treeValue(t: Tree, env: ReadonlyMap<string, number>): number {
  if ("leaf" in t) return typeof t.leaf === "number" ? t.leaf : (env.get(t.leaf.name) as number);
  return compute[t.op](treeValue(t.a, env), treeValue(t.b, env));
}
function dividesPositive(t: Tree, env: ReadonlyMap<string, number>): boolean {
  if ("leaf" in t) return true;
  const divides = t.op === "floordiv" || t.op === "mod" || t.op === "ceildiv";
  return dividesPositive(t.a, env) && dividesPositive(t.b, env) && (!divides || treeValue(t.b, env) > 0);
}
function toDim(t: Tree): Dim {
  if ("leaf" in t) return typeof t.leaf === "number" ? t.leaf : symbolDim(t.leaf);
  return build[t.op](toDim(t.a), toDim(t.b));
}
/** Constant divisors must be positive before a dimension is built at all. */
function wellFormed(t: Tree): boolean {
  if ("leaf" in t) return true;
  const b = toSafe(t.b);
  return wellFormed(t.a) && b !== null && toSafe(t.a) !== null && (!["floordiv", "mod", "ceildiv"].includes(t.op) || typeof b !== "number" || b > 0);
}
function toSafe(t: Tree): Dim | null {
  return wellFormed(t) ? toDim(t) : null;
}
const large = (v: number) => Math.abs(v) > 2 ** 40;

describe("dimensions", () => {
  test("compute what their parts compute", () => {
    fc.assert(
      fc.property(tree, values, (t, env) => {
        fc.pre(wellFormed(t) && dividesPositive(t, env));
        const want = treeValue(t, env);
        fc.pre(!large(want));
        // `+ 0` makes -0 the 0 that a size is.
        expect(evaluateDim(toDim(t), env) + 0).toBe(want + 0);
      }),
      { numRuns: 2000 },
    );
  });

  test("lie within their range, and their divisor divides them", () => {
    fc.assert(
      fc.property(tree, values, (t, env) => {
        fc.pre(wellFormed(t) && dividesPositive(t, env) && !large(treeValue(t, env)));
        const d = toDim(t);
        const v = treeValue(t, env);
        const [lo, hi] = dimRange(d);
        expect([dimMin(d), dimMax(d)]).toEqual([lo, hi]);
        expect(lo).toBeLessThanOrEqual(v);
        expect(hi).toBeGreaterThanOrEqual(v);
        const m = dimMultiple(d);
        expect(m === 0 ? v + 0 : (v % m) + 0).toBe(0);
      }),
      { numRuns: 2000 },
    );
  });

  test("print and read back as the same", () => {
    fc.assert(
      fc.property(tree, (t) => {
        fc.pre(wellFormed(t));
        const d = toDim(t);
        const r = new Reader(`${d}`);
        for (const s of symbols) r.symbols.set(s.name, s);
        const again = r.dim();
        expect(r.peek().kind).toBe("end");
        expect(`${again}`).toBe(`${d}`);
        expect(dimEquals(again, d)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test("sums and products do not depend on the order", () => {
    fc.assert(
      fc.property(tree, tree, tree, (x, y, z) => {
        fc.pre(wellFormed(x) && wellFormed(y) && wellFormed(z));
        const [a, b, c] = [toDim(x), toDim(y), toDim(z)];
        expect(`${addDim(a, addDim(b, c))}`).toBe(`${addDim(addDim(c, b), a)}`);
        expect(`${mulDim(a, b)}`).toBe(`${mulDim(b, a)}`);
        expect(`${mulDim(a, addDim(b, c))}`).toBe(`${addDim(mulDim(a, b), mulDim(a, c))}`);
        expect(subDim(a, a)).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  test("exact division undoes multiplication, or says that it cannot", () => {
    fc.assert(
      fc.property(tree, tree, values, (x, y, env) => {
        fc.pre(wellFormed(x) && wellFormed(y) && dividesPositive(x, env) && dividesPositive(y, env));
        const [a, b] = [toDim(x), toDim(y)];
        const [va, vb] = [treeValue(x, env), treeValue(y, env)];
        const q = divideExactly(a, b);
        if (q === null || vb === 0 || large(va) || large(vb)) return;
        expect(evaluateDim(q, env) * vb + 0).toBe(va + 0);
      }),
      { numRuns: 1500 },
    );
    const [n, past] = [symbolDim(symbols[0] as DimSymbol), symbolDim(symbols[2] as DimSymbol)];
    expect(`${divideExactly(mulDim(addDim(n, past), 12), 12)}`).toBe("n + past");
    expect(`${divideExactly(mulDim(addDim(n, past), n), addDim(n, past))}`).toBe("n");
    expect(divideExactly(addDim(n, 1), n)).toBe(null);
    expect(divideExactly(n, 0)).toBe(null);
  });

  test("substitution in two steps is substitution at once", () => {
    fc.assert(
      fc.property(tree, values, (t, env) => {
        fc.pre(wellFormed(t) && dividesPositive(t, env));
        const d = toDim(t);
        const some = new Map([...env].slice(0, 2));
        fc.pre(!large(treeValue(t, env)));
        expect(evaluateDim(substituteDim(d, some), env) + 0).toBe(evaluateDim(d, env) + 0);
        expect([...dimSymbols(substituteDim(d, some)).keys()].some((k) => some.has(k))).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  test("examples of the text form", () => {
    const [n, batch, past] = symbols.map(symbolDim) as [Dim, Dim, Dim];
    expect(`${addDim(mulDim(n, 2), 1)}`).toBe("2 * n + 1");
    expect(`${subDim(past, mulDim(n, batch))}`).toBe("-batch * n + past");
    expect(`${ceilDivDim(n, 4)}`).toBe("floordiv(n + 3, 4)");
    expect(modDim(mulDim(batch, 3), 2)).toBe(0);
    expect(maxDim(n, past)).not.toBe(n);
    expect(`${maxDim(addDim(past, 9), n)}`).toBe("past + 9");
    expect(`${productOf([n, 1, 3])}`).toBe("3 * n");
    expect(() => evaluateDim(n, new Map())).toThrow(InternalError);
  });

  test("division by zero is the user's error, and says where", () => {
    const n = symbolDim(symbols[0] as DimSymbol);
    expect(() => floorDivDim(n, 0)).toThrow(UserError);
    expect(() => modDim(4, 0)).toThrow(/'mod\(4, 0\)'/);
    expect(() => new Reader("floordiv(n, 2 - 2)").dim()).toThrow(UserError);
    const symbolic = floorDivDim(8, subDim(n, 1));
    expect(() => evaluateDim(symbolic, new Map([["n", 1]]))).toThrow(/divides by zero/);
    expect(evaluateDim(symbolic, new Map([["n", 3]]))).toBe(4);
  });
  test("no dimension is -0", () => {
    expect(Object.is(mulDim(0, -1), 0)).toBe(true);
    expect(Object.is(divideExactly(0, -3), 0)).toBe(true);
  });
});

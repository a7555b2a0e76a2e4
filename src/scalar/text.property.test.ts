import fc from "fast-check";
import { expect, test } from "vitest";
import { valuesOf } from "../../test/support/values.ts";
import { type DType, bool, dtypes, f16, f32, f64, i32, i64, i8, u32, u8 } from "../base/dtype.ts";
import { Reader } from "../base/text.ts";
import type { Expr, Storage, Variable } from "./expr.ts";
import { type OpName, opNames, scalarOps } from "./ops/table.ts";
import { simplifyBook } from "./rules/simplify.ts";
import { Scalars } from "./scalars.ts";
import { parseExpr, printExpr } from "./text.ts";

const types: readonly DType[] = [f32, f64, f16, i32, i64, i8, u8, u32, bool];
const plain = opNames.filter((n) => n !== "cast" && n !== "bitcast");

/**
 * Grows a pool of expressions by random steps, each of which applies some op, read, conversion or vector form to what is
 * there, and returns the last.
 */
function grow(sc: Scalars, seeds: readonly number[], variables: readonly Variable[], storages: readonly Storage[]): Expr {
  const pool: Expr[] = [...variables.map((v) => sc.var(v)), ...types.flatMap((d) => valuesOf(d).map((v) => sc.const(v, d)))];
  const first = pool.length;
  for (const seed of seeds) {
    let rest = seed;
    const draw = <T>(list: readonly T[]): T => {
      const v = list[rest % list.length] as T;
      rest = Math.floor(rest / list.length);
      return v;
    };
    // Recent expressions are likelier, so that the result is deep.
    const recent = pool.length > first && draw([true, false]) ? pool.slice(first) : pool;
    const a = draw(recent);
    const of = (d: DType, lanes: number): Expr[] => pool.filter((e) => e.dtype === d && (e.lanes === lanes || e.lanes === 1));
    const kind = draw(["op", "op", "op", "cast", "bitcast", "load", "vector"] as const);
    if (kind === "op") {
      const name = draw(plain);
      const args =
        name === "select"
          ? [draw(of(bool, a.lanes)), a, draw(of(a.dtype, a.lanes))]
          : Array.from({ length: scalarOps[name].arity }, (_, i) => (i === 0 ? a : draw(of(a.dtype, a.lanes))));
      if (
        !(
          "error" in
          scalarOps[name].type(
            args.map((x) => x.dtype),
            null,
          )
        )
      )
        pool.push(sc.op(name as OpName, args));
    } else if (kind === "cast") pool.push(sc.cast(draw(types), a));
    else if (kind === "bitcast") {
      const to = draw(types);
      if (!("error" in scalarOps.bitcast.type([a.dtype], to))) pool.push(sc.bitcast(to, a));
    } else if (kind === "load") {
      const index = draw(pool.filter((e) => e.dtype === i32));
      pool.push(
        index.lanes === 1 && draw([true, false]) ? sc.loadAt(draw(storages), index, 4 * (rest % 9), draw([1, 4])) : sc.load(draw(storages), [index]),
      );
    } else if (a.lanes === 1) pool.push(a.dtype === i32 && draw([true, false]) ? sc.ramp(a, sc.int(1 + (rest % 5)), 4) : sc.broadcast(a, 4));
    else pool.push(draw([true, false]) ? sc.extract(a, rest % 4) : sc.insert(a, draw(of(a.dtype, 1).filter((e) => e.lanes === 1)), rest % 4));
  }
  return pool[pool.length - 1] as Expr;
}

test.each([true, false])("random expressions print and read back as the same object (rules: %s)", (rules) => {
  const seeds = fc.array(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(seeds, (steps) => {
      const sc = new Scalars(rules ? simplifyBook : null);
      const variables = types.map((d) => sc.variable(`v_${d}`, d));
      const storages = [f32, i32, bool].map((d) => sc.storage(`s.${d}`, d));
      const e = grow(sc, steps, variables, storages);
      const text = printExpr(e);
      const r = new Reader(text);
      const again = parseExpr(r, sc, {
        variable: (n) => variables.find((v) => v.name === n) ?? null,
        storage: (n) => storages.find((s) => s.name === n) ?? null,
      });
      expect(r.peek().kind, text).toBe("end");
      expect(printExpr(again)).toBe(text);
      if (again !== e) expect.fail(`${text} is read as another expression`);
    }),
    { numRuns: 600 },
  );
});

test("every dtype's values print and read back", () => {
  const sc = new Scalars();
  for (const d of dtypes) {
    for (const v of valuesOf(d)) {
      const e = sc.const(v, d);
      expect(parseExpr(new Reader(printExpr(e)), sc, { variable: () => null, storage: () => null })).toBe(e);
    }
  }
});

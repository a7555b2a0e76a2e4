import { describe, expect, test } from "vitest";
import { bf16, f16, f32, f64, i4, i64, u8, u64 } from "../base/dtype.ts";
import { Reader } from "../base/text.ts";
import type { Expr } from "./expr.ts";
import { type OpName, opNames, scalarOps } from "./ops/table.ts";
import { simplifyBook } from "./rules/simplify.ts";
import { Scalars } from "./scalars.ts";
import { parseExpr, printExpr } from "./text.ts";

const sc = new Scalars(simplifyBook);
const [x, y] = [sc.variable("x", f32), sc.variable("y", f32)];
const i = sc.variable("i");
const t = sc.storage("t", f32);
const scope = { variable: (n: string) => ({ x, y, i })[n] ?? null, storage: (n: string) => (n === "t" ? t : null) };
const parse = (text: string): Expr => {
  const r = new Reader(text, "e");
  const e = parseExpr(r, sc, scope);
  r.end();
  return e;
};

test("constants of every dtype read back to the very same expression", () => {
  const values = [
    sc.const(-0, f32),
    sc.const(0.1, f32),
    sc.const(0.1, f64),
    sc.const(1e21, f64),
    sc.const(5e-324, f64),
    sc.const(Number.NEGATIVE_INFINITY, f16),
    sc.const(Number.NaN, bf16),
    sc.const(-(2n ** 63n), i64),
    sc.const(2n ** 64n - 1n, u64),
    sc.const(255, u8),
    sc.const(-8, i4),
    sc.int(-2147483648),
    sc.bool(true),
  ];
  for (const v of values) expect(parse(printExpr(v)), printExpr(v)).toBe(v);
});

test("random expressions read back to the very same expression, and precedence is kept", () => {
  let state = 5;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const floats = opNames.filter(
    (n) =>
      !(
        "error" in
        scalarOps[n].type(
          Array.from({ length: scalarOps[n].arity }, () => f32),
          f32,
        )
      ) &&
      n !== "cast" &&
      n !== "bitcast",
  );
  const make = (depth: number): Expr => {
    if (depth === 0 || random() < 0.1)
      return random() < 0.4
        ? sc.var(random() < 0.5 ? x : y)
        : random() < 0.5
          ? sc.f32(Math.round(random() * 8) - 4)
          : sc.load(t, [sc.add(sc.var(i), sc.int(Math.floor(random() * 5)))]);
    const name = floats[Math.floor(random() * floats.length)] as OpName;
    const e = sc.op(
      name,
      Array.from({ length: scalarOps[name].arity }, () => make(depth - 1)),
    );
    return e.dtype === f32 ? e : sc.select(e, make(depth - 1), make(depth - 1));
  };
  for (let n = 0; n < 500; n++) {
    const e = make(1 + (n % 5));
    expect(parse(printExpr(e)), printExpr(e)).toBe(e);
  }
});

test("shared parts are bound once: the text of a chain of squares stays short", () => {
  let e = sc.var(x);
  for (let n = 0; n < 200; n++) e = sc.add(sc.mul(e, e), sc.op("exp", [e]));
  const text = printExpr(e);
  expect(text.length).toBeLessThan(12_000);
  expect(text.startsWith("let _0 = ")).toBe(true);
  expect(parse(text)).toBe(e);
});

test("a deep expression is cut into pieces, which read back", () => {
  let e = sc.var(x);
  for (let n = 0; n < 20_000; n++) e = sc.op("sqrt", [sc.op("abs", [sc.add(e, sc.f32(n + 0.5))])]);
  expect(parse(printExpr(e))).toBe(e);
});

describe("errors", () => {
  test.each([
    ["x +", "e:1:4: expected an expression, got 'end of text'"],
    ["x + 1", "'add': operands must have one dtype, got f32, i32"],
    ["z", "unknown name 'z'"],
    ["%u[0]", "unknown value '%u'"],
    ["%t[x]", "an index must be i32, got f32"],
    ["frob(x)", "unknown scalar op 'frob'"],
    ["max(x)", "'max' takes 2 operands, got 1"],
    ["300:u8", "300 is no u8"],
    ["1.5:i64", "1.5 is no i64"],
    ["2147483648", "2147483648 is no i32"],
    ["extract(x, 0)", "'extract' takes a vector first"],
    ["extract(broadcast(x, 4), 4)", "there is no lane 4 among 4"],
    ["broadcast(x, 1000)", "expected a number of lanes, got 1000"],
    ["broadcast(x, 4) + broadcast(y, 8)", "operands have 4, 8 lanes"],
    ["bitcast.f64(x)", "needs dtypes of equal width"],
    [`${"(".repeat(10_000)}x`, "nested more than 400 deep"],
    [`${"-".repeat(10_000)}x`, "nested more than 400 deep"],
  ])("%s", (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });
});

import { expect, test } from "vitest";
import { cIdentifier, cNames, commentLines, commentText, literal } from "./types.ts";

test("names of models become identifiers that mean nothing else in C and C++", () => {
  expect(["/layer.0/Conv", "class", "3d", "", "__x__y", "memcpy", "tw_load", "größe", "a".repeat(99)].map(cIdentifier)).toEqual([
    "layer_0_Conv",
    "v_class",
    "v_3d",
    "v_",
    "x_y",
    "v_memcpy",
    "v_tw_load",
    "gr_e",
    "a".repeat(60),
  ]);
  const names = cNames();
  expect([names.fresh("a.b"), names.fresh("a_b"), names.fresh("a'b")]).toEqual(["a_b", "a_b_1", "a_b_2"]);
});

test("comments hold any text", () => {
  expect(commentText("a */ b /* c\nd \u202e é ??/ \\")).toBe("a * / b / * c?d ? ? ? ?/ \\ ");
  expect(commentLines("one two three four", 9)).toEqual(["one two", "three", "four"]);
});

test("literals read back to the same value", () => {
  const single = [0, -0, 0.1, 1, 1 / 3, 16777217, 3.4028234663852886e38, 1e-45, 1.1754943508222875e-38, -2.5, 1e10, 123456.7];
  for (const v of single) {
    const text = literal(v, "f32");
    expect(text).toMatch(/^-?\d+(\.\d+)?(e[+-]?\d+)?f$/);
    expect(text).toMatch(/[.e]/);
    expect(Object.is(Math.fround(Number(text.slice(0, -1))), Math.fround(v)), text).toBe(true);
  }
  expect(literal(Math.fround(0.1), "f32")).toBe("0.1f");
  expect([0.1, -0, 1e300, 2].map((v) => literal(v, "f64"))).toEqual(["0.1", "-0.0", "1e+300", "2.0"]);
  expect([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN].map((v) => literal(v, "f32"))).toEqual(["INFINITY", "-INFINITY", "NAN"]);
  expect([literal(-(2 ** 31), "i32"), literal(-1, "u32"), literal(-(2n ** 63n), "i64"), literal(7n, "u64")]).toEqual([
    "INT32_MIN",
    "4294967295u",
    "INT64_MIN",
    "UINT64_C(7)",
  ]);
});

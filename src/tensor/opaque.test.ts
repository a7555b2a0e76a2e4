import { describe, expect, test } from "vitest";
import { UserError, VerifyError } from "../base/errors.ts";
import { Reader } from "../base/text.ts";
import { simplifyBook } from "../scalar/rules/simplify.ts";
import { Scalars } from "../scalar/scalars.ts";
import type { TensorFunction } from "./ir.ts";
import { parseTensor } from "./parse.ts";
import { printTensor } from "./print.ts";
import { verifyTensor } from "./verify.ts";

function parse(text: string): TensorFunction {
  const r = new Reader(text, "t.tw");
  const f = parseTensor(r, new Scalars(simplifyBook));
  r.end();
  return f;
}
function violations(f: TensorFunction): string {
  try {
    verifyTensor(f);
    return "";
  } catch (e) {
    if (e instanceof VerifyError) return e.violations.join("\n");
    throw e;
  }
}

/** A function whose result an opaque step makes, with the given head and statements. */
const wrap = (body: string, head = "[i: 4] reads %x writes %y work 5") =>
  `tensor @f {\n  symbol n\n  input %x: f32[4, 5]\n  temp %y: f32[4]\n  opaque @o ${head} {\n    ${body}\n  }\n  output %y\n}\n`;
const sum = "let s = 0.0 for j in [0, 5) { assign s = s + %x[i, j] } %y[i] = s";

test("a sound step has no violations, and its text reads back", () => {
  const body =
    "local %l: f32[5] let s = 0.0 for j in [0, 5) { if %x[i, j] < s { %l[j] = s } else { assign s = %x[i, j] } let t = s + 1.0 %l[j] = t } %y[i] = %l[i32(s)]";
  for (const text of [wrap(sum), wrap(body), wrap(sum, '[i: 4] reads %x writes %y work 5 * n from "a" "b"')]) {
    const f = parse(text);
    expect(violations(f)).toBe("");
    const printed = printTensor(f);
    expect(printTensor(parse(printed))).toBe(printed);
  }
});

describe("invariant T15", () => {
  test.each([
    ["what is read is said", sum, "[i: 4] reads writes %y work 5", "T15: reads %x without saying so"],
    ["what is said to be read is", "%y[i] = 1.0", undefined, "T15: says that it reads %x, but does not"],
    ["what is written is said", sum, "[i: 4] reads %x writes work 5", "T15: writes %y without saying so"],
    ["nothing is read that is written", "%y[i] = %x[i, 0] + %y[i]", "[i: 4] reads %x, %y writes %y work 5", "T15: reads %y, which it writes"],
    ["axes are parallel", sum, "[scan i: 4] reads %x writes %y work 5", "T15: axis 'i' is a scan axis, expected a parallel one"],
    ["variables belong to their block", "if %x[i, 0] < 1.0 { let t = 2.0 } %y[i] = t", undefined, "T3: 't' is not bound in t"],
    [
      "only what a let bound changes",
      "for j in [0, 5) { assign j = 3 } %y[i] = %x[i, 0]",
      undefined,
      "T15: 'j' is assigned to, but no let bound it here",
    ],
    ["dtypes of assignments", "let t = 1 assign t = %x[i, 0] %y[i] = 1.0", undefined, "T15: 't' is i32, its value f32"],
    ["dtypes of writes", "%y[i] = i32(%x[i, 0])", undefined, "T15: writes i32 to %y, which is f32"],
    ["rank of writes", "%y[i, 0] = %x[i, 0]", undefined, "T15: writes %y of rank 1 at 2 indices"],
    ["indices", "%y[%x[i, 0] < 1.0] = 1.0", undefined, "T15: an index of %y is bool, expected i32"],
    ["conditions", "if i { } %y[i] = %x[i, 0]", undefined, "T15: a condition is a bool, got i32"],
    ["ends of loops", "for j in [0, %x[i, 0]) { } %y[i] = 1.0", undefined, "T15: a loop's ends are i32, got f32"],
    ["results are not inputs", `${sum} %x[0, 0] = 1.0`, "[i: 4] reads writes %x, %y work 5", "T6: writes %x, an input or constant"],
  ])("%s", (_, body, head, message) => {
    expect(violations(parse(wrap(body, head)))).toContain(message);
  });
});

test.each([
  ["let j = 1 let j = 2", /'j' already has a meaning here/],
  ["for n in [0, 1) { }", /'n' already has a meaning here/],
  ["assign q = 2", /unknown name 'q'/],
  ["%q[0] = 1", /unknown tensor '%q'/],
  ["while i { }", /expected 'for', 'let', 'assign', 'if' or a write to a tensor, got 'while'/],
  ["if { }", /expected an expression/],
  [Array.from({ length: 2000 }, (_, i) => `for j${i} in [0, 1) { `).join(""), /nested/],
])("a text that is wrong is refused: %#", (body, message) => {
  expect(() => parse(wrap(body))).toThrow(message);
  expect(() => parse(wrap(body))).toThrow(UserError);
});

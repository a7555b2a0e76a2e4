import { describe, expect, test } from "vitest";
import { VerifyError } from "../base/errors.ts";
import { Reader } from "../base/text.ts";
import { simplifyBook } from "../scalar/rules/simplify.ts";
import { Scalars } from "../scalar/scalars.ts";
import type { Kernel, Program, Stmt } from "./ir.ts";
import { parseProgram } from "./parse.ts";
import { printProgram } from "./print.ts";
import { type LoopForm, verifyProgram } from "./verify.ts";

function parse(text: string): Program {
  const r = new Reader(text, "p.tw");
  const p = parseProgram(r, new Scalars(simplifyBook));
  r.end();
  return p;
}
function violations(p: Program, forbidden: readonly LoopForm[] = []): readonly string[] {
  try {
    verifyProgram(p, { forbidden });
    return [];
  } catch (e) {
    if (e instanceof VerifyError) return e.violations;
    throw e;
  }
}

const wrap = (body: string, main = "launch @k(arena, arena + 64, 3) over [0, 4) grain 1") => `program @p {
  memory weights, arena bytes 128
  kernel @k(param %x: f32, out param %y: f32, n: i32) over [begin, end) {
    for i in [begin, end) {
${body}
    }
  }
  main {
    ${main}
  }
}
`;

test("a sound program has no violations", () => {
  expect(violations(parse(wrap("%y[i] = %x[i * n] + 1.0")))).toEqual([]);
});

describe("each invariant is checked", () => {
  test.each([
    ["L3 dtype of a store", "%y[i] = n", "@k: L3: i32 is stored to %y, which is f32"],
    ["L3 lanes of a store", "%y[i] = %x[ramp(i, 1, 4)]", "@k: L3: 4 lanes are stored to %y at 1 places"],
    ["L3 type of a let", "let a: i32 = 1.0", "@k: L3: 'a' is i32x1, its value f32x1"],
    ["L3 lanes of a let", "let a: f32x4 = 1.0", "@k: L3: 'a' is f32x4, its value f32x1"],
    ["L3 condition", "if %x[i] { }", "@k: L3: a condition is a scalar bool"],
    ["L4 assigned parameter", "n = 3", "@k: L4: 'n' is assigned to, but no let bound it here"],
    ["L4 assigned loop variable", "i = 3", "@k: L4: 'i' is assigned to, but no let bound it here"],
    ["L5 store to a read buffer", "%x[i] = 1.0", "@k: L5: stores to %x, which is not declared as written"],
    ["L6 unrolled loop", "for j in [0, n) unrolled { %y[j] = 1.0 }", "@k: L6: the unrolled loop over 'j' does not run from 0 to a constant"],
    ["L6 vector loop", "for j in [1, 4) vector { %y[j] = 1.0 }", "@k: L6: the vector loop over 'j' does not run from 0 to a constant"],
    ["L7 size of registers", "alloc register %r: f32[n]", "@k: L7: the register buffer %r has no constant size"],
    [
      "L7 range of registers",
      "alloc register %r: f32[4]\n %r[ramp(1, 1, 4)] = broadcast(1.0, 4)",
      "@k: L7: an index of the register buffer %r reaches 4, its size is 4",
    ],
    [
      "L7 range by a loop",
      "alloc register %r: f32[4]\n for j in [0, 5) unrolled { %r[j] = 1.0 }",
      "@k: L7: an index of the register buffer %r reaches 4, its size is 4",
    ],
  ])("%s", (_, body, message) => {
    expect(violations(parse(wrap(body)))).toContain(message);
  });

  test.each([
    ["number of arguments", "launch @k(arena) over [0, 4) grain 1", "main: L8: @k takes 3 arguments, got 1"],
    ["dtypes of arguments", "launch @k(arena, arena, 1.0) over [0, 4) grain 1", "main: L8: an argument of @k is f32x1, not i32"],
  ])("L8 %s", (_, main, message) => {
    expect(violations(parse(wrap("%y[i] = 0.0", main)))).toContain(message);
  });

  test.each([
    ["a count of none", "launch @k(arena, arena, 3) over [0, 4) grain 1 threads from 0", "main: L12: @k is shared from 0 iterations on"],
    ["an argument too many", "launch @k(arena, arena, 3) over [0, 4) grain 1 scratch (3, 4)", "main: L12: @k has no argument 3 to be scratch"],
    ["one twice", "launch @k(arena, arena, 3) over [0, 4) grain 1 scratch (1, 4) (1, 4)", "main: L12: argument 1 of @k is scratch twice"],
  ])("L12 %s", (_, main, message) => {
    expect(violations(parse(wrap("%y[i] = 0.0", main)))).toContain(message);
  });

  const changed = (body: string, f: (b: readonly Stmt[]) => readonly Stmt[]): Program => {
    const p = parse(wrap(body));
    const [k] = p.kernels as [Kernel];
    const [loop] = k.body as [Extract<Stmt, { kind: "for" }>];
    const kernel: Kernel = { ...k, body: [{ ...loop, body: f(loop.body) }] };
    return { ...p, kernels: [kernel], main: p.main.map((s) => (s.kind === "launch" ? { ...s, kernel } : s)) };
  };
  test("L1 and L2 use before binding", () => {
    expect(violations(changed("let a: f32 = 1.0\n %y[i] = a", (b) => [...b].reverse()))).toEqual(["@k: L1: 'a' is not bound here"]);
    expect(violations(changed("alloc register %r: f32[1]\n %r[0] = 1.0\n %y[i] = %r[0]", (b) => b.slice(1)))).toContain(
      "@k: L2: %r is neither a parameter nor allocated here",
    );
    expect(
      violations(changed("if i < 2 { let a: f32 = 1.0 }\n %y[i] = 2.0", (b) => [...b, ...(b[0] as Extract<Stmt, { kind: "if" }>).then.slice(0, 0)])),
    ).toEqual([]);
  });
  test("L8 kernels that launch, or are no part of the program; L11 names", () => {
    const p = parse(wrap("%y[i] = 0.0"));
    expect(violations({ ...p, kernels: [] })).toEqual(["main: L8: launches @k, which the program does not hold"]);
    expect(violations({ ...p, kernels: [...p.kernels, ...p.kernels] })).toEqual(["@k: L11: two kernels have this name"]);
    expect(violations(changed("%y[i] = 0.0", (b) => [...b, ...p.main]))).toContain("@k: L8: a kernel launches another");
  });

  test.each<[LoopForm, string, string]>([
    ["vector loop", "for j in [0, 4) vector { %y[j] = 0.0 }", "the loop over 'j' is still a vector one"],
    ["unrolled loop", "for j in [0, 4) unrolled { %y[j] = 0.0 }", "the loop over 'j' is still a unrolled one"],
    ["register buffer", "alloc register %r: f32[1]", "the register buffer %r should be gone"],
    ["indexed access", "%y[i] = 0.0", "the access to %y by an index should be one at an address"],
    ["derived op", "%y[i] = exp(%x[i])", "'exp' should have been decomposed"],
    ["scalar word op", "%y[i] = f32(dot16(i, n))", "'dot16' should stand on vectors alone"],
    ["floor division", "%y[floordiv(i, n)] = 0.0", "'floordiv' should have become a truncating division"],
  ])("L10 %s", (form, body, message) => {
    const p = parse(wrap(body));
    expect(violations(p)).toEqual([]);
    expect(violations(p, [form])).toContain(`@k: L10: ${message}`);
  });
});

test("what is called alike gets names of its own; facts about variables are kept", () => {
  const text = wrap(`let a: f32 = 1.0
 if i < 2 {
   let a: f32x4 = broadcast(a, 4)
   %y[ramp(0, 1, 4)] = a
 } else {
   let p: i32 min 8 max 64 multiple 4 = n * 4
   for i in [0, 4) extent none {
     for i min 1 in [p, n) extent n unrolled {
       p = p + i
     }
   }
   %y[p] = a
 }`);
  const printed = printProgram(parse(text));
  expect(printed).toContain("let a_1: f32x4 = broadcast(a, 4)");
  expect(printed).toContain("let p: i32 min 8 max 64 multiple 4 = n * 4");
  expect(printed).toContain("for i_1 in [0, 4) extent none {");
  expect(printed).toContain("for i_2 in [p, n) extent n unrolled {");
  expect(printed).toContain("%y[p] = a\n");
  expect(printProgram(parse(printed))).toBe(printed);
});

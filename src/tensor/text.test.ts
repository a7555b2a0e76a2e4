import { describe, expect, test } from "vitest";
import { VerifyError } from "../base/errors.ts";
import { Reader } from "../base/text.ts";
import { simplifyBook } from "../scalar/rules/simplify.ts";
import { Scalars } from "../scalar/scalars.ts";
import { Tensor, type TensorFunction } from "./ir.ts";
import { parseTensor } from "./parse.ts";
import { printTensor } from "./print.ts";
import { verifyTensor } from "./verify.ts";

function parse(text: string): TensorFunction {
  const r = new Reader(text, "t.tw");
  const f = parseTensor(r, new Scalars(simplifyBook));
  r.end();
  return f;
}
function violations(f: TensorFunction): readonly string[] {
  try {
    verifyTensor(f);
    return [];
  } catch (e) {
    if (e instanceof VerifyError) return e.violations;
    throw e;
  }
}

/** A function with two inputs, a result, and the given kernels. */
const wrap = (kernels: string, more = "") =>
  `tensor @f {\n  symbol n\n  input %x: f32[4, 5]\n  input %k: i32[4]\n  temp %y: f32[4]\n${more}${kernels}\n  output %y\n}\n`;
const sum = "kernel @s { stage @s [i: 4, red j: 5] { acc a[i]: f32 init 0.0 lift %x[i, j] combine a + a'  %y[i] = a } }";

test("a sound function has no violations", () => {
  expect(violations(parse(wrap(sum)))).toEqual([]);
});

describe("each invariant is checked", () => {
  test.each([
    [
      "T1 undeclared",
      "kernel @k { local %l: f32[] stage @a [] { %l[] = 1.0 } } kernel @s { stage @s [i: 4] { %y[i] = %l[] } }",
      "@s: T1: %l is not declared here",
    ],
    [
      "T1 names of stages",
      "kernel @k { stage @a [i: 4] { %y[i] = 0.0 } stage @a [i: 4] { %y[i] = 1.0 } }",
      "@a: T1: two stages of a kernel have this name",
    ],
    ["T2 rank of a read", "kernel @s { stage @s [i: 4] { %y[i] = %x[i] } }", "@s: T2: reads %x of rank 2 at 1 indices"],
    ["T2 rank of a write", "kernel @s { stage @s [i: 4] { %y[i, 0] = 0.0 } }", "@s: T2: writes %y of rank 1 at 2 indices"],
    [
      "T2 vectors",
      "kernel @s { stage @s [i: 4] { %y[i] = extract(insert(broadcast(%x[i, 0], 4), %x[i, 1], 1), 2) } }",
      "T2: extract belongs to loop IR",
    ],
    [
      "T3 an element outside of combine",
      "kernel @s { stage @s [i: 4, red j: 5] { acc a[i]: f32 init 0.0 lift a' combine a + a'  %y[i] = a } }",
      "@s: T3: 'a'' is not bound in a'",
    ],
    ["T4 order", `kernel @e { stage @e [i: 4] { %z[i] = %y[i] } } ${sum}`, "@e: T4: reads %y before anything writes it", "  temp %z: f32[4]\n"],
    [
      "T5 axes",
      "kernel @s { stage @s [i: 4, red j: 5] { acc a[j]: f32 init 0.0 lift %x[i, j] combine a + a'  %y[i] = a } }",
      "@s: T5: accumulator 'a' is indexed by something else than distinct parallel axes",
    ],
    [
      "T5 dtypes",
      "kernel @s { stage @s [i: 4, red j: 5] { acc a[i]: f32 init 0 lift %x[i, j] combine a + a'  %y[i] = a } }",
      "@s: T5: 'a' is f32, its identity i32",
    ],
    ["T5 no accumulator", "kernel @s { stage @s [i: 4, red j: 5] { %y[i] = 0.0 } }", "@s: T5: a stage that reduces has accumulators"],
    ["T6 inputs", `${sum} kernel @w { stage @w [i: 4] { %k[i] = 0 } }`, "@w: T6: writes %k, an input or constant"],
    ["T6 never written", sum, "%z: T6: nothing writes this tensor", "  temp %z: f32[4]\n"],
    ["T7 dtype", "kernel @s { stage @s [i: 4] { %y[i] = %k[i] } }", "@s: T7: writes i32 to %y, which is f32"],
    [
      "T7 reduction axis",
      "kernel @s { stage @s [i: 4, red j: 5] { acc a[i]: f32 init 0.0 lift %x[i, j] combine a + a'  %y[i] = a + f32(j) } }",
      "@s: T7: the write to %y mentions the reduction axis 'j'",
    ],
    [
      "T7 collisions",
      "kernel @s { stage @s [i: 4, j: 5] { %y[i] = %x[i, j] } }",
      "@s: T7: points along 'j' all write the same element of %y, without a combiner",
    ],
    ["T8 scan in a stage", "kernel @s { stage @s [scan i: 4] { %y[i] = 0.0 } }", "@s: T8: axis 'i' cannot be a scan axis here"],
    [
      "T9 place of inner stages",
      "kernel @s { stage @s [i: 4, red j: 5] { at i { local %l: f32[] stage @l [] { %l[] = 1.0 } } acc a[i]: f32 init 0.0 lift %l[] combine a + a'  %y[i] = a } }",
      "@s: T9: 'i' is no reduction axis of this stage",
    ],
    ["T10 order of dims", sum, "%z: T10: order (0, 0) is no permutation of 2 dims", "  temp %z: f32[4, 4] order(0, 0)\n"],
    ["T10 circle", sum, "%z: T10: the views go round in a circle", "  temp %z: f32[4] order(0) view %w(0)\n  temp %w: f32[4] order(0) view %z(0)\n"],
  ])("%s", (_, kernels, message, more = "") => {
    expect(violations(parse(wrap(kernels, more))).join("\n")).toContain(message);
  });

  test("T1 names of tensors, T6 outputs, T12 symbols", () => {
    const f = parse(wrap(sum));
    const [x, , y] = f.tensors as [Tensor, Tensor, Tensor];
    expect(violations({ ...f, tensors: [...f.tensors, new Tensor(99, "x", y.dtype, [])] })).toContain("%x: T1: two tensors have this name");
    expect(violations({ ...f, outputs: [x, y, y] })).toEqual([
      "output: T6: %x is an input, a constant or not declared, so no output",
      "output: T6: a tensor is given twice",
    ]);
    const symbolic = parse(wrap(sum, "  temp %z: f32[n]\n"));
    expect(violations({ ...symbolic, symbols: [] })).toContain("%z: T12: symbol 'n' is not declared");
  });

  test("T13 what a step was to remove", () => {
    expect(() =>
      verifyTensor(parse(wrap(sum)), { after: "after pass x", forbidden: (s) => (s.accumulators.length > 0 ? "reductions are gone by now" : null) }),
    ).toThrow(/in tensor function @f after pass x:[\s\S]*\/\/ \^ @s: T13: reductions are gone by now/);
  });

  test("a scan may read what its earlier steps wrote", () => {
    const text = wrap("kernel @k [scan t: 3] { stage @a [i: 4] { %y[i] = select(t == 0, 0.0, %y[i] + %x[i, t]) } }");
    expect(violations(parse(text))).toEqual([]);
    expect(violations(parse(text.replace("scan t", "t")))).toContain("@a: T4: reads %y before anything writes it");
  });
});

test("names that would clash are changed, so that the text reads back", () => {
  const f = parse(
    wrap("kernel @s { stage @s [i: 4, red j: 5] { acc acc[i]: f32 init 0.0 lift %x[i, j] + f32(n) combine acc + acc'  %y[i] = acc } }"),
  );
  // An axis is renamed like the symbol, as a frontend's symbol may be called anything.
  const axis = f.kernels[0]?.stages[0]?.axes[1]?.variable;
  Object.assign(axis as object, { name: "n" });
  const text = printTensor(f);
  expect(text).toContain("red n_1: 5");
  expect(text).toContain("lift %x[i, n_1] + f32(n) combine acc + acc'");
  expect(printTensor(parse(text))).toBe(text);
});

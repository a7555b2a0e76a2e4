import { describe, expect, test } from "vitest";
import { inlineConstant } from "../base/constant.ts";
import { f32, i64, u4 } from "../base/dtype.ts";
import { VerifyError } from "../base/errors.ts";
import { Reader } from "../base/text.ts";
import { GraphBuilder } from "./builder.ts";
import { type GraphFunction, Op, Value } from "./ir.ts";
import type { AnyAttrs } from "./op.ts";
import { parseGraph } from "./parse.ts";
import { decomposeComposites } from "./passes/decompose.ts";
import { printGraph } from "./print.ts";
import { findOp, graphOps } from "./registry.ts";
import { verifyGraph } from "./verify.ts";

function parse(text: string): GraphFunction {
  const r = new Reader(text, "graph.tw");
  const f = parseGraph(r);
  r.end();
  return f;
}

/** Verifies the graph, and that its text reads back to the same text. */
function expectRoundTrip(f: GraphFunction): void {
  verifyGraph(f);
  const text = printGraph(f);
  const back = parse(text);
  verifyGraph(back);
  expect(printGraph(back)).toBe(text);
}

describe("every op example prints, reads back and verifies, whole and decomposed", () => {
  for (const def of graphOps) {
    if (def.examples.length === 0) continue;
    test(def.name, () => {
      for (const ex of def.examples) {
        const g = new GraphBuilder();
        const params = ex.operands.map((o, i) => {
          const r = new Reader(o.type);
          return g.param(`p${i}`, { dtype: r.dtype(), dims: r.list("[", "]", () => r.dim()) });
        });
        const f = g.finish(def.name, [], g.op(def.name, params, ex.attrs as AnyAttrs));
        expectRoundTrip(f);
        expectRoundTrip(decomposeComposites(f));
      }
    });
  }
});

const nested = `graph @nested {
  symbol n in [1, 16] multiple 2
  symbol m
  input %h: f32[4]
  input %xs: f32[n, 4]
  input %ys: f32[m + 2 * n, 4] from "the/other input"
  %c: f32[4] = constant() {dtype = f32, dims = [4], data = values(0.5, -1.0, 0.10000000149011612, inf)} from "a" "b"
  %s: f32[4], %t: f32[n, 4] = scan(%h, %xs) {states = 1, length = [n]}
  region (%p: f32[4], %x: f32[4]) {
    %u: f32[4], %v: f32[2, 4] = scan(%p, %big) {states = 1, length = [2]}
    region (%q: f32[4], %w: f32[4]) {
      %sum: f32[4] = add(%q, %w)
      %prod: f32[4] = mul(%sum, %c)
      yield %prod, %sum
    }
    %y: f32[4] = add(%u, %x)
    yield %y, %y
  }
  output %s, %t as "steps of t"
}
`.replace("  %s: f32[4], %t", "  %big: f32[2, 4] = broadcast(%c) {dims = [2, 4], map = [1]}\n  %s: f32[4], %t");

test("regions in regions, symbols, origins and names of results read back", () => {
  const f = parse(nested);
  verifyGraph(f);
  expect(printGraph(f)).toBe(nested);
  expect(f.symbols.map((s) => [s.name, s.min, s.max, s.multiple])).toEqual([
    ["n", 1, 16, 2],
    ["m", 1, Number.POSITIVE_INFINITY, 1],
  ]);
  expect(f.params[2]?.origin).toEqual(["the/other input"]);
  expect(f.ops[0]?.results[0]?.origin).toEqual(["a", "b"]);
  expect(f.resultNames).toEqual(["s", "steps of t"]);
});

test("constants keep their bytes: NaN payloads, odd counts of nibbles, large integers", () => {
  const g = new GraphBuilder();
  const results = [
    g.constant(f32, [1], inlineConstant(Uint8Array.of(1, 0, 0xc0, 0x7f))),
    g.constant(f32, [2], inlineConstant(Uint8Array.of(0, 0, 0, 0x80, 0, 0, 0, 0))),
    g.constant(u4, [3], inlineConstant(Uint8Array.of(0x21, 0x0f))),
    g.constant(i64, [1], inlineConstant(Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127))),
  ];
  const f = g.finish("constants", [], results);
  const back = parse(printGraph(f));
  const bytes = (x: GraphFunction) => x.ops.map((o) => Array.from((o.attrs["data"] as ReturnType<typeof inlineConstant>).read(0, 100)));
  expect(bytes(back)).toEqual(bytes(f));
});

describe("errors in texts name the place and the reason", () => {
  const wrap = (line: string) => `graph @g {\n  input %x: f32[2, 3]\n  ${line}\n  output %y\n}\n`;
  test.each([
    ["unknown op", "%y: f32[2, 3] = relu6(%x)", "graph.tw:3:19: there is no op 'relu6'"],
    ["unknown value", "%y: f32[2, 3] = neg(%z)", "graph.tw:3:23: '%z' is not defined here"],
    ["written type", "%y: f32[3, 2] = neg(%x)", "graph.tw:3:3: '%y' is written as f32[3, 2], but 'neg' gives f32[2, 3]"],
    ["missing attribute", "%y: f32[2, 3] = softmax(%x)", "misses attribute 'axis'"],
    ["unknown attribute", "%y: f32[2, 3] = softmax(%x) {axes = 1}", "graph.tw:3:32: 'softmax' has no attribute 'axes'; it has: axis"],
    ["kind of an attribute", "%y: f32[2, 3] = softmax(%x) {axis = 0.5}", "graph.tw:3:39: expected a whole number, got 0.5"],
    ["constraint", "%y: f32[2, 3] = softmax(%x) {axis = 2}", "C2: axis 2 of rank 2"],
    ["defined twice", "%x: f32[2, 3] = neg(%x)", "graph.tw:3:3: '%x' is defined twice"],
    ["number of results", "%y: f32[2, 3], %z: f32[2, 3] = neg(%x)", "'neg' has 1 results, 2 are written"],
    ["dims out of range", "%y: f32[2] = dot(%x, %x) {batchA = [], batchB = [], contractA = [7], contractB = [1]}", "graph.tw:3:16: "],
    ["elided constant", "%y: f32[100] = constant() {dtype = f32, dims = [100], data = elided(400)}", "this constant was too large to print"],
    ["elements of a constant", "%y: f32[3] = constant() {dtype = f32, dims = [3], data = values(1.0)}", "f32[3] has 3 elements, got 1"],
    ["escape", '%y: f32[2, 3] = neg(%x) from "\\x"', "escapes are those of JSON"],
    ["a wide dimension", `%y: f32[${Array.from({ length: 30 }, (_, i) => `(a${i} + b${i})`).join(" * ")}] = neg(%x)`, "more than 1000 terms"],
    ["a deep dimension", `%y: f32[${"(".repeat(5000)}1] = neg(%x)`, "nested more than 400 deep"],
  ])("%s", (_, line, message) => {
    expect(() => parse(wrap(line))).toThrow(message);
  });
});

describe("the verifier reports every violation, inside the text", () => {
  const build = (change: (f: GraphFunction) => GraphFunction): (() => void) => {
    const f = parse("graph @g {\n  input %x: f32[2]\n  %y: f32[2] = neg(%x)\n  %z: f32[2] = add(%x, %y)\n  output %z\n}\n");
    return () => verifyGraph(change(f), { after: "after a pass" });
  };
  test("a sound graph passes", () => {
    expect(build((f) => f)).not.toThrow();
  });
  test("use before definition (G1)", () => {
    expect(build((f) => ({ ...f, ops: [...f.ops].reverse() }))).toThrow(
      /%z: f32\[2\] = add\(%x, %y\)\n {2}\/\/ \^ %z: G1: operand %y is not defined here/,
    );
  });
  test("several at once, with the count", () => {
    const broken = build((f) => {
      const x = f.params[0] as Value;
      const y = new Value(9, "y", { dtype: f32, dims: [3] }, []);
      return { ...f, ops: [new Op(findOp("neg"), [x], [y], { extra: 1 }, []), ...f.ops.slice(1)], resultNames: [] };
    });
    try {
      broken();
      expect.unreachable();
    } catch (e) {
      expect(e).toBeInstanceOf(VerifyError);
      expect((e as VerifyError).violations).toEqual([
        "%y: G4: 'neg' has no attribute 'extra'",
        "%z: G1: operand %y is not defined here",
        "output: G8: 1 results have 0 names",
      ]);
      expect((e as VerifyError).message).toContain("3 violations in graph @g after a pass");
    }
  });
  test("types that inference does not give (G5)", () => {
    expect(
      build((f) => ({
        ...f,
        ops: [new Op(findOp("neg"), f.params, [new Value(9, "y", { dtype: f32, dims: [3] }, [])], {}, [])],
        results: [],
        resultNames: [],
      })),
    ).toThrow("G5: is f32[3], but 'neg' gives f32[2]");
  });
  test("constraints (G5)", () => {
    expect(
      build((f) => ({
        ...f,
        ops: [new Op(findOp("softmax"), f.params, [new Value(9, "y", { dtype: f32, dims: [2] }, [])], { axis: 5 }, [])],
        results: [],
        resultNames: [],
      })),
    ).toThrow("C2: axis 5 of rank 1");
  });
  test("names (G3), symbols (G7), what should be gone (G9)", () => {
    expect(build((f) => ({ ...f, params: [...f.params, new Value(7, "z", f.params[0] as Value, [])] }))).toThrow("G3: another value has this name");
    const symbolic = parse("graph @g {\n  symbol n\n  input %x: f32[n]\n  output %x\n}\n");
    expect(() => verifyGraph({ ...symbolic, symbols: [] })).toThrow("G7: symbol 'n' is not declared");
    expect(() => verifyGraph(parse(nested), { forbidden: (op) => (op.def.name === "scan" ? "scans are lowered by now" : null) })).toThrow(
      "G9: scans are lowered by now",
    );
  });
});

import { describe, expect, test } from "vitest";
import { randomSource } from "../../../test/support/values.ts";
import { visitCount } from "../../base/rewrite.ts";
import { f32 } from "../../base/dtype.ts";
import { Reader } from "../../base/text.ts";
import { GraphBuilder } from "../builder.ts";
import { hostFrom } from "../host.ts";
import { interpretGraph } from "../interpret.ts";
import type { GraphFunction, Value } from "../ir.ts";
import { parseGraph } from "../parse.ts";
import { printGraph } from "../print.ts";
import { verifyGraph } from "../verify.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { concatPrefixes } from "./concat-prefixes.ts";
import { deadCode } from "./dead-code.ts";
import { graphPasses } from "./pipeline.ts";
import { type GraphRule, applyGraphRules, ruleTable } from "./rules.ts";
import { simplify } from "./simplify.ts";

function parse(body: string): GraphFunction {
  const f = parseGraph(new Reader(`graph @example { ${body} }`));
  verifyGraph(f);
  return f;
}
function throughAll(f: GraphFunction, rules: Map<string, number> = new Map()): GraphFunction {
  return graphPasses.reduce((g, p) => p.run(g, rules), f);
}
const names = (f: GraphFunction): string[] => f.ops.map((o) => o.def.name);

describe("passes", () => {
  test("give the same object when there is nothing to do", () => {
    const f = parse("input %x: f32[n, 3] %y: f32[n, 3] = exp(%x) %z: f32[n] = reduce(%y) {monoid = add, axes = [1]} output %z");
    for (const p of graphPasses) expect(p.run(f, new Map()), p.name).toBe(f);
  });

  test("keep results that are parameters or are named twice", () => {
    const f = parse("input %x: f32[3] %a: f32[3] = reshape(%x) {dims = [3]} %b: f32[3] = neg(%x) %c: f32[3] = neg(%b) output %a, %c, %x");
    const g = throughAll(f);
    verifyGraph(g);
    expect(g.results).toEqual([f.params[0], f.params[0], f.params[0]]);
    expect(g.resultNames).toEqual(["a", "c", "x"]);
  });

  test("a region uses what is computed outside of it, and nothing moves into a loop", () => {
    const f = parse(`
      input %s: f32[3] input %x: f32[n, 3] input %k: f32[3]
      %outside: f32[3] = exp(%k)
      %t: f32[3], %ys: f32[n, 3] = scan(%s, %x) {states = 1, length = [n]}
      region (%a: f32[3], %b: f32[3]) {
        %inside: f32[3] = exp(%k)
        %zero: f32[] = constant() {dtype = f32, dims = [], data = values(0.0)}
        %zeros: f32[3] = broadcast(%zero) {dims = [3], map = []}
        %more: f32[3] = add(%inside, %zeros)
        %twice: f32[3] = neg(%outside)
        %back: f32[3] = neg(%twice)
        %c: f32[3] = add(%a, %more)
        %d: f32[3] = mul(%back, %b)
        yield %c, %d
      }
      output %t, %ys, %outside`);
    const g = throughAll(f);
    verifyGraph(g);
    expect(names(g)).toEqual(["exp", "scan"]);
    expect(g.ops[1]?.regions[0]?.ops.map((o) => o.def.name)).toEqual(["add", "mul"]);
    const random = randomSource(3);
    const inputs = [[3], [4, 3], [3]].map((dims) => hostFrom(f32, dims, () => random()));
    expect(interpretGraph(g, inputs)).toEqual(interpretGraph(f, inputs));
  });

  test("constants of 4 kB are folded, larger ones are left to the prepare program", () => {
    const product = (n: number): string[] => {
      const g = new GraphBuilder();
      const c = g.host(hostFrom(f32, [n], (i) => i));
      const x = g.param("x", { dtype: f32, dims: [n] });
      return names(simplify.run(g.finish("f", [], [g.one("add", [x, g.one("exp", [c])])]), new Map()));
    };
    expect(product(1024)).toEqual(["constant", "add"]);
    expect(product(1025)).toEqual(["constant", "exp", "add"]);
  });

  test("batch normalisation of more than 4 kB becomes work on constants only", () => {
    const g = new GraphBuilder();
    const x = g.param("x", { dtype: f32, dims: [1, 2] });
    const random = randomSource(5);
    const constant = (dims: readonly number[]) => g.host(hostFrom(f32, dims, () => random() + 0.5));
    const y = g.one("dot", [x, constant([2, 1500])], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
    const f = g.finish("f", [], [g.one("batch_norm", [y, ...[0, 1, 2, 3].map(() => constant([1500]))], { epsilon: 0.001 })]);
    const rules = new Map<string, number>();
    const folded = throughAll(f, rules);
    verifyGraph(folded);
    expect(rules.get("scale-into-weights")).toBe(1);
    const varying = new Set<Value>(folded.params);
    const atRunTime = folded.ops.filter((o) => o.operands.some((v) => varying.has(v)) && varying.add(o.results[0] as Value));
    expect(atRunTime.map((o) => o.def.name)).toEqual(["dot", "add"]);
    const input = hostFrom(f32, [1, 2], (i) => i - 0.7);
    const [wanted, got] = [interpretGraph(f, [input]), interpretGraph(folded, [input])];
    wanted[0]?.data.forEach((v, i) => {
      expect(Number(got[0]?.data[i])).toBeCloseTo(Number(v), 4);
    });
  });

  test("growing concatenations nest and stay nested; one with a single user is flat", () => {
    const f = parse(`
      input %x: f32[4] input %a: f32[2] input %b: f32[2] input %c: f32[2]
      %one: f32[6] = concat(%x, %a) {axis = 0} %two: f32[8] = concat(%x, %a, %b) {axis = 0} %three: f32[10] = concat(%x, %a, %b, %c) {axis = 0}
      %p: f32[6] = exp(%one) %q: f32[8] = exp(%two) %r: f32[10] = exp(%three) output %p, %q, %r`);
    const once = throughAll(f);
    const list = (g: GraphFunction) => g.ops.filter((o) => o.def.name === "concat").map((o) => o.operands.map((v) => v.name));
    expect(list(once)).toEqual([
      ["x", "a"],
      ["one", "b"],
      ["two", "c"],
    ]);
    expect(list(throughAll(once))).toEqual(list(once));
    const flat = parse(
      "input %x: f32[4] input %a: f32[2] %one: f32[6] = concat(%x, %a) {axis = 0} %two: f32[8] = concat(%one, %a) {axis = 0} output %two",
    );
    expect(list(throughAll(flat))).toEqual([["x", "a", "a"]]);
  });

  test("common subexpressions tell large constants apart by where they lie, small ones by content", () => {
    const bytes = new Uint8Array(8192);
    const constant = (g: GraphBuilder, key: string | null) => g.constant(f32, [2048], { byteLength: 8192, read: () => bytes, key });
    const count = (keys: readonly (string | null)[]): number => {
      const g = new GraphBuilder();
      const f = g.finish(
        "f",
        [],
        keys.map((k) => constant(g, k)),
      );
      return commonSubexpressions.run(f, new Map()).ops.length;
    };
    expect(count(["file@0", "file@0"])).toBe(1);
    expect(count(["file@0", "file@8192"])).toBe(2);
    expect(count([null, null])).toBe(2);
  });

  test("a rule that gives a value of another type is refused, by name", () => {
    const wrong: GraphRule = {
      name: "wrong",
      doc: "",
      roots: ["exp"],
      exactness: "exact",
      examples: [],
      rewrite: (op, m) => [m.g.reshape(op.operands[0] as Value, [3, 1])],
    };
    const f = parse("input %x: f32[3] %y: f32[3] = exp(%x) output %y");
    expect(() => applyGraphRules(f, ruleTable([wrong]), new Map())).toThrow(
      /rule 'wrong' replaces %y by %reshape: f32\[3, 1\], which is not f32\[3\]/,
    );
  });

  test("rules that undo each other come to an end, in a graph that is still right", () => {
    const swap = (from: string, to: string): GraphRule => ({
      name: `${from}-${to}`,
      doc: "",
      roots: [from],
      exactness: "exact",
      examples: [],
      rewrite: (op, m) => [m.g.one(to, op.operands)],
    });
    const f = parse("input %x: f32[3] %y: f32[3] = floor(%x) output %y");
    const rules = new Map<string, number>();
    const g = applyGraphRules(f, ruleTable([swap("floor", "ceil"), swap("ceil", "floor")]), rules);
    verifyGraph(g);
    expect(rules.get(visitCount)).toBeLessThan(100);
  });
});

/** Graphs of about n ops, with something for the rules to do in them. */
const shapes: Readonly<Record<string, (n: number) => GraphFunction>> = {
  "chain of elementwise ops"(n) {
    const g = new GraphBuilder();
    let x = g.param("x", { dtype: f32, dims: [4, 4] });
    for (let i = 0; i < n; i++) x = i % 3 === 0 ? g.one("add", [x, g.splat(f32, [4, 4], i % 7)]) : g.one(i % 3 === 1 ? "tanh" : "neg", [x]);
    return g.finish("chain", [], [x]);
  },
  "chain of constants added up"(n) {
    const g = new GraphBuilder();
    let x = g.param("x", { dtype: f32, dims: [4] });
    for (let i = 0; i < n; i++) x = g.one("add", [x, g.splat(f32, [4], 1)]);
    return g.finish("sum", [], [x]);
  },
  "chain with transposes that sink"(n) {
    const g = new GraphBuilder();
    let x = g.param("x", { dtype: f32, dims: [4, 4] });
    for (let i = 0; i < n; i++) x = i % 50 === 0 ? g.transpose(x, [1, 0]) : g.one("tanh", [x]);
    return g.finish("transposes", [], [x]);
  },
  "reshape above a chain"(n) {
    const g = new GraphBuilder();
    let x = g.reshape(g.param("x", { dtype: f32, dims: [4, 4] }), [16]);
    for (let i = 0; i < n; i++) x = g.one("tanh", [x]);
    return g.finish("reshape", [], [x]);
  },
  "wide graph"(n) {
    const g = new GraphBuilder();
    const x = g.param("x", { dtype: f32, dims: [4] });
    const parts = Array.from({ length: n }, (_, i) => g.one("mul", [g.one("exp", [x]), g.splat(f32, [4], i % 100)]));
    return g.finish("wide", [], [g.one("concat", parts, { axis: 0 })]);
  },
  "residual blocks"(n) {
    const g = new GraphBuilder();
    let x = g.param("x", { dtype: f32, dims: [4] });
    for (let i = 0; i < n; i += 3) x = g.one("add", [x, g.one("mul", [g.one("tanh", [x]), g.splat(f32, [4], 0.5)])]);
    return g.finish("residual", [], [x]);
  },
  "nested concatenations"(n) {
    const g = new GraphBuilder();
    const a = g.param("a", { dtype: f32, dims: [1] });
    let x = a;
    for (let i = 0; i < n / 4; i++) x = g.one("concat", [x, g.one("exp", [a])], { axis: 0 });
    return g.finish("concat", [], [x]);
  },
};

describe("work grows about linearly from 1,000 to 5,000 ops", () => {
  for (const [name, make] of Object.entries(shapes)) {
    test(name, () => {
      const work = (n: number): number => {
        const rules = new Map<string, number>();
        const f = make(n);
        verifyGraph(throughAll(f, rules));
        return rules.get(visitCount) ?? 0;
      };
      const [small, large] = [work(1000), work(5000)];
      expect(small).toBeGreaterThan(200);
      expect(large).toBeLessThan(small * 6);
    }, 60_000);
  }
});

test("40,000 ops in a row do not overflow the stack", () => {
  const f = (shapes["chain of elementwise ops"] as (n: number) => GraphFunction)(40_000);
  verifyGraph(throughAll(f));
  const dead = new GraphBuilder();
  let x = dead.param("x", { dtype: f32, dims: [] });
  const first = x;
  for (let i = 0; i < 40_000; i++) x = dead.one("exp", [x]);
  expect(deadCode.run(dead.finish("dead", [], [first]), new Map()).ops).toEqual([]);
  const constants = new GraphBuilder();
  let c = constants.host(hostFrom(f32, [2000], (i) => i));
  for (let i = 0; i < 40_000; i++) c = constants.one("neg", [c]);
  expect(simplify.run(constants.finish("constants", [], [c]), new Map()).ops.length).toBe(1);
}, 60_000);

test("the printed pipeline result reads back", () => {
  const f = (shapes["residual blocks"] as (n: number) => GraphFunction)(30);
  const g = throughAll(f);
  const back = parseGraph(new Reader(printGraph(g)));
  expect(printGraph(back)).toBe(printGraph(g));
  expect(concatPrefixes.run(back, new Map())).toBe(back);
});

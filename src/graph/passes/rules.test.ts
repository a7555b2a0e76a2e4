import { describe, expect, test } from "vitest";
import { randomSource } from "../../../test/support/values.ts";
import { evaluateDim } from "../../base/dim.ts";
import { type DType, bool, f32, i32 } from "../../base/dtype.ts";
import { Reader } from "../../base/text.ts";
import { findScalarOp } from "../../scalar/ops/table.ts";
import { GraphBuilder } from "../builder.ts";
import { type HostTensor, hostFrom } from "../host.ts";
import { interpretGraph } from "../interpret.ts";
import type { GraphFunction, Value } from "../ir.ts";
import { parseGraph } from "../parse.ts";
import { printGraph } from "../print.ts";
import { verifyGraph } from "../verify.ts";
import { elementwisePatterns } from "./algebra.ts";
import { type Pattern, type PatternRule, conditionValue } from "./patterns.ts";
import { graphPasses } from "./pipeline.ts";
import { recognitionRules } from "./recognition.ts";
import { type Exactness, type GraphRule, applyGraphRules, ruleTable } from "./rules.ts";
import { localRules, simplify } from "./simplify.ts";

const random = randomSource(11);
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

function parse(body: string): GraphFunction {
  const f = parseGraph(new Reader(`graph @example { ${body} }`));
  verifyGraph(f);
  return f;
}

/** Random values for the parameters; every symbol gets a size. */
function inputsOf(f: GraphFunction): HostTensor[] {
  const sizes = new Map(f.symbols.map((s) => [s.name, 2 + Math.floor(random() * 4)]));
  return f.params.map((p) =>
    hostFrom(
      p.dtype,
      p.dims.map((d) => evaluateDim(d, sizes)),
      () =>
        p.dtype.kind === "bool"
          ? Math.round(random())
          : p.dtype.isFloat
            ? random() * 6 - 3
            : p.dtype.bits === 64
              ? BigInt(Math.floor(random() * 19) - 9)
              : Math.floor(random() * 19) - 9,
    ),
  );
}

function expectClose(got: readonly HostTensor[], wanted: readonly HostTensor[], exactness: Exactness): void {
  expect(got.map((t) => [t.dtype.name, ...t.dims])).toEqual(wanted.map((t) => [t.dtype.name, ...t.dims]));
  wanted.forEach((w, k) => {
    const g = got[k] as HostTensor;
    const [made, expected] = [Array.from(g.data, Number), Array.from(w.data, Number)];
    const largest = Math.max(...expected.map(Math.abs).filter(Number.isFinite), 0);
    expected.forEach((b, i) => {
      const a = made[i] as number;
      if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return;
      if (exactness === "exact" || !(Math.abs(a - b) <= exactness.ulp * 2 ** -24 * largest)) expect.fail(`element ${i}: ${a}, expected ${b}`);
    });
  });
}

/** Applies one rule alone and expects that it fires; then all of them, and the whole pipeline: the values must stay. */
function tryRule(rule: GraphRule, f: GraphFunction): void {
  const fired = new Map<string, number>();
  const alone = applyGraphRules(f, ruleTable([rule]), fired);
  if (fired.get(rule.name) === undefined) expect.fail(`${rule.name} does not fire on\n${printGraph(f)}`);
  const results = [alone, simplify.run(f, new Map()), graphPasses.reduce((g, p) => p.run(g, new Map()), f)];
  for (let round = 0; round < 3; round++) {
    const inputs = inputsOf(f);
    const wanted = interpretGraph(f, inputs);
    results.forEach((g, k) => {
      verifyGraph(g);
      const bound: Exactness = k === 0 ? rule.exactness : { ulp: 256 };
      expectClose(interpretGraph(g, inputs), wanted, bound);
    });
  }
}

describe("every rule fires on its examples and keeps their values", () => {
  const names = new Set<string>();
  for (const rule of [...localRules, ...recognitionRules]) {
    test(rule.name, () => {
      expect(names.has(rule.name)).toBe(false);
      names.add(rule.name);
      if ("pattern" in rule) tryPattern(rule as PatternRule);
      else expect(rule.examples.length).toBeGreaterThan(0);
      for (const body of rule.examples) tryRule(rule, parse(body));
    });
  }
});

const constants = [0, 1, -1, 2, 0.5, 3, -2.5, 0.3, 8];

/** Builds the left side of a pattern on a dtype, with random constants; null where the types do not fit. */
class PatternInstance {
  readonly g = new GraphBuilder();
  private readonly named = new Map<string, Value>();
  readonly numbers = new Map<string, number>();
  build(p: Pattern, dtype: DType): Value | null {
    const { g } = this;
    if (p.kind === "literal") return g.splat(dtype, [2, 3], p.value);
    if (p.kind !== "op") {
      const old = this.named.get(p.name);
      if (old !== undefined) return old;
      const v = p.kind === "any" ? g.param(p.name, { dtype, dims: [2, 3] }) : g.splat(dtype, [2, 3], this.number(p.name, dtype));
      this.named.set(p.name, v);
      return v;
    }
    const args = p.args.map((a, i) => this.build(a, p.name === "select" && i === 0 ? bool : dtype));
    const op = findScalarOp(p.name);
    if (op === null || args.some((a) => a === null)) return null;
    const type = op.type(
      (args as Value[]).map((a) => a.dtype),
      null,
    );
    return "error" in type ? null : g.one(p.name, args as Value[]);
  }
  private number(name: string, dtype: DType): number {
    const v = dtype.kind === "bool" ? Math.round(random()) : dtype.isFloat ? pick(constants) : pick([0, 1, -1, 2, 5, 8]);
    this.numbers.set(name, v);
    return v;
  }
}

function tryPattern(rule: PatternRule): void {
  const { pattern } = rule;
  const wanted: { readonly [K in NonNullable<typeof pattern.where> | "all"]: readonly DType[] } = {
    int: [i32],
    float: [f32],
    bool: [bool],
    index: [],
    all: [f32, i32, bool],
  };
  let tried = 0;
  for (const dtype of wanted[pattern.where ?? "all"]) {
    const enough = tried + 6;
    for (let attempt = 0; attempt < 200 && tried < enough; attempt++) {
      const instance = new PatternInstance();
      const y = instance.build(pattern.from, dtype);
      if (y === null) break;
      if (pattern.condition !== null && conditionValue(pattern.condition, y.dtype, (n) => instance.numbers.get(n) ?? 0) === 0) continue;
      tried++;
      tryRule(rule, instance.g.finish("pattern", [], [y]));
    }
  }
  expect(tried).toBeGreaterThan(0);
}

test("patterns cover the text rules", () => {
  expect(elementwisePatterns.length).toBeGreaterThan(50);
});

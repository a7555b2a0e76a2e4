import { describe, expect, test } from "vitest";
import { evaluator } from "../../../test/support/evaluate.ts";
import { randomSource, valuesOf } from "../../../test/support/values.ts";
import { type DType, dtypes, f8e8m0 } from "../../base/dtype.ts";
import type { Num } from "../../base/numeric.ts";
import { type Expr, type Variable, variablesOf } from "../expr.ts";
import { type OpName, findScalarOp } from "../ops/table.ts";
import { Scalars } from "../scalars.ts";
import { type Rule, applyRule, applyRules, makeRuleBook, parseRules } from "./engine.ts";
import { simplifyBook, simplifyRules } from "./simplify.ts";

type Pattern = Rule["from"];
const random = randomSource(7);
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const smallConstants = [-16, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48];

/** Builds a rule's left side on a dtype: names become variables (with random ranges for index rules) or random constants. */
class Instance {
  readonly sc = new Scalars();
  private readonly names = new Map<string, Expr>();
  private readonly rule: Rule;
  private readonly dtype: DType;
  constructor(rule: Rule, dtype: DType) {
    this.rule = rule;
    this.dtype = dtype;
  }
  /** Null where the types do not fit. */
  build(p: Pattern, dtype: DType | null = this.dtype): Expr | null {
    if (p.kind === "literal") return dtype === null ? this.sc.bool(p.value !== 0) : this.sc.const(p.value, dtype);
    if (p.kind !== "op") {
      const old = this.names.get(p.name);
      const made = old ?? this.leaf(p, dtype);
      this.names.set(p.name, made);
      return made;
    }
    const op = findScalarOp(p.name);
    if (op === null) throw new Error(`no op ${p.name}`);
    // The first operand of a select is a truth value, whatever the dtype of the others.
    const args = p.args.map((a, i) => this.build(a, p.name === "select" && i === 0 ? null : dtype));
    if (args.some((a) => a === null)) return null;
    const fitting = args as Expr[];
    return "error" in
      op.type(
        fitting.map((a) => a.dtype),
        null,
      )
      ? null
      : this.sc.op(p.name as OpName, fitting);
  }
  private leaf(p: Pattern, dtype: DType | null): Expr {
    const index = this.rule.where === "index";
    if (dtype === null) return this.sc.var(this.sc.variable(p.name, this.sc.bool(true).dtype));
    if (p.kind === "constant") return this.sc.const(index || random() < 0.7 ? pick(smallConstants) : pick(valuesOf(dtype)), dtype);
    const [a, b] = [Math.floor(random() * 60) - 20, Math.floor(random() * 60) - 20];
    const range = index && random() < 0.8 ? { min: Math.min(a, b), max: Math.max(a, b) } : {};
    return this.sc.var(this.sc.variable(p.name, dtype, range));
  }
}

/** Every combination of interesting values, or a sample where there are too many. */
function assignments(variables: readonly Variable[]): Num[][] {
  const choices = variables.map((v) => {
    if (Number.isFinite(v.min)) return Array.from({ length: v.max - v.min + 1 }, (_, i) => v.min + i);
    // Index arithmetic does not overflow.
    return v.dtype.name === "i32" && v.name.startsWith("index") ? smallConstants : valuesOf(v.dtype);
  });
  const total = choices.reduce((n, c) => n * c.length, 1);
  if (total > 300) return Array.from({ length: 300 }, () => choices.map(pick));
  return choices.reduce<Num[][]>((rows, c) => rows.flatMap((r) => c.map((v) => [...r, v])), [[]]);
}

/** Unbounded index variables are named so that `assignments` keeps their values small. */
function indexed(rule: Rule): Rule {
  const rename = (p: Pattern): Pattern => ({ ...p, name: p.kind === "any" ? `index${p.name}` : p.name, args: p.args.map(rename) });
  return rule.where !== "index"
    ? rule
    : { ...rule, from: rename(rule.from), to: rename(rule.to), condition: rule.condition && rename(rule.condition) };
}

describe("every simplification keeps the value, bit for bit", () => {
  test.each(simplifyRules.map((r) => [r.name, indexed(r)] as const))("%s", (_, rule) => {
    let fired = 0;
    // Scales of blocks, which have no sign and no 0: no op computes with them.
    for (const dtype of dtypes.filter((d) => d !== f8e8m0)) {
      for (let attempt = 0; attempt < (rule.condition === null ? 12 : 400); attempt++) {
        const instance = new Instance(rule, dtype);
        const before = instance.build(rule.from);
        if (before === null || before.op !== rule.from.name) continue;
        const after = applyRule(rule, instance.sc, before);
        if (after === null) continue;
        expect(after.dtype).toBe(before.dtype);
        fired++;
        const variables = [...variablesOf(before)];
        const [f, g] = [evaluator(before, variables), evaluator(after, variables)];
        for (const values of assignments(variables)) {
          const [x, y] = [f(values), g(values)];
          if (!Object.is(x, y))
            expect.fail(`${rule.text} on ${dtype}: ${variables.map((v, i) => `${v.name} = ${values[i]}`)}: ${String(x)} became ${String(y)}`);
        }
      }
    }
    expect(fired, "the rule was never tried").toBeGreaterThan(0);
  });
});

describe("rule books", () => {
  test("find rules by the first operand's op, in the order given", () => {
    const rules = parseRules([
      { name: "a", rule: "max(min(x, c0), c1) => x" },
      { name: "b", rule: "max(x, 0) => x" },
      { name: "c", rule: "max(abs(x), y) => y" },
      { name: "d", rule: "max(1, x) => x" },
    ]);
    const book = makeRuleBook(rules);
    const sc = new Scalars();
    const x = sc.var(sc.variable("x"));
    const names = (e: Expr) => book.candidates(e).map((c) => c.rule.name);
    expect(names(sc.max(sc.min(x, sc.int(3)), x))).toEqual(["a", "b"]);
    expect(names(sc.max(sc.op("abs", [x]), x))).toEqual(["b", "c"]);
    expect(names(sc.max(x, x))).toEqual(["b"]);
    expect(names(sc.min(x, x))).toEqual([]);
    expect(applyRules(book, sc, sc.max(x, sc.int(0)))).toBe(x);
    expect(sc.fired).toEqual(new Map([["b", 1]]));
  });

  test("names that occur twice must match the same expression", () => {
    const sc = new Scalars(simplifyBook);
    const [x, y] = [sc.var(sc.variable("x")), sc.var(sc.variable("y"))];
    expect(sc.sub(x, x).isConst(0)).toBe(true);
    expect(sc.sub(x, y).op).toBe("sub");
  });

  test("rules apply to vectors, whose constants are broadcast", () => {
    const sc = new Scalars(simplifyBook);
    const x = sc.var(sc.variable("x", undefined, { lanes: 4 }));
    expect(sc.op("mul", [x, sc.int(1)])).toBe(x);
    expect(sc.op("xor", [x, x])).toBe(sc.broadcast(sc.int(0), 4));
  });

  test("a rule that does not parse is an error that names it", () => {
    expect(() => parseRules([{ name: "broken", rule: "x + => x" }])).toThrow(/broken/);
    expect(() => parseRules([{ name: "unknown", rule: "frobnicate(x) => x" }])).toThrow(/unknown/);
    expect(() => makeRuleBook(parseRules([{ name: "unbound", rule: "x + 0 => y" }]))).toThrow(/unbound name 'y'/);
  });

  test("simplification ends: what a rule made is in normal form", () => {
    const sc = new Scalars(simplifyBook);
    const x = sc.var(sc.variable("x", undefined, { min: 0, max: 99 }));
    let e: Expr = x;
    for (let i = 1; i < 200; i++) e = sc.op(pick(["add", "sub", "mul", "mod", "floordiv", "min", "max"] as const), [e, sc.int((i % 13) + 1)]);
    for (const name of ["add", "sub", "mul"] as const) {
      const once = sc.op(name, [e, x]);
      expect(sc.rebuild([once], () => null)[0]).toBe(once);
    }
  });
});

import { type DType, f64 } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import { largestFinite, roundTo } from "../../base/numeric.ts";
import { findScalarOp } from "../../scalar/ops/table.ts";
import { type Rule, type RuleText, fits, parseRules } from "../../scalar/rules/engine.ts";
import type { Op, Value } from "../ir.ts";
import type { Exactness, GraphRule, Matcher } from "./rules.ts";

/**
 * Rules on elementwise ops written as text, in the syntax that scalar rules have: `"(x * c0) * c1 => x * (c0 * c1)"`. Names
 * `c…` match values that are one known number throughout; literals match that number; other names match anything. The
 * operands of commutative ops match in both orders. Conditions compute with the constants; `invertible(c)` says that 1/c
 * is exact, `normal(c)` that c is a normal number of the root's dtype.
 */
export interface PatternText extends RuleText {
  readonly exactness: Exactness;
}
export type Pattern = Rule["from"];
export interface PatternRule extends GraphRule {
  readonly pattern: Rule;
}

type Bindings = ReadonlyMap<string, Value>;
const unbound: Bindings = new Map();

export function patternRules(texts: readonly PatternText[]): PatternRule[] {
  return parseRules(texts).map((parsed, i) => {
    const rule = { ...parsed, from: foldSigns(parsed.from), to: foldSigns(parsed.to) };
    return {
      name: rule.name,
      doc: rule.text,
      roots: [rule.from.name],
      exactness: (texts[i] as PatternText).exactness,
      examples: [],
      pattern: rule,
      rewrite: (op, m) => apply(rule, op, m),
    };
  });
}

/** `-inf` reads as a negation of a literal: make it a literal. */
function foldSigns(p: Pattern): Pattern {
  const args = p.args.map(foldSigns);
  const [only] = args;
  if (p.name === "neg" && only?.kind === "literal") return { ...only, value: -only.value };
  return { ...p, args };
}

function apply(rule: Rule, op: Op, m: Matcher): readonly Value[] | null {
  const [root] = op.results;
  const subject = op.operands[op.def.name === "select" ? 1 : 0];
  if (root === undefined || subject === undefined || !fits(rule.where, subject.dtype)) return null;
  // Arithmetic that is assumed not to overflow: true of indices, not of data.
  if (rule.where === "index") return null;
  const b = matchOp(rule.from, op, m, unbound);
  if (b === null || (rule.condition !== null && conditionValue(rule.condition, root.dtype, (n) => numberOf(m, b, n)) === 0)) return null;
  return [build(rule.to, m, b, root, root.dtype)];
}

function matchOp(p: Pattern, op: Op | undefined, m: Matcher, b: Bindings): Bindings | null {
  if (op === undefined || op.def.name !== p.name) return null;
  const straight = matchAll(p.args, op.operands, m, b);
  if (straight !== null || p.args.length !== 2 || findScalarOp(p.name)?.commutative !== true) return straight;
  return matchAll(p.args, [op.operands[1] as Value, op.operands[0] as Value], m, b);
}
/** What ends a match soonest comes first: numbers, then ops, then what matches anything. */
const checkOrder: readonly (readonly Pattern["kind"][])[] = [["literal", "constant"], ["op"], ["any"]];

function matchAll(patterns: readonly Pattern[], values: readonly Value[], m: Matcher, b: Bindings): Bindings | null {
  let bound: Bindings | null = b;
  for (const kinds of checkOrder) {
    for (let i = 0; i < patterns.length; i++) {
      const p = patterns[i] as Pattern;
      if (!kinds.includes(p.kind)) continue;
      bound = matchValue(p, values[i] as Value, m, bound);
      if (bound === null) return null;
    }
  }
  return bound;
}
function matchValue(p: Pattern, v: Value, m: Matcher, b: Bindings): Bindings | null {
  switch (p.kind) {
    case "literal":
      return m.isSplat(v, p.value) ? b : null;
    case "constant":
      return m.splat(v) === null ? null : bind(p.name, v, b);
    case "any":
      return bind(p.name, v, b);
    case "op":
      return matchOp(p, m.def(v), m, b);
    default:
      throw p.kind satisfies never;
  }
}
function bind(name: string, v: Value, b: Bindings): Bindings | null {
  const old = b.get(name);
  if (old !== undefined) return old === v ? b : null;
  return new Map(b).set(name, v);
}

/** Builds the right side; a literal takes the dtype of its siblings, or of the whole. */
function build(p: Pattern, m: Matcher, b: Bindings, like: Value, dtype: DType): Value {
  if (p.kind === "literal") return m.g.splat(dtype, like.dims, p.value);
  if (p.kind !== "op") return bound(b, p.name);
  const typed = p.args.map((a) => (a.kind === "literal" ? null : build(a, m, b, like, dtype)));
  const sibling = typed.find((a, i) => a !== null && (p.name !== "select" || i > 0))?.dtype ?? dtype;
  return m.g.one(
    p.name,
    p.args.map((a, i) => typed[i] ?? build(a, m, b, like, sibling)),
  );
}

function bound(b: Bindings, name: string): Value {
  const v = b.get(name);
  if (v === undefined) throw new InternalError("rule", `unbound name '${name}'`);
  return v;
}
function numberOf(m: Matcher, b: Bindings, name: string): number {
  return Number(m.splat(bound(b, name)));
}

/** Smallest normal number and largest finite one of the float dtypes. */
const floatRange: Readonly<Record<string, readonly [number, number]>> = {
  f32: [2 ** -126, 3.4e38],
  f64: [2 ** -1022, 1.79e308],
};
function isNormal(d: DType, v: number): boolean {
  const own = d.format === null ? floatRange[d.name] : ([2 ** (1 - d.format.bias), largestFinite(d.format)] as const);
  const [low, high] = own ?? [0, Number.POSITIVE_INFINITY];
  return Math.abs(v) >= low && Math.abs(v) <= high;
}

/** Value of a condition; true is 1. */
export function conditionValue(p: Pattern, dtype: DType, constant: (name: string) => number): number {
  if (p.kind === "literal") return p.value;
  if (p.kind !== "op") return constant(p.name);
  const args = p.args.map((a) => conditionValue(a, dtype, constant));
  const [x, y] = args as [number, number];
  if (p.name === "&&") return x !== 0 && y !== 0 ? 1 : 0;
  if (p.name === "||") return x !== 0 || y !== 0 ? 1 : 0;
  if (p.name === "normal") return isNormal(dtype, x) ? 1 : 0;
  if (p.name === "invertible")
    return Number.isInteger(Math.log2(Math.abs(x))) && isNormal(dtype, x) && isNormal(dtype, 1 / x) && roundTo(dtype, 1 / x) === 1 / x ? 1 : 0;
  const op = findScalarOp(p.name);
  if (op === null) throw new InternalError("rule", `a condition uses the unknown '${p.name}'`);
  return Number(
    op.evaluate(
      args,
      f64,
      args.map(() => f64),
    ),
  );
}

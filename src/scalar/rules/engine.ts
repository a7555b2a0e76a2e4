import { type DType, dtypes, f64 } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import { roundTo } from "../../base/numeric.ts";
import { Reader } from "../../base/text.ts";
import type { Expr } from "../expr.ts";
import { rangeOf } from "../index.ts";
import { type OpName, findScalarOp, scalarOps } from "../ops/table.ts";
import type { Scalars } from "../scalars.ts";

/**
 * Rewrite rules on scalar expressions, written as text: `"x * 1 => x"`, `"(x + c0) + c1 => x + (c0 + c1)"`,
 * `"mod(x, c0) => x if min(x) >= 0 && max(x) < c0"`. Names `c…` match constants, other names match anything; a name that
 * occurs twice must match the same expression. Literals match constants of that value in any dtype, zeros of their sign. `where` limits a
 * rule to dtypes; conditions are evaluated on the constants and on the ranges of the operands.
 */
export interface RuleText {
  readonly name: string;
  readonly rule: string;
  /** `int`: integers only; `float`: floats only; `index`: i32 (arithmetic that is assumed not to overflow). */
  readonly where?: "int" | "float" | "index" | "bool";
}

interface Pattern {
  readonly kind: "op" | "any" | "constant" | "literal";
  readonly name: string;
  readonly value: number;
  readonly args: readonly Pattern[];
}
export interface Rule {
  readonly name: string;
  readonly text: string;
  readonly where: RuleText["where"] | null;
  readonly from: Pattern;
  readonly to: Pattern;
  readonly condition: Pattern | null;
}
const leaf = (kind: Pattern["kind"], name: string, value = 0): Pattern => ({ kind, name, value, args: [] });
const binary: Readonly<Record<string, readonly [string, number]>> = {
  "||": ["||", 0],
  "&&": ["&&", 1],
  ...Object.fromEntries(Object.values(scalarOps).flatMap((o) => (o.infix === undefined ? [] : [[o.infix.symbol, [o.name, o.infix.precedence + 1]]]))),
};

function parsePattern(r: Reader, level = 0): Pattern {
  let left = parsePrimary(r);
  for (;;) {
    const entry = r.peek().kind === "punct" ? binary[r.peek().text] : undefined;
    if (entry === undefined || entry[1] < level) return left;
    r.next();
    left = { kind: "op", name: entry[0], value: 0, args: [left, parsePattern(r, entry[1] + 1)] };
  }
}

function parsePrimary(r: Reader): Pattern {
  if (r.accept("(")) {
    const p = parsePattern(r);
    r.expect(")");
    return p;
  }
  if (r.accept("-"))
    return r.peek().kind === "number" ? leaf("literal", "", -r.number()) : { kind: "op", name: "neg", value: 0, args: [parsePrimary(r)] };
  if (r.peek().kind === "number") return leaf("literal", "", r.number());
  const name = r.name();
  if (r.is("(")) return { kind: "op", name, value: 0, args: r.list("(", ")", () => parsePattern(r)) };
  if (name === "inf") return leaf("literal", "", Number.POSITIVE_INFINITY);
  return leaf(/^c\d*$/.test(name) ? "constant" : "any", name);
}

/** Parses rules; throws InternalError on one that does not parse or names an unknown op. */
export function parseRules(texts: readonly RuleText[]): Rule[] {
  return texts.map((t) => {
    const r = new Reader(t.rule.replace("=>", ";"), `rule ${t.name}`);
    const from = parsePattern(r);
    r.expect(";");
    const to = parsePattern(r);
    const condition = r.accept("if") ? parsePattern(r) : null;
    if (r.peek().kind !== "end" || from.kind !== "op" || findScalarOp(from.name) === null)
      throw new InternalError("rule", `rule '${t.name}' does not parse: ${t.rule}`);
    return { name: t.name, text: t.rule, where: t.where ?? null, from, to, condition };
  });
}

/** Matched sub-expressions by slot; names get their slots when a rule is compiled. */
type Slots = Expr[];
type Matcher = (e: Expr, slots: Slots) => boolean;
type Condition = (slots: Slots) => number;
type Builder = (sc: Scalars, slots: Slots, d: DType) => Expr;

/** A rule made ready to run: matching allocates nothing, and ends at the first node that differs. */
export interface CompiledRule {
  readonly rule: Rule;
  /** By dtype index: does the rule apply to it? */
  readonly allowed: readonly boolean[];
  readonly match: Matcher;
  readonly condition: Condition | null;
  readonly build: Builder;
}

function compileRule(rule: Rule): CompiledRule {
  const slots = new Map<string, number>();
  const match = compilePattern(rule.from, slots);
  return {
    rule,
    allowed: dtypes.map((d) => fits(rule.where, d)),
    match,
    condition: rule.condition === null ? null : compileCondition(rule.condition, slots),
    build: compileBuild(rule.to, slots),
  };
}

/** Cheap tests come first: constants, then operators, then what matches anything. */
const checkOrder: { readonly [K in Pattern["kind"]]: number } = { literal: 0, constant: 1, op: 2, any: 3 };

function compilePattern(p: Pattern, slots: Map<string, number>): Matcher {
  switch (p.kind) {
    case "literal":
      return compileLiteral(p.value);
    case "constant":
    case "any": {
      const known = slots.get(p.name);
      const slot = known ?? slots.size;
      slots.set(p.name, slot);
      const constant = p.kind === "constant";
      if (known !== undefined) return (e, s) => s[slot] === e;
      return (e, s) => {
        if (constant && e.constant === null) return false;
        s[slot] = e;
        return true;
      };
    }
    case "op": {
      const order = p.args.map((_, i) => i).sort((i, k) => checkOrder[(p.args[i] as Pattern).kind] - checkOrder[(p.args[k] as Pattern).kind]);
      const matchers = order.map((i) => compilePattern(p.args[i] as Pattern, slots));
      return (e, s) => {
        if (e.op !== p.name) return false;
        for (let i = 0; i < matchers.length; i++) if (!(matchers[i] as Matcher)(e.args[order[i] as number] as Expr, s)) return false;
        return true;
      };
    }
    default:
      throw p.kind satisfies never;
  }
}

/** Zeros match by their sign: `x - 0` is x for every float, `x - -0.0` is not. */
function compileLiteral(value: number): Matcher {
  const big = Number.isInteger(value) ? BigInt(value) : null;
  return (e) => {
    const c = e.constant;
    return typeof c === "bigint" ? c === big : c !== null && Object.is(c, value);
  };
}

function slotOf(slots: ReadonlyMap<string, number>, name: string): number {
  const slot = slots.get(name);
  if (slot === undefined) throw new InternalError("rule", `unbound name '${name}'`);
  return slot;
}

/** Builds the right side. A literal takes the dtype of its siblings, or of the whole. */
function compileBuild(p: Pattern, slots: ReadonlyMap<string, number>): Builder {
  if (p.kind === "literal") return (sc, _, d) => sc.const(p.value, d);
  if (p.kind !== "op") {
    const slot = slotOf(slots, p.name);
    return (_, s) => s[slot] as Expr;
  }
  const builders = p.args.map((a) => compileBuild(a, slots));
  const op = p.name as OpName;
  return (sc, s, d) => {
    const typed = p.args.map((a, i) => (a.kind === "literal" ? null : (builders[i] as Builder)(sc, s, d)));
    const sibling = typed.find((a, i) => a !== null && (op !== "select" || i > 0))?.dtype ?? d;
    return sc.op(
      op,
      builders.map((b, i) => typed[i] ?? b(sc, s, sibling)),
      d,
    );
  };
}

/** A condition: arithmetic on the constants (in f64), `min(x)` and `max(x)` as bounds of x's range, `invertible(c)`: is 1/c exact? */
function compileCondition(p: Pattern, slots: ReadonlyMap<string, number>): Condition {
  if (p.kind === "literal") return () => p.value;
  if (p.kind !== "op") {
    const slot = slotOf(slots, p.name);
    return (s) => Number((s[slot] as Expr).constant ?? Number.NaN);
  }
  const [first] = p.args as [Pattern];
  if (p.args.length === 1 && (p.name === "min" || p.name === "max")) {
    const [slot, end] = [slotOf(slots, first.name), p.name === "min" ? 0 : 1];
    return (s) => rangeOf(s[slot] as Expr)[end] as number;
  }
  if (p.name === "invertible") {
    const slot = slotOf(slots, first.name);
    return (s) => (invertible(s[slot] as Expr) ? 1 : 0);
  }
  const args = p.args.map((a) => compileCondition(a, slots));
  const [x, y] = args as [Condition, Condition];
  if (p.name === "&&") return (s) => (x(s) !== 0 && y(s) !== 0 ? 1 : 0);
  if (p.name === "||") return (s) => (x(s) !== 0 || y(s) !== 0 ? 1 : 0);
  const op = findScalarOp(p.name);
  if (op === null) throw new InternalError("rule", `a condition uses the unknown '${p.name}'`);
  const types = args.map(() => f64);
  return (s) =>
    Number(
      op.evaluate(
        args.map((a) => a(s)),
        f64,
        types,
      ),
    );
}

/** Has the constant a reciprocal that is exact and, in its dtype, no subnormal: a power of two? */
function invertible(e: Expr): boolean {
  const c = Math.abs(Number(e.constant));
  const low = e.dtype.format !== null ? 2 ** (1 - e.dtype.format.bias) : e.dtype.name === "f64" ? 2 ** -1022 : 2 ** -126;
  return Number.isInteger(Math.log2(c)) && 2 ** Math.log2(c) === c && c >= low && 1 / c >= low && Number(roundTo(e.dtype, 1 / c)) === 1 / c;
}

/** Rules of one root: by the op of the first operand, where a pattern names it. */
interface RootRules {
  readonly byFirst: ReadonlyMap<string, readonly CompiledRule[]>;
  readonly other: readonly CompiledRule[];
}

/** Compiled rules, found by the op of the root and of its first operand, in the order they were given. */
export class RuleBook {
  private readonly roots = new Map<string, RootRules>();

  constructor(rules: readonly Rule[]) {
    const compiled = rules.map(compileRule);
    for (const root of new Set(rules.map((r) => r.from.name))) {
      const mine = compiled.filter((c) => c.rule.from.name === root);
      const firsts = new Set(["const", "broadcast", ...mine.map((c) => (c.rule.from.args[0] as Pattern).name)]);
      const fitting = (first: string | null): CompiledRule[] => mine.filter((c) => mayStartWith(c.rule.from.args[0] as Pattern, first));
      this.roots.set(root, { byFirst: new Map([...firsts].map((f) => [f, fitting(f)])), other: fitting(null) });
    }
  }

  /** Rules that may fit at the root of `e`. */
  candidates(e: Expr): readonly CompiledRule[] {
    const root = this.roots.get(e.op);
    if (root === undefined) return none;
    return root.byFirst.get((e.args[0] as Expr).op) ?? root.other;
  }
}
const none: readonly CompiledRule[] = [];

/** May the first operand of a match be of op `first` (null: one that no pattern names)? */
function mayStartWith(p: Pattern, first: string | null): boolean {
  switch (p.kind) {
    case "any":
      return true;
    case "op":
      return p.name === first;
    case "literal":
    case "constant":
      return first === "const" || first === "broadcast";
    default:
      throw p.kind satisfies never;
  }
}

export function makeRuleBook(rules: readonly Rule[]): RuleBook {
  return new RuleBook(rules);
}

/** Does a rule's limit take the dtype? `index`: the dtype of indices, where there are any. */
export function fits(where: Rule["where"], d: DType): boolean {
  switch (where) {
    case null:
    case undefined:
      return true;
    case "int":
      return d.isInteger;
    case "index":
      return d.name === "i32";
    case "float":
      return d.isFloat;
    case "bool":
      return d.kind === "bool";
    default:
      throw where satisfies never;
  }
}

const scratch: Slots = [];

function applyCompiled(c: CompiledRule, sc: Scalars, e: Expr): Expr | null {
  const subject = (e.args[e.op === "select" ? 1 : 0] ?? e).dtype;
  if (c.allowed[subject.index] !== true || !c.match(e, scratch)) return null;
  if (c.condition !== null && c.condition(scratch) === 0) return null;
  // Building applies rules in turn, which use the scratch slots.
  const out = c.build(sc, scratch.slice(), e.dtype);
  return out.lanes === e.lanes ? out : sc.broadcast(out, e.lanes);
}

/** One attempt of one rule at the root of `e`; null when it does not fit. */
export function applyRule(rule: Rule, sc: Scalars, e: Expr): Expr | null {
  return applyCompiled(compileRule(rule), sc, e);
}

/** Rewrites the root by the first rule that fits; operands are already in normal form, and so is what the rule builds. */
export function applyRules(book: RuleBook, sc: Scalars, e: Expr): Expr {
  for (const c of book.candidates(e)) {
    const out = applyCompiled(c, sc, e);
    if (out !== null && out !== e) {
      sc.fired.set(c.rule.name, (sc.fired.get(c.rule.name) ?? 0) + 1);
      return out;
    }
  }
  return e;
}

import { type DType, f64 } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import type { Num } from "../../base/numeric.ts";
import { Reader } from "../../base/text.ts";
import type { Expr, LeafName } from "../expr.ts";
import { rangeOf } from "../index.ts";
import { type OpName, findScalarOp, scalarOps } from "../ops/table.ts";
import type { Scalars } from "../scalars.ts";

/**
 * Rewrite rules on scalar expressions, written as text: `"x * 1 => x"`, `"(x + c0) + c1 => x + (c0 + c1)"`,
 * `"mod(x, c0) => x if min(x) >= 0 && max(x) < c0"`. Names `c…` match constants, other names match anything; a name that
 * occurs twice must match the same expression. Literals match constants of that value in any dtype. `where` limits a
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
export type RuleBook = ReadonlyMap<OpName | LeafName, readonly Rule[]>;

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
  if (r.accept("-")) return r.peek().kind === "number" ? leaf("literal", "", -r.number()) : { kind: "op", name: "neg", value: 0, args: [parsePrimary(r)] };
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
    if (r.peek().kind !== "end" || from.kind !== "op" || findScalarOp(from.name) === null) throw new InternalError("rule", `rule '${t.name}' does not parse: ${t.rule}`);
    return { name: t.name, text: t.rule, where: t.where ?? null, from, to, condition };
  });
}

export function makeRuleBook(rules: readonly Rule[]): RuleBook {
  const book = new Map<OpName | LeafName, Rule[]>();
  for (const r of rules) {
    const key = r.from.name as OpName;
    const list = book.get(key);
    if (list === undefined) book.set(key, [r]);
    else list.push(r);
  }
  return book;
}

type Bindings = Map<string, Expr>;

function matches(p: Pattern, e: Expr, b: Bindings): boolean {
  switch (p.kind) {
    case "literal":
      return e.constant !== null && Number(e.constant) === p.value;
    case "constant":
      if (e.constant === null) return false;
      return bind(p.name, e, b);
    case "any":
      return bind(p.name, e, b);
    case "op":
      return e.op === p.name && p.args.every((a, i) => matches(a, e.args[i] as Expr, b));
    default:
      throw p.kind satisfies never;
  }
}
function bind(name: string, e: Expr, b: Bindings): boolean {
  const old = b.get(name);
  if (old !== undefined) return old === e;
  b.set(name, e);
  return true;
}

function fits(where: Rule["where"], d: DType): boolean {
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

/** Builds the right side. A literal takes the dtype of its siblings, or of the whole. */
function build(p: Pattern, sc: Scalars, b: Bindings, d: DType): Expr {
  if (p.kind === "literal") return sc.const(p.value, d);
  if (p.kind !== "op") {
    const e = b.get(p.name);
    if (e === undefined) throw new InternalError("rule", `unbound name '${p.name}'`);
    return e;
  }
  const typed = p.args.map((a) => (a.kind === "literal" ? null : build(a, sc, b, d)));
  const sibling = typed.find((a) => a !== null && (p.name !== "select" || a !== typed[0]))?.dtype ?? d;
  const args = p.args.map((a, i) => typed[i] ?? build(a, sc, b, sibling));
  return sc.op(p.name as OpName, args, d);
}

/** Value of a condition: numbers over constants, `min(x)` and `max(x)` as bounds of x's range, `isInt(c)`. */
function holds(p: Pattern, b: Bindings): number {
  const bound = (n: string): Num => {
    const c = b.get(n)?.constant;
    if (c === undefined || c === null) throw new InternalError("rule", `condition reads '${n}', which is no constant`);
    return c;
  };
  switch (p.kind) {
    case "literal":
      return p.value;
    case "constant":
    case "any":
      return Number(bound(p.name));
    case "op": {
      const [x, y] = p.args as [Pattern, Pattern];
      if (p.name === "&&") return holds(x, b) !== 0 && holds(y, b) !== 0 ? 1 : 0;
      if (p.name === "||") return holds(x, b) !== 0 || holds(y, b) !== 0 ? 1 : 0;
      if (p.args.length === 1 && (p.name === "min" || p.name === "max")) {
        const r = rangeOf(b.get(x.name) as Expr);
        return p.name === "min" ? r[0] : r[1];
      }
      const op = findScalarOp(p.name);
      if (op === null) throw new InternalError("rule", `condition uses unknown '${p.name}'`);
      const values = p.args.map((a) => holds(a, b));
      return Number(op.evaluate(values, f64, values.map(() => f64)));
    }
    default:
      throw p.kind satisfies never;
  }
}

/** One attempt of one rule at the root of `e`; null when it does not fit. */
export function applyRule(rule: Rule, sc: Scalars, e: Expr): Expr | null {
  const subject = (e.args[e.op === "select" ? 1 : 0] ?? e).dtype;
  if (!fits(rule.where, subject)) return null;
  const b: Bindings = new Map();
  if (!matches(rule.from, e, b)) return null;
  if (rule.condition !== null && holds(rule.condition, b) === 0) return null;
  const out = build(rule.to, sc, b, e.dtype);
  return out.lanes === e.lanes ? out : sc.broadcast(out, e.lanes);
}

/** Rewrites the root until no rule fits; operands are already in normal form. */
export function applyRules(book: RuleBook, sc: Scalars, e: Expr): Expr {
  for (const rule of book.get(e.op) ?? []) {
    const out = applyRule(rule, sc, e);
    if (out !== null && out !== e) {
      sc.fired.set(rule.name, (sc.fired.get(rule.name) ?? 0) + 1);
      return out;
    }
  }
  return e;
}

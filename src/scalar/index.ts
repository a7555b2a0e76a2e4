import type { Expr, Variable } from "./expr.ts";
import type { Scalars } from "./scalars.ts";

/**
 * Reasoning about index expressions (i32, assumed not to overflow): ranges, a polynomial normal form, and division with
 * remainder of such forms, which turns what reshapes leave behind into plain affine indices.
 */

const unknown: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
const times = (a: number, b: number) => (a === 0 || b === 0 ? 0 : a * b);

/** Bounds of an integer expression's values, both inclusive; ±Infinity where unknown. */
export function rangeOf(e: Expr): readonly [number, number] {
  if (e.range === null) e.range = computeRange(e);
  return e.range;
}

function computeRange(e: Expr): readonly [number, number] {
  if (e.constant !== null) {
    const v = Number(e.constant);
    return [v, v];
  }
  if (e.op === "var") return [(e.attr as Variable).min, (e.attr as Variable).max];
  if (e.dtype.kind === "bool") return [0, 1];
  if (e.dtype.isFloat || e.lanes > 1) return unknown;
  const [a, b] = e.args.map(rangeOf) as [readonly [number, number], readonly [number, number]];
  switch (e.op) {
    case "add":
      return [a[0] + b[0], a[1] + b[1]];
    case "sub":
      return [a[0] - b[1], a[1] - b[0]];
    case "mul": {
      const ends = [times(a[0], b[0]), times(a[0], b[1]), times(a[1], b[0]), times(a[1], b[1])];
      return [Math.min(...ends), Math.max(...ends)];
    }
    case "min":
      return [Math.min(a[0], b[0]), Math.min(a[1], b[1])];
    case "max":
      return [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
    case "floordiv":
    case "div":
      return b[0] > 0 && a[0] >= 0
        ? [Math.floor(a[0] / b[1]), Math.floor(a[1] / b[0])]
        : b[0] === b[1] && b[0] > 0 && e.op === "floordiv"
          ? [Math.floor(a[0] / b[0]), Math.floor(a[1] / b[0])]
          : unknown;
    case "mod":
      return b[0] > 0 ? [0, Math.min(b[1] - 1, a[0] >= 0 ? a[1] : Number.POSITIVE_INFINITY)] : unknown;
    case "rem":
      return b[0] > 0 && a[0] >= 0 ? [0, Math.min(b[1] - 1, a[1])] : unknown;
    case "select": {
      const [x, y] = [rangeOf(e.args[1] as Expr), rangeOf(e.args[2] as Expr)];
      return [Math.min(x[0], y[0]), Math.max(x[1], y[1])];
    }
    default:
      return unknown;
  }
}

/** A monomial: a coefficient times atoms (expressions that are no sum, product or constant), sorted by id. */
export interface Monomial {
  readonly coef: number;
  readonly atoms: readonly Expr[];
}
/** A sum of monomials with distinct atom lists, keyed by their ids; the constant has key "". */
export type Polynomial = ReadonlyMap<string, Monomial>;

const keyOf = (atoms: readonly Expr[]) => atoms.map((a) => a.id).join(",");

function addInto(sum: Map<string, Monomial>, coef: number, atoms: readonly Expr[]): void {
  const key = keyOf(atoms);
  const c = (sum.get(key)?.coef ?? 0) + coef;
  if (c === 0) sum.delete(key);
  else sum.set(key, { coef: c, atoms });
}

/** The polynomial normal form of an i32 expression. */
export function polynomialOf(e: Expr): Polynomial {
  if (e.polynomial !== null) return e.polynomial;
  const sum = new Map<string, Monomial>();
  if (e.op === "const") addInto(sum, Number(e.attr), []);
  else if (e.op === "add" || e.op === "sub") {
    for (const m of polynomialOf(e.args[0] as Expr).values()) addInto(sum, m.coef, m.atoms);
    for (const m of polynomialOf(e.args[1] as Expr).values()) addInto(sum, e.op === "add" ? m.coef : -m.coef, m.atoms);
  } else if (e.op === "neg") {
    for (const m of polynomialOf(e.args[0] as Expr).values()) addInto(sum, -m.coef, m.atoms);
  } else if (e.op === "mul") {
    for (const x of polynomialOf(e.args[0] as Expr).values()) {
      for (const y of polynomialOf(e.args[1] as Expr).values())
        addInto(
          sum,
          x.coef * y.coef,
          [...x.atoms, ...y.atoms].sort((p, q) => p.id - q.id),
        );
    }
  } else addInto(sum, 1, [e]);
  e.polynomial = sum;
  return sum;
}

/** The expression of a polynomial, its terms in a canonical order (by atoms, the constant last). */
export function fromPolynomial(sc: Scalars, p: Polynomial): Expr {
  const terms = [...p.values()].sort((x, y) => compareAtoms(x.atoms, y.atoms));
  let sum: Expr | null = null;
  for (const t of terms) {
    let e: Expr | null = null;
    for (const a of t.atoms) e = e === null ? a : sc.mul(e, a);
    e = e === null ? sc.int(t.coef) : sc.mul(e, sc.int(t.coef));
    sum = sum === null ? e : sc.add(sum, e);
  }
  return sum ?? sc.int(0);
}
function compareAtoms(a: readonly Expr[], b: readonly Expr[]): number {
  if (a.length === 0 || b.length === 0) return b.length - a.length;
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const d = (a[i] as Expr).id - (b[i] as Expr).id;
    if (d !== 0) return d;
  }
  return a.length - b.length;
}

function polynomialRange(p: Polynomial): readonly [number, number] {
  let [lo, hi] = [0, 0];
  for (const m of p.values()) {
    let [l, h] = [m.coef, m.coef];
    for (const a of m.atoms) {
      const [al, ah] = rangeOf(a);
      const ends = [times(l, al), times(l, ah), times(h, al), times(h, ah)];
      [l, h] = [Math.min(...ends), Math.max(...ends)];
    }
    lo += l;
    hi += h;
  }
  return [lo, hi];
}

/** The polynomial with every axis variable at its largest value (extent - 1), if all its coefficients are positive. */
function upperBound(sc: Scalars, p: Polynomial): Polynomial | null {
  let sum: Polynomial = new Map();
  for (const m of p.values()) {
    if (m.coef < 0 && m.atoms.length > 0) return null;
    let e = sc.int(m.coef);
    for (const a of m.atoms) {
      const v = a.variable;
      if (v?.extent != null) e = sc.mul(e, sc.sub(v.extent, sc.int(1)));
      else if (v !== null && v.extent === null) e = sc.mul(e, a);
      else if (Number.isFinite(rangeOf(a)[1])) e = sc.mul(e, sc.int(rangeOf(a)[1]));
      else return null;
    }
    sum = polynomialOf(sc.add(fromPolynomial(sc, sum), e));
  }
  return sum;
}

/** Is `0 ≤ p < d` for all values, as far as can be shown? */
function within(sc: Scalars, p: Polynomial, d: Expr): boolean {
  const [lo, hi] = polynomialRange(p);
  if (lo < 0) return false;
  if (hi < rangeOf(d)[0]) return true;
  const top = upperBound(sc, p);
  if (top === null) return false;
  return polynomialRange(polynomialOf(sc.sub(d, fromPolynomial(sc, top))))[0] >= 1;
}

/** `p = q·d + r` with `0 ≤ r < d`, if that can be shown, else null. */
function divide(sc: Scalars, p: Polynomial, d: Expr): { q: Polynomial; r: Polynomial } | null {
  const divisor = polynomialOf(d);
  const [only] = divisor.values();
  if (divisor.size !== 1 || only === undefined || rangeOf(d)[0] < 1) return divideBySum(sc, p, d);
  const q = new Map<string, Monomial>();
  const r = new Map<string, Monomial>();
  for (const m of p.values()) {
    const rest = removeAtoms(m.atoms, only.atoms);
    if (rest === null) {
      addInto(r, m.coef, m.atoms);
      continue;
    }
    const c = Math.floor(m.coef / only.coef);
    if (c !== 0) addInto(q, c, rest);
    if (m.coef - c * only.coef !== 0) addInto(r, m.coef - c * only.coef, m.atoms);
  }
  return within(sc, r, d) ? { q, r } : null;
}

/** Division by a sum, such as `past + tokens`: only the trivial quotient is tried. */
function divideBySum(sc: Scalars, p: Polynomial, d: Expr): { q: Polynomial; r: Polynomial } | null {
  if (within(sc, p, d)) return { q: new Map(), r: p };
  // x·d + r: the part of p whose atoms hold some variable times each term of d.
  const divisor = [...polynomialOf(d).values()];
  const lead = divisor.find((m) => m.atoms.length > 0);
  if (lead === undefined) return null;
  for (const m of p.values()) {
    const rest = removeAtoms(m.atoms, lead.atoms);
    if (rest === null || rest.length === 0 || m.coef % lead.coef !== 0) continue;
    const factor = fromPolynomial(sc, new Map([[keyOf(rest), { coef: m.coef / lead.coef, atoms: rest }]]));
    const r = polynomialOf(sc.sub(fromPolynomial(sc, p), sc.mul(factor, d)));
    if (within(sc, r, d)) return { q: polynomialOf(factor), r };
  }
  return null;
}

function removeAtoms(from: readonly Expr[], what: readonly Expr[]): readonly Expr[] | null {
  const left = [...from];
  for (const a of what) {
    const i = left.indexOf(a);
    if (i < 0) return null;
    left.splice(i, 1);
  }
  return left;
}

/**
 * The normal form of an index expression: sums of products in canonical order, and divisions resolved where ranges
 * allow it: `floordiv((i·12 + h)·32 + d, 384)` with h < 12, d < 32 becomes `i`.
 */
export function simplifyIndex(sc: Scalars, e: Expr): Expr {
  return simplifyIndices(sc, [e])[0] as Expr;
}

export function simplifyIndices(sc: Scalars, roots: readonly Expr[]): Expr[] {
  return sc.rebuild(roots, (e, args) => {
    if (e.dtype.name !== "i32" || e.lanes > 1) return null;
    const [a, b] = args as [Expr, Expr];
    switch (e.op) {
      case "add":
      case "sub":
      case "mul":
        return recombined(sc, fromPolynomial(sc, polynomialOf(sc.op(e.op, args))));
      case "floordiv":
      case "mod": {
        const d = divide(sc, polynomialOf(a), b);
        if (d !== null) return fromPolynomial(sc, e.op === "floordiv" ? d.q : d.r);
        return partlyDivided(sc, e.op, a, b);
      }
      default:
        return null;
    }
  });
}

/**
 * Division by a constant `c` with a remainder that cannot be resolved: takes out what is divisible by c; and, where the
 * rest is `m·x + y` with m a divisor of c and `0 ≤ y < m`, divides x by c/m alone, since y cannot carry.
 */
function partlyDivided(sc: Scalars, op: "floordiv" | "mod", a: Expr, b: Expr): Expr {
  const c = b.constant === null ? 0 : Number(b.constant);
  if (c <= 0) return sc.op(op, [a, b]);
  const [q, r] = [new Map<string, Monomial>(), new Map<string, Monomial>()];
  for (const m of polynomialOf(a).values()) addInto(m.coef % c === 0 ? q : r, m.coef % c === 0 ? m.coef / c : m.coef, m.atoms);
  const [rest, low] = withoutCarry(sc, op, r, c) ?? [q.size === 0 ? sc.op(op, [a, b]) : sc.op(op, [fromPolynomial(sc, r), b]), sc.int(0)];
  if (op === "mod") return low.isConst(0) ? rest : fromPolynomial(sc, polynomialOf(sc.add(rest, low)));
  return q.size === 0 ? rest : fromPolynomial(sc, polynomialOf(sc.add(fromPolynomial(sc, q), rest)));
}

/** The divided high part, and for `mod` the low part that is added to it. */
function withoutCarry(sc: Scalars, op: "floordiv" | "mod", p: Polynomial, c: number): [Expr, Expr] | null {
  const divisors = [...new Set([...p.values()].map((m) => gcd(m.coef, c)))].filter((m) => m > 1).sort((x, y) => y - x);
  for (const m of divisors) {
    const [high, low] = [new Map<string, Monomial>(), new Map<string, Monomial>()];
    for (const t of p.values()) addInto(t.coef % m === 0 ? high : low, t.coef % m === 0 ? t.coef / m : t.coef, t.atoms);
    const [lo, hi] = polynomialRange(low);
    if (high.size === 0 || lo < 0 || hi >= m) continue;
    const x = fromPolynomial(sc, high);
    const divided = c === m ? (op === "mod" ? sc.int(0) : x) : sc.op(op, [x, sc.int(c / m)]);
    return op === "mod" ? [sc.mul(divided, sc.int(m)), fromPolynomial(sc, low)] : [divided, sc.int(0)];
  }
  return null;
}
function gcd(a: number, b: number): number {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

/** `mod(x, c)·k + floordiv(x, c)·c·k = x·k`: what a split and its inverse leave. */
function recombined(sc: Scalars, e: Expr): Expr {
  for (const m of polynomialOf(e).values()) {
    const [atom] = m.atoms;
    if (m.atoms.length !== 1 || atom?.op !== "mod") continue;
    const [x, c] = atom.args as [Expr, Expr];
    const size = c.constant === null ? 0 : Number(c.constant);
    const whole = sc.op("floordiv", [x, c]);
    const partner = polynomialOf(e).get(String(whole.id));
    if (partner === undefined || partner.coef !== m.coef * size) continue;
    const cleared = sc.sub(sc.sub(e, sc.mul(atom, sc.int(m.coef))), sc.mul(whole, sc.int(partner.coef)));
    return recombined(sc, fromPolynomial(sc, polynomialOf(sc.add(cleared, sc.mul(x, sc.int(m.coef))))));
  }
  return e;
}

/** Splits an index into its coefficient of one variable and the rest: `e = coef·v + rest`; null when it is not affine in v. */
export function affineIn(sc: Scalars, e: Expr, v: Variable): { coef: Expr; rest: Expr } | null {
  const coef = new Map<string, Monomial>();
  const rest = new Map<string, Monomial>();
  for (const m of polynomialOf(e).values()) {
    const i = m.atoms.findIndex((a) => a.op === "var" && a.attr === v);
    if (i < 0) {
      if (m.atoms.some((a) => a.op !== "var" && mentions(a, v))) return null;
      addInto(rest, m.coef, m.atoms);
      continue;
    }
    const others = m.atoms.filter((_, j) => j !== i);
    if (others.some((a) => mentions(a, v))) return null;
    addInto(coef, m.coef, others);
  }
  return { coef: fromPolynomial(sc, coef), rest: fromPolynomial(sc, rest) };
}

/** Does the variable occur in the expression? */
export function mentions(e: Expr, v: Variable): boolean {
  return mentionedIn(e).has(v);
}
const nothing: ReadonlySet<Variable> = new Set();
function union(a: ReadonlySet<Variable>, b: ReadonlySet<Variable>): ReadonlySet<Variable> {
  if (a === b || b.size === 0) return a;
  if (a.size === 0) return b;
  return new Set([...a, ...b]);
}
/** All variables in an expression, remembered. */
export function mentionedIn(e: Expr): ReadonlySet<Variable> {
  if (e.mentioned !== null) return e.mentioned;
  // Most expressions mention just what one of their operands does: they share its set.
  let out: ReadonlySet<Variable> = e.op === "var" ? new Set([e.attr as Variable]) : nothing;
  for (const a of e.args) out = union(out, mentionedIn(a));
  e.mentioned = out;
  return out;
}

import { InternalError, UserError } from "./errors.ts";

/**
 * Symbolic dimensions: integers, or polynomials with integer coefficients over atoms. An atom is a symbol
 * (a named size with a range and a divisibility) or one of floordiv, mod, max, min of two dimensions.
 * Polynomials are kept in a canonical order, so two dimensions are equal when their texts are.
 */
export type Dim = number | SymDim;

/**
 * A named size, known when the model runs. `min ≤ value ≤ max`, and `multiple` divides it. Symbols of source `input` follow
 * from the sizes of the inputs; those of source `data` are computed by the model itself (how many elements are not zero),
 * and have their value from where an op binds it. `bound` is an upper bound of such a one in symbols that are bound before,
 * by which memory is planned; null where there is none. Those of source `capacity` are extents that a tensor's rows have in
 * memory, where its place has room for more; `bound` is the extent without.
 */
export interface DimSymbol {
  readonly kind: "symbol";
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly multiple: number;
  readonly source: "input" | "data" | "capacity";
  readonly bound: Dim | null;
}
export type DimOp = "floordiv" | "mod" | "max" | "min";
interface DimCall {
  readonly kind: DimOp;
  readonly a: Dim;
  readonly b: Dim;
}
export type DimAtom = DimSymbol | DimCall;
export interface DimTerm {
  readonly coef: number;
  readonly atoms: readonly DimAtom[];
  readonly key: string;
}

export class SymDim {
  readonly terms: readonly DimTerm[];
  private text: string | null;
  constructor(terms: readonly DimTerm[]) {
    this.terms = terms;
    this.text = null;
  }
  toString(): string {
    this.text ??= this.terms.map((t, i) => printTerm(t, i === 0)).join("");
    return this.text;
  }
}

export function makeSymbol(name: string, min = 1, max = Number.POSITIVE_INFINITY, multiple = 1): DimSymbol {
  return { kind: "symbol", name, min, max, multiple, source: "input", bound: null };
}

/** A size that the model computes, at least `min` and at most `bound`. */
export function makeDataSymbol(name: string, min: number, bound: Dim | null): DimSymbol {
  const max = bound === null ? Number.POSITIVE_INFINITY : Math.max(min, dimMax(bound));
  return { kind: "symbol", name, min, max, multiple: 1, source: "data", bound };
}

/** How many rows a tensor's place in memory has room for; at least as many as it has. */
export function makeCapacitySymbol(name: string, rows: Dim): DimSymbol {
  return { kind: "symbol", name, min: dimMin(rows), max: Number.POSITIVE_INFINITY, multiple: 1, source: "capacity", bound: rows };
}

export function symbolDim(s: DimSymbol): Dim {
  return fromTerms([{ coef: 1, atoms: [s], key: s.name }]);
}

function printAtom(a: DimAtom): string {
  return a.kind === "symbol" ? a.name : `${a.kind}(${a.a}, ${a.b})`;
}

function printTerm(t: DimTerm, first: boolean): string {
  const sign = t.coef < 0 ? (first ? "-" : " - ") : first ? "" : " + ";
  const c = Math.abs(t.coef);
  if (t.atoms.length === 0) return `${sign}${c}`;
  return `${sign}${c === 1 ? "" : `${c} * `}${t.atoms.map(printAtom).join(" * ")}`;
}

function makeTerm(coef: number, atoms: readonly DimAtom[]): DimTerm {
  const sorted = [...atoms].sort((x, y) => (printAtom(x) < printAtom(y) ? -1 : 1));
  return { coef, atoms: sorted, key: sorted.map(printAtom).join(" * ") };
}

function fromTerms(terms: readonly DimTerm[]): Dim {
  const sum = new Map<string, DimTerm>();
  for (const t of terms) {
    const old = sum.get(t.key);
    sum.set(t.key, old === undefined ? t : { coef: old.coef + t.coef, atoms: t.atoms, key: t.key });
  }
  const kept = [...sum.values()].filter((t) => t.coef !== 0);
  if (kept.length === 0) return 0;
  if (kept.length === 1 && kept[0]?.atoms.length === 0) return kept[0].coef;
  // Constants last, the rest by text: `past + tokens`, `2 * n + 1`.
  kept.sort((x, y) => (x.atoms.length === 0 ? 1 : y.atoms.length === 0 ? -1 : x.key < y.key ? -1 : 1));
  return new SymDim(kept);
}

/** The terms of the polynomial; a number is one constant term (none for 0). */
export function termsOf(d: Dim): readonly DimTerm[] {
  if (typeof d !== "number") return d.terms;
  return d === 0 ? [] : [{ coef: d, atoms: [], key: "" }];
}

export function addDim(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  return fromTerms([...termsOf(a), ...termsOf(b)]);
}
export function subDim(a: Dim, b: Dim): Dim {
  return addDim(a, mulDim(b, -1));
}
export function mulDim(a: Dim, b: Dim): Dim {
  // Adding 0 makes -0 the 0 that a size is.
  if (typeof a === "number" && typeof b === "number") return a * b + 0;
  return fromTerms(termsOf(a).flatMap((x) => termsOf(b).map((y) => makeTerm(x.coef * y.coef, [...x.atoms, ...y.atoms]))));
}

/** `a / b` when it leaves no remainder whatever the symbols are, else null. */
export function divideExactly(a: Dim, b: Dim): Dim | null {
  if (dimEquals(b, 1)) return a;
  if (b === 0) return null;
  if (typeof a === "number" && typeof b === "number") return a % b === 0 ? a / b + 0 : null;
  if (dimEquals(a, b)) return 1;
  const divisor = termsOf(b);
  const [d] = divisor;
  if (divisor.length !== 1 || d === undefined) {
    // a may be a multiple of a sum: try the quotient of the leading terms and check it.
    const [lead] = termsOf(a);
    const [first] = divisor;
    if (lead === undefined || first === undefined) return null;
    const q = divideTerm(lead, first);
    if (q === null) return null;
    const guess = fromTerms([q]);
    return dimEquals(mulDim(guess, b), a) ? guess : null;
  }
  const out: DimTerm[] = [];
  for (const t of termsOf(a)) {
    const q = divideTerm(t, d);
    if (q === null) return null;
    out.push(q);
  }
  return fromTerms(out);
}

function divideTerm(t: DimTerm, d: DimTerm): DimTerm | null {
  const left = [...t.atoms];
  for (const atom of d.atoms) {
    const i = left.findIndex((x) => printAtom(x) === printAtom(atom));
    if (i < 0) return null;
    left.splice(i, 1);
  }
  if (t.coef % d.coef === 0) return makeTerm(t.coef / d.coef, left);
  // A symbol's divisibility may make up for the coefficient, but the quotient has no such form: leave it.
  return null;
}

function call(kind: DimOp, a: Dim, b: Dim): Dim {
  return fromTerms([makeTerm(1, [{ kind, a, b }])]);
}

function refuseZero(kind: DimOp, a: Dim, b: Dim): void {
  if (b === 0)
    throw new UserError(
      "zero-divisor",
      `dimension '${kind}(${a}, ${b})' divides by zero; a divisor must be at least 1 for every size its symbols can take`,
    );
}

/** ⌊a / b⌋ @throws UserError `zero-divisor` */
export function floorDivDim(a: Dim, b: Dim): Dim {
  refuseZero("floordiv", a, b);
  if (typeof a === "number" && typeof b === "number") return Math.floor(a / b) + 0;
  return divideExactly(a, b) ?? call("floordiv", a, b);
}
/** a - b·⌊a / b⌋ @throws UserError `zero-divisor` */
export function modDim(a: Dim, b: Dim): Dim {
  refuseZero("mod", a, b);
  if (typeof a === "number" && typeof b === "number") return a - b * Math.floor(a / b);
  if (divideExactly(a, b) !== null) return 0;
  if (typeof b === "number" && dimMultiple(a) % b === 0) return 0;
  return call("mod", a, b);
}
/** ⌈a / b⌉ */
export function ceilDivDim(a: Dim, b: Dim): Dim {
  return floorDivDim(addDim(a, subDim(b, 1)), b);
}
export function maxDim(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return Math.max(a, b);
  if (dimEquals(a, b) || dimMin(subDim(a, b)) >= 0) return a;
  if (dimMin(subDim(b, a)) >= 0) return b;
  return `${a}` < `${b}` ? call("max", a, b) : call("max", b, a);
}
export function minDim(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return Math.min(a, b);
  if (dimEquals(a, b) || dimMin(subDim(b, a)) >= 0) return a;
  if (dimMin(subDim(a, b)) >= 0) return b;
  return `${a}` < `${b}` ? call("min", a, b) : call("min", b, a);
}

export function dimEquals(a: Dim, b: Dim): boolean {
  if (a === b) return true;
  if (typeof a === "number" || typeof b === "number") return false;
  return a.toString() === b.toString();
}
export function dimsEqual(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((d, i) => dimEquals(d, b[i] as Dim));
}
export function productOf(dims: readonly Dim[]): Dim {
  return dims.reduce<Dim>((a, b) => mulDim(a, b), 1);
}

/** Bounds of one atom. */
function atomRange(a: DimAtom): readonly [number, number] {
  if (a.kind === "symbol") return [a.min, a.max];
  const [al, ah] = dimRange(a.a);
  const [bl, bh] = dimRange(a.b);
  switch (a.kind) {
    case "max":
      return [Math.max(al, bl), Math.max(ah, bh)];
    case "min":
      return [Math.min(al, bl), Math.min(ah, bh)];
    case "floordiv":
      return bl > 0 && al >= 0 ? [Math.floor(al / bh), Math.floor(ah / bl)] : [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    case "mod":
      return bl > 0 ? [0, Math.min(bh - 1, al >= 0 ? ah : Number.POSITIVE_INFINITY)] : [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    default:
      throw a satisfies never;
  }
}

function times(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : a * b;
}

/** Smallest and largest value the dimension can take (±Infinity where unknown). */
export function dimRange(d: Dim): readonly [number, number] {
  if (typeof d === "number") return [d, d];
  let lo = 0;
  let hi = 0;
  for (const t of d.terms) {
    let [l, h] = [1, 1];
    for (const a of t.atoms) {
      const [al, ah] = atomRange(a);
      const ends = [times(l, al), times(l, ah), times(h, al), times(h, ah)];
      [l, h] = [Math.min(...ends), Math.max(...ends)];
    }
    lo += Math.min(times(t.coef, l), times(t.coef, h));
    hi += Math.max(times(t.coef, l), times(t.coef, h));
  }
  return [lo, hi];
}
export function dimMin(d: Dim): number {
  return dimRange(d)[0];
}
export function dimMax(d: Dim): number {
  return dimRange(d)[1];
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return Math.abs(a);
}

/** A number that divides the dimension whatever its symbols are. */
export function dimMultiple(d: Dim): number {
  if (typeof d === "number") return d === 0 ? 0 : Math.abs(d);
  return d.terms.reduce(
    (g, t) =>
      gcd(
        g,
        t.atoms.reduce((m, a) => m * (a.kind === "symbol" ? a.multiple : 1), t.coef),
      ),
    0,
  );
}

/** Every symbol that occurs, each once. */
export function dimSymbols(d: Dim, into: Map<string, DimSymbol> = new Map()): Map<string, DimSymbol> {
  if (typeof d === "number") return into;
  for (const t of d.terms) {
    for (const a of t.atoms) {
      if (a.kind === "symbol") into.set(a.name, a);
      else {
        dimSymbols(a.a, into);
        dimSymbols(a.b, into);
      }
    }
  }
  return into;
}

const calls: { [K in DimOp]: (a: Dim, b: Dim) => Dim } = { floordiv: floorDivDim, mod: modDim, max: maxDim, min: minDim };
export const dimCalls: Readonly<Record<DimOp, (a: Dim, b: Dim) => Dim>> = calls;

/** Replaces symbols by name; names that `env` lacks stay. */
export function substituteDim(d: Dim, env: ReadonlyMap<string, Dim>): Dim {
  if (typeof d === "number") return d;
  let sum: Dim = 0;
  for (const t of d.terms) {
    let product: Dim = t.coef;
    for (const a of t.atoms) {
      const value: Dim = a.kind === "symbol" ? (env.get(a.name) ?? symbolDim(a)) : calls[a.kind](substituteDim(a.a, env), substituteDim(a.b, env));
      product = mulDim(product, value);
    }
    sum = addDim(sum, product);
  }
  return sum;
}

/** The value under given symbol values. @throws InternalError when one is missing. */
export function evaluateDim(d: Dim, env: ReadonlyMap<string, number>): number {
  const v = substituteDim(d, env);
  if (typeof v !== "number") throw new InternalError("unbound-symbol", `dimension '${d}' has symbols without a value`);
  return v;
}

/** Does the dimension depend on a size that the model computes? */
export function isDataDependent(d: Dim): boolean {
  return [...dimSymbols(d).values()].some((s) => s.source === "data");
}

/** An upper bound without sizes that the model computes; null where one of them has no bound. */
export function upperBound(d: Dim): Dim | null {
  return limit(d, true);
}

/** The upper (or lower) bound in input symbols; null where there is none. */
function limit(d: Dim, upper: boolean): Dim | null {
  if (typeof d === "number" || !isDataDependent(d)) return d;
  let sum: Dim = 0;
  for (const t of d.terms) {
    let product: Dim = t.coef;
    for (const a of t.atoms) {
      const l = limitAtom(a, upper === t.coef >= 0);
      if (l === null) return null;
      product = mulDim(product, l);
    }
    sum = addDim(sum, product);
  }
  return sum;
}

function limitAtom(a: DimAtom, upper: boolean): Dim | null {
  if (a.kind === "symbol") {
    if (a.source !== "data") return symbolDim(a);
    if (!upper) return a.min;
    return a.bound === null ? null : limit(a.bound, true);
  }
  const [low, high] = [limit(a.a, upper), limit(a.b, a.kind === "floordiv" ? !upper : upper)];
  if (a.kind === "min" && (low === null || high === null)) return upper ? (low ?? high) : null;
  if (a.kind === "mod") {
    const b = limit(a.b, true);
    return !upper ? 0 : b === null ? null : subDim(b, 1);
  }
  return low === null || high === null ? null : calls[a.kind](low, high);
}

import {
  type Dim,
  type DimAtom,
  type DimSymbol,
  addDim,
  dimCalls,
  dimEquals,
  dimMax,
  dimMin,
  dimRange,
  dimSymbols,
  makeSymbol,
  mulDim,
  subDim,
  symbolDim,
  termsOf,
} from "../../base/dim.ts";
import { UserError } from "../../base/errors.ts";
import type { ValueInfo } from "./proto.ts";

/** A size, or the bounds of a symbolic one. */
export type SymbolOption = number | { readonly min?: number; readonly max?: number; readonly multiple?: number };

/**
 * Thrown when the model only makes sense if a symbol is at most `max` (a table of 512 positions sliced to the sequence's
 * length and added to it, say): the import starts again with that bound.
 */
export class NarrowSymbol {
  readonly name: string;
  readonly max: number;
  constructor(name: string, max: number) {
    this.name = name;
    this.max = max;
  }
}

/** Thrown when the model only makes sense if a symbol is at least `min` (a window needs so many steps): the import starts again with that bound. */
export class RaiseSymbol {
  readonly name: string;
  readonly min: number;
  constructor(name: string, min: number) {
    this.name = name;
    this.min = min;
  }
}

/** Thrown when the model only makes sense if a symbol is a number, or another symbol: the import starts again with that. */
export class EqualSymbol {
  readonly name: string;
  readonly to: number | string;
  constructor(name: string, to: number | string) {
    this.name = name;
    this.to = to;
  }
}

/** What imports of the model that were given up found out about its symbols. */
export interface Findings {
  readonly bounds: ReadonlyMap<string, number>;
  readonly least: ReadonlyMap<string, number>;
  readonly equal: ReadonlyMap<string, number | string>;
}

/** Names and bounds of the symbolic sizes of a model. */
export class Symbols {
  private readonly options: Readonly<Record<string, SymbolOption>>;
  private readonly findings: Findings;
  private readonly byName = new Map<string, DimSymbol>();
  /** The model's own text of a dimension → the symbol's name. */
  private readonly nameOf = new Map<string, string>();
  /** Model dimension texts that `shapes` fixes, to a size or a name of the user's. */
  private readonly fixed = new Map<string, number | string>();
  private readonly taken = new Set<string>();
  /** Symbols that the options replace by a number. */
  private readonly numbered = new Set<string>();

  constructor(options: Readonly<Record<string, SymbolOption>>, findings: Findings) {
    this.options = options;
    this.findings = findings;
  }

  /** Every symbol in use, in order of appearance. */
  get all(): readonly DimSymbol[] {
    return [...this.byName.values()];
  }

  /**
   * Takes in the dims that the user gave for an input.
   * @throws UserError `shape` when they contradict the model or each other
   */
  fix(input: ValueInfo, given: readonly (number | string)[]): void {
    const declared = input.dims ?? given.map(() => null);
    const shown = `input '${input.name}' [${declared.map((d) => d ?? "?").join(", ")}]`;
    if (declared.length !== given.length)
      throw new UserError(
        "shape",
        `${shown}: it has rank ${declared.length}, the shape given for it has ${given.length} dimensions (${given.join("x")})`,
      );
    declared.forEach((d, i) => {
      const g = given[i] as number | string;
      if (typeof g === "number" && (!Number.isSafeInteger(g) || g < 0))
        throw new UserError("shape", `${shown}: dimension ${i} was given as ${g}, expected a whole number`);
      if (typeof d === "number") {
        if (d !== g)
          throw new UserError(
            "shape",
            `${shown}: dimension ${i} is ${d} in the model, but was given as ${g}; only symbolic dimensions can be chosen`,
          );
        return;
      }
      const key = d ?? `${input.name}\n${i}`;
      const old = this.fixed.get(key);
      if (old !== undefined && old !== g)
        throw new UserError("shape", `${shown}: dimension ${i} ('${d}') was given as ${g} here and as ${old} for another input`);
      this.fixed.set(key, g);
    });
  }

  /** A number that the user chose under a name, null where there is none. */
  chosen(name: string): number | null {
    const option = this.options[name];
    if (typeof option !== "number") return null;
    checkBound(name, option, 0);
    this.numbered.add(name);
    return option;
  }

  /** The dimension at a place of an input. */
  dimension(input: ValueInfo, i: number): Dim {
    const d = input.dims?.[i] ?? null;
    if (typeof d === "number") return d;
    const key = d ?? `${input.name}\n${i}`;
    const fixed = this.fixed.get(key);
    if (typeof fixed === "number") return fixed;
    if (fixed !== undefined) return this.symbol(fixed, true);
    return this.symbol(this.freshName(key, d ?? `${input.name}_${i}`), false);
  }

  /** A plain identifier for a name of the model; different names stay different. */
  private freshName(key: string, wanted: string): string {
    const old = this.nameOf.get(key);
    if (old !== undefined) return old;
    const base = plainName(wanted);
    let name = base;
    // A symbol that another was found to be equal to is there before its own turn.
    const awaited = new Set(this.findings.equal.values());
    for (let n = 1; this.taken.has(name) || (this.byName.has(name) && !awaited.has(name)); n++) name = `${base}_${n}`;
    this.taken.add(name);
    this.nameOf.set(key, name);
    return name;
  }

  /** What the symbol is known to be equal to: a number or a symbol, in the end. */
  private rootOf(name: string): number | string {
    const to = this.findings.equal.get(name);
    return typeof to === "string" ? this.rootOf(to) : (to ?? name);
  }
  /** The option of a symbol, or of one that is equal to it. */
  private optionOf(name: string): SymbolOption | undefined {
    const equal = [name, ...this.findings.equal.keys()].filter((n) => this.rootOf(n) === name && this.options[n] !== undefined);
    const [first, other] = [...new Set(equal)];
    if (first === undefined) return undefined;
    for (const n of equal) this.numbered.add(n);
    if (other !== undefined && JSON.stringify(this.options[first]) !== JSON.stringify(this.options[other]))
      throw new UserError("shape", `symbols '${first}' and '${other}' were given different bounds, but the model only works where they are equal`);
    return this.options[first];
  }

  private symbol(given: string, users: boolean): Dim {
    const name = this.rootOf(given);
    if (typeof name === "number") {
      const bounds = this.options[given];
      // A bound of the user's is a promise to serve all of it.
      if (bounds !== undefined && bounds !== name)
        throw new UserError(
          "shape",
          `symbol '${given}' was given bounds, but the model only works with ${given}=${name}; give --shape ${given}=${name}`,
        );
      this.numbered.add(given);
      return name;
    }
    const option = this.optionOf(name);
    if (typeof option === "number") {
      checkBound(name, option, 0);
      this.numbered.add(name);
      return option;
    }
    let s = this.byName.get(name);
    if (s === undefined) {
      if (users && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
        throw new UserError("shape", `'${name}' is neither a size nor a name for one: use letters, digits and '_'`);
      const least = this.findings.least.get(name) ?? 0;
      const { min = least, max = Number.POSITIVE_INFINITY, multiple = 1 } = option ?? {};
      checkBound(name, min, 0);
      checkBound(name, multiple, 1);
      if (max !== Number.POSITIVE_INFINITY) checkBound(name, max, 0);
      const needed = this.findings.bounds.get(name) ?? Number.POSITIVE_INFINITY;
      if (max < min) throw new UserError("shape", `symbol '${name}' is to be at least ${min}, but at most ${max}`);
      // A bound of the user's is a promise to serve all of it; without one, the model's own limit holds.
      if (needed < min || (max !== Number.POSITIVE_INFINITY && needed < max))
        throw new UserError(
          "shape",
          `symbol '${name}' is to be in ${min}..${max}, but the model only works up to ${name}=${needed}; give --shape ${name}=${Math.min(min, needed)}..${needed}`,
        );
      if (min < least)
        throw new UserError(
          "shape",
          `symbol '${name}' is to be at least ${min}, but the model only works from ${name}=${least} on; give --shape ${name}=${least}..${Number.isFinite(max) ? max : ""}`,
        );
      const limit = Math.min(max, needed);
      s = makeSymbol(name, min, limit, multiple);
      this.byName.set(name, s);
    }
    return symbolDim(s);
  }

  /** @throws UserError `shape` for an option that names no symbol of the model */
  checkOptions(): void {
    for (const name of Object.keys(this.options)) {
      if (this.byName.has(name) || this.numbered.has(name)) continue;
      const known = this.all.map((s) => s.name);
      throw new UserError(
        "shape",
        `the model has no symbolic size '${name}'; ${known.length === 0 ? "all its sizes are fixed" : `it has ${known.join(", ")}`}`,
      );
    }
  }
}

/** The identifier that a name of the model becomes, unless another one is taken for the same. */
export function plainName(text: string): string {
  const name = text.replace(/[^A-Za-z0-9_]+/g, "_").replace(/^(?=[^A-Za-z_])/, "_");
  return name in dimCalls ? `${name}_` : name;
}

function checkBound(name: string, n: number, least: number): void {
  if (!Number.isSafeInteger(n) || n < least) throw new UserError("shape", `symbol '${name}': got ${n}, expected a whole number from ${least} on`);
}

/**
 * Is `a` equal to `b`, as the model's meaning requires? Known: nothing happens. Only if a symbol stays below a bound: the
 * import starts again with it. Otherwise the answer is no.
 * @throws NarrowSymbol
 */
export function mustEqual(a: Dim, b: Dim): boolean {
  if (dimEquals(a, b)) return true;
  for (const [x, y] of [[a, b] as const, [b, a] as const]) {
    const bound = boundForEquality(x, y);
    if (bound !== null) throw bound;
  }
  return false;
}

/**
 * The one way in which two different sizes can be equal: a symbol of the inputs is a number or another symbol. Null where
 * there is none, or more than one.
 */
export function equality(a: Dim, b: Dim): EqualSymbol | null {
  for (const [x, y] of [[a, b] as const, [b, a] as const]) {
    const [first, second, ...more] = termsOf(x);
    const [s] = first?.atoms ?? [];
    if (first === undefined || first.atoms.length !== 1 || s?.kind !== "symbol" || s.source !== "input") continue;
    if (more.length > 0 || (second !== undefined && second.atoms.length > 0)) continue;
    if (typeof y === "number") {
      const n = (y - (second?.coef ?? 0)) / first.coef;
      return Number.isInteger(n) && n >= s.min && n <= s.max && n % s.multiple === 0 ? new EqualSymbol(s.name, n) : null;
    }
    const [other] = [...dimSymbols(y).values()];
    if (dimEquals(x, symbolDim(s)) && other?.source === "input" && dimEquals(y, symbolDim(other))) return new EqualSymbol(s.name, other.name);
  }
  return null;
}

/** The bound under which `x`, which holds min(s, c), is `y`. */
function boundForEquality(x: Dim, y: Dim): NarrowSymbol | null {
  for (const t of termsOf(x)) {
    for (const atom of t.atoms) {
      if (atom.kind !== "min") continue;
      for (const [s, c] of [[atom.a, atom.b] as const, [atom.b, atom.a] as const]) {
        const [only] = typeof s === "number" ? [] : [...dimSymbols(s).values()];
        if (typeof c !== "number" || only?.source !== "input" || !dimEquals(s, symbolDim(only)) || only.min > c) continue;
        if (dimEquals(replaceAtom(x, atom, s), y)) return new NarrowSymbol(only.name, c);
      }
    }
  }
  return null;
}

function replaceAtom(d: Dim, atom: DimAtom, by: Dim): Dim {
  let sum: Dim = 0;
  for (const t of termsOf(d)) {
    let product: Dim = t.coef;
    for (const a of t.atoms) {
      const self: Dim = a.kind === "symbol" ? symbolDim(a) : dimCalls[a.kind](a.a, a.b);
      product = mulDim(product, a === atom || dimEquals(self, dimCallOf(atom)) ? by : self);
    }
    sum = addDim(sum, product);
  }
  return sum;
}
function dimCallOf(a: DimAtom): Dim {
  return a.kind === "symbol" ? symbolDim(a) : dimCalls[a.kind](a.a, a.b);
}

/** A dim must not be negative: where a symbol decides that, it has to be large enough. @throws RaiseSymbol */
export function mustBeSize(d: Dim): void {
  if (dimMin(d) >= 0) return;
  const [first, second, ...more] = termsOf(d);
  const [s] = first?.atoms ?? [];
  if (first === undefined || first.coef <= 0 || first.atoms.length !== 1 || more.length > 0 || (second !== undefined && second.atoms.length > 0))
    return;
  if (s?.kind === "floordiv" && typeof s.b === "number" && s.b > 0) {
    // coef · ⌊a / b⌋ + c ≥ 0 where a ≥ b · ⌈−c / coef⌉
    mustBeSize(subDim(s.a, s.b * Math.ceil(-(second?.coef ?? 0) / first.coef)));
    return;
  }
  if (s?.kind !== "symbol" || s.source !== "input") return;
  const least = Math.ceil(-(second?.coef ?? 0) / first.coef);
  if (least > s.min && least <= s.max) throw new RaiseSymbol(s.name, least);
}

/** Windows that slid over the dims from the third on have at least one place each. @throws RaiseSymbol */
export function mustHavePlaces<T extends { readonly dims: readonly Dim[] }>(slid: T): T {
  for (const d of slid.dims.slice(2)) mustBeSize(subDim(d, 1));
  return slid;
}

/** How a user can make two sizes equal, bound them, or fix what depends on them; empty where none follows from the inputs. */
export function shapeHint(...dims: readonly Dim[]): string {
  const symbols = dims.flatMap((d) => [...dimSymbols(d).values()]).filter((s) => s.source === "input");
  const names = [...new Set(symbols.map((s) => s.name))];
  if (names.length === 0) return "";
  return `; choose sizes that fit with ${names.map((n) => `--shape ${n}=N`).join(" ")} (or bounds, --shape ${names[0]}=1..N; in the library: the options 'symbols' and 'shapes')`;
}

/** `d` limited to `[low, high]`. */
export function clampDim(d: Dim, low: Dim, high: Dim): Dim {
  // "No limit" is written as the end of int64: anything a size cannot reach.
  if (typeof d === "number" && d >= 2 ** 31 - 1) return high;
  if (typeof d === "number" && d <= -(2 ** 31)) return low;
  return dimCalls.max(dimCalls.min(d, high), low);
}

/** Whether the dimension is never negative (true), always (false), or it depends (null). */
export function isNonNegative(d: Dim): boolean | null {
  const [low, high] = dimRange(d);
  return low >= 0 ? true : high < 0 ? false : null;
}

/** Do the dimensions differ whatever the symbols are? */
export function surelyDiffer(a: Dim, b: Dim): boolean {
  const d = subDim(a, b);
  return dimMin(d) > 0 || dimMax(d) < 0;
}

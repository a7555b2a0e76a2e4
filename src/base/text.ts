import {
  type Dim,
  type DimOp,
  type DimSymbol,
  addDim,
  dimCalls,
  makeCapacitySymbol,
  makeDataSymbol,
  makeSymbol,
  mulDim,
  subDim,
  symbolDim,
  termsOf,
} from "./dim.ts";
import { type DType, findDType } from "./dtype.ts";
import { UserError } from "./errors.ts";

/**
 * The reader that all IR texts share. Tokens: names (letters, digits, `_ . '` after the first character), values `%name`,
 * symbols `@name`, numbers, strings, and punctuation. `//` starts a comment that runs to the end of the line.
 */
export type TokenKind = "name" | "value" | "symbol" | "number" | "string" | "punct" | "end";
export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly offset: number;
}

const pattern =
  /(?<skip>\s+|\/\/[^\n]*)|(?<value>%[A-Za-z0-9_.$/:-]*[A-Za-z0-9_$])|(?<symbol>@[A-Za-z0-9_.$/:-]*[A-Za-z0-9_$])|(?<number>\d+(?:\.\d*)?(?:e[+-]?\d+)?)|(?<name>[A-Za-z_][A-Za-z0-9_.']*)|(?<string>"(?:[^"\\\n]|\\.)*")|(?<punct>->|<=|>=|==|!=|\+=|<<|>>|&&|\|\||[-+*/<>=!(){}[\],:;?|&^~.])/y;

function tokenize(text: string, file: string): Token[] {
  const tokens: Token[] = [];
  let offset = 0;
  while (offset < text.length) {
    pattern.lastIndex = offset;
    const m = pattern.exec(text);
    if (m === null) throw new UserError("syntax", `${place(text, file, offset)}: unexpected character ${JSON.stringify(text[offset])}`);
    const kind = Object.entries(m.groups ?? {}).find(([, v]) => v !== undefined)?.[0] as TokenKind | "skip";
    if (kind !== "skip") tokens.push({ kind, text: m[0], offset });
    offset += m[0].length;
  }
  tokens.push({ kind: "end", text: "end of text", offset });
  return tokens;
}

function place(text: string, file: string, offset: number): string {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return `${file}:${line}:${offset - before.lastIndexOf("\n")}`;
}

/** Constructs may be nested this deeply; what is deeper is refused before it overflows the stack. */
const depthLimit = 400;
/** Dimensions of more terms than this are refused: a short text could multiply out to any number of them. */
const termLimit = 1000;

export interface SymbolBounds {
  readonly min: number;
  readonly max: number;
}

export class Reader {
  readonly text: string;
  readonly file: string;
  private readonly tokens: readonly Token[];
  private position = 0;
  private depth = 0;
  /** Symbols declared in the function that is being read, by name. */
  readonly symbols: Map<string, DimSymbol> = new Map();

  /** Bounds that the reader's user sets on symbols, narrower than the text's own. */
  private readonly bounds: ReadonlyMap<string, SymbolBounds>;

  constructor(text: string, file = "<text>", bounds: ReadonlyMap<string, SymbolBounds> = new Map()) {
    this.bounds = bounds;
    this.text = text;
    this.file = file;
    this.tokens = tokenize(text, file);
  }
  peek(ahead = 0): Token {
    return this.tokens[Math.min(this.position + ahead, this.tokens.length - 1)] as Token;
  }
  next(): Token {
    const t = this.peek();
    if (t.kind !== "end") this.position++;
    return t;
  }
  fail(message: string, at: Token = this.peek()): never {
    throw new UserError("syntax", `${place(this.text, this.file, at.offset)}: ${message}`);
  }
  is(text: string): boolean {
    const t = this.peek();
    return t.text === text && t.kind !== "string";
  }
  accept(text: string): boolean {
    if (!this.is(text)) return false;
    this.position++;
    return true;
  }
  expect(text: string): void {
    if (!this.accept(text)) this.fail(`expected '${text}', got '${this.peek().text}'`);
  }
  take(kind: TokenKind): string {
    const t = this.next();
    if (t.kind !== kind) this.fail(`expected a ${kind}, got '${t.text}'`, t);
    return t.text;
  }
  name(): string {
    return this.take("name");
  }
  /** `%name`, without its sign. */
  value(): string {
    return this.take("value").slice(1);
  }
  /** `@name`, without its sign. */
  symbol(): string {
    return this.take("symbol").slice(1);
  }
  string(): string {
    const at = this.peek();
    const text = this.take("string");
    try {
      return JSON.parse(text) as string;
    } catch {
      return this.fail(`${text} is no string: escapes are those of JSON`, at);
    }
  }
  /** Reads something that may hold its own kind. @throws UserError when that goes too deep */
  nested<T>(read: () => T): T {
    if (this.depth >= depthLimit) this.fail(`nested more than ${depthLimit} deep`);
    this.depth++;
    const out = read();
    this.depth--;
    return out;
  }
  /** Fails unless the text ends here. */
  end(): void {
    if (this.peek().kind !== "end") this.fail(`expected the end of the text, got '${this.peek().text}'`);
  }
  /** A signed number; `inf` and `nan` too. */
  number(): number {
    const negative = this.accept("-");
    const t = this.next();
    const v =
      t.text === "inf"
        ? Number.POSITIVE_INFINITY
        : t.text === "nan"
          ? Number.NaN
          : t.kind === "number"
            ? Number(t.text)
            : this.fail(`expected a number, got '${t.text}'`, t);
    return negative ? -v : v;
  }
  dtype(): DType {
    const at = this.peek();
    return findDType(this.name()) ?? this.fail(`unknown dtype '${at.text}'`, at);
  }
  /** `open item, item, … close` */
  list<T>(open: string, close: string, item: () => T): T[] {
    this.expect(open);
    const out: T[] = [];
    while (!this.accept(close)) {
      if (out.length > 0) this.expect(",");
      out.push(item());
    }
    return out;
  }
  /** A dimension expression: `2 * n + 1`, `floordiv(n, 2)`. Undeclared names become symbols of range [1, ∞). */
  dim(): Dim {
    let sum = this.accept("-") ? mulDim(this.dimProduct(), -1) : this.dimProduct();
    for (;;) {
      if (this.accept("+")) sum = addDim(sum, this.dimProduct());
      else if (this.accept("-")) sum = subDim(sum, this.dimProduct());
      else return sum;
    }
  }
  private dimProduct(): Dim {
    let product = this.dimAtom();
    while (this.is("*")) {
      const at = this.next();
      product = mulDim(product, this.dimAtom());
      if (termsOf(product).length > termLimit) this.fail(`this dimension has more than ${termLimit} terms`, at);
    }
    return product;
  }
  private dimAtom(): Dim {
    const t = this.next();
    if (t.kind === "number")
      return Number.isSafeInteger(Number(t.text)) ? Number(t.text) : this.fail(`a dimension is a whole number, got '${t.text}'`, t);
    if (t.text === "(") {
      const d = this.nested(() => this.dim());
      this.expect(")");
      return d;
    }
    if (t.kind !== "name") this.fail(`expected a dimension, got '${t.text}'`, t);
    if (Object.hasOwn(dimCalls, t.text) && this.is("(")) {
      const args = this.nested(() => this.list("(", ")", () => this.dim()));
      const [a, b] = args;
      if (a === undefined || b === undefined || args.length !== 2) return this.fail(`'${t.text}' takes two dimensions`, t);
      if (b === 0 && (t.text === "floordiv" || t.text === "mod")) this.fail("a dimension is divided by zero", t);
      return dimCalls[t.text as DimOp](a, b);
    }
    return symbolDim(this.declare(t.text));
  }
  /** The symbol of that name, made when it is new. */
  declare(name: string): DimSymbol {
    let s = this.symbols.get(name);
    if (s === undefined) {
      s = this.bounded(makeSymbol(name));
      this.symbols.set(name, s);
    }
    return s;
  }
  /** `symbol n in [1, 16] multiple 4`, for a size that the model computes `symbol k in [0, inf] data <= n`, for the rows that a place has room for `symbol r capacity n`, after the word `symbol`. */
  symbolDeclaration(): DimSymbol {
    const at = this.peek();
    const name = this.name();
    if (this.symbols.has(name)) this.fail(`symbol '${name}' is declared twice, or after its first use`, at);
    let [min, max, multiple] = [1, Number.POSITIVE_INFINITY, 1];
    if (this.accept("in")) {
      this.expect("[");
      min = this.number();
      this.expect(",");
      max = this.number();
      this.expect("]");
    }
    if (this.accept("multiple")) multiple = this.number();
    const whole = Number.isSafeInteger(min) && (Number.isSafeInteger(max) || max === Number.POSITIVE_INFINITY) && Number.isSafeInteger(multiple);
    if (!whole || min < 0 || max < min || multiple < 1)
      this.fail(`symbol '${name}': expected 0 <= min <= max and a multiple of at least 1, all whole numbers`, at);
    const s = this.accept("capacity")
      ? makeCapacitySymbol(name, this.dim())
      : this.accept("data")
        ? makeDataSymbol(name, min, this.accept("<=") ? this.dim() : null)
        : this.bounded(makeSymbol(name, min, max, multiple));
    this.symbols.set(name, s);
    return s;
  }
  /** The symbol within the bounds set on it. */
  private bounded(s: DimSymbol): DimSymbol {
    const b = this.bounds.get(s.name);
    if (b === undefined) return s;
    if (b.min < s.min || b.max > s.max)
      throw new UserError("shape", `symbol '${s.name}' lies in [${s.min}, ${s.max}]; [${b.min}, ${b.max}] was asked for`);
    return makeSymbol(s.name, b.min, b.max, s.multiple);
  }
}

/** Prints what `Reader.symbolDeclaration` reads. */
export function printSymbol(s: DimSymbol): string {
  if (s.source === "data")
    return `symbol ${s.name} in [${s.min}, ${s.max === Number.POSITIVE_INFINITY ? "inf" : s.max}] data${s.bound === null ? "" : ` <= ${s.bound}`}`;
  if (s.source === "capacity") return `symbol ${s.name} capacity ${s.bound}`;
  const range = s.min === 1 && s.max === Number.POSITIVE_INFINITY ? "" : ` in [${s.min}, ${s.max === Number.POSITIVE_INFINITY ? "inf" : s.max}]`;
  return `symbol ${s.name}${range}${s.multiple === 1 ? "" : ` multiple ${s.multiple}`}`;
}

/** A number as IR text: integers bare, floats with a point or an exponent, so that they read back as what they were. */
export function printNumber(v: number, float: boolean): string {
  if (Number.isNaN(v)) return "nan";
  if (v === Number.POSITIVE_INFINITY) return "inf";
  if (v === Number.NEGATIVE_INFINITY) return "-inf";
  if (!float) return String(v);
  if (Object.is(v, -0)) return "-0.0";
  const s = String(v);
  return /[.e]/.test(s) ? s : `${s}.0`;
}

/** Turns any string into a name that the reader takes: other characters become `_`. */
export function safeName(s: string): string {
  const clean = s.replace(/[^A-Za-z0-9_.$/:-]/g, "_").replace(/[^A-Za-z0-9_$]+$/, "");
  return clean === "" ? "_" : clean;
}

/** Words that stand for something else in IR texts; a variable of that name gets another. */
const reserved = new Set([
  "alloc",
  "assign",
  "at",
  "else",
  "false",
  "for",
  "from",
  "if",
  "in",
  "inf",
  "launch",
  "let",
  "nan",
  "none",
  "red",
  "scan",
  "stage",
  "true",
  "uses",
]);

/** Turns any string into a variable's name: `[A-Za-z_][A-Za-z0-9_.']*`, and no reserved word. */
export function identifier(s: string): string {
  const clean = s.replace(/[^A-Za-z0-9_.']/g, "_");
  // `_0`, `_1`, … are the bindings of shared parts.
  return !/^[A-Za-z_]/.test(clean) || /^_\d+$/.test(clean) || reserved.has(clean) ? `v${clean}` : clean;
}

/** Gives out names that are unique within one function: `x`, `x_1`, `x_2`, … */
export class Names {
  private readonly used: Map<string, number>;
  private readonly clean: (s: string) => string;
  /** `clean` makes any string a name of the wanted form. */
  constructor(clean: (s: string) => string = safeName, used: ReadonlyMap<string, number> = new Map()) {
    this.clean = clean;
    this.used = new Map(used);
  }
  /** Names of an inner scope: those given out so far stay taken. */
  child(): Names {
    return new Names(this.clean, this.used);
  }
  fresh(base: string): string {
    const name = this.clean(base);
    let n = this.used.get(name);
    if (n === undefined) {
      this.used.set(name, 1);
      return name;
    }
    let candidate = `${name}_${n}`;
    while (this.used.has(candidate)) candidate = `${name}_${++n}`;
    this.used.set(name, n + 1);
    this.used.set(candidate, 1);
    return candidate;
  }
}

/** Collects indented lines. */
export class Printer {
  private readonly lines: string[] = [];
  private depth = 0;
  /** On which line stands what, for notes inside of the text. */
  readonly places: Map<unknown, number> = new Map();
  /** Adds a line; `about` is what it prints. */
  line(text: string, about?: unknown): void {
    if (about !== undefined) this.places.set(about, this.lines.length);
    this.lines.push(("  ".repeat(this.depth) + text).trimEnd());
  }
  block(head: string, body: () => void, about?: unknown): void {
    this.line(`${head} {`, about);
    this.depth++;
    body();
    this.depth--;
    this.line("}");
  }
  toString(): string {
    return `${this.lines.join("\n")}\n`;
  }
}

/** A file's size for people, in units of 1000. */
export function bytesText(n: number): string {
  if (n < 1000) return `${n} B`;
  return n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

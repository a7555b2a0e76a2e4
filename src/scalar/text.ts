import { type DType, findDType, f32, i32 } from "../base/dtype.ts";
import { roundTo } from "../base/numeric.ts";
import { Names, type Reader, type Token, identifier, printNumber } from "../base/text.ts";
import { type Expr, type Storage, type Variable, postorder } from "./expr.ts";
import { type OpName, findScalarOp, scalarOps } from "./ops/table.ts";
import type { Scalars } from "./scalars.ts";

/** How variables and storages are called in a text. */
export interface ExprNames {
  readonly variable: (v: Variable) => string;
  readonly storage: (s: Storage) => string;
}
const ownNames: ExprNames = { variable: (v) => v.name, storage: (s) => s.name };

/**
 * Names for one scope of a text: variables and storages that are called alike get names of their own, so that the text
 * reads back. A child scope does not use its parent's names again.
 */
export class NameTable implements ExprNames {
  private readonly variables: Names;
  private readonly storages: Names;
  private readonly given: Map<Variable | Storage, string>;
  private readonly reserved: Set<string>;
  constructor(parent: NameTable | null = null) {
    this.variables = parent?.variables.child() ?? new Names(identifier);
    this.storages = parent?.storages.child() ?? new Names();
    this.given = new Map(parent?.given);
    this.reserved = new Set(parent?.reserved);
  }
  child(): NameTable {
    return new NameTable(this);
  }
  /** Gives a name of its own to what is declared here. */
  declare(x: Variable | Storage): string {
    const name = x.kind === "variable" ? this.variables.fresh(x.name) : this.storages.fresh(x.name);
    this.given.set(x, name);
    return name;
  }
  /** Declares an accumulator: the element that is merged in is called like it, with a prime. */
  declarePair(left: Variable, right: Variable): void {
    const name = this.declare(left);
    this.given.set(right, `${name}'`);
    this.variables.fresh(`${name}'`);
  }
  /** Keeps the name of a symbol from being given to anything else: variables of that name stand for it. */
  reserve(name: string): void {
    this.variables.fresh(name);
    this.reserved.add(name);
  }
  has(x: Variable | Storage): boolean {
    return this.given.has(x);
  }
  readonly variable = (v: Variable): string => this.given.get(v) ?? (v.extent === null && this.reserved.has(v.name) ? v.name : this.declare(v));
  readonly storage = (s: Storage): string => this.given.get(s) ?? this.declare(s);
}

/** Expressions of more operations, written as a tree, bind what occurs in them more than once. */
const treeLimit = 64;
/** Expressions are cut into bindings at this depth. */
const depthLimit = 48;

/**
 * Prints an expression so that `parseExpr` reads the same one: infix where the op table says so. Shared parts of a large
 * one are bound: `let _0 = exp(%x[i]) in _0 / (_0 + 1.0)`; without that its text could be exponentially long.
 */
export function printExpr(e: Expr, names: ExprNames = ownNames): string {
  const bound = new Map<Expr, string>();
  const bindings: string[] = [];
  for (const part of partsToBind(e)) {
    const text = print(part, names, bound, 0);
    bound.set(part, `_${bound.size}`);
    bindings.push(`${bound.get(part)} = ${text}`);
  }
  const text = print(e, names, bound, 0);
  return bindings.length === 0 ? text : `let ${bindings.join(", ")} in ${text}`;
}

/** Operations of the expression as a tree, and its depth. */
function treeSize(root: Expr): readonly [number, number] {
  if (root.treeSize !== null) return root.treeSize;
  const stack = [root];
  for (;;) {
    const e = stack[stack.length - 1] as Expr;
    const before = stack.length;
    let [size, depth] = [1, 0];
    for (const a of e.args) {
      if (a.treeSize === null) stack.push(a);
      else {
        size = Math.min(size + a.treeSize[0], 2 ** 40);
        depth = Math.max(depth, a.treeSize[1]);
      }
    }
    if (stack.length > before) continue;
    stack.pop();
    e.treeSize = [size, depth + 1];
    if (stack.length === 0) return e.treeSize;
  }
}

/** What has to be bound so that the text stays short and shallow, operands first. */
function partsToBind(root: Expr): Expr[] {
  const [size, depth] = treeSize(root);
  if (size <= treeLimit && depth <= depthLimit) return [];
  const uses = new Map<Expr, number>();
  const nodes = postorder([root]);
  for (const e of nodes) for (const a of e.args) uses.set(a, (uses.get(a) ?? 0) + 1);
  const piece = new Map<Expr, readonly [number, number]>();
  const out: Expr[] = [];
  for (const e of nodes) {
    let [s, d] = [1, 0];
    for (const a of e.args) {
      const [as, ad] = piece.get(a) as readonly [number, number];
      s += as;
      d = Math.max(d, ad);
    }
    const bind = e !== root && e.constant === null && (((uses.get(e) ?? 0) > 1 && s > 3) || d >= depthLimit);
    if (bind) out.push(e);
    piece.set(e, bind ? [1, 0] : [s, d + 1]);
  }
  return out;
}

function print(e: Expr, names: ExprNames, bound: ReadonlyMap<Expr, string>, level: number): string {
  const name = bound.get(e);
  if (name !== undefined) return name;
  const inner = (x: Expr | undefined, at = 0): string => print(x as Expr, names, bound, at);
  const list = () => e.args.map((a) => inner(a)).join(", ");
  switch (e.op) {
    case "const":
      return printConst(e);
    case "var":
      return names.variable(e.attr as Variable);
    case "load":
      return `%${names.storage(e.attr as Storage)}[${list()}]`;
    case "loadat":
      return `%${names.storage(e.attr as Storage)}{${list()}}${e.lanes === 1 ? "" : `:${e.lanes}`}`;
    case "extract":
      return `extract(${inner(e.args[0])}, ${e.attr})`;
    case "insert":
      return `insert(${list()}, ${e.attr})`;
    case "ramp":
      return `ramp(${list()}, ${e.lanes})`;
    case "broadcast":
      return `broadcast(${inner(e.args[0])}, ${e.lanes})`;
    case "cast":
      return `${e.dtype}(${inner(e.args[0])})`;
    case "bitcast":
      return `bitcast.${e.dtype}(${inner(e.args[0])})`;
    default: {
      const infix = scalarOps[e.op].infix;
      if (infix === undefined) return `${e.op}(${list()})`;
      const text = `${inner(e.args[0], infix.precedence)} ${infix.symbol} ${inner(e.args[1], infix.precedence + 1)}`;
      return infix.precedence < level ? `(${text})` : text;
    }
  }
}

function printConst(e: Expr): string {
  const v = e.attr as number | bigint;
  const text = typeof v === "bigint" ? `${v}` : printNumber(v, e.dtype.isFloat);
  if (e.dtype.kind === "bool") return v === 0 ? "false" : "true";
  return e.dtype === i32 || e.dtype === f32 ? text : `${text}:${e.dtype}`;
}

/** Where the names in an expression lead. */
export interface Scope {
  readonly variable: (name: string) => Variable | null;
  readonly storage: (name: string) => Storage | null;
}

const infixOps = new Map(Object.values(scalarOps).flatMap((o) => (o.infix === undefined ? [] : [[o.infix.symbol, o] as const])));

/**
 * Reads one expression. Integer literals are i32 and those with a point or exponent f32, unless a dtype follows: `1:i64`.
 * @throws UserError `syntax`, with the place, for unknown names, operands of dtypes or lanes that do not fit
 */
export function parseExpr(r: Reader, sc: Scalars, scope: Scope): Expr {
  return new ExprParser(r, sc, scope).whole();
}

class ExprParser {
  private readonly r: Reader;
  private readonly sc: Scalars;
  private readonly scope: Scope;
  private readonly bound = new Map<string, Expr>();

  constructor(r: Reader, sc: Scalars, scope: Scope) {
    this.r = r;
    this.sc = sc;
    this.scope = scope;
  }

  whole(): Expr {
    const { r } = this;
    if (r.accept("let")) {
      do {
        const name = r.name();
        r.expect("=");
        this.bound.set(name, this.infix(0));
      } while (r.accept(","));
      r.expect("in");
    }
    return this.infix(0);
  }

  private infix(level: number): Expr {
    const { r } = this;
    let left = r.nested(() => this.primary());
    for (;;) {
      const op = r.peek().kind === "punct" ? infixOps.get(r.peek().text) : undefined;
      const precedence = op?.infix?.precedence ?? -1;
      if (op === undefined || precedence < level) return left;
      const at = r.next();
      const right = this.infix(precedence + 1);
      left = this.apply(op.name as OpName, [left, right], null, at);
    }
  }

  private apply(op: OpName, args: readonly Expr[], cast: DType | null, at: Token): Expr {
    const { r } = this;
    const entry = scalarOps[op];
    if (args.length !== entry.arity) r.fail(`'${op}' takes ${entry.arity} operands, got ${args.length}`, at);
    const type = entry.type(
      args.map((a) => a.dtype),
      cast,
    );
    if ("error" in type) r.fail(`'${op}': ${type.error}`, at);
    const lanes = Math.max(...args.map((a) => a.lanes));
    if (args.some((a) => a.lanes !== 1 && a.lanes !== lanes)) r.fail(`'${op}': operands have ${args.map((a) => a.lanes).join(", ")} lanes`, at);
    return this.sc.op(op, args, cast);
  }

  private literal(t: Token, negative: boolean): Expr {
    const { r, sc } = this;
    const { text } = t;
    const isFloat = /[.e]|inf|nan/.test(text);
    const d = r.accept(":") ? r.dtype() : isFloat ? f32 : i32;
    if (!d.isFloat && isFloat) return r.fail(`${text} is no ${d}`, t);
    if (d.bits === 64 && !d.isFloat) {
      const v = negative ? -BigInt(text) : BigInt(text);
      return roundTo(d, v) === v ? sc.const(v, d) : r.fail(`${v} is no ${d}`, t);
    }
    const size = text === "inf" ? Number.POSITIVE_INFINITY : text === "nan" ? Number.NaN : Number(text);
    const v = negative ? -size : size;
    if (!d.isFloat && Number(roundTo(d, v)) !== v) r.fail(`${v} is no ${d}`, t);
    return sc.const(v, d);
  }

  private primary(): Expr {
    const { r, sc } = this;
    const at = r.next();
    if (at.kind === "number") return this.literal(at, false);
    if (at.kind === "value") return this.load(at);
    if (at.text === "(") {
      const e = this.infix(0);
      r.expect(")");
      return e;
    }
    if (at.text === "-") {
      const t = r.peek();
      if (t.kind === "number" || t.text === "inf") return this.literal(r.next(), true);
      return this.apply("neg", [r.nested(() => this.primary())], null, at);
    }
    if (at.kind !== "name") return r.fail(`expected an expression, got '${at.text}'`, at);
    if (r.is("(")) return this.call(at);
    if (at.text === "inf" || at.text === "nan") return this.literal(at, false);
    if (at.text === "true" || at.text === "false") return sc.bool(at.text === "true");
    const bound = this.bound.get(at.text);
    if (bound !== undefined) return bound;
    return sc.var(this.scope.variable(at.text) ?? r.fail(`unknown name '${at.text}'`, at));
  }

  private load(at: Token): Expr {
    const { r, sc } = this;
    const s = this.scope.storage(at.text.slice(1)) ?? r.fail(`unknown value '${at.text}'`, at);
    if (r.is("{")) {
      const [address, offset, more] = r.list("{", "}", () => this.infix(0));
      if (address === undefined || offset?.constant == null || more !== undefined) return r.fail("expected an address and a constant offset", at);
      return sc.loadAt(s, address, Number(offset.constant), r.accept(":") ? this.lanes(r.number(), at) : 1);
    }
    const index = r.list("[", "]", () => this.infix(0));
    const wrong = index.find((i) => i.dtype !== i32);
    if (wrong !== undefined) r.fail(`an index must be i32, got ${wrong.dtype}`, at);
    return sc.load(s, index);
  }

  private lanes(n: number, at: Token): number {
    return Number.isInteger(n) && n > 1 && n <= 64 ? n : this.r.fail(`expected a number of lanes, got ${n}`, at);
  }

  /** `op(…)`, `dtype(x)`, `bitcast.dtype(x)` and the vector forms. */
  private call(at: Token): Expr {
    const { r } = this;
    const args = r.list("(", ")", () => this.infix(0));
    const form = this.vectorForm(at, args);
    if (form !== null) return form;
    const bits = at.text.startsWith("bitcast.");
    const cast = findDType(bits ? at.text.slice(8) : at.text);
    if (cast !== null) return this.apply(bits ? "bitcast" : "cast", args, cast, at);
    const op = findScalarOp(at.text) ?? r.fail(`unknown scalar op '${at.text}'`, at);
    return this.apply(op.name, args, null, at);
  }

  private vectorForm(at: Token, args: readonly Expr[]): Expr | null {
    const { r, sc } = this;
    const arity = { ramp: 3, broadcast: 2, extract: 2, insert: 3 }[at.text];
    if (arity === undefined) return null;
    const last = args[arity - 1]?.constant;
    const [x, y] = args;
    if (args.length !== arity || last == null || x === undefined || y === undefined)
      return r.fail(`'${at.text}' takes ${arity} operands, the last a constant`, at);
    const n = Number(last);
    const vector = at.text === "extract" || at.text === "insert";
    if (vector ? x.lanes === 1 : x.lanes !== 1) r.fail(`'${at.text}' takes a ${vector ? "vector" : "scalar"} first`, at);
    if (vector && !(n >= 0 && n < x.lanes)) r.fail(`there is no lane ${n} among ${x.lanes}`, at);
    if (arity === 3 && (y.lanes !== 1 || y.dtype !== x.dtype)) r.fail(`'${at.text}' takes a scalar ${x.dtype} second`, at);
    if (at.text === "extract") return sc.extract(x, n);
    if (at.text === "insert") return sc.insert(x, y, n);
    return at.text === "ramp" ? sc.ramp(x, y, this.lanes(n, at)) : sc.broadcast(x, this.lanes(n, at));
  }
}

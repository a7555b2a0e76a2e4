import { type Dim, type DimAtom, type DimSymbol, termsOf } from "../base/dim.ts";
import { type DType, bool, f32, i32, i64 } from "../base/dtype.ts";
import { InternalError } from "../base/errors.ts";
import { type Num, largestFinite, roundTo } from "../base/numeric.ts";
import { type Attr, Expr, type LeafName, type Storage, type Variable } from "./expr.ts";
import { type OpName, opNames, scalarOps } from "./ops/table.ts";
import { type RuleBook, applyRules } from "./rules/engine.ts";

const opIndex = new Map<string, number>(
  [...opNames, "const", "var", "load", "loadat", "ramp", "broadcast", "extract", "insert"].map((n, i) => [n, i]),
);
const word = new DataView(new ArrayBuffer(8));

function hashNumber(v: Num): number {
  if (typeof v === "bigint") return Number(BigInt.asIntN(32, v)) ^ Number(BigInt.asIntN(32, v >> 32n));
  // All NaNs are one constant, whatever sign and payload the engine gave them.
  word.setFloat64(0, Number.isNaN(v) ? Number.NaN : v);
  return word.getInt32(0) ^ word.getInt32(4);
}

function mix(h: number, v: number): number {
  return (Math.imul(h ^ v, 0x01000193) + 0x9e3779b9) | 0;
}

interface Made {
  readonly name: OpName;
  readonly operands: readonly Expr[];
  readonly cast: DType | null;
  readonly result: Expr;
  readonly next: Made | null;
}

/**
 * The table of interned expressions of one compilation, and the only way to make them. Construction folds constants
 * and applies the local rules it was given.
 */
export class Scalars {
  /** The expressions of each hash, chained by `next`. */
  private readonly table = new Map<number, Expr>();
  /** What operations on operands have become, each with those of its hash chained by `next`: passes ask for most of them again. */
  private readonly made = new Map<number, Made>();
  private readonly symbols = new Map<string, Variable>();
  private nextExpr = 0;
  private nextId = 0;
  readonly rules: RuleBook | null;
  /** How often each rule fired, for the trace. */
  readonly fired: Map<string, number> = new Map();

  constructor(rules: RuleBook | null = null) {
    this.rules = rules;
  }

  /** A number that no other storage or variable of this compilation has. */
  freshId(): number {
    return this.nextId++;
  }

  storage(name: string, dtype: DType): Storage {
    return { kind: "storage", id: this.freshId(), name, dtype };
  }

  /** A new variable; `extent` makes it an axis with values `[0, extent)`. */
  variable(name: string, dtype: DType = i32, range: { min?: number; max?: number; extent?: Expr; multiple?: number; lanes?: number } = {}): Variable {
    const extent = range.extent ?? null;
    const c = extent === null ? null : extent.constant;
    const max = c !== null ? Number(c) - 1 : (range.max ?? Number.POSITIVE_INFINITY);
    return {
      kind: "variable",
      id: this.freshId(),
      name,
      dtype,
      lanes: range.lanes ?? 1,
      min: range.min ?? (extent !== null ? 0 : Number.NEGATIVE_INFINITY),
      max,
      extent,
      multiple: range.multiple ?? 1,
    };
  }

  private intern(op: OpName | LeafName, dtype: DType, lanes: number, args: readonly Expr[], attr: Attr): Expr {
    let h = mix(mix(opIndex.get(op) ?? 0, dtype.index), lanes);
    for (const a of args) h = mix(h, a.id);
    if (typeof attr === "number" || typeof attr === "bigint") h = mix(h, hashNumber(attr));
    else if (attr !== null) h = mix(h, attr.id);
    const first = this.table.get(h) ?? null;
    for (let e = first; e !== null; e = e.next)
      if (e.op === op && e.dtype === dtype && e.lanes === lanes && Object.is(e.attr, attr) && sameArgs(e.args, args)) return e;
    const e = new Expr(this.nextExpr++, op, dtype, lanes, args, attr);
    e.next = first;
    this.table.set(h, e);
    return e;
  }

  const(v: Num, dtype: DType): Expr {
    return this.intern("const", dtype, 1, [], roundTo(dtype, v));
  }
  int(v: number): Expr {
    return this.const(v, i32);
  }
  f32(v: number): Expr {
    return this.const(v, f32);
  }
  bool(v: boolean): Expr {
    return this.const(v ? 1 : 0, bool);
  }
  var(v: Variable): Expr {
    return this.intern("var", v.dtype, v.lanes, [], v);
  }
  load(s: Storage, index: readonly Expr[], lanes = Math.max(1, ...index.map((i) => i.lanes))): Expr {
    return this.intern("load", s.dtype, lanes, index, s);
  }
  /** Reads at a byte address plus a constant offset. */
  loadAt(s: Storage, address: Expr, offset: number, lanes: number): Expr {
    return this.intern("loadat", s.dtype, lanes, [address, this.int(offset)], s);
  }
  /** One lane of a vector. */
  extract(x: Expr, lane: number): Expr {
    if (x.op === "broadcast") return x.args[0] as Expr;
    return this.intern("extract", x.dtype, 1, [x], lane);
  }
  /** The vector with one lane replaced. */
  insert(x: Expr, v: Expr, lane: number): Expr {
    return this.intern("insert", x.dtype, x.lanes, [x, v], lane);
  }
  /** `base, base + stride, …` */
  ramp(base: Expr, stride: Expr, lanes: number): Expr {
    if (stride.isConst(0)) return this.broadcast(base, lanes);
    return this.intern("ramp", base.dtype, lanes, [base, stride], null);
  }
  broadcast(x: Expr, lanes: number): Expr {
    if (lanes === 1) return x;
    return this.intern("broadcast", x.dtype, lanes, [x], null);
  }

  /** The op on operands of fitting dtypes and equal lanes; scalars among vectors are broadcast. */
  op(name: OpName, operands: readonly Expr[], cast: DType | null = null): Expr {
    let h = mix(opIndex.get(name) ?? 0, cast === null ? -1 : cast.index);
    for (const a of operands) h = mix(h, a.id);
    for (let m = this.made.get(h) ?? null; m !== null; m = m.next)
      if (m.name === name && m.cast === cast && sameArgs(m.operands, operands)) return m.result;
    const result = this.make(name, operands, cast);
    this.made.set(h, { name, operands, cast, result, next: this.made.get(h) ?? null });
    return result;
  }

  private make(name: OpName, operands: readonly Expr[], cast: DType | null): Expr {
    const entry = scalarOps[name];
    const lanes = operands.reduce((n, a) => Math.max(n, a.lanes), 1);
    let args = lanes === 1 ? operands : operands.map((a) => (a.lanes === lanes ? a : this.broadcast(a, lanes)));
    const type = entry.type(
      args.map((a) => a.dtype),
      cast,
    );
    if ("error" in type) throw new InternalError("scalar-type", `scalar op '${name}': ${type.error}`);
    if (entry.commutative === true && (args[0] as Expr).constant !== null && (args[1] as Expr).constant === null)
      args = [args[1] as Expr, args[0] as Expr];
    const constants = args.map((a) => a.constant);
    if (constants.every((c) => c !== null)) {
      const v = entry.evaluate(
        constants as Num[],
        type,
        args.map((a) => a.dtype),
      );
      return this.broadcast(this.const(v, type), lanes);
    }
    if (lanes > 1 && args.every((a) => a.op === "broadcast"))
      return this.broadcast(
        this.op(
          name,
          args.map((a) => a.args[0] as Expr),
          cast,
        ),
        lanes,
      );
    const vector = lanes > 1 ? this.vectorIndex(name, args, lanes) : null;
    if (vector !== null) return vector;
    if (name === "cast" && (args[0] as Expr).dtype === type) return args[0] as Expr;
    const e = this.intern(name, type, lanes, args, null);
    return this.rules === null ? e : applyRules(this.rules, this, e);
  }

  /** Integer arithmetic on ramps stays a ramp: `ramp(b, s) + c = ramp(b + c, s)`. */
  private vectorIndex(name: OpName, args: readonly Expr[], lanes: number): Expr | null {
    const [a, b] = args as [Expr, Expr];
    if (a.dtype.isFloat || args.length !== 2 || (a.op !== "ramp" && b.op !== "ramp")) return null;
    const base = (e: Expr) => (e.op === "ramp" || e.op === "broadcast" ? (e.args[0] as Expr) : null);
    const stride = (e: Expr) => (e.op === "ramp" ? (e.args[1] as Expr) : this.const(0, e.dtype));
    const [x, y] = [base(a), base(b)];
    if (x === null || y === null) return null;
    if (name === "add" || name === "sub") return this.ramp(this.op(name, [x, y]), this.op(name, [stride(a), stride(b)]), lanes);
    if (name === "mul" && b.op === "broadcast") return this.ramp(this.mul(x, y), this.mul(stride(a), y), lanes);
    if (name === "mul" && a.op === "broadcast") return this.ramp(this.mul(x, y), this.mul(stride(b), x), lanes);
    return null;
  }

  add(a: Expr, b: Expr): Expr {
    return this.op("add", [a, b]);
  }
  sub(a: Expr, b: Expr): Expr {
    return this.op("sub", [a, b]);
  }
  mul(a: Expr, b: Expr): Expr {
    return this.op("mul", [a, b]);
  }
  floordiv(a: Expr, b: Expr): Expr {
    return this.op("floordiv", [a, b]);
  }
  mod(a: Expr, b: Expr): Expr {
    return this.op("mod", [a, b]);
  }
  min(a: Expr, b: Expr): Expr {
    return this.op("min", [a, b]);
  }
  max(a: Expr, b: Expr): Expr {
    return this.op("max", [a, b]);
  }
  select(c: Expr, a: Expr, b: Expr): Expr {
    return this.op("select", [c, a, b]);
  }
  and(a: Expr, b: Expr): Expr {
    return this.op("and", [a, b]);
  }
  cast(d: DType, x: Expr): Expr {
    return this.op("cast", [x], d);
  }
  bitcast(d: DType, x: Expr): Expr {
    return this.op("bitcast", [x], d);
  }
  sum(terms: readonly Expr[]): Expr {
    return terms.reduce((a, b) => this.add(a, b), this.int(0));
  }

  /** The variable that stands for a symbolic size. */
  symbol(s: DimSymbol): Variable {
    let v = this.symbols.get(s.name);
    if (v === undefined) {
      v = { kind: "variable", id: this.freshId(), name: s.name, dtype: i32, lanes: 1, min: s.min, max: s.max, extent: null, multiple: s.multiple };
      this.symbols.set(s.name, v);
    }
    return v;
  }

  /** A dimension as an i32 expression. */
  dim(d: Dim): Expr {
    if (typeof d === "number") return this.int(d);
    return termsOf(d).reduce<Expr>(
      (sum, t) =>
        this.add(
          sum,
          t.atoms.reduce<Expr>((p, a) => this.mul(p, this.dimAtom(a)), this.int(t.coef)),
        ),
      this.int(0),
    );
  }
  private dimAtom(a: DimAtom): Expr {
    return a.kind === "symbol" ? this.var(this.symbol(a)) : this.op(a.kind, [this.dim(a.a), this.dim(a.b)]);
  }

  /** Rebuilds expressions bottom-up: `leaf` gives a replacement for a node, or null to rebuild it from its operands. */
  rebuild(roots: readonly Expr[], replace: (e: Expr, args: readonly Expr[]) => Expr | null, memo: Map<Expr, Expr> = new Map()): Expr[] {
    const stack: Expr[] = [...roots];
    while (stack.length > 0) {
      const e = stack[stack.length - 1] as Expr;
      if (memo.has(e)) {
        stack.pop();
        continue;
      }
      const before = stack.length;
      for (const a of e.args) if (!memo.has(a)) stack.push(a);
      if (stack.length > before) continue;
      stack.pop();
      const args = e.args.map((a) => memo.get(a) as Expr);
      memo.set(e, replace(e, args) ?? this.with(e, args));
    }
    return roots.map((r) => memo.get(r) as Expr);
  }

  /** The same operation on other operands. */
  with(e: Expr, args: readonly Expr[]): Expr {
    if (sameArgs(args, e.args)) return e;
    switch (e.op) {
      case "const":
      case "var":
        return e;
      case "load":
        return this.load(e.attr as Storage, args, Math.max(e.lanes, ...args.map((a) => a.lanes)));
      case "loadat":
        return this.intern("loadat", e.dtype, e.lanes, args, e.attr);
      case "extract":
        return this.extract(args[0] as Expr, e.attr as number);
      case "insert":
        return this.insert(args[0] as Expr, args[1] as Expr, e.attr as number);
      case "ramp":
        return this.ramp(args[0] as Expr, args[1] as Expr, e.lanes);
      case "broadcast":
        return this.broadcast(args[0] as Expr, Math.max(e.lanes, 1));
      default:
        return this.op(e.op, args, e.dtype);
    }
  }

  /** Replaces variables. */
  substitute(e: Expr, map: ReadonlyMap<Variable, Expr>): Expr {
    return this.substituteAll([e], map)[0] as Expr;
  }
  substituteAll(roots: readonly Expr[], map: ReadonlyMap<Variable, Expr>, memo: Map<Expr, Expr> = new Map()): Expr[] {
    if (map.size === 0) return [...roots];
    return this.rebuild(roots, (e) => (e.op === "var" ? (map.get(e.attr as Variable) ?? e) : null), memo);
  }

  /** Replaces ops that have a decomposition by it, all the way down. */
  decompose(e: Expr, memo: Map<Expr, Expr> = new Map()): Expr {
    const replace = (n: Expr, args: readonly Expr[]): Expr | null => {
      const entry = scalarOps[n.op as OpName] as (typeof scalarOps)[OpName] | undefined;
      if (entry?.decompose === undefined) return null;
      // The operands are done already; without saying so each level would walk all those below it again.
      for (const a of args) memo.set(a, a);
      return this.decompose(entry.decompose(this, args), memo);
    };
    return this.rebuild([e], replace, memo)[0] as Expr;
  }
}

function sameArgs(a: readonly Expr[], b: readonly Expr[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Identity of a dtype's additive and extremal monoids. */
export function identityOf(name: "add" | "mul" | "min" | "max" | "and" | "or", d: DType): Num {
  const one = d === i64 || d.name === "u64" ? 1n : 1;
  switch (name) {
    case "add":
    case "or":
      return roundTo(d, 0);
    case "mul":
      return one;
    case "and":
      return d === bool ? 1 : roundTo(d, -1);
    case "min":
    case "max":
      return name === "max" ? lowest(d) : highest(d);
    default:
      throw name satisfies never;
  }
}
function lowest(d: DType): Num {
  if (d.format?.special === "scale") return 2 ** -d.format.bias;
  if (d.isFloat) return -highest(d);
  if (d.kind !== "int") return roundTo(d, 0);
  return d.bits === 64 ? -(2n ** 63n) : -(2 ** (d.bits - 1));
}
function highest(d: DType): Num {
  // Not all narrow floats have an infinity.
  if (d.isFloat) return d.format === null || d.format.special === "ieee" ? Number.POSITIVE_INFINITY : largestFinite(d.format);
  if (d === bool) return 1;
  const bits = d.kind === "int" ? d.bits - 1 : d.bits;
  return d.bits === 64 ? 2n ** BigInt(bits) - 1n : 2 ** bits - 1;
}

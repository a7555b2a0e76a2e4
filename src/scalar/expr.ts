import type { DType } from "../base/dtype.ts";
import type { Num } from "../base/numeric.ts";
import type { Polynomial } from "./index.ts";
import type { OpName } from "./ops/table.ts";

/** What a `load` reads: a tensor of tensor IR, or a buffer of loop IR. */
export interface Storage {
  readonly kind: "storage";
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
}

/**
 * A variable: a loop axis, an accumulator, a size. Its values are `[0, extent)` for axes and `[min, max]` else; both
 * serve to simplify index expressions.
 */
export interface Variable {
  readonly kind: "variable";
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly lanes: number;
  readonly min: number;
  readonly max: number;
  /** For an axis its symbolic extent: values are below it. */
  readonly extent: Expr | null;
  /** Divides every value. */
  readonly multiple: number;
}

/**
 * Leaves and vector forms are no entries of the op table: they carry what no operand can. `load` reads a storage at an
 * index in elements; `loadat`, which address lowering makes of it, at a byte address plus a constant offset. `extract`
 * takes one lane of a vector, `insert` replaces one.
 */
export type LeafName = "const" | "var" | "load" | "loadat" | "ramp" | "broadcast" | "extract" | "insert";
export type Attr = Num | Storage | Variable | null;

/**
 * What has been found out about an expression, each by the one function that owns the field. Weak tables of so many keys
 * would keep the garbage collector busy.
 */
export interface Findings {
  /** `rangeOf` */
  range: readonly [number, number] | null;
  /** `polynomialOf` */
  polynomial: Polynomial | null;
  /** `mentionedIn` */
  mentioned: ReadonlySet<Variable> | null;
  /** The printer's: operations as a tree, depth. */
  treeSize: readonly [number, number] | null;
  /** The interning table's: the next expression of the same hash. */
  next: Expr | null;
}

/**
 * An interned scalar (or, with `lanes > 1`, vector) expression. Made only by `Scalars`, which returns the same object
 * for the same operation on the same operands: `===` is equality.
 */
export class Expr implements Findings {
  readonly id: number;
  readonly op: OpName | LeafName;
  readonly dtype: DType;
  readonly lanes: number;
  readonly args: readonly Expr[];
  readonly attr: Attr;
  range: Findings["range"] = null;
  polynomial: Findings["polynomial"] = null;
  mentioned: Findings["mentioned"] = null;
  treeSize: Findings["treeSize"] = null;
  next: Expr | null = null;
  constructor(id: number, op: OpName | LeafName, dtype: DType, lanes: number, args: readonly Expr[], attr: Attr) {
    this.id = id;
    this.op = op;
    this.dtype = dtype;
    this.lanes = lanes;
    this.args = args;
    this.attr = attr;
  }
  /** The value of a constant (of all lanes of a broadcast one), else null. */
  get constant(): Num | null {
    if (this.op === "const") return this.attr as Num;
    if (this.op === "broadcast") return (this.args[0] as Expr).constant;
    return null;
  }
  get variable(): Variable | null {
    return this.op === "var" ? (this.attr as Variable) : null;
  }
  /** What a load reads. */
  get storage(): Storage | null {
    return this.op === "load" || this.op === "loadat" ? (this.attr as Storage) : null;
  }
  isConst(v: number): boolean {
    const c = this.constant;
    return c !== null && Number(c) === v;
  }
}

/** Visits every sub-expression once, operands before their users. Iterative. */
export function postorder(roots: readonly Expr[]): Expr[] {
  const done = new Set<Expr>();
  const out: Expr[] = [];
  const stack: Expr[] = [...roots].reverse();
  while (stack.length > 0) {
    const e = stack[stack.length - 1] as Expr;
    if (done.has(e)) {
      stack.pop();
      continue;
    }
    const before = stack.length;
    for (let i = e.args.length - 1; i >= 0; i--) {
      const a = e.args[i] as Expr;
      if (!done.has(a)) stack.push(a);
    }
    if (stack.length === before) {
      stack.pop();
      done.add(e);
      out.push(e);
    }
  }
  return out;
}

/** Variables that occur in the expressions. */
export function variablesOf(...roots: readonly Expr[]): Set<Variable> {
  const out = new Set<Variable>();
  for (const e of postorder(roots)) if (e.op === "var") out.add(e.attr as Variable);
  return out;
}

/** Loads that occur in the expressions, those inside index expressions included. */
export function loadsOf(...roots: readonly Expr[]): Expr[] {
  return postorder(roots).filter((e) => e.op === "load");
}

/**
 * Is a select a guard: decided by positions alone (loop variables and sizes, no data), so that a read in one of its cases
 * may lie outside of its tensor when the other is chosen? Cases of other selects can always be evaluated.
 */
export function isGuard(select: Expr): boolean {
  return postorder([select.args[0] as Expr]).every((e) => !e.dtype.isFloat && e.op !== "load" && e.op !== "loadat");
}

import type { ConstantData } from "../../base/constant.ts";
import { type Dim, dimsEqual, productOf } from "../../base/dim.ts";
import type { Num } from "../../base/numeric.ts";
import { type RewriteDialect, type RewriteRule, RuleTable, Rewriter } from "../../base/rewrite.ts";
import { inferTypes } from "../builder.ts";
import { GraphBuilder } from "../builder.ts";
import { type HostTensor, hostFromBytes } from "../host.ts";
import { type GraphFunction, Op, type Region, type Value } from "../ir.ts";
import type { AnyAttrs } from "../op.ts";
import { printType } from "../print.ts";

/** Constants up to this many bytes are looked into and computed with while compiling; larger ones are left to the `prepare` program. */
export const foldLimit = 4096;

/** How near to the original a rule's result is. */
export type Exactness =
  /** The same bits for every input (the sign of a zero apart, where the rule's doc says so). */
  | "exact"
  /** Other roundings: relative to the largest result, within this many units of f32's rounding. */
  | { readonly ulp: number };

export interface GraphRule extends RewriteRule<Op, Value, Matcher> {
  readonly exactness: Exactness;
  /** Ops in IR text (what stands between the braces of a graph) in which the rule fires: its test. */
  readonly examples: readonly string[];
}

const dialect: RewriteDialect<Value, Op, Region> = {
  kind: (op) => op.def.name,
  keeps: (op) => op.def.effect ?? false,
  rebuild: (op, operands, regions) => new Op(op.def, operands, op.results, op.attrs, regions),
  block: (r, ops, results) => ({ ...r, ops, results }),
  mismatch: (old, by) =>
    old.dtype === by.dtype && dimsEqual(old.dims, by.dims) ? null : `%${old.name} by %${by.name}: ${printType(by)}, which is not ${printType(old)}`,
};

/** What rules see of the graph, and how they make new ops: everything made through `g` goes in front of the op that is rewritten. */
export class Matcher {
  readonly g: GraphBuilder;
  private readonly rewriter: Rewriter<Value, Op, Region>;
  private readonly constants = new Set<Value>();
  private readonly hosts = new Map<Value, HostTensor | null>();

  constructor(rewriter: Rewriter<Value, Op, Region>, g: GraphBuilder) {
    this.rewriter = rewriter;
    this.g = g;
    rewriter.onNode = (op) => this.note(op);
  }
  private note(op: Op): void {
    const source = op.def.name === "constant" || (op.def.name === "iota" && op.results.every((r) => isFixed(r.dims)));
    const known = op.operands.length > 0 ? op.operands.every((o) => this.constants.has(o)) : source;
    if (known && op.regions.length === 0) for (const r of op.results) this.constants.add(r);
  }
  /** Starts an attempt: new values get the root's origin. */
  begin(op: Op): void {
    this.g.origin = op.results[0]?.origin ?? [];
  }
  /** Gives values made from here on the origins of these ops too, because the new ops do their work. */
  absorb(...ops: readonly Op[]): void {
    this.g.origin = [...new Set([...ops.flatMap((o) => o.results.flatMap((r) => r.origin)), ...this.g.origin])];
  }
  /** The op that makes `v`, when it stands in the same region as the root: looking outside would move work into loops. */
  def(v: Value | undefined): Op | undefined {
    return v === undefined ? undefined : this.rewriter.localMaker(v);
  }
  /** The op that makes `v` if it is of that name. */
  is(v: Value | undefined, name: string): Op | undefined {
    const op = this.def(v);
    return op?.def.name === name ? op : undefined;
  }
  /** Like `is`, but only when nothing else uses the value. */
  sole(v: Value | undefined, name: string): Op | undefined {
    return v !== undefined && this.isSole(v) ? this.is(v, name) : undefined;
  }
  /** Is one op the only user of the value? */
  isSole(v: Value): boolean {
    return this.rewriter.useCount(v) === 1;
  }
  useCount(v: Value): number {
    return this.rewriter.useCount(v);
  }
  /**
   * Does some op round the float to an integer, at once or when it was held within a range? Then another rounding of the value
   * itself may show as a whole step: in quantised models, and in positions that are computed.
   */
  isRounded(v: Value, reach = 4): boolean {
    return this.rewriter.usersOf(v).some((op) => {
      const { name } = op.def;
      if (roundingOps.has(name) || (name === "convert" && op.results.some((r) => !r.dtype.isFloat))) return v.dtype.isFloat;
      const passes = reach > 0 && (name === "convert" || name === "min" || name === "max");
      return passes && op.results.some((r) => r.dtype.isFloat && this.isRounded(r, reach - 1));
    });
  }
  /** Is the value computed from constants alone? (Its dims may be symbolic: that of a repeated constant.) */
  isConstant(v: Value): boolean {
    return this.constants.has(v);
  }
  /** The elements of a constant of at most 4 kB; broadcasts and iotas of that size count as constants. */
  host(v: Value): HostTensor | null {
    let t = this.hosts.get(v);
    if (t === undefined) {
      t = this.isConstant(v) ? this.read(v) : null;
      this.hosts.set(v, t);
    }
    return t;
  }
  private read(v: Value): HostTensor | null {
    if (!isFixed(v.dims) || v.dtype.bytes(productOf(v.dims) as number) > foldLimit) return null;
    const op = this.rewriter.maker(v);
    if (op === undefined) return null;
    if (op.def.name === "constant") return hostFromBytes(v.dtype, v.dims as readonly number[], readData(op.attrs.data as ConstantData));
    if (op.def.name !== "iota" && op.def.name !== "broadcast") return null;
    const operands = op.operands.map((o) => this.host(o));
    return operands.every((o) => o !== null) ? (evaluate(op, operands)[0] ?? null) : null;
  }
  /** The number that every element of the value is known to be, or null. */
  splat(v: Value): Num | null {
    const op = this.rewriter.maker(v);
    if (op?.def.name === "broadcast") return this.splat(op.operands[0] as Value);
    const t = op?.def.name === "constant" ? this.host(v) : null;
    const first = t?.data[0];
    if (t === null || first === undefined) return null;
    return t.data.length === 1 || (t.data as Float64Array).every((e) => Object.is(e, first)) ? first : null;
  }
  /** Is every element that number? */
  isSplat(v: Value | undefined, n: number): boolean {
    const s = v === undefined ? null : this.splat(v);
    return s !== null && Number(s) === n;
  }
}

function readData(data: ConstantData): Uint8Array {
  return data.read(0, data.byteLength);
}

/** Runs an op without regions by its reference semantics. */
export function evaluate(op: Op, operands: readonly HostTensor[]): readonly HostTensor[] {
  if (op.def.evaluate === undefined) return [];
  const types = inferTypes(op.def, operands, op.attrs, []).map((t) => ({ dtype: t.dtype, dims: t.dims.map(Number) }));
  const never = (): never => {
    throw new Error("an op with regions or symbols is not evaluated here");
  };
  return op.def.evaluate({ operands, attrs: op.attrs as never, types, regions: [], run: never, bind: never, size: never });
}

/** Applies rules to a function until none fits; the same function when nothing changed. */
export function applyGraphRules(f: GraphFunction, table: RuleTable<Op, Value, Matcher>, rules: Map<string, number>): GraphFunction {
  const rewriter = new Rewriter<Value, Op, Region>(dialect, f);
  const g = GraphBuilder.for(f);
  const m = new Matcher(rewriter, g);
  const out = rewriter.run(
    table,
    m,
    (op) => m.begin(op),
    () => g.takeOps(),
    rules,
  );
  return out === f ? f : { ...f, ops: out.ops, results: out.results };
}

const roundingOps: ReadonlySet<string> = new Set(["round", "floor", "ceil", "trunc"]);

/** The rules; those that change roundings leave alone what is rounded to an integer next. */
export function ruleTable(rules: readonly GraphRule[]): RuleTable<Op, Value, Matcher> {
  return new RuleTable(
    rules.map((r) =>
      r.exactness === "exact" ? r : { ...r, rewrite: (op: Op, m: Matcher) => (m.isRounded(op.results[0] as Value) ? null : r.rewrite(op, m)) },
    ),
  );
}

/** The attributes of an op that rules name: read with the type the op declares. */
export function ints(attrs: AnyAttrs, key: string): readonly number[] {
  return attrs[key] as readonly number[];
}
export function dimList(attrs: AnyAttrs, key: string): readonly Dim[] {
  return attrs[key] as readonly Dim[];
}
export function pairList(attrs: AnyAttrs, key: string): readonly (readonly [number, number])[] {
  return attrs[key] as readonly (readonly [number, number])[];
}

/** Are all dims integers? */
export const isFixed = (dims: readonly Dim[]): boolean => dims.every((d) => typeof d === "number");
/** Is one of the dims known to be 0? */
export const isEmpty = (dims: readonly Dim[]): boolean => dims.some((d) => d === 0);

import { type ConstantData, inlineConstant } from "../base/constant.ts";
import { type Dim, type DimSymbol, dimSymbols, dimsEqual, makeDataSymbol, symbolDim } from "../base/dim.ts";
import type { DType } from "../base/dtype.ts";
import { VerifyError } from "../base/errors.ts";
import { type Num, roundTo } from "../base/numeric.ts";
import { Names } from "../base/text.ts";
import { type HostTensor, hostFrom, hostToBytes } from "./host.ts";
import { type GraphFunction, Op, type Region, Value } from "./ir.ts";
import type { AnyAttrs, OpDef, TensorType } from "./op.ts";
import { findOp } from "./registry.ts";

/** Makes graph ops in order, inferring the types of their results. */
export class GraphBuilder {
  private ops: Op[] = [];
  private readonly names: Names;
  private nextId: { value: number };
  /** Sizes that ops bind, those of nested builders included, and the names of all symbols. */
  private readonly sizes: { readonly bound: DimSymbol[]; readonly taken: Set<string> };
  private readonly params: Value[] = [];
  /** Origin given to values made from here on. */
  origin: readonly string[] = [];

  constructor(
    names = new Names(),
    nextId = { value: 0 },
    sizes: { readonly bound: DimSymbol[]; readonly taken: Set<string> } = { bound: [], taken: new Set() },
  ) {
    this.names = names;
    this.nextId = nextId;
    this.sizes = sizes;
  }

  /** A builder whose names and ids are new to a function, for ops to be spliced into it. */
  static for(f: Region): GraphBuilder {
    const names = new Names();
    const nextId = { value: 0 };
    const open: Region[] = [f];
    const take = (v: Value): void => {
      names.fresh(v.name);
      nextId.value = Math.max(nextId.value, v.id + 1);
    };
    for (let r = open.pop(); r !== undefined; r = open.pop()) {
      r.params.forEach(take);
      for (const op of r.ops) {
        op.results.forEach(take);
        open.push(...op.regions);
      }
    }
    return new GraphBuilder(names, nextId);
  }

  /** A builder for a nested region, or for ops to be spliced in: it shares names and ids. */
  nested(): GraphBuilder {
    const b = new GraphBuilder(this.names, this.nextId, this.sizes);
    b.origin = this.origin;
    return b;
  }

  value(name: string, type: TensorType, origin: readonly string[] = this.origin): Value {
    return new Value(this.nextId.value++, this.names.fresh(name), { dtype: type.dtype, dims: type.dims }, origin);
  }
  param(name: string, type: TensorType): Value {
    const v = this.value(name, type, [name]);
    for (const d of type.dims) for (const s of dimSymbols(d).keys()) this.sizes.taken.add(s);
    this.params.push(v);
    return v;
  }

  /**
   * Appends an op; `name` is that of its (first) result.
   * @throws VerifyError `graph-op` when a constraint of the op is violated
   */
  op(
    name: string,
    operands: readonly Value[],
    attrs: AnyAttrs = {},
    options: { name?: string; regions?: readonly Region[]; resultNames?: readonly string[] } = {},
  ): readonly Value[] {
    const def = findOp(name);
    const regions = options.regions ?? [];
    const types = inferTypes(def, operands, attrs, regions);
    const results = types.map((t, i) =>
      this.value(options.resultNames?.[i] ?? (i === 0 ? (options.name ?? name) : `${options.name ?? name}.${i}`), t),
    );
    this.ops.push(new Op(def, operands, results, attrs, regions));
    return results;
  }
  /** Appends an op with one result. */
  one(name: string, operands: readonly Value[], attrs: AnyAttrs = {}, label?: string): Value {
    return this.op(name, operands, attrs, label === undefined ? {} : { name: label })[0] as Value;
  }
  /** Appends an existing op as it is (its operands must be defined here). */
  push(op: Op): void {
    this.ops.push(op);
  }

  constant(dtype: DType, dims: readonly Dim[], data: ConstantData, name = "const"): Value {
    return this.one("constant", [], { dtype, dims, data }, name);
  }
  host(t: HostTensor, name = "const"): Value {
    return this.constant(t.dtype, t.dims, inlineConstant(hostToBytes(t)), name);
  }
  /** A rank-0 constant. */
  scalar(dtype: DType, v: Num): Value {
    return this.host(
      hostFrom(dtype, [], () => roundTo(dtype, v)),
      "c",
    );
  }
  /** A constant of the given dims, as a broadcast scalar. */
  splat(dtype: DType, dims: readonly Dim[], v: Num): Value {
    return this.broadcast(this.scalar(dtype, v), dims, []);
  }
  /** Dimension `i` of the operand becomes dimension `map[i]` of the result; dims of 1 stretch. */
  broadcast(x: Value, dims: readonly Dim[], map: readonly number[]): Value {
    if (dimsEqual(x.dims, dims) && map.every((m, i) => m === i)) return x;
    return this.one("broadcast", [x], { dims, map });
  }
  reshape(x: Value, dims: readonly Dim[]): Value {
    return dimsEqual(x.dims, dims) ? x : this.one("reshape", [x], { dims });
  }
  transpose(x: Value, perm: readonly number[]): Value {
    return perm.every((p, i) => p === i) ? x : this.one("transpose", [x], { perm });
  }
  convert(x: Value, dtype: DType): Value {
    return x.dtype === dtype ? x : this.one("convert", [x], { dtype });
  }

  /** A symbol for a size that the model computes; some op has to bind it. `bound` is in symbols that are bound before. */
  dataSymbol(name: string, min: number, bound: Dim | null): DimSymbol {
    const { taken } = this.sizes;
    let unique = name;
    for (let n = 1; taken.has(unique); n++) unique = `${name}_${n}`;
    taken.add(unique);
    const s = makeDataSymbol(unique, min, bound);
    this.sizes.bound.push(s);
    return s;
  }
  /** The value of an integer scalar as a dimension of what follows; a run fails where it is below `min` or above `bound`. */
  bindSize(value: Value, name: string, min: number, bound: Dim | null): Dim {
    const symbol = symbolDim(this.dataSymbol(name, min, bound));
    this.op("bind_size", [value], { symbol: [symbol] });
    return symbol;
  }

  /** Regions that are being made, from the outermost in: the ops around each, and a number of its own. */
  private readonly open: { readonly outer: Op[]; readonly id: number }[] = [];
  private regions = 0;

  /** What is made from here on goes into a new region, until `leaveRegion`. */
  enterRegion(): void {
    this.open.push({ outer: this.ops, id: ++this.regions });
    this.ops = [];
  }
  leaveRegion(params: readonly Value[], results: readonly Value[]): Region {
    const region = { params, ops: this.ops, results };
    this.ops = this.open.pop()?.outer ?? [];
    return region;
  }
  /** The region that ops are made in, 0 outside of all. */
  get currentRegion(): number {
    return this.open[this.open.length - 1]?.id ?? 0;
  }
  /** Can values made in that region be used here? */
  sees(region: number): boolean {
    return region === 0 || this.open.some((r) => r.id === region);
  }
  /** Makes something outside of all regions, in front of the op that they will belong to. */
  outside<T>(make: () => T): T {
    const [outermost] = this.open;
    if (outermost === undefined) return make();
    const inner = this.ops;
    this.ops = outermost.outer;
    const made = make();
    this.ops = inner;
    return made;
  }

  /** The ops made since the last call, for splicing. */
  takeOps(): Op[] {
    const ops = this.ops;
    this.ops = [];
    return ops;
  }
  region(params: readonly Value[], results: readonly Value[]): Region {
    return { params, ops: this.takeOps(), results };
  }
  finish(
    name: string,
    symbols: readonly DimSymbol[],
    results: readonly Value[],
    resultNames: readonly string[] = results.map((r) => r.name),
  ): GraphFunction {
    return { name, symbols: [...symbols, ...this.sizes.bound], params: this.params, ops: this.takeOps(), results, resultNames };
  }
}

/** Result types of an op. @throws VerifyError `graph-op`, naming the op and the constraint */
export function inferTypes(def: OpDef, operands: readonly TensorType[], attrs: AnyAttrs, regions: readonly Region[]): readonly TensorType[] {
  const fail = (constraint: string, message: string): never => {
    const got = operands.map((o) => `${o.dtype}[${o.dims.join(", ")}]`).join(", ");
    throw new VerifyError("graph-op", `${def.name}(${got}): ${constraint}: ${message}`, [`${constraint}: ${message}`]);
  };
  const last = def.operands[def.operands.length - 1];
  const variadic = last?.endsWith("...") ?? false;
  if (variadic ? operands.length < def.operands.length - 1 : operands.length !== def.operands.length)
    fail("arity", `takes (${def.operands.join(", ")}), got ${operands.length} operands`);
  for (const key of Object.keys(def.attrs)) if (!(key in attrs)) fail("attributes", `misses attribute '${key}'`);
  return def.infer({ operands, attrs: attrs as never, regions, fail });
}

import type { DimSymbol } from "../base/dim.ts";
import type { AnyAttrs, OpDef, TensorType } from "./op.ts";

/**
 * Graph IR: whole operations on tensors, in SSA form. Dims are integers or symbolic. Values keep the names of the source
 * model's nodes that they stand for (`origin`).
 */
export class Value implements TensorType {
  readonly id: number;
  readonly name: string;
  readonly dtype: TensorType["dtype"];
  readonly dims: TensorType["dims"];
  readonly origin: readonly string[];
  constructor(id: number, name: string, type: TensorType, origin: readonly string[]) {
    this.id = id;
    this.name = name;
    this.dtype = type.dtype;
    this.dims = type.dims;
    this.origin = origin;
  }
}

export class Op {
  readonly def: OpDef;
  readonly operands: readonly Value[];
  readonly results: readonly Value[];
  readonly attrs: AnyAttrs;
  readonly regions: readonly Region[];
  constructor(def: OpDef, operands: readonly Value[], results: readonly Value[], attrs: AnyAttrs, regions: readonly Region[]) {
    this.def = def;
    this.operands = operands;
    this.results = results;
    this.attrs = attrs;
    this.regions = regions;
  }
}

/** A nested body: its parameters, ops and results. It may use values of the enclosing function. */
export interface Region {
  readonly params: readonly Value[];
  readonly ops: readonly Op[];
  readonly results: readonly Value[];
}

export interface GraphFunction extends Region {
  readonly name: string;
  readonly symbols: readonly DimSymbol[];
  /** Names of the results as the source model gives them. */
  readonly resultNames: readonly string[];
}

/** Values used from outside by the ops of a region (captures), in order of first use. */
export function capturesOf(region: Region): Value[] {
  const inside = new Set<Value>(region.params);
  const out = new Set<Value>();
  const use = (v: Value) => {
    if (!inside.has(v)) out.add(v);
  };
  for (const op of region.ops) {
    for (const v of op.operands) use(v);
    for (const r of op.regions) for (const v of capturesOf(r)) use(v);
    for (const v of op.results) inside.add(v);
  }
  for (const v of region.results) use(v);
  return [...out];
}

import { type DimSymbol, SymDim, dimSymbols, dimsEqual } from "../base/dim.ts";
import { DType } from "../base/dtype.ts";
import { TilewrightError } from "../base/errors.ts";
import { safeName } from "../base/text.ts";
import { Violations } from "../base/verify.ts";
import { inferTypes } from "./builder.ts";
import type { GraphFunction, Op, Region, Value } from "./ir.ts";
import type { AttrKinds, TensorType } from "./op.ts";
import { layOutGraph, printType } from "./print.ts";

/**
 * The invariants of graph IR:
 *
 * G1  A value is defined before it is used, in the same region or one around it.
 * G2  A value is defined once: by being a parameter, or the result of one op.
 * G3  Names of values are unique in the whole function, and can stand in a text.
 * G4  An op has the attributes that its definition declares, each of its kind, and no others.
 * G5  An op's results have the types that it infers from its operands, attributes and regions, and fulfil its constraints.
 * G6  Regions of an op hold to all of this; what a region gives is defined in it or around it.
 * G7  Symbols in dims are declared by the function, each once.
 * G8  Every result has a name, and no two have the same.
 * G9  Ops that a step was to remove are gone.
 */

export interface GraphVerifyOptions {
  /** What ran before, for the message: `after pass fold-constants`. */
  readonly after?: string;
  /** Says of an op that must be gone why, else gives null. */
  readonly forbidden?: (op: Op) => string | null;
}

/** @throws VerifyError `verify-graph` with every violation, inside the printed graph */
export function verifyGraph(f: GraphFunction, options: GraphVerifyOptions = {}): void {
  const v = new Violations();
  new GraphVerifier(v, options).function(f);
  v.throwIfAny("verify-graph", `in graph @${f.name}${options.after === undefined ? "" : ` ${options.after}`}`, () => layOutGraph(f));
}

class GraphVerifier {
  private readonly found: Violations;
  private readonly options: GraphVerifyOptions;
  private readonly defined = new Set<Value>();
  private readonly names = new Set<string>();
  private symbols: ReadonlyMap<string, DimSymbol> = new Map();

  constructor(found: Violations, options: GraphVerifyOptions) {
    this.found = found;
    this.options = options;
  }

  function(f: GraphFunction): void {
    const { found } = this;
    this.symbols = new Map(f.symbols.map((s) => [s.name, s]));
    if (this.symbols.size !== f.symbols.length) found.add("symbol", "G7: a symbol is declared twice");
    const visible = new Set<Value>();
    this.region(f, visible);
    found.check(f.resultNames.length === f.results.length, "output", () => `G8: ${f.results.length} results have ${f.resultNames.length} names`);
    found.check(
      new Set(f.resultNames).size === f.resultNames.length,
      "output",
      () => `G8: names of results are used twice: ${f.resultNames.join(", ")}`,
    );
  }

  private region(r: Region, visible: Set<Value>): void {
    const own: Value[] = [];
    const define = (v: Value) => {
      this.define(v);
      visible.add(v);
      own.push(v);
    };
    r.params.forEach(define);
    for (const op of r.ops) {
      this.op(op, visible);
      op.results.forEach(define);
    }
    this.found.about = null;
    for (const v of r.results) this.found.check(visible.has(v), `%${v.name}`, () => `G6: %${v.name} is given as a result, but not defined here`);
    // What a region defines ends with it.
    for (const v of own) visible.delete(v);
  }

  private define(v: Value): void {
    const { found } = this;
    const at = `%${v.name}`;
    found.check(!this.defined.has(v), at, () => "G2: defined twice");
    found.check(this.defined.has(v) || !this.names.has(v.name), at, () => "G3: another value has this name");
    found.check(safeName(v.name) === v.name, at, () => "G3: this name cannot stand in a text");
    this.defined.add(v);
    this.names.add(v.name);
    this.dims(v, at);
  }

  private dims(t: TensorType, at: string): void {
    for (const d of t.dims) {
      if (typeof d === "number") {
        this.found.check(Number.isSafeInteger(d) && d >= 0, at, () => `G7: ${d} is no size`);
        continue;
      }
      for (const name of dimSymbols(d).keys()) this.found.check(this.symbols.has(name), at, () => `G7: symbol '${name}' is not declared`);
    }
  }

  private op(op: Op, visible: Set<Value>): void {
    const { found } = this;
    const at = op.results[0] === undefined ? op.def.name : `%${op.results[0].name}`;
    found.about = op;
    const before = found.messages.length;
    for (const o of op.operands) found.check(visible.has(o), at, () => `G1: operand %${o.name} is not defined here`);
    this.attributes(op, at);
    for (const r of op.regions) this.region(r, visible);
    found.about = op;
    const reason = this.options.forbidden?.(op) ?? null;
    if (reason !== null) found.add(at, `G9: ${reason}`);
    // Inference relies on all of the above.
    if (found.messages.length === before || reason !== null) this.types(op, at);
  }

  private attributes(op: Op, at: string): void {
    const schema = op.def.attrs;
    for (const [key, kind] of Object.entries(schema)) {
      const v = op.attrs[key];
      if (v === undefined) this.found.add(at, `G4: '${op.def.name}' misses attribute '${key}'`);
      else this.found.check(isOfKind(kind, v), at, () => `G4: attribute '${key}' is no ${kind}`);
    }
    for (const key of Object.keys(op.attrs)) this.found.check(Object.hasOwn(schema, key), at, () => `G4: '${op.def.name}' has no attribute '${key}'`);
  }

  private types(op: Op, at: string): void {
    const { found } = this;
    let types: readonly TensorType[];
    try {
      types = inferTypes(op.def, op.operands, op.attrs, op.regions);
    } catch (e) {
      if (!(e instanceof TilewrightError || e instanceof TypeError || e instanceof RangeError)) throw e;
      found.add(at, `G5: ${e.message}`);
      return;
    }
    found.check(types.length === op.results.length, at, () => `G5: '${op.def.name}' gives ${types.length} results, there are ${op.results.length}`);
    types.forEach((t, i) => {
      const r = op.results[i];
      if (r !== undefined)
        found.check(
          r.dtype === t.dtype && dimsEqual(r.dims, t.dims),
          `%${r.name}`,
          () => `G5: is ${printType(r)}, but '${op.def.name}' gives ${printType(t)}`,
        );
    });
  }
}

function isOfKind(kind: keyof AttrKinds, v: AttrKinds[keyof AttrKinds]): boolean {
  switch (kind) {
    case "int":
      return Number.isSafeInteger(v);
    case "float":
      return typeof v === "number";
    case "bool":
      return typeof v === "boolean";
    case "word":
      return typeof v === "string";
    case "dtype":
      return v instanceof DType;
    case "ints":
      return Array.isArray(v) && v.every((x) => Number.isSafeInteger(x));
    case "dims":
      return Array.isArray(v) && v.every((x) => Number.isSafeInteger(x) || x instanceof SymDim);
    case "pairs":
      return Array.isArray(v) && v.every((x) => Array.isArray(x) && x.length === 2 && x.every((y) => Number.isSafeInteger(y)));
    case "data":
      return typeof v === "object" && "byteLength" in v && "read" in v;
    default:
      throw kind satisfies never;
  }
}

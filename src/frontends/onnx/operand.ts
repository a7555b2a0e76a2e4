import { type ConstantData, inlineConstant } from "../../base/constant.ts";
import type { Dim } from "../../base/dim.ts";
import { type DType, i32 } from "../../base/dtype.ts";
import { roundTo } from "../../base/numeric.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { hostFrom, hostFromBytes, hostToBytes } from "../../graph/host.ts";
import type { Value } from "../../graph/ir.ts";
import { knownInteger, maxKnown } from "./known.ts";
import type { ModelTensor } from "./tensor.ts";

/**
 * A tensor while the model is imported: a value of the graph, made only when an op needs it as data, and its elements
 * where they are known (sizes, and what is computed from them), as numbers or symbolic dimensions in row-major order.
 */
export class Operand {
  readonly dtype: DType;
  readonly dims: readonly Dim[];
  private readonly makeValue: () => Value;
  private readonly readKnown: () => readonly Dim[] | null;
  private readonly g: GraphBuilder | null;
  private made: { readonly value: Value; readonly region: number } | null = null;
  private elements: readonly Dim[] | null | undefined = undefined;
  private readonly some: readonly (Dim | null)[] | null;
  /** The tensor of the model file that it is, or null. */
  readonly tensor: ModelTensor | null;
  /** Of a list of maps: the key of each column, every row being a map; null for others. */
  readonly labels: readonly Label[] | null;

  /**
   * `g` is given where the value is made by ops that belong to the region in which they are needed; `some` tells those
   * elements of data that are known all the same.
   */
  constructor(
    dtype: DType,
    dims: readonly Dim[],
    makeValue: () => Value,
    readKnown: () => readonly Dim[] | null,
    g: GraphBuilder | null = null,
    some: readonly (Dim | null)[] | null = null,
    tensor: ModelTensor | null = null,
    labels: readonly Label[] | null = null,
  ) {
    this.tensor = tensor;
    this.labels = labels;
    this.g = g;
    this.some = some;
    this.dtype = dtype;
    this.dims = dims;
    this.makeValue = makeValue;
    this.readKnown = readKnown;
  }
  get rank(): number {
    return this.dims.length;
  }
  get value(): Value {
    // What was made inside of a branch or loop that has ended is made again.
    if (this.made === null || !(this.g?.sees(this.made.region) ?? true)) this.made = { value: this.makeValue(), region: this.g?.currentRegion ?? 0 };
    return this.made.value;
  }
  /** The elements, where they are known while importing; null otherwise. */
  get known(): readonly Dim[] | null {
    if (this.elements === undefined) this.elements = this.readKnown();
    return this.elements;
  }
  /** The elements, null for those that only a run tells; null where nothing is known of any. */
  get partial(): readonly (Dim | null)[] | null {
    return this.known ?? this.some;
  }
  /** The elements, if they are known and numbers. */
  get numbers(): readonly number[] | null {
    const k = this.known;
    return k?.every((v) => typeof v === "number") ? (k as readonly number[]) : null;
  }
}

/** A key of a map: a number, or a name. */
export type Label = number | string;

/** A list of maps: each row of `o` is one, whose keys are `labels`. */
export function mapsOperand(o: Operand, labels: readonly Label[]): Operand {
  return new Operand(
    o.dtype,
    o.dims,
    () => o.value,
    () => o.known,
    null,
    null,
    null,
    labels,
  );
}

/** Data of the graph: nothing is known of its elements, unless there are none. */
export function dataOperand(v: Value, some: readonly (Dim | null)[] | null = null): Operand {
  return new Operand(
    v.dtype,
    v.dims,
    () => v,
    () => (v.dims.includes(0) ? [] : null),
    null,
    some?.some((d) => d !== null) ? some : null,
  );
}

/** A tensor of the model file; it becomes a constant of the graph when it is used as data. */
export function constantOperand(g: GraphBuilder, t: ModelTensor, name: string): Operand {
  const n = t.dims.reduce((a, b) => a * b, 1);
  const make = () => g.outside(() => withOrigin(g, [name], () => g.constant(t.dtype, t.dims, t.data, name)));
  const known = (): readonly Dim[] | null => {
    // Weights in other files are never read here: only shapes and small parameters are of interest.
    if (n > maxKnown || (t.external && t.dtype.isFloat)) return null;
    const elements = Array.from(hostFromBytes(t.dtype, t.dims, readAll(t.data)).data, knownInteger);
    return elements.some((v) => v === null) ? null : (elements as number[]);
  };
  return new Operand(t.dtype, t.dims, make, known, null, null, t);
}

function readAll(data: ConstantData): Uint8Array {
  return data.read(0, data.byteLength);
}

/** A tensor whose elements are known; ops that make its data are built only if it is used as data. */
export function knownOperand(g: GraphBuilder, dtype: DType, dims: readonly Dim[], elements: readonly Dim[], name = "size"): Operand {
  const { origin } = g;
  return new Operand(
    dtype,
    dims,
    () => withOrigin(g, origin, () => materialise(g, dtype, dims, elements, name)),
    () => elements,
    g,
  );
}

function withOrigin(g: GraphBuilder, origin: readonly string[], make: () => Value): Value {
  const outer = g.origin;
  g.origin = origin;
  const v = make();
  g.origin = outer;
  return v;
}

function materialise(g: GraphBuilder, dtype: DType, dims: readonly Dim[], elements: readonly Dim[], name: string): Value {
  const sizes = dims.map(Number);
  const element = (v: number) => (dtype.isInteger && dtype.bits === 64 && !Number.isSafeInteger(v) ? saturate(dtype, v) : roundTo(dtype, v));
  if (elements.every((v) => typeof v === "number"))
    return g.constant(dtype, sizes, inlineConstant(hostToBytes(hostFrom(dtype, sizes, (i) => element(elements[i] as number)))), name);
  const one = (d: Dim): Value =>
    g.reshape(g.convert(typeof d === "number" ? g.scalar(dtype, element(d)) : g.one("iota_size", [], { dims: [d] }, name), dtype), [1]);
  const parts = elements.map(one);
  return g.reshape(parts.length === 1 ? (parts[0] as Value) : g.one("concat", parts, { axis: 0 }, name), sizes);
}

/** The end of the dtype's range: how "no limit" is written. */
function saturate(dtype: DType, v: number): bigint {
  const signed = dtype.kind === "int";
  if (v < 0) return signed ? -(2n ** 63n) : 0n;
  return signed ? 2n ** 63n - 1n : 2n ** 64n - 1n;
}

/** The i32 value of a dimension, as data. */
export function dimValue(g: GraphBuilder, d: Dim): Value {
  return typeof d === "number" ? g.scalar(i32, d) : g.one("iota_size", [], { dims: [d] }, "size");
}

/** A list of tensors, whose number is known while importing. */
export class Sequence {
  readonly elements: readonly Operand[];
  constructor(elements: readonly Operand[]) {
    this.elements = elements;
  }
}

/** A value that may be missing; whether it is, is known while importing. */
export class Optional {
  readonly content: Operand | Sequence | null;
  constructor(content: Operand | Sequence | null) {
    this.content = content;
  }
}

/** What a name of the model stands for. */
export type Binding = Operand | Sequence | Optional;

export function describeBinding(b: Binding): string {
  if (b instanceof Operand) return `${b.dtype}[${b.dims.join(", ")}]`;
  if (b instanceof Sequence) return `a sequence of ${b.elements.length}`;
  return b.content === null ? "an empty optional" : `an optional that holds ${describeBinding(b.content)}`;
}

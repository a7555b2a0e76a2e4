import { PbfWriter } from "pbf";
import { TilewrightError } from "../../src/base/errors.ts";
import { type ImportOptions, importOnnx } from "../../src/frontends/onnx/import.ts";

/** A small encoder of ONNX models, so that tests can say what they are about. */

type Bytes = Uint8Array;
const message = (write: (w: PbfWriter) => void): Bytes => {
  const w = new PbfWriter();
  write(w);
  return w.finish();
};

/** Codes of TensorProto.DataType. */
export const elem = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  string: 8,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  u64: 13,
  bf16: 16,
  f8e4m3fn: 17,
  f8e4m3fnuz: 18,
  f8e5m2: 19,
  f8e5m2fnuz: 20,
  u4: 21,
  i4: 22,
  f4e2m1: 23,
  f8e8m0: 24,
  u2: 25,
  i2: 26,
} as const;
export type ElemName = keyof typeof elem;
const arrays = { f32: Float32Array, u8: Uint8Array, i8: Int8Array, i32: Int32Array, bool: Uint8Array, f64: Float64Array } as const;

export interface TensorSpec {
  readonly dtype: ElemName;
  readonly dims: readonly number[];
  /** Raw bytes, or values to be encoded. */
  readonly values?: readonly number[];
  readonly raw?: Bytes;
  /** Further fields, written as they are. */
  readonly extra?: (w: PbfWriter) => void;
}

export function rawBytes(dtype: ElemName, values: readonly number[]): Bytes {
  if (dtype === "i64") return new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  const A = arrays[dtype as keyof typeof arrays];
  return new Uint8Array(A.from(values).buffer);
}

function tensor(name: string, t: TensorSpec): Bytes {
  return message((w) => {
    for (const d of t.dims) w.writeVarintField(1, d);
    w.writeVarintField(2, elem[t.dtype]);
    w.writeStringField(8, name);
    if (t.raw !== undefined || t.values !== undefined) w.writeBytesField(9, t.raw ?? rawBytes(t.dtype, t.values ?? []));
    t.extra?.(w);
  });
}

/** Where a tensor's data lies, as entries of TensorProto.external_data. */
export function externalEntries(entries: Readonly<Record<string, string>>): (w: PbfWriter) => void {
  return (w) => {
    for (const [k, v] of Object.entries(entries)) {
      const entry = message((e) => {
        e.writeStringField(1, k);
        e.writeStringField(2, v);
      });
      w.writeBytesField(13, entry);
    }
    w.writeVarintField(14, 1);
  };
}

/** A whole number is an int attribute, `{ float }` a float, a list ints, a string a string, `{ floats }` and `{ strings }` lists of those; bytes under `graph` a subgraph. */
export type AttrSpec =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly strings: readonly string[] }
  | { readonly tensor: TensorSpec }
  | { readonly graph: Bytes }
  | { readonly ref: string; readonly type: number };

function attribute(name: string, a: AttrSpec): Bytes {
  return message((w) => {
    w.writeStringField(1, name);
    const type = (t: number) => w.writeVarintField(20, t);
    if (typeof a === "number") {
      w.writeVarintField(3, a);
      type(2);
    } else if (typeof a === "string") {
      w.writeBytesField(4, new TextEncoder().encode(a));
      type(3);
    } else if (Array.isArray(a)) {
      for (const v of a as readonly number[]) w.writeVarintField(8, v);
      type(7);
    } else if ("float" in a) {
      w.writeFloatField(2, a.float);
      type(1);
    } else if ("floats" in a) {
      w.writePackedFloat(7, [...a.floats]);
      type(6);
    } else if ("strings" in a) {
      for (const v of a.strings) w.writeBytesField(9, new TextEncoder().encode(v));
      type(8);
    } else if ("tensor" in a) {
      w.writeBytesField(5, tensor("", a.tensor));
      type(4);
    } else if ("graph" in a) {
      w.writeBytesField(6, a.graph);
      type(5);
    } else if ("ref" in a) {
      w.writeStringField(21, a.ref);
      type(a.type);
    }
  });
}

export interface NodeSpec {
  readonly op: string;
  readonly in: readonly string[];
  readonly out: readonly string[];
  readonly attrs?: Readonly<Record<string, AttrSpec>>;
  readonly name?: string;
  readonly domain?: string;
}

function node(n: NodeSpec): Bytes {
  return message((w) => {
    for (const i of n.in) w.writeStringField(1, i);
    for (const o of n.out) w.writeStringField(2, o);
    if (n.name !== undefined) w.writeStringField(3, n.name);
    w.writeStringField(4, n.op);
    for (const [k, a] of Object.entries(n.attrs ?? {})) w.writeBytesField(5, attribute(k, a));
    if (n.domain !== undefined) w.writeStringField(7, n.domain);
  });
}

/** dtype and dims of an input; null dims: unknown rank, a null dim: unknown. */
export type ValueSpec = readonly [ElemName, readonly (number | string | null)[] | null];

function valueInfo(name: string, [dtype, dims]: ValueSpec): Bytes {
  const shape = (): Bytes =>
    message((w) => {
      for (const d of dims ?? []) {
        w.writeBytesField(
          1,
          message((m) => (typeof d === "number" ? m.writeVarintField(1, d) : d === null ? undefined : m.writeStringField(2, d))),
        );
      }
    });
  const type = message((w) => {
    w.writeVarintField(1, elem[dtype]);
    if (dims !== null) w.writeBytesField(2, shape());
  });
  return message((w) => {
    w.writeStringField(1, name);
    w.writeBytesField(
      2,
      message((t) => t.writeBytesField(1, type)),
    );
  });
}

export interface GraphSpec {
  readonly nodes: readonly NodeSpec[];
  readonly inputs?: Readonly<Record<string, ValueSpec>>;
  readonly outputs: readonly string[];
  readonly initializers?: Readonly<Record<string, TensorSpec>>;
}

export function graph(g: GraphSpec): Bytes {
  return message((w) => {
    for (const n of g.nodes) w.writeBytesField(1, node(n));
    w.writeStringField(2, "test");
    for (const [k, t] of Object.entries(g.initializers ?? {})) w.writeBytesField(5, tensor(k, t));
    for (const [k, v] of Object.entries(g.inputs ?? {})) w.writeBytesField(11, valueInfo(k, v));
    for (const o of g.outputs) w.writeBytesField(12, valueInfo(o, ["f32", null]));
  });
}

export interface FunctionSpec {
  readonly name: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: readonly string[];
  readonly nodes: readonly NodeSpec[];
}

export interface ModelSpec extends GraphSpec {
  readonly opset?: number;
  readonly domains?: Readonly<Record<string, number>>;
  readonly functions?: readonly FunctionSpec[];
}

function opset(domain: string, version: number): Bytes {
  return message((w) => {
    w.writeStringField(1, domain);
    w.writeVarintField(2, version);
  });
}

export function model(m: ModelSpec): Bytes {
  const version = m.opset ?? 17;
  return message((w) => {
    w.writeVarintField(1, 8);
    w.writeStringField(2, "test");
    w.writeBytesField(7, graph(m));
    w.writeBytesField(8, opset("", version));
    for (const [d, v] of Object.entries(m.domains ?? {})) w.writeBytesField(8, opset(d, v));
    for (const f of m.functions ?? []) {
      w.writeBytesField(
        25,
        message((fw) => {
          fw.writeStringField(1, f.name);
          for (const i of f.inputs) fw.writeStringField(4, i);
          for (const o of f.outputs) fw.writeStringField(5, o);
          for (const a of f.attributes ?? []) fw.writeStringField(6, a);
          for (const n of f.nodes) fw.writeBytesField(7, node(n));
          fw.writeBytesField(9, opset("", version));
          fw.writeStringField(10, f.domain);
        }),
      );
    }
  });
}

/** The error that importing the model gives; fails when it goes through. */
export function failure(m: ModelSpec, options: ImportOptions = {}): TilewrightError {
  try {
    importOnnx(model(m), options);
  } catch (e) {
    if (e instanceof TilewrightError) return e;
    throw e;
  }
  throw new Error("the import went through");
}

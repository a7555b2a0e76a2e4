import { UserError } from "./errors.ts";

/** What an element is made of, apart from its width. */
export type DTypeKind = "float" | "int" | "uint" | "bool";
/** The dtypes an expression is computed in; narrower storage is widened on load and rounded on store. */
export type ComputeType = "f32" | "f64" | "i32" | "i64";

/**
 * An element type. `bits` is the width of one element (4-bit types pack two to a byte, low nibble first, as ONNX does);
 * `storage` names the machine word an element is loaded from, `compute` the type in which arithmetic on it happens.
 */
export class DType {
  readonly name: string;
  readonly index: number;
  readonly kind: DTypeKind;
  readonly bits: number;
  readonly compute: ComputeType;
  constructor(name: string, index: number, kind: DTypeKind, bits: number, compute: ComputeType) {
    this.name = name;
    this.index = index;
    this.kind = kind;
    this.bits = bits;
    this.compute = compute;
  }
  get isFloat(): boolean {
    return this.kind === "float";
  }
  get isInteger(): boolean {
    return this.kind === "int" || this.kind === "uint";
  }
  /** Bytes of `n` elements, rounded up to whole bytes. */
  bytes(n: number): number {
    return Math.ceil((n * this.bits) / 8);
  }
  /** Bytes of one element as it is addressed; 4-bit types are addressed by byte with two elements each. */
  get byteWidth(): number {
    return Math.max(1, this.bits >> 3);
  }
  toString(): string {
    return this.name;
  }
}

const all: DType[] = [];
function dtype(name: string, kind: DTypeKind, bits: number, compute: ComputeType): DType {
  const d = new DType(name, all.length, kind, bits, compute);
  all.push(d);
  return d;
}

export const f32 = dtype("f32", "float", 32, "f32");
export const f64 = dtype("f64", "float", 64, "f64");
export const f16 = dtype("f16", "float", 16, "f32");
export const bf16 = dtype("bf16", "float", 16, "f32");
export const i8 = dtype("i8", "int", 8, "i32");
export const i16 = dtype("i16", "int", 16, "i32");
export const i32 = dtype("i32", "int", 32, "i32");
export const i64 = dtype("i64", "int", 64, "i64");
export const u8 = dtype("u8", "uint", 8, "i32");
export const u16 = dtype("u16", "uint", 16, "i32");
export const u32 = dtype("u32", "uint", 32, "i32");
export const u64 = dtype("u64", "uint", 64, "i64");
export const bool = dtype("bool", "bool", 8, "i32");
export const i4 = dtype("i4", "int", 4, "i32");
export const u4 = dtype("u4", "uint", 4, "i32");

/** Every dtype, in the order of `index`. */
export const dtypes: readonly DType[] = all;

const byName = new Map(all.map((d) => [d.name, d]));

/** The dtype of that name, or null. */
export function findDType(name: string): DType | null {
  return byName.get(name) ?? null;
}

/** The dtype of that name. @throws UserError `unknown-dtype` */
export function parseDType(name: string): DType {
  const d = byName.get(name);
  if (d === undefined) throw new UserError("unknown-dtype", `unknown dtype '${name}'; there are: ${all.map((x) => x.name).join(" ")}`);
  return d;
}

/** A view of storage: the typed arrays tensors are kept in. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

type ArrayConstructor = { new (buffer: ArrayBufferLike, offset?: number, length?: number): TypedArray; new (n: number): TypedArray };

const storageArrays: Record<string, ArrayConstructor> = {
  f32: Float32Array,
  f64: Float64Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i8: Int8Array,
  i16: Int16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  u64: BigUint64Array,
  bool: Uint8Array,
  i4: Uint8Array,
  u4: Uint8Array,
};

/** The typed array class that holds elements of `d` (16-bit floats as their bits, 4-bit types packed in bytes). */
export function arrayOf(d: DType): ArrayConstructor {
  const c = storageArrays[d.name];
  if (c === undefined) throw new UserError("unknown-dtype", `no storage for dtype '${d.name}'`);
  return c;
}

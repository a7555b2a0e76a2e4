import { UserError } from "./errors.ts";

/** What an element is made of, apart from its width. */
export type DTypeKind = "float" | "int" | "uint" | "bool";
/** The dtypes an expression is computed in; narrower storage is widened on load and rounded on store. */
export type ComputeType = "f32" | "f64" | "i32" | "i64";

/**
 * How the bits of a float that is narrower than 32 bits are read: sign (unless there is none), exponent, fraction. Which codes
 * are special:
 * - `ieee`: the highest exponent is infinity and NaN;
 * - `nan`: only all ones is NaN, there is no infinity (the OCP 8-bit format E4M3);
 * - `unsigned-zero`: only the code of -0 is NaN, there is no infinity and no -0 (the FNUZ formats);
 * - `finite`: none (the OCP microscaling elements);
 * - `scale`: powers of two without a sign, no zero; all ones is NaN (the OCP microscaling scale).
 */
export interface FloatFormat {
  readonly exponent: number;
  readonly fraction: number;
  readonly bias: number;
  readonly special: "ieee" | "nan" | "unsigned-zero" | "finite" | "scale";
}

/**
 * An element type. `bits` is the width of one element (narrower than a byte, elements are packed, the first in the lowest bits, as
 * ONNX does); `storage` names the machine word an element is loaded from, `compute` the type in which arithmetic on it happens.
 */
export class DType {
  readonly name: string;
  readonly index: number;
  readonly kind: DTypeKind;
  readonly bits: number;
  readonly compute: ComputeType;
  /** The meaning of the bits of a float that is computed in a wider one; null for all others. */
  readonly format: FloatFormat | null;
  constructor(name: string, index: number, kind: DTypeKind, bits: number, compute: ComputeType, format: FloatFormat | null) {
    this.name = name;
    this.index = index;
    this.kind = kind;
    this.bits = bits;
    this.compute = compute;
    this.format = format;
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
  /** Bytes of one element as it is addressed; elements narrower than a byte are addressed by the byte they share. */
  get byteWidth(): number {
    return Math.max(1, this.bits >> 3);
  }
  toString(): string {
    return this.name;
  }
}

const all: DType[] = [];
function dtype(name: string, kind: DTypeKind, bits: number, compute: ComputeType, format: FloatFormat | null = null): DType {
  const d = new DType(name, all.length, kind, bits, compute, format);
  all.push(d);
  return d;
}
function narrow(name: string, bits: number, exponent: number, fraction: number, bias: number, special: FloatFormat["special"]): DType {
  return dtype(name, "float", bits, "f32", { exponent, fraction, bias, special });
}

export const f32 = dtype("f32", "float", 32, "f32");
export const f64 = dtype("f64", "float", 64, "f64");
export const f16 = narrow("f16", 16, 5, 10, 15, "ieee");
export const bf16 = narrow("bf16", 16, 8, 7, 127, "ieee");
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
export const i2 = dtype("i2", "int", 2, "i32");
export const u2 = dtype("u2", "uint", 2, "i32");
export const f8e4m3fn = narrow("f8e4m3fn", 8, 4, 3, 7, "nan");
export const f8e4m3fnuz = narrow("f8e4m3fnuz", 8, 4, 3, 8, "unsigned-zero");
export const f8e5m2 = narrow("f8e5m2", 8, 5, 2, 15, "ieee");
export const f8e5m2fnuz = narrow("f8e5m2fnuz", 8, 5, 2, 16, "unsigned-zero");
export const f8e8m0 = narrow("f8e8m0", 8, 8, 0, 127, "scale");
export const f4e2m1 = narrow("f4e2m1", 4, 2, 1, 1, "finite");

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
  i2: Uint8Array,
  u2: Uint8Array,
  f8e4m3fn: Uint8Array,
  f8e4m3fnuz: Uint8Array,
  f8e5m2: Uint8Array,
  f8e5m2fnuz: Uint8Array,
  f8e8m0: Uint8Array,
  f4e2m1: Uint8Array,
};

/** The typed array class that holds elements of `d` (narrow floats as their bits, what is narrower than a byte packed). */
export function arrayOf(d: DType): ArrayConstructor {
  const c = storageArrays[d.name];
  if (c === undefined) throw new UserError("unknown-dtype", `no storage for dtype '${d.name}'`);
  return c;
}

import { UserError } from "../base/errors.ts";

/** Values as callers give and get them: typed arrays by dtype, and checks of what is given. */

export type NumberArray =
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
export type InputData = NumberArray | readonly number[] | readonly bigint[];
/** A symbolic dimension stands by its name or expression. */
export interface PortInfo {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly (number | string)[];
  /** Of an output that is a list of maps: the key of each column. */
  readonly labels?: readonly (number | string)[];
}
export interface OutputTensor {
  readonly data: NumberArray;
  readonly dims: readonly number[];
  readonly dtype: string;
  /** Of an output that is a list of maps: one for each row, made when they are asked for. */
  readonly maps?: readonly ReadonlyMap<number | string, number>[];
}
export interface ArrayClass {
  new (buffer: ArrayBufferLike, offset: number, length: number): NumberArray;
  new (n: number): NumberArray;
}
const arrays: Record<string, { readonly make: ArrayClass; readonly bits: number }> = {
  f32: { make: Float32Array, bits: 32 },
  f64: { make: Float64Array, bits: 64 },
  f16: { make: Uint16Array, bits: 16 },
  bf16: { make: Uint16Array, bits: 16 },
  i8: { make: Int8Array, bits: 8 },
  i16: { make: Int16Array, bits: 16 },
  i32: { make: Int32Array, bits: 32 },
  i64: { make: BigInt64Array, bits: 64 },
  u8: { make: Uint8Array, bits: 8 },
  u16: { make: Uint16Array, bits: 16 },
  u32: { make: Uint32Array, bits: 32 },
  u64: { make: BigUint64Array, bits: 64 },
  bool: { make: Uint8Array, bits: 8 },
  i4: { make: Uint8Array, bits: 4 },
  u4: { make: Uint8Array, bits: 4 },
  i2: { make: Uint8Array, bits: 2 },
  u2: { make: Uint8Array, bits: 2 },
  f8e4m3fn: { make: Uint8Array, bits: 8 },
  f8e4m3fnuz: { make: Uint8Array, bits: 8 },
  f8e5m2: { make: Uint8Array, bits: 8 },
  f8e5m2fnuz: { make: Uint8Array, bits: 8 },
  f8e8m0: { make: Uint8Array, bits: 8 },
  f4e2m1: { make: Uint8Array, bits: 4 },
};
/** Are elements given as bits: floats that JavaScript has no array of, and what is packed into bytes? */
const isCoded = (dtype: string, bits: number) => bits < 8 || (/^b?f/.test(dtype) && bits < 32);

export const shapeText = (dims: readonly (number | string)[]) => `[${dims.join(", ")}]`;
const elements = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
export function describePorts(ports: readonly PortInfo[]): string {
  return ports.map((p) => `${p.name}: ${p.dtype}${shapeText(p.dims)}`).join(", ");
}
export function arrayType(dtype: string): { readonly make: ArrayClass; readonly bits: number } {
  const type = arrays[dtype];
  if (type === undefined) throw new UserError("dtype", `this runtime does not know the dtype ${dtype}`);
  return type;
}
export const isLong = (dtype: string) => dtype === "i64" || dtype === "u64";
/** Elements of the typed array that holds a tensor: what is narrower than a byte is packed. */
export function storedElements(dtype: string, dims: readonly number[]): number {
  return arrayType(dtype).bits < 8 ? storedBytes(dtype, dims) : elements(dims);
}
export function storedBytes(dtype: string, dims: readonly number[]): number {
  return Math.ceil((elements(dims) * arrayType(dtype).bits) / 8);
}

/** An output as callers get it. */
export function outputTensor(p: PortInfo, dims: readonly number[], data: NumberArray): OutputTensor {
  const { dtype, labels } = p;
  if (labels === undefined) return { data, dims, dtype };
  return {
    data,
    dims,
    dtype,
    get maps() {
      return Array.from(
        { length: data.length / labels.length },
        (_, row) => new Map(labels.map((l, k) => [l, Number(data[row * labels.length + k])])),
      );
    },
  };
}

export function checkDims(p: PortInfo, dims: readonly number[]): void {
  const fits =
    Array.isArray(dims) &&
    dims.length === p.dims.length &&
    dims.every((d, i) => Number.isInteger(d) && d >= 0 && (typeof p.dims[i] !== "number" || p.dims[i] === d));
  if (!fits)
    throw new UserError(
      "shape",
      `input '${p.name}': expected shape ${shapeText(p.dims)}, got ${Array.isArray(dims) ? shapeText(dims) : String(dims)}`,
    );
}

/** The type of a value as a reader knows it: `Float32Array`, `Array`, `number`, … */
function typeName(data: unknown): string {
  return ArrayBuffer.isView(data)
    ? ((data as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? "DataView")
    : Array.isArray(data)
      ? "Array"
      : data === null
        ? "null"
        : (data?.constructor?.name ?? typeof data);
}

export function checkData(p: PortInfo, data: InputData, dims: readonly number[]): void {
  const type = arrayType(p.dtype);
  const got = typeName(data);
  const coded = isCoded(p.dtype, type.bits);
  const fits = got === type.make.name || (got === "Array" && !coded);
  if (!fits) throw new UserError("dtype", `input '${p.name}': expected a ${type.make.name} (${p.dtype}${coded ? ", as its bits" : ""}), got ${got}`);
  const expected = storedElements(p.dtype, dims);
  if (data.length !== expected)
    throw new UserError("size", `input '${p.name}': shape ${shapeText(dims)} needs ${expected} elements, got ${data.length}`);
  if (got !== "Array") return;
  const long = isLong(p.dtype);
  const bad = (data as readonly unknown[]).findIndex(
    (v) => !(typeof v === "number" && (!long || Number.isSafeInteger(v))) && !(long && typeof v === "bigint"),
  );
  if (bad >= 0)
    throw new UserError(
      "dtype",
      `input '${p.name}': element ${bad} is ${String(data[bad])}, expected ${long ? "an integer" : "a number"} (${p.dtype})`,
    );
}

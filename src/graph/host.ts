import { aligned } from "../base/constant.ts";
import { type DType, arrayOf } from "../base/dtype.ts";
import { type Num, readElement, roundTo, writeElement } from "../base/numeric.ts";

/** A tensor as interpreters hold it: every element an exact value of the dtype, in row-major order. */
export interface HostTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: Float64Array | BigInt64Array | BigUint64Array;
}

export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/** A tensor of zeros. */
export function hostTensor(dtype: DType, dims: readonly number[]): HostTensor {
  const n = sizeOf(dims);
  const data = dtype.name === "i64" ? new BigInt64Array(n) : dtype.name === "u64" ? new BigUint64Array(n) : new Float64Array(n);
  return { dtype, dims, data };
}

/** Fills a tensor from a function of the flat index, rounding to its dtype. */
export function hostFrom(dtype: DType, dims: readonly number[], at: (i: number) => Num): HostTensor {
  const t = hostTensor(dtype, dims);
  for (let i = 0; i < t.data.length; i++) t.data[i] = roundTo(dtype, at(i)) as never;
  return t;
}

/** From the bytes of the dtype's storage. */
export function hostFromBytes(dtype: DType, dims: readonly number[], bytes: Uint8Array): HostTensor {
  const { buffer, byteOffset, byteLength } = aligned(bytes);
  const array = new (arrayOf(dtype))(buffer, byteOffset, dtype.bits < 8 ? byteLength : byteLength / dtype.byteWidth);
  const t = hostTensor(dtype, dims);
  for (let i = 0; i < t.data.length; i++) t.data[i] = readElement(dtype, array, i) as never;
  return t;
}

/** To the bytes of the dtype's storage. */
export function hostToBytes(t: HostTensor): Uint8Array {
  const bytes = new Uint8Array(t.dtype.bytes(t.data.length));
  const array = new (arrayOf(t.dtype))(bytes.buffer);
  for (let i = 0; i < t.data.length; i++) writeElement(t.dtype, array as never, i, t.data[i] as Num);
  return bytes;
}

/** Row-major strides in elements. */
export function stridesOf(dims: readonly number[]): number[] {
  const out = new Array<number>(dims.length).fill(1);
  for (let i = dims.length - 2; i >= 0; i--) out[i] = (out[i + 1] as number) * (dims[i + 1] as number);
  return out;
}

/** Calls `visit` with every index of the shape, in row-major order; the array is reused. */
export function forEachIndex(dims: readonly number[], visit: (index: readonly number[], flat: number) => void): void {
  const n = sizeOf(dims);
  const index = new Array<number>(dims.length).fill(0);
  for (let flat = 0; flat < n; flat++) {
    visit(index, flat);
    for (let d = dims.length - 1; d >= 0; d--) {
      const next = (index[d] as number) + 1;
      if (next < (dims[d] as number)) {
        index[d] = next;
        break;
      }
      index[d] = 0;
    }
  }
}

/** Element at an index. */
export function at(t: HostTensor, index: readonly number[]): Num {
  let flat = 0;
  for (let d = 0; d < t.dims.length; d++) flat = flat * (t.dims[d] as number) + (index[d] as number);
  return t.data[flat] as Num;
}

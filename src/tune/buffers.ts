import { evaluateDim } from "../base/dim.ts";
import type { DType } from "../base/dtype.ts";
import { type Tensor, type TensorFunction, layoutOf } from "../tensor/ir.ts";

/** How a tensor's elements, row-major, lie in its buffer under its layout. */
export class BufferPlan {
  readonly dtype: DType;
  /** Elements of the tensor, and of the buffer with the zeros around it. */
  readonly elements: number;
  readonly stored: number;
  /** The place of every element; null where they lie row-major without anything around. */
  private readonly places: Int32Array | null;

  /** The plan of a tensor with a buffer of its own; `env` tells the sizes of symbols. */
  constructor(f: TensorFunction, t: Tensor, env: ReadonlyMap<string, number>) {
    this.dtype = t.dtype;
    const dims = t.dims.map((d) => evaluateDim(d, env));
    const { order, pad } = layoutOf(f, t);
    const padded = dims.map((d, i) => d + (pad[i]?.[0] ?? 0) + (pad[i]?.[1] ?? 0));
    this.elements = dims.reduce((n, d) => n * d, 1);
    this.stored = padded.reduce((n, d) => n * d, 1);
    const plain = this.elements === this.stored && order.every((d, i) => d === i);
    this.places = plain ? null : placesOf(dims, padded, order, pad);
  }

  get bytes(): number {
    return this.dtype.bytes(this.stored);
  }

  /** A row-major tensor as its buffer holds it. */
  store(tensor: Uint8Array): Uint8Array {
    if (this.places === null) return tensor;
    const out = new Uint8Array(this.bytes);
    const width = this.width;
    this.places.forEach((at, i) => out.set(tensor.subarray(i * width, (i + 1) * width), at * width));
    return out;
  }

  /** The row-major tensor that a buffer holds. */
  load(buffer: Uint8Array): Uint8Array {
    if (this.places === null) return buffer;
    const width = this.width;
    const out = new Uint8Array(this.elements * width);
    this.places.forEach((at, i) => out.set(buffer.subarray(at * width, (at + 1) * width), i * width));
    return out;
  }

  /** Elements of less than a byte only ever lie row-major: those are constants, whose order is fixed. */
  private get width(): number {
    return this.dtype.byteWidth;
  }
}

function placesOf(
  dims: readonly number[],
  padded: readonly number[],
  order: readonly number[],
  pad: readonly (readonly [number, number])[],
): Int32Array {
  const strides = dims.map(() => 0);
  let stride = 1;
  for (const d of order.toReversed()) {
    strides[d] = stride;
    stride *= padded[d] as number;
  }
  const index = dims.map(() => 0);
  const places = new Int32Array(dims.reduce((n, d) => n * d, 1));
  for (let i = 0; i < places.length; i++) {
    places[i] = index.reduce((n, x, d) => n + (x + (pad[d]?.[0] ?? 0)) * (strides[d] as number), 0);
    for (let d = dims.length - 1; d >= 0; d--) {
      index[d] = (index[d] as number) + 1;
      if ((index[d] as number) < (dims[d] as number)) break;
      index[d] = 0;
    }
  }
  return places;
}

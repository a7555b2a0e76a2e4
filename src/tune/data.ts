import { type DType, arrayOf } from "../base/dtype.ts";
import { readElement, writeElement } from "../base/numeric.ts";
import { seededRandom } from "../schedule/random.ts";

/** `signed`: floats of (-1, 1). `positive`: floats of (0.1, 1.1), for kernels that take roots or logarithms. */
export type Range = "signed" | "positive";

/** Random elements of a dtype. Integers of 32 and 64 bits are 0 or 1, for they may be indices; shorter ones -4 to 3, or 0 to 7. */
export function randomBytes(dtype: DType, count: number, seed: number, range: Range): Uint8Array {
  const random = seededRandom(seed);
  const bytes = new Uint8Array(dtype.bytes(count));
  if (dtype.bits < 8) {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(random() * 256);
    return bytes;
  }
  const array = new (arrayOf(dtype))(bytes.buffer as ArrayBuffer, 0, count);
  const [low, high] = range === "signed" ? [-1, 1] : [0.1, 1.1];
  const signed = dtype.kind === "int";
  const span = dtype.kind === "bool" || dtype.bits >= 32 ? 2 : 8;
  for (let i = 0; i < count; i++) {
    const v = dtype.isFloat ? low + (high - low) * random() : Math.floor(random() * span) - (signed && span === 8 ? 4 : 0);
    writeElement(dtype, array, i, dtype.bits === 64 && !dtype.isFloat ? BigInt(v) : v);
  }
  return bytes;
}

/** The floats with each made larger or smaller by the same part, at random. */
export function perturbed(dtype: DType, bytes: Uint8Array, count: number, seed: number, part: number): Uint8Array {
  const random = seededRandom(seed);
  const out = new Uint8Array(bytes);
  if (!dtype.isFloat) return out;
  const array = new (arrayOf(dtype))(out.buffer as ArrayBuffer, 0, count);
  for (let i = 0; i < count; i++) writeElement(dtype, array, i, Number(readElement(dtype, array, i)) * (random() < 0.5 ? 1 + part : 1 - part));
  return out;
}

/** The elements as doubles; 64-bit integers lose what a double does not hold. */
export function toNumbers(dtype: DType, bytes: Uint8Array, count: number): Float64Array {
  const whole = bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes);
  const array = new (arrayOf(dtype))(whole.buffer as ArrayBuffer, whole.byteOffset, Math.ceil(whole.byteLength / dtype.byteWidth));
  return Float64Array.from({ length: count }, (_, i) => Number(readElement(dtype, array, i)));
}

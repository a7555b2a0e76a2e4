import type { DType } from "./dtype.ts";

/** Numbers as interpreters hold them: bigint for 64-bit integers, number for all else (bool as 0 or 1). */
export type Num = number | bigint;

const word = new DataView(new ArrayBuffer(8));

/** IEEE binary16 bits of a number, rounded to nearest even by way of f32, in which such values are computed. */
export function toHalfBits(v: number): number {
  word.setFloat32(0, v);
  const x = word.getUint32(0);
  const sign = (x >>> 16) & 0x8000;
  const exp = (x >>> 23) & 0xff;
  const man = x & 0x7fffff;
  if (exp === 255) return sign | 0x7c00 | (man === 0 ? 0 : 0x200);
  const e = exp - 112;
  if (e >= 31) return sign | 0x7c00;
  if (e <= 0) {
    if (e < -10) return sign;
    return sign | roundShift(man | 0x800000, 14 - e);
  }
  return sign + (e << 10) + roundShift(man, 13);
}

function roundShift(v: number, shift: number): number {
  const q = v >>> shift;
  const rest = v & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return q + (rest > half || (rest === half && (q & 1) === 1) ? 1 : 0);
}

/** The number that IEEE binary16 bits stand for. */
export function fromHalfBits(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const e = (h >>> 10) & 31;
  const m = h & 1023;
  if (e === 0) return sign * m * 2 ** -24;
  if (e === 31) return m === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + m / 1024) * 2 ** (e - 15);
}

/** bfloat16 bits of a number, rounded to nearest even by way of f32. */
export function toBfloatBits(v: number): number {
  word.setFloat32(0, v);
  const x = word.getUint32(0);
  if (Number.isNaN(v)) return (x >>> 16) | 0x40;
  return roundShift(x, 16) & 0xffff;
}
export function fromBfloatBits(b: number): number {
  word.setUint32(0, b << 16);
  return word.getFloat32(0);
}

function wrap(v: number, bits: number, signed: boolean): number {
  if (bits === 32) return signed ? v | 0 : v >>> 0;
  const m = v & ((1 << bits) - 1);
  return signed && m >> (bits - 1) ? m - (1 << bits) : m;
}

/** Modular reduction of a JS number, exact beyond 2^53 too since it goes through the remainder. */
function toInt32(v: number): number {
  if (!Number.isFinite(v)) return 0;
  const t = Math.trunc(v);
  return Math.abs(t) < 2 ** 31 ? t : Number(BigInt.asIntN(32, BigInt(t)));
}

/** Rounds a number to a value of the dtype: floats to nearest even, integers modulo 2^bits, bool to 0 or 1. */
export function roundTo(d: DType, v: Num): Num {
  switch (d.name) {
    case "f32":
      return Math.fround(Number(v));
    case "f64":
      return Number(v);
    case "f16":
      return fromHalfBits(toHalfBits(Number(v)));
    case "bf16":
      return fromBfloatBits(toBfloatBits(Number(v)));
    case "i64":
      return BigInt.asIntN(64, typeof v === "bigint" ? v : BigInt(Number.isFinite(v) ? Math.trunc(v) : 0));
    case "u64":
      return BigInt.asUintN(64, typeof v === "bigint" ? v : BigInt(Number.isFinite(v) ? Math.trunc(v) : 0));
    case "bool":
      return Number(v) === 0 ? 0 : 1;
    default:
      return wrap(typeof v === "bigint" ? Number(BigInt.asIntN(32, v)) : toInt32(v), d.bits, d.kind === "int");
  }
}

/** Reads element `i` of storage of the dtype. */
export function readElement(d: DType, array: ArrayLike<number | bigint>, i: number): Num {
  if (d.bits === 4) {
    const nibble = (Number(array[i >> 1]) >> ((i & 1) * 4)) & 15;
    return d.kind === "int" && nibble > 7 ? nibble - 16 : nibble;
  }
  const v = array[i] as Num;
  if (d.name === "f16") return fromHalfBits(Number(v));
  if (d.name === "bf16") return fromBfloatBits(Number(v));
  return v;
}

/** Writes element `i` of storage of the dtype; `v` must be a value of the dtype. */
export function writeElement(d: DType, array: { [i: number]: number | bigint }, i: number, v: Num): void {
  if (d.bits === 4) {
    const shift = (i & 1) * 4;
    array[i >> 1] = (Number(array[i >> 1]) & ~(15 << shift)) | ((Number(v) & 15) << shift);
  } else if (d.name === "f16") array[i] = toHalfBits(Number(v));
  else if (d.name === "bf16") array[i] = toBfloatBits(Number(v));
  else array[i] = v;
}

import { bf16, type DType, f16, type FloatFormat } from "./dtype.ts";

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

/** The largest finite value of a narrow float. */
export function largestFinite({ exponent, fraction, bias, special }: FloatFormat): number {
  const top = 2 ** exponent - 1 - bias;
  switch (special) {
    case "ieee":
      return (2 - 2 ** -fraction) * 2 ** (top - 1);
    case "nan":
      return (2 - 2 * 2 ** -fraction) * 2 ** top;
    case "unsigned-zero":
    case "finite":
      return (2 - 2 ** -fraction) * 2 ** top;
    case "scale":
      return 2 ** (top - 1);
    default:
      throw special satisfies never;
  }
}

/** The code of NaN (one of them); null where there is none. */
export function nanCode({ exponent, fraction, special }: FloatFormat): number | null {
  const sign = 1 << (exponent + fraction);
  switch (special) {
    case "ieee":
      return sign - (1 << (fraction - 1));
    case "nan":
    case "scale":
      return sign - 1;
    case "unsigned-zero":
      return sign;
    case "finite":
      return null;
    default:
      throw special satisfies never;
  }
}

/** The code of what is too large: infinity, NaN where there is none, the largest number where there is neither. */
function overflowCode(f: FloatFormat): number {
  return f.special === "ieee" ? ((1 << f.exponent) - 1) << f.fraction : (nanCode(f) ?? (1 << (f.exponent + f.fraction)) - 1);
}

/** The bits of a float of at most 8 bits that is nearest to a number by way of f32, ties to even (scales: the greater). */
function toNarrowBits(f: FloatFormat, v: number): number {
  const sign = v < 0 || Object.is(v, -0);
  const a = Math.fround(Math.abs(v));
  if (f.special === "scale") return sign || a === 0 || !(a < 1.5 * 2 ** 127) ? 255 : a < 1.5 * 2 ** -127 ? 0 : scaleCode(a);
  if (Number.isNaN(a)) return nanCode(f) ?? 0;
  word.setFloat32(0, a);
  const least = 1 - f.bias;
  const e = Math.max(((word.getUint32(0) >>> 23) & 0xff) - 127, least);
  const scaled = a * 2 ** (f.fraction - e);
  const down = Math.floor(scaled);
  const rest = scaled - down;
  const code =
    a === Number.POSITIVE_INFINITY
      ? Number.POSITIVE_INFINITY
      : (e - least) * 2 ** f.fraction + down + (rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? 1 : 0);
  const magnitude = code > finiteCode(f) ? overflowCode(f) : code;
  if (f.special === "unsigned-zero" && (magnitude === 0 || magnitude === nanCode(f))) return magnitude;
  return magnitude | (sign ? 1 << (f.exponent + f.fraction) : 0);
}
function scaleCode(a: number): number {
  word.setFloat32(0, a);
  return (word.getUint32(0) + 0x400000) >>> 23;
}
/** The code of the largest finite value. */
function finiteCode(f: FloatFormat): number {
  return (1 << (f.exponent + f.fraction)) - (f.special === "ieee" ? (1 << f.fraction) + 1 : f.special === "nan" ? 2 : 1);
}

/** The number that bits of a float of at most 8 bits stand for. */
function fromNarrowBits(f: FloatFormat, bits: number): number {
  const width = f.exponent + f.fraction;
  if (f.special === "scale") return bits === 255 ? Number.NaN : 2 ** (bits - f.bias);
  const code = bits & ((1 << width) - 1);
  if (f.special === "unsigned-zero" ? bits === 1 << width : code > finiteCode(f))
    return f.special === "ieee" && code === overflowCode(f) ? (bits >> width ? -1 : 1) * Number.POSITIVE_INFINITY : Number.NaN;
  const e = code >> f.fraction;
  const m = code & ((1 << f.fraction) - 1);
  const v = e === 0 ? m * 2 ** (1 - f.bias - f.fraction) : (2 ** f.fraction + m) * 2 ** (e - f.bias - f.fraction);
  return bits >> width ? -v : v;
}

const decoded = new Map<DType, Float64Array>();
/** Values of all codes of a float of at most 8 bits. */
function codesOf(d: DType, f: FloatFormat): Float64Array {
  let table = decoded.get(d);
  if (table === undefined) {
    table = Float64Array.from({ length: 1 << d.bits }, (_, i) => fromNarrowBits(f, i));
    decoded.set(d, table);
  }
  return table;
}

/** The bits of the narrow float (f16, bf16, 8 and 4 bits) nearest to a number. */
export function floatToBits(d: DType, f: FloatFormat, v: number): number {
  return d === f16 ? toHalfBits(v) : d === bf16 ? toBfloatBits(v) : toNarrowBits(f, v);
}
/** The number that the bits of a narrow float stand for. */
export function floatFromBits(d: DType, f: FloatFormat, bits: number): number {
  return d === f16 ? fromHalfBits(bits) : d === bf16 ? fromBfloatBits(bits) : (codesOf(d, f)[bits] as number);
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

/**
 * Rounds a number to a value of the dtype: floats to nearest even (scales up in the middle), integers modulo 2^bits, bool to 0 or 1.
 * What is too large for a float becomes infinite, NaN where there is no infinity, the largest value where there is neither.
 */
export function roundTo(d: DType, v: Num): Num {
  switch (d.name) {
    case "f32":
      return Math.fround(Number(v));
    case "f64":
      return Number(v);
    case "i64":
      return BigInt.asIntN(64, typeof v === "bigint" ? v : BigInt(Number.isFinite(v) ? Math.trunc(v) : 0));
    case "u64":
      return BigInt.asUintN(64, typeof v === "bigint" ? v : BigInt(Number.isFinite(v) ? Math.trunc(v) : 0));
    case "bool":
      return Number(v) === 0 ? 0 : 1;
    default:
      if (d.format !== null) return floatFromBits(d, d.format, floatToBits(d, d.format, Number(v)));
      return wrap(typeof v === "bigint" ? Number(BigInt.asIntN(32, v)) : toInt32(v), d.bits, d.kind === "int");
  }
}

/** Reads element `i` of storage of the dtype. */
export function readElement(d: DType, array: ArrayLike<number | bigint>, i: number): Num {
  const v = d.bits < 8 ? packedBits(d, array, i) : (array[i] as Num);
  return d.format === null ? v : floatFromBits(d, d.format, Number(v));
}

/** Element `i` of packed integers, or the bits of packed floats. */
function packedBits(d: DType, array: ArrayLike<number | bigint>, i: number): number {
  const perByte = 8 / d.bits;
  const v = (Number(array[Math.floor(i / perByte)]) >> ((i % perByte) * d.bits)) & ((1 << d.bits) - 1);
  return d.kind === "int" && v >> (d.bits - 1) ? v - (1 << d.bits) : v;
}

/** Writes element `i` of storage of the dtype; `v` must be a value of the dtype. */
export function writeElement(d: DType, array: { [i: number]: number | bigint }, i: number, v: Num): void {
  const stored = d.format === null ? v : floatToBits(d, d.format, Number(v));
  if (d.bits >= 8) {
    array[i] = stored;
    return;
  }
  const perByte = 8 / d.bits;
  const mask = (1 << d.bits) - 1;
  const [at, shift] = [Math.floor(i / perByte), (i % perByte) * d.bits];
  array[at] = (Number(array[at]) & ~(mask << shift)) | ((Number(stored) & mask) << shift);
}

import { type DType, type FloatFormat, bf16, f32, i32, u16, u8 } from "../../base/dtype.ts";
import { largestFinite, nanCode } from "../../base/numeric.ts";
import type { Expr, LeafName, Variable } from "../../scalar/expr.ts";
import type { OpName } from "../../scalar/ops/table.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { Buffer, type Kernel, type Stmt, isBuffer, mapBlock, mapStmt } from "../ir.ts";

/**
 * Floats narrower than 32 bits become f32, in which they are computed. Their buffers become buffers of words (u16, u8): a load widens
 * the bits with integer arithmetic, a store narrows them. Register buffers and variables become f32. Every operation is done in
 * f32 and its result rounded to the narrow dtype (to nearest even), unless it cannot leave it; so is every step of a
 * reduction. Runs after elements are whole bytes, and before derived ops are decomposed: those too are computed in f32 and rounded once.
 *
 * Widening is exact for all values; infinities and signed zeros stay, a NaN stays one but may lose its payload.
 */
export function unpackFloats(sc: Scalars, k: Kernel): Kernel {
  return new Widener(sc).kernel(k);
}

/** The dtype as one that this pass removes. */
type NarrowFloat = DType & { readonly format: FloatFormat };
function isNarrow(d: DType): d is NarrowFloat {
  return d.format !== null;
}

/** Ops whose result is one of their operands. */
const choosing: ReadonlySet<OpName | LeafName> = new Set<OpName | LeafName>(["broadcast", "extract", "insert", "min", "max", "select"]);
/** Ops that change a sign or round to an integer. */
const closed: ReadonlySet<OpName | LeafName> = new Set<OpName | LeafName>(["neg", "abs", "sign", "floor", "ceil", "trunc", "round"]);

/** Is the op's result a value of the dtype when its operands are? Where -0 is none, or a number has no negative, few are. */
function isClosed(op: OpName | LeafName, { special }: FloatFormat): boolean {
  return choosing.has(op) || (closed.has(op) && special !== "unsigned-zero" && special !== "scale");
}

/** Are all values of the integer dtype (or truth values) values of the float? */
function holdsAll(f: FloatFormat, from: DType): boolean {
  if (from.isFloat || f.special === "scale") return false;
  return from.kind === "bool" || (from.bits <= f.fraction + 1 && 2 ** from.bits <= largestFinite(f));
}

class Widener {
  private readonly sc: Scalars;
  private readonly buffers = new Map<Buffer, Buffer>();
  private readonly variables = new Map<Variable, Variable>();
  private readonly memo = new Map<Expr, Expr>();

  constructor(sc: Scalars) {
    this.sc = sc;
  }

  kernel(k: Kernel): Kernel {
    const params = k.params.map((p) => (isBuffer(p) ? this.bufferOf(p) : p));
    const body = this.block(k.body);
    if (body === k.body && params.every((p, i) => p === k.params[i])) return k;
    return { ...k, params, body, writes: new Set([...k.writes].map((b) => this.bufferOf(b))) };
  }

  private bufferOf(b: Buffer): Buffer {
    if (!isNarrow(b.dtype)) return b;
    let r = this.buffers.get(b);
    if (r === undefined) {
      r = new Buffer(this.sc.freshId(), b.name, b.space === "register" ? f32 : wordOf(b.dtype), b.space, b.size);
      this.buffers.set(b, r);
    }
    return r;
  }
  private variableOf(v: Variable): Variable {
    if (!isNarrow(v.dtype)) return v;
    let r = this.variables.get(v);
    if (r === undefined) {
      r = this.sc.variable(v.name, f32, { lanes: v.lanes });
      this.variables.set(v, r);
    }
    return r;
  }

  private block(b: readonly Stmt[]): readonly Stmt[] {
    return mapBlock(b, (s) => this.stmt(s));
  }

  private stmt(s: Stmt): Stmt {
    const mapped = mapStmt(
      s,
      (e) => this.expr(e),
      (b) => this.block(b),
    );
    switch (mapped.kind) {
      case "store": {
        const buffer = this.bufferOf(mapped.buffer);
        if (buffer === mapped.buffer) return mapped;
        const from = mapped.buffer.dtype;
        const value = isNarrow(from) && buffer.dtype !== f32 ? pack(this.sc, from, mapped.value) : mapped.value;
        return { ...mapped, buffer, value };
      }
      case "let":
      case "assign": {
        const variable = this.variableOf(mapped.variable);
        return variable === mapped.variable ? mapped : { ...mapped, variable };
      }
      case "alloc": {
        const buffer = this.bufferOf(mapped.buffer);
        return buffer === mapped.buffer ? mapped : { kind: "alloc", buffer };
      }
      case "for":
      case "if":
      case "while":
      case "require":
      case "launch":
      case "storeat":
        return mapped;
      default:
        throw mapped satisfies never;
    }
  }

  private expr(e: Expr): Expr {
    return this.sc.rebuild([e], (x, args) => this.replace(x, args), this.memo)[0] as Expr;
  }

  /** The f32 expression of one of a narrow float, or one that reads such; null for all others. */
  private replace(x: Expr, args: readonly Expr[]): Expr | null {
    const { sc } = this;
    const d = x.dtype;
    if (!isNarrow(d)) {
      const from = x.args[0]?.dtype;
      if (x.op === "bitcast" && from !== undefined && isNarrow(from)) return sc.cast(d, pack(sc, from, args[0] as Expr));
      return null;
    }
    switch (x.op) {
      case "const":
        return sc.const(x.attr as number, f32);
      case "var":
        return sc.var(this.variableOf(x.attr as Variable));
      case "load": {
        const buffer = this.bufferOf(x.attr as Buffer);
        const value = sc.load(buffer, args);
        return buffer.dtype === f32 ? value : unpack(sc, d, value);
      }
      case "cast": {
        const value = sc.cast(f32, args[0] as Expr);
        return holdsAll(d.format, (x.args[0] as Expr).dtype) ? value : round(sc, d, value);
      }
      case "bitcast": {
        const from = (x.args[0] as Expr).dtype;
        return unpack(sc, d, isNarrow(from) ? pack(sc, from, args[0] as Expr) : sc.cast(wordOf(d), args[0] as Expr));
      }
      default: {
        if (isClosed(x.op, d.format)) return null;
        return round(sc, d, sc.op(x.op as OpName, args));
      }
    }
  }
}

const magnitudeMask = 0x7fffffff;
const signMask = -0x80000000;
const maximumExponent = 0x7f800000;
const quietNaN = 0x7fc00000;

/** What the bits lie in. */
function wordOf(d: DType): DType {
  return d.bits === 16 ? u16 : u8;
}

/** Bit patterns of f32 as i32, and back. */
const bitsOf = (sc: Scalars, x: Expr): Expr => sc.bitcast(i32, x);
const fromBits = (sc: Scalars, bits: Expr): Expr => sc.bitcast(f32, bits);
const isZero = (sc: Scalars, x: Expr, zero: Expr): Expr => sc.op("eq", [x, zero]);

/** The f32 with the given bits. */
function unpack(sc: Scalars, d: NarrowFloat, bits: Expr): Expr {
  const h = sc.cast(i32, bits);
  if (d === bf16) return fromBits(sc, sc.op("shl", [h, sc.int(16)]));
  const { special, fraction, bias, exponent } = d.format;
  if (special === "scale") return unpackScale(sc, h);
  const sign = 2 ** (d.bits - 1);
  const drop = 23 - fraction;
  // Exponents differ in their bias; subnormals become normal with the product.
  const shifted = sc.op("shl", [sc.and(h, sc.int(sign - 1)), sc.int(drop)]);
  const scaled = bitsOf(sc, sc.mul(fromBits(sc, shifted), sc.f32(2 ** (127 - bias))));
  let magnitude = scaled;
  // Infinities and NaNs need the highest exponent.
  if (special === "ieee")
    magnitude = sc.select(sc.op("ge", [shifted, sc.int((2 ** exponent - 1) << 23)]), sc.op("or", [shifted, sc.int(maximumExponent)]), scaled);
  else if (special === "nan") magnitude = sc.select(sc.op("eq", [shifted, sc.int((sign - 1) << drop)]), sc.int(quietNaN), scaled);
  else if (special === "unsigned-zero") magnitude = sc.select(sc.op("eq", [h, sc.int(sign)]), sc.int(quietNaN), scaled);
  return fromBits(sc, sc.op("or", [magnitude, sc.op("shl", [sc.and(h, sc.int(sign)), sc.int(32 - d.bits)])]));
}

/** Codes are f32's exponents; the lowest stands for a subnormal, the highest for NaN. */
function unpackScale(sc: Scalars, h: Expr): Expr {
  const power = sc.select(isZero(sc, h, sc.int(0)), sc.int(0x400000), sc.op("shl", [h, sc.int(23)]));
  return fromBits(sc, sc.select(sc.op("eq", [h, sc.int(255)]), sc.int(quietNaN), power));
}

/** The bits of an f32 that is a value of the dtype. */
function pack(sc: Scalars, d: NarrowFloat, x: Expr): Expr {
  const word = wordOf(d);
  const bits = bitsOf(sc, x);
  if (d === bf16) return sc.cast(word, sc.op("shr", [bits, sc.int(16)]));
  const { special, fraction, bias, exponent } = d.format;
  const absolute = sc.and(bits, sc.int(magnitudeMask));
  if (special === "scale") return sc.cast(word, sc.op("shr", [absolute, sc.int(23)]));
  const scaled = sc.mul(fromBits(sc, absolute), sc.f32(2 ** (bias - 127)));
  const shifted = sc.op("shr", [bitsOf(sc, scaled), sc.int(23 - fraction)]);
  const finite = special === "ieee" ? sc.min(shifted, sc.int((2 ** exponent - 1) << fraction)) : shifted;
  const nan = nanCode(d.format);
  const magnitude = nan === null ? finite : sc.select(sc.op("eq", [x, x]), finite, sc.int(nan));
  const sign = sc.and(sc.op("shr", [bits, sc.int(32 - d.bits)]), sc.int(2 ** (d.bits - 1)));
  return sc.cast(word, sc.op("or", [magnitude, sign]));
}

/** The value of the narrow dtype that is nearest to an f32, ties to even, as an f32. */
function round(sc: Scalars, d: NarrowFloat, x: Expr): Expr {
  if (x.constant !== null) return sc.broadcast(sc.cast(f32, sc.const(x.constant, d)), x.lanes);
  if (d === bf16) return roundBf16(sc, x);
  return d.format.special === "scale" ? roundScale(sc, x) : roundBySum(sc, d.format, x);
}

/**
 * Of a fraction of f bits: adding 2^(23 - f) times the power of two at or below |x| leaves f of x's fraction bits, rounded as sums
 * are; at least times the smallest normal number, below which the spacing stays the same.
 */
function roundBySum(sc: Scalars, f: FloatFormat, x: Expr): Expr {
  const drop = 23 - f.fraction;
  const largest = largestFinite(f);
  const bits = bitsOf(sc, x);
  // What is larger is beyond the range anyway; a NaN stays.
  const a = sc.min(fromBits(sc, sc.and(bits, sc.int(magnitudeMask))), sc.f32(2 ** (Math.floor(Math.log2(largest)) + 2)));
  const power = sc.max(sc.and(bitsOf(sc, a), sc.int(maximumExponent)), sc.int((128 - f.bias) << 23));
  const bias = fromBits(sc, sc.add(power, sc.int(drop << 23)));
  const rounded = sc.sub(sc.add(a, bias), bias);
  const over = f.special === "ieee" ? Number.POSITIVE_INFINITY : f.special === "finite" ? largest : Number.NaN;
  const bounded = sc.select(sc.op("gt", [rounded, sc.f32(largest)]), sc.f32(over), rounded);
  const signed = fromBits(sc, sc.op("or", [bitsOf(sc, bounded), sc.and(bits, sc.int(signMask))]));
  const zero = sc.f32(0);
  if (f.special === "finite") return sc.select(sc.op("eq", [x, x]), signed, zero);
  return f.special === "unsigned-zero" ? sc.select(isZero(sc, signed, zero), zero, signed) : signed;
}

/** The nearest power of two, the greater in the middle; NaN of what is not positive, or beyond the largest. */
function roundScale(sc: Scalars, x: Expr): Expr {
  const bits = bitsOf(sc, x);
  const half = sc.int(0x400000);
  const normal = sc.and(sc.add(bits, half), sc.int(maximumExponent));
  const power = sc.select(sc.op("lt", [bits, sc.int(0x600000)]), half, normal);
  const inside = sc.and(sc.op("gt", [x, sc.f32(0)]), sc.op("lt", [x, sc.f32(1.5 * 2 ** 127)]));
  return sc.select(inside, fromBits(sc, power), sc.f32(Number.NaN));
}

/** bf16 is the high half of f32: a carry out of the low half rounds, into the exponent and up to infinity where it must. */
function roundBf16(sc: Scalars, x: Expr): Expr {
  const bits = bitsOf(sc, x);
  const even = sc.and(sc.op("shr", [bits, sc.int(16)]), sc.int(1));
  const rounded = sc.and(sc.add(bits, sc.add(even, sc.int(0x7fff))), sc.int(-0x10000));
  return sc.select(sc.op("eq", [x, x]), fromBits(sc, rounded), sc.f32(Number.NaN));
}

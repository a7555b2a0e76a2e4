import { type DType, bf16, f16, f32, i32, u16 } from "../../base/dtype.ts";
import type { Expr, LeafName, Variable } from "../../scalar/expr.ts";
import type { OpName } from "../../scalar/ops/table.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { Buffer, type Kernel, type Stmt, isBuffer, mapBlock, mapStmt } from "../ir.ts";

/**
 * 16-bit floats (f16, bf16) become f32, in which they are computed. Their buffers become buffers of u16: a load widens the
 * bits with integer arithmetic, a store narrows them. Register buffers and variables become f32. Every operation is done in
 * f32 and its result rounded to the 16-bit dtype (to nearest even), unless it cannot leave it; so is every step of a
 * reduction. Runs before derived ops are decomposed: those too are computed in f32 and rounded once.
 *
 * Widening is exact for all values; infinities and signed zeros stay, a NaN stays one but may lose its payload.
 */
export function unpackHalves(sc: Scalars, k: Kernel): Kernel {
  return new Widener(sc).kernel(k);
}

/** Is the dtype one that this pass removes? */
function isHalf(d: DType): boolean {
  return d.isFloat && d.bits === 16;
}

/** Ops whose result is a value of the dtype when their operands are: they choose one, change its sign or round it to an integer. */
const closed: ReadonlySet<OpName | LeafName> = new Set<OpName | LeafName>([
  "broadcast",
  "extract",
  "insert",
  "neg",
  "abs",
  "sign",
  "min",
  "max",
  "select",
  "floor",
  "ceil",
  "trunc",
  "round",
]);

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
    if (!isHalf(b.dtype)) return b;
    let r = this.buffers.get(b);
    if (r === undefined) {
      r = new Buffer(this.sc.freshId(), b.name, b.space === "register" ? f32 : u16, b.space, b.size);
      this.buffers.set(b, r);
    }
    return r;
  }
  private variableOf(v: Variable): Variable {
    if (!isHalf(v.dtype)) return v;
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
        const value = buffer.dtype === u16 ? packHalf(this.sc, mapped.buffer.dtype, mapped.value) : mapped.value;
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

  /** The f32 expression of one of a 16-bit float, or one that reads such; null for all others. */
  private replace(x: Expr, args: readonly Expr[]): Expr | null {
    const { sc } = this;
    if (!isHalf(x.dtype)) {
      const from = x.args[0]?.dtype;
      if (x.op === "bitcast" && from !== undefined && isHalf(from)) return sc.cast(x.dtype, packHalf(sc, from, args[0] as Expr));
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
        return buffer.dtype === u16 ? unpackHalf(sc, x.dtype, value) : value;
      }
      case "cast": {
        const value = sc.cast(f32, args[0] as Expr);
        // The integers of eight bits are values of either dtype.
        const from = (x.args[0] as Expr).dtype;
        return from.bits <= 8 && !from.isFloat ? value : roundHalf(sc, x.dtype, value);
      }
      case "bitcast": {
        const from = (x.args[0] as Expr).dtype;
        return isHalf(from) ? unpackHalf(sc, x.dtype, packHalf(sc, from, args[0] as Expr)) : unpackHalf(sc, x.dtype, sc.cast(u16, args[0] as Expr));
      }
      default: {
        if (closed.has(x.op)) return null;
        return roundHalf(sc, x.dtype, sc.op(x.op as OpName, args));
      }
    }
  }
}

const magnitudeMask = 0x7fffffff;
const signMask = -0x80000000;
const maximumExponent = 0x7f800000;

/** Bit patterns of f32 as i32, and back. */
const bitsOf = (sc: Scalars, x: Expr): Expr => sc.bitcast(i32, x);
const fromBits = (sc: Scalars, bits: Expr): Expr => sc.bitcast(f32, bits);

/** The f32 with the given 16 bits (u16). */
function unpackHalf(sc: Scalars, d: DType, bits: Expr): Expr {
  const h = sc.cast(i32, bits);
  if (d === bf16) return fromBits(sc, sc.op("shl", [h, sc.int(16)]));
  // Exponents differ by 112 in their bias; subnormals become normal with the product, infinities and NaNs need the highest.
  const shifted = sc.op("shl", [sc.and(h, sc.int(0x7fff)), sc.int(13)]);
  const scaled = bitsOf(sc, sc.mul(fromBits(sc, shifted), sc.f32(2 ** 112)));
  const special = sc.op("ge", [shifted, sc.int(31 << 23)]);
  const magnitude = sc.select(special, sc.op("or", [shifted, sc.int(maximumExponent)]), scaled);
  return fromBits(sc, sc.op("or", [magnitude, sc.op("shl", [sc.and(h, sc.int(0x8000)), sc.int(16)])]));
}

/** The 16 bits (u16) of an f32 that is a value of the dtype. */
function packHalf(sc: Scalars, d: DType, x: Expr): Expr {
  const bits = bitsOf(sc, x);
  const high = sc.op("shr", [bits, sc.int(16)]);
  if (d === bf16) return sc.cast(u16, high);
  const scaled = sc.mul(fromBits(sc, sc.and(bits, sc.int(magnitudeMask))), sc.f32(2 ** -112));
  const shifted = sc.min(sc.op("shr", [bitsOf(sc, scaled), sc.int(13)]), sc.int(0x7c00));
  const magnitude = sc.select(sc.op("eq", [x, x]), shifted, sc.int(0x7e00));
  return sc.cast(u16, sc.op("or", [magnitude, sc.and(high, sc.int(0x8000))]));
}

/** The value of the 16-bit dtype that is nearest to an f32, ties to even, as an f32. */
function roundHalf(sc: Scalars, d: DType, x: Expr): Expr {
  if (x.constant !== null) return sc.broadcast(sc.cast(f32, sc.const(x.constant, d)), x.lanes);
  return d === f16 ? roundF16(sc, x) : roundBf16(sc, x);
}

/**
 * Adding 2^13 times the power of two at or below |x| leaves 10 of x's fraction bits, rounded as sums are; at least
 * 2^-14·2^13, below which the spacing of f16 stays the same.
 */
function roundF16(sc: Scalars, x: Expr): Expr {
  const bits = bitsOf(sc, x);
  // What is larger is infinite anyway; a NaN stays.
  const a = sc.min(fromBits(sc, sc.and(bits, sc.int(magnitudeMask))), sc.f32(2 ** 17));
  const power = sc.max(sc.and(bitsOf(sc, a), sc.int(maximumExponent)), sc.int((127 - 14) << 23));
  const bias = fromBits(sc, sc.add(power, sc.int(13 << 23)));
  const rounded = sc.sub(sc.add(a, bias), bias);
  const finite = sc.select(sc.op("ge", [rounded, sc.f32(2 ** 16)]), sc.f32(Number.POSITIVE_INFINITY), rounded);
  return fromBits(sc, sc.op("or", [bitsOf(sc, finite), sc.and(bits, sc.int(signMask))]));
}

/** bf16 is the high half of f32: a carry out of the low half rounds, into the exponent and up to infinity where it must. */
function roundBf16(sc: Scalars, x: Expr): Expr {
  const bits = bitsOf(sc, x);
  const even = sc.and(sc.op("shr", [bits, sc.int(16)]), sc.int(1));
  const rounded = sc.and(sc.add(bits, sc.add(even, sc.int(0x7fff))), sc.int(-0x10000));
  return sc.select(sc.op("eq", [x, x]), fromBits(sc, rounded), sc.f32(Number.NaN));
}

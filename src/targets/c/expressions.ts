import type { DType } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import type { Buffer } from "../../loop/ir.ts";
import type { Expr, Variable } from "../../scalar/expr.ts";
import { rangeOf } from "../../scalar/index.ts";
import type { ScalarCoreOpName } from "../../scalar/ops/table.ts";
import { printExpr } from "../../scalar/text.ts";
import type { Facts } from "./addresses.ts";
import type { Level } from "./levels.ts";
import type { Prelude } from "./prelude.ts";
import { type Code, atom, call, castTo, infix, negated, operand, plus, precedence, rendering } from "./render.ts";
import { arithmeticName, literal, scalarType } from "./types.ts";
import { VectorWriter } from "./vectors.ts";

/**
 * What an expression is for. `index`: positions, which stay within int32_t as long as no data come in. `data`: integers
 * wrap. `wide`: in main, sizes and places in int64_t.
 */
export type Purpose = "index" | "data" | "wide";

/** Writes expressions of one function; every one is a tree by now. */
export class ExpressionWriter {
  readonly level: Level;
  readonly prelude: Prelude;
  private readonly facts: Facts;
  private readonly nameOf: (v: Variable) => string;
  private readonly vectors: VectorWriter;

  constructor(level: Level, prelude: Prelude, facts: Facts, nameOf: (v: Variable) => string) {
    this.level = level;
    this.prelude = prelude;
    this.facts = facts;
    this.nameOf = nameOf;
    this.vectors = new VectorWriter(this);
  }

  expr(e: Expr, purpose: Purpose): Code {
    switch (e.op) {
      case "const":
        return this.constant(e, purpose);
      case "var":
        return atom(this.nameOf(e.attr as Variable));
      case "load":
        throw new InternalError("c", `load should have been lowered: ${printExpr(e)}`);
      default:
        if (e.lanes > 1) return this.vectors.expr(e, purpose);
        if (e.op === "loadat") return this.load(e, purpose);
        if (e.op === "extract") return this.vectors.extract(e, purpose);
        return this.operation(e, e.op as ScalarCoreOpName, purpose);
    }
  }

  private constant(e: Expr, purpose: Purpose): Code {
    const v = e.attr as number | bigint;
    const isLong = purpose === "wide" && !e.dtype.isFloat && Math.abs(Number(v)) >= 2 ** 31;
    return atom(literal(v, isLong ? "i64" : arithmeticName(e.dtype)));
  }

  /** A pointer: an address and the bytes to the place. */
  pointer(address: Expr, offset: number, purpose: Purpose = "index"): Code {
    const base = this.expr(address, purpose);
    if (!this.facts.isAddress(address)) throw new InternalError("c", `no address: ${printExpr(address)}`);
    return offset === 0 ? base : plus(base, atom(String(offset)));
  }

  private load(e: Expr, purpose: Purpose): Code {
    const d = (e.attr as Buffer).dtype;
    const from = this.pointer(e.args[0] as Expr, Number((e.args[1] as Expr).constant), purpose === "wide" ? "wide" : "index");
    return call(this.prelude.use(`tw_load_${memoryName(d)}`), [from]);
  }
  /** The C type of vectors. */
  vectorType(d: DType, lanes: number): string {
    return this.vectors.type(d, lanes);
  }
  /** The function that stores such a value. */
  storeFunction(d: DType, lanes: number): string {
    // Vectors are stored by the dtype's name: those of narrow integers are narrowed.
    return lanes > 1 ? this.vectors.helper(`tw_store_${d.name}`, lanes) : this.prelude.use(`tw_store_${memoryName(d)}`);
  }

  private operation(e: Expr, name: ScalarCoreOpName, purpose: Purpose): Code {
    const how = rendering[name];
    const args = () => e.args.map((a) => this.expr(a, purpose));
    switch (how.kind) {
      case "arithmetic":
        if (this.facts.isAddress(e)) return this.addressSum(e, purpose);
        return this.arithmetic(e, name as "add" | "sub" | "mul", how, purpose);
      case "comparison":
      case "bits": {
        const [a, b] = args() as [Code, Code];
        // Truth values are ints, but compilers would rather see other operators for them: nothing here may be left out.
        if (how.kind === "bits") return infix(how.symbol, precedence.bits, e.dtype.kind === "bool" ? castTo("int", a) : a, b);
        // Compilers warn that it is known what becomes of an unsigned number compared with 0.
        const type = arithmeticName((e.args[0] as Expr).dtype);
        if (type.startsWith("u") && e.args.some((x) => x.isConst(0))) return call(this.prelude.use(`tw_${how.name}_${type}`), [a, b]);
        return infix(how.symbol, how.precedence, a, b);
      }
      case "function":
        return call(e.dtype.compute === "f32" ? `${how.name}f` : how.name, args());
      case "special":
        return this.special(e, name, purpose);
      default:
        throw how satisfies never;
    }
  }

  private addressSum(e: Expr, purpose: Purpose): Code {
    const [a, b] = e.args as [Expr, Expr];
    const [x, y] = [this.expr(a, purpose), this.expr(b, purpose)];
    if (e.op === "sub") return infix("-", precedence.sum, x, y);
    return this.facts.isAddress(a) ? plus(x, y) : plus(y, x);
  }

  /** May the arithmetic of i32 be C's own, which must not overflow? */
  private isPlain(e: Expr, purpose: Purpose): boolean {
    if (purpose === "wide") return true;
    const [low, high] = rangeOf(e);
    return (low >= -(2 ** 31) && high < 2 ** 31) || (purpose === "index" && !this.facts.isRead(e));
  }

  private arithmetic(e: Expr, name: "add" | "sub" | "mul", how: { symbol: string; precedence: number }, purpose: Purpose): Code {
    const type = arithmeticName(e.dtype);
    const [a, b] = e.args.map((x) => this.expr(x, purpose)) as [Code, Code];
    if (e.dtype.isFloat || type === "u32" || type === "u64") return how.symbol === "+" ? plus(a, b) : infix(how.symbol, how.precedence, a, b);
    if (type === "i32" && e.dtype.bits === 32 && this.isPlain(e, purpose))
      return how.symbol === "+" ? plus(a, b) : infix(how.symbol, how.precedence, a, b);
    return this.narrow(e.dtype, call(this.prelude.use(`tw_${name}_${type}`), [a, b]));
  }

  /** Brings the result of 32-bit arithmetic back into the range of a narrower integer dtype. */
  private narrow(d: DType, c: Code): Code {
    if (!d.isInteger || d.bits >= 32) return c;
    if (d.bits < 8) return call(this.prelude.use(`tw_wrap_${d.name}`), [c]);
    return castTo(`${d.kind === "uint" ? "u" : ""}int${d.bits}_t`, c);
  }

  private special(e: Expr, name: ScalarCoreOpName, purpose: Purpose): Code {
    const [a, b] = e.args as [Expr, Expr];
    const type = arithmeticName(e.dtype);
    const x = () => this.expr(a, purpose);
    const y = () => this.expr(b, purpose);
    switch (name) {
      case "div":
        return infix("/", precedence.product, x(), y());
      case "rem":
        return infix("%", precedence.product, x(), y());
      case "min":
      case "max":
        return purpose === "wide" && type === "i32" ? this.wideExtremum(name, x(), y()) : call(this.prelude.use(`tw_${name}_${type}`), [x(), y()]);
      case "fma":
        return this.multiplyAdd(e, purpose);
      case "neg":
        if (e.dtype.isFloat || (purpose === "wide" && type === "i32")) return negated(x());
        if (type === "u32" || type === "u64") return infix("-", precedence.sum, atom(literal(0, type)), x());
        return this.narrow(e.dtype, call(this.prelude.use(`tw_neg_${type}`), [x()]));
      case "abs":
        if (e.dtype.isFloat) return call(type === "f32" ? "fabsf" : "fabs", [x()]);
        return e.dtype.kind === "uint" ? x() : this.narrow(e.dtype, call(this.prelude.use(`tw_abs_${type}`), [x()]));
      case "not":
        if (e.dtype.kind === "bool") return { text: `!${operand(x(), precedence.unary)}`, precedence: precedence.unary };
        return this.narrow(e.dtype, { text: `~${operand(x(), precedence.unary)}`, precedence: precedence.unary });
      case "shl":
        return this.narrow(e.dtype, call(this.prelude.use(`tw_shl_${type}`), [x(), y()]));
      case "shr":
        return this.shiftRight(b, type, x(), y());
      case "select":
        return this.choice(this.expr(a, purpose), this.expr(b, purpose), this.expr(e.args[2] as Expr, purpose));
      case "cast":
        return this.cast(e, a, purpose);
      case "bitcast":
        return this.bitcast(e, a, x());
      default:
        return this.unsupported(e);
    }
  }
  unsupported(e: Expr): never {
    throw new InternalError("c", `no rendering for ${e.dtype}${e.lanes > 1 ? `x${e.lanes}` : ""} ${printExpr(e)}`);
  }

  private wideExtremum(name: "min" | "max", a: Code, b: Code): Code {
    return call(this.prelude.use(`tw_${name}_i64`), [a, b]);
  }

  private shiftRight(amount: Expr, type: string, x: Code, y: Code): Code {
    const n = amount.constant;
    if (n !== null && Number(n) >= 0 && Number(n) < (type.endsWith("64") ? 64 : 32)) return infix(">>", precedence.shift, paren(x), atom(String(n)));
    return call(this.prelude.use(`tw_shr_${type}`), [x, y]);
  }

  /** The case that is not chosen is not evaluated. */
  choice(c: Code, a: Code, b: Code): Code {
    const least = precedence.choice + 1;
    return { text: `${operand(c, precedence.equality)} ? ${operand(a, least)} : ${operand(b, precedence.choice)}`, precedence: precedence.choice };
  }

  private multiplyAdd(e: Expr, purpose: Purpose): Code {
    const [a, b, c] = e.args.map((x) => this.expr(x, purpose)) as [Code, Code, Code];
    if (this.level.fma) return call(e.dtype.compute === "f32" ? "fmaf" : "fma", [a, b, c]);
    return plus(infix("*", precedence.product, a, b), c);
  }

  private cast(e: Expr, a: Expr, purpose: Purpose): Code {
    const [from, to] = [a.dtype, e.dtype];
    const x = this.expr(a, purpose);
    if (to.kind === "bool") {
      return from.kind === "bool" ? x : infix("!=", precedence.equality, x, atom(literal(0, arithmeticName(from))));
    }
    if (to.isFloat) return from.compute === to.compute && from.isFloat ? x : castTo(scalarType(to), x);
    const type = arithmeticName(to);
    const whole = from.isFloat ? call(this.prelude.use(`tw_cast_${type}_${from.compute}`), [x]) : x;
    if (to.bits < 32) return to.bits < from.bits || to.kind !== from.kind || from.isFloat ? this.narrow(to, whole) : whole;
    return from.isFloat || scalarType(from) === scalarType(to) ? whole : castTo(scalarType(to), whole);
  }

  private bitcast(e: Expr, a: Expr, x: Code): Code {
    const [from, to] = [arithmeticName(a.dtype), arithmeticName(e.dtype)];
    if (a.dtype.isFloat !== e.dtype.isFloat) return call(this.prelude.use(`tw_bits_${to}_${from}`), [x]);
    if (e.dtype.bits < 32) return a.dtype.kind === e.dtype.kind ? x : this.narrow(e.dtype, x);
    return from === to ? x : castTo(scalarType(e.dtype), x);
  }
}

/** What memory of the dtype is read and written as. */
function memoryName(d: DType): string {
  return d.kind === "bool" ? "u8" : d.name;
}

/** In parentheses unless it is a name, a literal or a call. */
function paren(c: Code): Code {
  return atom(operand(c, precedence.unary));
}

import { InternalError } from "../../base/errors.ts";
import type { Buffer } from "../../loop/ir.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { ScalarCoreOpName } from "../../scalar/ops/table.ts";
import type { DType } from "../../base/dtype.ts";
import type { ExpressionWriter, Purpose } from "./expressions.ts";
import { type Code, atom, call, castTo, infix, negated, operand, plus, precedence, rendering, vectorFunctions } from "./render.ts";
import { laneName } from "./types.ts";

/** Elements of a vector of the dtype as helpers are named after them. */
const lanesOf = (d: DType): string => (d.kind === "bool" ? "mask" : laneName(d));

/** Is it an integer dtype whose elements are narrower than lanes? */
const isNarrow = (d: DType): boolean => d.isInteger && d.bits < 32;

/** Writes vector expressions: by C's operators on vectors where they say it, by the prelude's functions elsewhere. */
export class VectorWriter {
  private readonly scalar: ExpressionWriter;
  constructor(scalar: ExpressionWriter) {
    this.scalar = scalar;
  }

  helper(name: string, lanes: number): string {
    const { level, prelude } = this.scalar;
    if (lanes > level.lanes) throw new InternalError("c", `level ${level.name} has no vectors of ${lanes} lanes`);
    return prelude.useVector(name, lanes, level);
  }
  /** The C type of vectors. */
  type(d: DType, lanes: number): string {
    return this.helper(`tw_${lanesOf(d)}`, lanes);
  }
  /** A call of the helper for vectors like those of the expression. */
  private call(e: Expr, name: string, args: readonly Code[]): Code {
    return call(this.helper(name, e.lanes), args);
  }

  expr(e: Expr, purpose: Purpose): Code {
    const arg = (i: number): Code => this.scalar.expr(e.args[i] as Expr, purpose);
    switch (e.op) {
      case "loadat": {
        const place = this.scalar.pointer(e.args[0] as Expr, Number((e.args[1] as Expr).constant));
        const d = (e.attr as Buffer).dtype;
        return this.call(e, `tw_load_${isNarrow(d) ? d.name : lanesOf(d)}`, [place]);
      }
      case "broadcast":
        return this.call(e, `tw_splat_${lanesOf(e.dtype)}`, [arg(0)]);
      case "ramp":
        return this.ramp(e, arg(0), () => arg(1));
      case "insert":
        return this.gathered(e, purpose) ?? this.call(e, `tw_insert_${lanesOf(e.dtype)}`, [arg(0), arg(1), atom(String(e.attr as number))]);
      default:
        if (Object.hasOwn(vectorFunctions, e.op)) {
          const name = vectorFunctions[e.op as keyof typeof vectorFunctions];
          return this.call(
            e,
            name,
            e.args.map((_, i) => arg(i)),
          );
        }
        return this.operation(e, e.op as ScalarCoreOpName, purpose);
    }
  }

  /** One lane of a vector. */
  extract(e: Expr, purpose: Purpose): Code {
    const v = e.args[0] as Expr;
    const from = operand(this.scalar.expr(v, purpose), precedence.postfix);
    const lane = e.attr as number;
    if (e.dtype.kind !== "bool") return atom(`${from}[${lane}]`);
    return this.scalar.level.masks ? { text: `(${from} >> ${lane}) & 1`, precedence: precedence.bits } : atom(`-${from}[${lane}]`);
  }

  private ramp(e: Expr, base: Code, step: () => Code): Code {
    const { constant } = e.args[1] as Expr;
    const steps = Array.from({ length: e.lanes }, (_, i) => String(i * Number(constant ?? 1)));
    const t = this.type(e.dtype, e.lanes);
    const offsets = atom(`(${t}){${steps.join(", ")}}`);
    // A stride that is only known at run time is multiplied in.
    const scaled = constant === null ? this.call(e, "tw_mul_i32", [this.call(e, "tw_splat_i32", [step()]), offsets]) : offsets;
    return this.call(e, "tw_add_i32", [this.call(e, "tw_splat_i32", [base]), scaled]);
  }

  /** A vector all of whose lanes are given one by one. */
  private gathered(e: Expr, purpose: Purpose): Code | null {
    if (e.dtype.kind === "bool") return null;
    const lanes = new Map<number, Expr>();
    let v = e;
    for (; v.op === "insert"; v = v.args[0] as Expr) if (!lanes.has(v.attr as number)) lanes.set(v.attr as number, v.args[1] as Expr);
    if (v.op !== "broadcast" || lanes.size < e.lanes - 1) return null;
    const rest = v.args[0] as Expr;
    const values = Array.from({ length: e.lanes }, (_, i) => this.scalar.expr(lanes.get(i) ?? rest, purpose).text);
    return atom(`(${this.type(e.dtype, e.lanes)}){${values.join(", ")}}`);
  }

  private operation(e: Expr, name: ScalarCoreOpName, purpose: Purpose): Code {
    const how = rendering[name];
    const args = () => e.args.map((a) => this.scalar.expr(a, purpose));
    const t = lanesOf(e.dtype);
    switch (how.kind) {
      case "arithmetic": {
        const [a, b] = args() as [Code, Code];
        if (t === "i32") return this.wrapped(e, this.call(e, `tw_${name}_i32`, [a, b]));
        return how.symbol === "+" ? plus(a, b) : infix(how.symbol, how.precedence, a, b);
      }
      case "comparison":
        return this.comparison(e, how, args() as [Code, Code]);
      case "bits": {
        const [a, b] = args() as [Code, Code];
        const c = infix(how.symbol, precedence.bits, a, b);
        return t === "mask" && this.scalar.level.masks ? castTo(this.type(e.dtype, e.lanes), c) : c;
      }
      case "function":
        return this.call(e, how.vector, args());
      case "special":
        return this.special(e, name, t, purpose);
      default:
        throw how satisfies never;
    }
  }

  /** Brings lanes back into the range of a narrower dtype. */
  private wrapped(e: Expr, c: Code): Code {
    return isNarrow(e.dtype) ? this.call(e, `tw_wrap_${e.dtype.name}`, [c]) : c;
  }

  /** All lanes of a mask register. */
  private ones(lanes: number): Code {
    return atom(`0x${(2 ** lanes - 1).toString(16)}`);
  }

  private comparison(e: Expr, how: { symbol: string; precedence: number; name: string }, [a, b]: [Code, Code]): Code {
    const compared = lanesOf((e.args[0] as Expr).dtype);
    if (!this.scalar.level.masks) return infix(how.symbol, how.precedence, a, b);
    if (compared !== "mask") return this.call(e, `tw_${how.name}_${compared}`, [a, b]);
    if (how.name !== "eq" && how.name !== "ne") return this.scalar.unsupported(e);
    const differ = infix("^", precedence.bits, a, b);
    return castTo(this.type(e.dtype, e.lanes), how.name === "ne" ? differ : infix("^", precedence.bits, differ, this.ones(e.lanes)));
  }

  private special(e: Expr, name: ScalarCoreOpName, t: string, purpose: Purpose): Code {
    const [a, b] = e.args as [Expr, Expr];
    const x = () => this.scalar.expr(a, purpose);
    const y = () => this.scalar.expr(b, purpose);
    switch (name) {
      case "div":
        return e.dtype.isFloat ? infix("/", precedence.product, x(), y()) : this.scalar.unsupported(e);
      case "min":
      case "max":
        return this.extremum(e, name, t, x(), y());
      case "fma":
        return this.multiplyAdd(e, purpose);
      case "neg":
        return t === "f32"
          ? negated(x())
          : t === "u32"
            ? infix("-", precedence.sum, atom("0u"), x())
            : this.wrapped(e, this.call(e, "tw_neg_i32", [x()]));
      case "abs":
        return e.dtype.kind === "uint" ? x() : this.wrapped(e, this.call(e, `tw_abs_${t}`, [x()]));
      case "not":
        if (t === "mask" && this.scalar.level.masks) return castTo(this.type(e.dtype, e.lanes), infix("^", precedence.bits, x(), this.ones(e.lanes)));
        return this.wrapped(e, { text: `~${operand(x(), precedence.unary)}`, precedence: precedence.unary });
      case "shl":
      case "shr":
        return this.shift(e, name, t, x(), purpose);
      case "select":
        return this.select(e, t, purpose);
      case "cast":
        return this.cast(e, a, x());
      case "bitcast":
        return lanesOf(a.dtype) !== t ? castTo(this.type(e.dtype, e.lanes), x()) : a.dtype === e.dtype ? x() : this.wrapped(e, x());
      default:
        return this.scalar.unsupported(e);
    }
  }

  private extremum(e: Expr, name: "min" | "max", t: string, x: Code, y: Code): Code {
    if (t === "mask") {
      const c = infix(name === "min" ? "&" : "|", precedence.bits, x, y);
      return this.scalar.level.masks ? castTo(this.type(e.dtype, e.lanes), c) : c;
    }
    const known = (e.args[1] as Expr).constant;
    // Against a number that is none, one instruction does.
    if (t === "f32" && known !== null && !Number.isNaN(Number(known))) return this.call(e, `tw_${name}_known_f32`, [x, y]);
    return this.call(e, `tw_${name}_${t}`, [x, y]);
  }

  private multiplyAdd(e: Expr, purpose: Purpose): Code {
    const [a, b, c] = e.args as [Expr, Expr, Expr];
    const [y, z] = [this.scalar.expr(b, purpose), this.scalar.expr(c, purpose)];
    if (this.scalar.level.fma) return this.call(e, "tw_fma_f32", [this.scalar.expr(a, purpose), y, z]);
    const isNegated = a.op === "neg";
    const product = infix("*", precedence.product, this.scalar.expr(isNegated ? (a.args[0] as Expr) : a, purpose), y);
    return infix(isNegated ? "-" : "+", precedence.sum, z, product);
  }

  /** All lanes shift by one amount; where that was bound to a variable, it is in each lane. */
  private shift(e: Expr, name: "shl" | "shr", t: string, x: Code, purpose: Purpose): Code {
    const amount = e.args[1] as Expr;
    if (amount.op !== "broadcast" && amount.op !== "var") return this.scalar.unsupported(e);
    const n =
      amount.op === "var"
        ? atom(`${operand(this.scalar.expr(amount, purpose), precedence.postfix)}[0]`)
        : this.scalar.expr(amount.args[0] as Expr, purpose);
    const shifted = this.call(e, `tw_${name}_${t}`, [x, t === "u32" ? castTo("int32_t", n) : n]);
    return name === "shl" ? this.wrapped(e, shifted) : shifted;
  }

  private select(e: Expr, t: string, purpose: Purpose): Code {
    const [c, a, b] = e.args as [Expr, Expr, Expr];
    const uniform = c.lanes === 1 ? c : c.op === "broadcast" ? (c.args[0] as Expr) : null;
    const [x, y] = [this.scalar.expr(a, purpose), this.scalar.expr(b, purpose)];
    if (uniform !== null) return this.scalar.choice(this.scalar.expr(uniform, purpose), x, y);
    return this.call(e, `tw_select_${t}`, [this.scalar.expr(c, purpose), x, y]);
  }

  private cast(e: Expr, a: Expr, x: Code): Code {
    const [from, to] = [lanesOf(a.dtype), lanesOf(e.dtype)];
    if (from === to) return isWithin(a.dtype, e.dtype) ? x : this.wrapped(e, x);
    if (to === "mask") {
      const zero = this.call(a, `tw_splat_${from}`, [atom(from === "f32" ? "0.0f" : from === "u32" ? "0u" : "0")]);
      return this.scalar.level.masks ? this.call(e, `tw_ne_${from}`, [x, zero]) : infix("!=", precedence.equality, x, zero);
    }
    const reinterprets = (from === "i32" && to === "u32") || (from === "u32" && to === "i32");
    return this.wrapped(e, reinterprets ? castTo(this.type(e.dtype, e.lanes), x) : this.call(e, `tw_cast_${to}_${from}`, [x]));
  }
}

/** Are all values of one integer dtype values of another? */
function isWithin(from: DType, to: DType): boolean {
  return from === to || (from.bits < to.bits && (from.kind === to.kind || to.kind === "int"));
}

import type { DType } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import type { Buffer } from "../../loop/ir.ts";
import { type Expr, type Variable, isGuard, postorder } from "../../scalar/expr.ts";
import { rangeOf } from "../../scalar/index.ts";
import type { CoreOpName } from "../../scalar/ops/table.ts";
import { printExpr } from "../../scalar/text.ts";
import { FunctionCode, localType } from "./code.ts";
import { type ValueType, valueType } from "./encoder.ts";
import { type Shape, rendering, saturating, shapeOf, simd } from "./render.ts";

export interface EmitOptions {
  /** Relaxed SIMD: multiply-adds with one rounding where the machine has them. */
  readonly relaxed: boolean;
}

/** Writes expressions, whose loads are lowered to addresses. */
export class ExpressionEmitter extends FunctionCode {
  private readonly options: EmitOptions;
  constructor(params: readonly Variable[], options: EmitOptions) {
    super(params);
    this.options = options;
  }

  /** Pushes the value of an expression. */
  expr(e: Expr): void {
    switch (e.op) {
      case "const":
        this.constant(e);
        return;
      case "var":
        this.get(e.attr as Variable);
        return;
      case "loadat":
        this.expr(e.args[0] as Expr);
        this.load((e.attr as Buffer).dtype, e.lanes, Number((e.args[1] as Expr).constant));
        return;
      case "broadcast":
        this.broadcast(e);
        return;
      case "extract":
        this.expr(e.args[0] as Expr);
        this.op(simd(e.dtype.isFloat ? 0x1f : 0x1b));
        this.code.byte(e.attr as number);
        return;
      case "insert":
        this.expr(e.args[0] as Expr);
        this.expr(e.args[1] as Expr);
        this.op(simd(e.dtype.isFloat ? 0x20 : 0x1c));
        this.code.byte(e.attr as number);
        return;
      case "ramp": {
        const [base, step] = e.args as [Expr, Expr];
        this.expr(base);
        this.op(simd(0x11));
        // A stride that is only known at run time is multiplied in.
        const stride = step.constant === null ? 1 : Number(step.constant);
        this.op(simd(0x0c));
        const bytes = new DataView(new ArrayBuffer(16));
        for (let i = 0; i < 4; i++) bytes.setInt32(4 * i, i * stride, true);
        this.code.bytes(new Uint8Array(bytes.buffer));
        if (step.constant === null) {
          this.expr(step);
          this.op(simd(0x11));
          this.op(simd(0xb5));
        }
        this.op(simd(0xae));
        return;
      }
      case "load":
        throw new InternalError("wasm", `load should have been lowered: ${printExpr(e)}`);
      default:
        this.operation(e, e.op as CoreOpName);
    }
  }

  private constant(e: Expr): void {
    const v = e.attr as number | bigint;
    switch (e.dtype.compute) {
      case "i32":
        this.code.byte(0x41).s32(Number(v));
        return;
      case "i64":
        this.code.byte(0x42).s64(BigInt(v));
        return;
      case "f32":
        this.code.byte(0x43).f32(Number(v));
        return;
      case "f64":
        this.code.byte(0x44).f64(Number(v));
        return;
      default:
        throw e.dtype.compute satisfies never;
    }
  }

  private broadcast(e: Expr): void {
    const x = e.args[0] as Expr;
    if (x.constant !== null) {
      const bytes = new DataView(new ArrayBuffer(16));
      const value = e.dtype.kind === "bool" ? -Number(x.constant) : Number(x.constant);
      for (let i = 0; i < 4; i++) {
        if (e.dtype.isFloat) bytes.setFloat32(4 * i, value, true);
        else bytes.setInt32(4 * i, value, true);
      }
      this.op(simd(0x0c));
      this.code.bytes(new Uint8Array(bytes.buffer));
      return;
    }
    if (x.op === "loadat" && x.dtype.bits === 32) {
      this.expr(x.args[0] as Expr);
      this.op(simd(0x09));
      this.memarg(4, Number((x.args[1] as Expr).constant));
      return;
    }
    this.expr(x);
    if (e.dtype.kind === "bool") {
      // A scalar truth is 1, a lane's is all ones.
      const t = this.temp("i32");
      this.code.byte(0x21).u32(t).byte(0x41, 0x00, 0x20).u32(t).byte(0x6b);
      this.release("i32", t);
    }
    this.op(simd(e.dtype.isFloat ? 0x13 : 0x11));
  }

  private operation(e: Expr, name: CoreOpName): void {
    const how = rendering[name];
    const operand = e.args[0] as Expr;
    // Comparisons are shaped by what they compare.
    const shape = shapeOf(["eq", "ne", "lt", "le", "gt", "ge"].includes(name) ? operand.dtype : e.dtype, e.lanes);
    if (how === "special") {
      this.special(e, name, shape);
      return;
    }
    const instructions = how[shape];
    if (instructions === undefined) throw new InternalError("wasm", `op '${name}' on ${shape}: ${printExpr(e)}`);
    for (const a of e.args) this.expr(a);
    for (const i of instructions) this.op(i);
    if (["add", "sub", "mul"].includes(name)) this.wrapNarrow(e.dtype, e.lanes);
  }

  /** Brings the result of 32-bit arithmetic back into the range of a narrower integer dtype. */
  private wrapNarrow(d: DType, lanes: number): void {
    if (d.bits >= 32 || d.kind === "bool" || d.isFloat) return;
    if (lanes > 1) {
      this.wrapLanes(d);
      return;
    }
    if (d.kind === "uint")
      this.code
        .byte(0x41)
        .s32((1 << d.bits) - 1)
        .byte(0x71);
    else if (d.bits === 8) this.op(0xc0);
    else if (d.bits === 16) this.op(0xc1);
    else
      this.code
        .byte(0x41)
        .s32(32 - d.bits)
        .byte(0x74)
        .byte(0x41)
        .s32(32 - d.bits)
        .byte(0x75);
  }

  private wrapLanes(d: DType): void {
    if (d.kind === "uint") {
      this.broadcastConstant(2 ** d.bits - 1, false);
      this.op(simd(0x4e));
      return;
    }
    for (const shift of [0xab, 0xac]) {
      this.code.byte(0x41).s32(32 - d.bits);
      this.op(simd(shift));
    }
  }

  private special(e: Expr, name: CoreOpName, shape: Shape): void {
    const [a, b] = e.args as [Expr, Expr];
    switch (name) {
      case "rem":
        this.expr(a);
        this.expr(b);
        this.op(({ i32: 0x6f, u32: 0x70, i64: 0x81, u64: 0x82 } as Partial<Record<Shape, number>>)[shape] ?? this.unsupported(e));
        return;
      case "min":
      case "max":
        this.extremum(e, name, shape);
        return;
      case "fma":
        this.multiplyAdd(e);
        return;
      case "dot8":
        this.multiplyBytes(a, b);
        return;
      case "neg":
        this.negate(e, shape);
        return;
      case "abs":
        this.absolute(e, shape);
        return;
      case "not":
        this.expr(a);
        if (e.lanes > 1) this.op(simd(0x4d));
        else if (e.dtype.kind === "bool") this.op(0x45);
        else if (e.dtype.compute === "i64") this.code.byte(0x42).s64(-1n).byte(0x85);
        else this.code.byte(0x41).s32(-1).byte(0x73);
        this.wrapNarrow(e.dtype, e.lanes);
        return;
      case "shl":
      case "shr":
        this.shift(e, name, shape);
        return;
      case "select":
        this.select(e);
        return;
      case "cast":
        this.cast(e, a);
        return;
      case "bitcast":
        this.expr(a);
        if (e.lanes === 1 && a.dtype.compute !== e.dtype.compute) this.op({ f32: 0xbe, i32: 0xbc, f64: 0xbf, i64: 0xbd }[e.dtype.compute]);
        if (a.dtype.kind !== e.dtype.kind) this.wrapNarrow(e.dtype, e.lanes);
        return;
      default:
        this.unsupported(e);
    }
  }
  private unsupported(e: Expr): never {
    throw new InternalError("wasm", `no rendering for ${e.dtype}${e.lanes > 1 ? `x${e.lanes}` : ""} ${printExpr(e)}`);
  }

  private extremum(e: Expr, name: "min" | "max", shape: Shape): void {
    const [a, b] = e.args as [Expr, Expr];
    const least = name === "min";
    if (shape === "f32x4" || shape === "f32" || shape === "f64") {
      this.expr(a);
      this.expr(b);
      // Against a constant the pseudo-minimum is exact (a NaN of the other operand stays) and one instruction.
      const constant = b.constant !== null && !Number.isNaN(Number(b.constant)) && Number(b.constant) !== 0;
      const zero = b.isConst(0);
      if (shape === "f32x4") this.op(simd(constant || zero ? (least ? 0xea : 0xeb) : least ? 0xe8 : 0xe9));
      else if (shape === "f32") this.op(least ? 0x96 : 0x97);
      else this.op(least ? 0xa4 : 0xa5);
      return;
    }
    if (shape === "i32x4" || shape === "u32x4") {
      this.expr(a);
      this.expr(b);
      const signed = shape === "i32x4";
      this.op(simd(least ? (signed ? 0xb6 : 0xb7) : signed ? 0xb8 : 0xb9));
      return;
    }
    if (shape === "mask") {
      this.expr(a);
      this.expr(b);
      this.op(simd(least ? 0x4e : 0x50));
      return;
    }
    const wide = shape === "i64" || shape === "u64";
    const type: ValueType = wide ? "i64" : "i32";
    const [x, y] = [this.temp(type), this.temp(type)];
    this.expr(a);
    this.code.byte(0x21).u32(x);
    this.expr(b);
    this.code.byte(0x21).u32(y);
    this.code.byte(0x20).u32(x).byte(0x20).u32(y).byte(0x20).u32(x).byte(0x20).u32(y);
    const less = { i32: 0x48, u32: 0x49, i64: 0x53, u64: 0x54 }[shape];
    const greater = { i32: 0x4a, u32: 0x4b, i64: 0x55, u64: 0x56 }[shape];
    this.op(least ? less : greater);
    this.code.byte(0x1b);
    this.release(type, x);
    this.release(type, y);
  }

  private multiplyAdd(e: Expr): void {
    const [a, b, c] = e.args as [Expr, Expr, Expr];
    if (this.options.relaxed && e.lanes > 1) {
      const negated = a.op === "neg";
      this.expr(negated ? (a.args[0] as Expr) : a);
      this.expr(b);
      this.expr(c);
      this.op(simd(negated ? 0x106 : 0x105));
      return;
    }
    const vector = e.lanes > 1;
    const f64 = e.dtype.name === "f64";
    this.expr(c);
    if (a.op === "neg") {
      this.expr(a.args[0] as Expr);
      this.expr(b);
      this.op(vector ? simd(0xe6) : f64 ? 0xa2 : 0x94);
      this.op(vector ? simd(0xe5) : f64 ? 0xa1 : 0x93);
      return;
    }
    this.expr(a);
    this.expr(b);
    this.op(vector ? simd(0xe6) : f64 ? 0xa2 : 0x94);
    this.op(vector ? simd(0xe4) : f64 ? 0xa0 : 0x92);
  }

  /** Without relaxed SIMD: products of the even bytes and of the odd ones in lanes of 16 bits. */
  private multiplyBytes(a: Expr, b: Expr): void {
    if (this.options.relaxed) {
      this.expr(a);
      this.expr(b);
      this.op(simd(0x112));
      return;
    }
    const [x, y] = [this.temp("v128"), this.temp("v128")];
    const shifted = (local: number, ...shifts: readonly number[]): void => {
      this.code.byte(0x20).u32(local);
      for (const s of shifts) {
        this.code.byte(0x41).s32(8);
        this.op(simd(s));
      }
    };
    const [left, right, rightUnsigned, multiply, add] = [0x8b, 0x8c, 0x8d, 0x95, 0x8e];
    this.expr(a);
    this.code.byte(0x21).u32(x);
    this.expr(b);
    this.code.byte(0x21).u32(y);
    shifted(x, left, right);
    shifted(y, left, rightUnsigned);
    this.op(simd(multiply));
    shifted(x, right);
    shifted(y, rightUnsigned);
    this.op(simd(multiply));
    this.op(simd(add));
    this.release("v128", x);
    this.release("v128", y);
  }

  private negate(e: Expr, shape: Shape): void {
    const a = e.args[0] as Expr;
    const float = ({ f32: 0x8c, f64: 0x9a, f32x4: simd(0xe1), i32x4: simd(0xa1), u32x4: simd(0xa1) } as Partial<Record<Shape, number>>)[shape];
    if (float !== undefined) {
      this.expr(a);
      this.op(float);
      this.wrapNarrow(e.dtype, e.lanes);
      return;
    }
    if (e.dtype.compute === "i64") this.code.byte(0x42).s64(0n);
    else this.code.byte(0x41).s32(0);
    this.expr(a);
    this.op(e.dtype.compute === "i64" ? 0x7d : 0x6b);
    this.wrapNarrow(e.dtype, 1);
  }

  private absolute(e: Expr, shape: Shape): void {
    const a = e.args[0] as Expr;
    const direct = ({ f32: 0x8b, f64: 0x99, f32x4: simd(0xe0), i32x4: simd(0xa0) } as Partial<Record<Shape, number>>)[shape];
    this.expr(a);
    if (direct !== undefined) {
      this.op(direct);
      this.wrapNarrow(e.dtype, e.lanes);
      return;
    }
    if (e.dtype.kind === "uint") return;
    const type: ValueType = shape === "i64" ? "i64" : "i32";
    const x = this.temp(type);
    this.code.byte(0x22).u32(x);
    if (type === "i64") this.code.byte(0x42).s64(0n).byte(0x20).u32(x).byte(0x7d, 0x20).u32(x).byte(0x42).s64(0n).byte(0x59, 0x1b);
    else this.code.byte(0x41, 0x00, 0x20).u32(x).byte(0x6b, 0x20).u32(x).byte(0x41, 0x00, 0x4e, 0x1b);
    // select(x, 0 - x, x >= 0): the operands were pushed in that order.
    this.release(type, x);
    this.wrapNarrow(e.dtype, 1);
  }

  private shift(e: Expr, name: "shl" | "shr", shape: Shape): void {
    const [a, b] = e.args as [Expr, Expr];
    this.expr(a);
    const left = name === "shl";
    if (e.lanes > 1) {
      // All lanes shift by one amount; where that was bound to a variable, it is in each lane.
      if (b.op === "broadcast") this.expr(b.args[0] as Expr);
      else if (b.op === "var") {
        this.expr(b);
        this.op(simd(0x1b));
        this.code.byte(0);
      } else this.unsupported(e);
      this.op(simd(left ? 0xab : shape === "u32x4" ? 0xad : 0xac));
      if (left) this.wrapNarrow(e.dtype, e.lanes);
      return;
    }
    this.expr(b);
    const ops = { i32: [0x74, 0x75], u32: [0x74, 0x76], i64: [0x86, 0x87], u64: [0x86, 0x88] } as const;
    const pair = ops[shape as keyof typeof ops] ?? this.unsupported(e);
    this.op(left ? pair[0] : pair[1]);
    if (left) this.wrapNarrow(e.dtype, 1);
  }

  private select(e: Expr): void {
    const [c, a, b] = e.args as [Expr, Expr, Expr];
    const uniform = c.lanes === 1 ? c : c.op === "broadcast" ? (c.args[0] as Expr) : null;
    if (uniform === null) {
      this.expr(a);
      this.expr(b);
      this.expr(c);
      this.op(simd(0x52));
      return;
    }
    const type = localType(e.dtype, e.lanes);
    if (isGuard(e) && [a, b].some(mustBeLazy)) {
      this.expr(uniform);
      this.code.byte(0x04, valueType[type]);
      this.expr(a);
      this.code.byte(0x05);
      this.expr(b);
      this.code.byte(0x0b);
      return;
    }
    this.expr(a);
    this.expr(b);
    this.expr(uniform);
    if (type === "v128") this.code.byte(0x1c, 0x01, valueType[type]);
    else this.code.byte(0x1b);
  }

  private cast(e: Expr, a: Expr): void {
    this.expr(a);
    const [from, to] = [a.dtype, e.dtype];
    if (e.lanes > 1) {
      this.castVector(e, from, to);
      return;
    }
    if (to.kind === "bool") {
      // Anything but zero is true.
      if (from.compute === "i64") this.code.byte(0x42).s64(0n).byte(0x52);
      else if (from.compute === "i32") this.code.byte(0x41, 0x00, 0x47);
      else if (from.compute === "f32") this.code.byte(0x43).f32(0).byte(0x5c);
      else this.code.byte(0x44).f64(0).byte(0x62);
      return;
    }
    const unsigned = from.kind === "uint";
    const [f, t] = [from.compute, to.compute];
    if (f !== t) {
      if (t === "i32") this.op(f === "i64" ? 0xa7 : saturating((f === "f64" ? 2 : 0) + (to.kind === "uint" && to.bits === 32 ? 1 : 0)));
      else if (t === "i64")
        this.op(f === "i32" ? (unsigned || from.kind === "bool" ? 0xad : 0xac) : saturating((f === "f64" ? 6 : 4) + (to.kind === "uint" ? 1 : 0)));
      else if (t === "f32") this.op(f === "f64" ? 0xb6 : f === "i32" ? (unsigned ? 0xb3 : 0xb2) : unsigned ? 0xb5 : 0xb4);
      else this.op(f === "f32" ? 0xbb : f === "i32" ? (unsigned ? 0xb8 : 0xb7) : unsigned ? 0xba : 0xb9);
    }
    if (to.isInteger && (to.bits < from.bits || to.kind !== from.kind || from.isFloat)) this.wrapNarrow(to, 1);
  }
  private castVector(e: Expr, from: DType, to: DType): void {
    if (from.kind === "bool") {
      // All ones or zero: one or zero of the number type.
      this.broadcastConstant(to.isFloat ? 1 : 1, to.isFloat);
      this.op(simd(0x4e));
      return;
    }
    if (to.kind === "bool") {
      this.broadcastConstant(0, from.isFloat);
      this.op(simd(from.isFloat ? 0x42 : 0x38));
      return;
    }
    if (from.isFloat && to.isInteger) this.op(simd(to.kind === "uint" && to.bits === 32 ? 0xf9 : 0xf8));
    else if (from.isInteger && to.isFloat) this.op(simd(from.kind === "uint" ? 0xfb : 0xfa));
    else if (from.isFloat !== to.isFloat) this.unsupported(e);
    if (to.isInteger && (to.bits < from.bits || to.kind !== from.kind || from.isFloat)) this.wrapNarrow(to, e.lanes);
  }
}

/** Must a case of a select be evaluated only when chosen: a read that may lie outside, a division that may trap? */
function mustBeLazy(e: Expr): boolean {
  return postorder([e]).some(
    (x) => x.op === "loadat" || ((x.op === "div" || x.op === "rem") && !x.dtype.isFloat && !(rangeOf(x.args[1] as Expr)[0] > 0)),
  );
}

import type { DType } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import type { Variable } from "../../scalar/expr.ts";
import { Bytes, type ValueType } from "./encoder.ts";
import { type Instruction, simd } from "./render.ts";

/** One function's code: its bytes, its locals, and access to memory. */
export class FunctionCode {
  readonly code = new Bytes();
  readonly locals: ValueType[] = [];
  protected readonly indices = new Map<Variable, number>();
  protected readonly free = new Map<ValueType, number[]>();
  protected readonly paramCount: number;

  constructor(params: readonly Variable[]) {
    params.forEach((p, i) => {
      this.indices.set(p, i);
    });
    this.paramCount = params.length;
  }

  op(i: Instruction): void {
    if (i > 0xffff) {
      this.code.byte(i >>> 16).u32(i & 0xffff);
    } else this.code.byte(i);
  }

  temp(type: ValueType): number {
    const reuse = this.free.get(type)?.pop();
    if (reuse !== undefined) return reuse;
    return this.paramCount + this.locals.push(type) - 1;
  }
  release(type: ValueType, index: number): void {
    const list = this.free.get(type);
    if (list === undefined) this.free.set(type, [index]);
    else list.push(index);
  }
  protected declare(v: Variable): number {
    const old = this.indices.get(v);
    if (old !== undefined) return old;
    const i = this.temp(localType(v.dtype, v.lanes));
    this.indices.set(v, i);
    return i;
  }
  get(v: Variable): void {
    const i = this.indices.get(v);
    if (i === undefined) throw new InternalError("wasm", `variable '${v.name}' is used before it is bound`);
    this.code.byte(0x20).u32(i);
  }

  protected memarg(bytes: number, offset: number): void {
    this.code.u32(Math.log2(Math.min(bytes, 16))).u32(offset);
  }
  protected store(d: DType, lanes: number, offset: number): void {
    if (lanes > 1 && d.bits < 32) {
      this.storeNarrow(d, offset);
      return;
    }
    if (lanes > 1) {
      this.op(simd(0x0b));
      // Alignment is a hint; elements are only as aligned as themselves.
      this.memarg(d.byteWidth, offset);
      return;
    }
    const op = d.name === "f32" ? 0x38 : d.name === "f64" ? 0x39 : d.bits === 64 ? 0x37 : d.bits === 32 ? 0x36 : d.bits === 16 ? 0x3b : 0x3a;
    this.op(op);
    this.memarg(d.byteWidth, offset);
  }
  /** Lanes of 32 bits, whose values are of the dtype, as neighbours of its width: the vector is packed with zeros behind it. */
  protected storeNarrow(d: DType, offset: number): void {
    const unsigned = d.kind === "uint";
    this.broadcastConstant(0, false);
    this.op(simd(d.bits === 16 && unsigned ? 0x86 : 0x85));
    if (d.bits === 8) {
      this.broadcastConstant(0, false);
      this.op(simd(unsigned ? 0x66 : 0x65));
    }
    this.op(simd(d.bits === 8 ? 0x5a : 0x5b));
    this.memarg(d.byteWidth, offset);
    this.code.byte(0);
  }
  /** Neighbours of 8 or 16 bits in lanes of 32. */
  protected loadNarrow(d: DType, offset: number): void {
    const signed = d.kind === "int";
    if (d.bits === 16) {
      this.op(simd(signed ? 0x03 : 0x04));
      this.memarg(d.byteWidth, offset);
      return;
    }
    this.op(simd(0x5c));
    this.memarg(d.byteWidth, offset);
    this.op(simd(signed ? 0x87 : 0x89));
    this.op(simd(signed ? 0xa7 : 0xa9));
  }
  protected load(d: DType, lanes: number, offset: number): void {
    if (lanes > 1 && d.isInteger && d.bits < 32) {
      this.loadNarrow(d, offset);
      return;
    }
    if (lanes > 1 && d.kind === "bool") {
      // Four bytes, as lanes of 32 bits: v128.load32_zero, extended twice; a truth is 1 there, a lane's is all ones.
      this.op(simd(0x5c));
      this.memarg(1, offset);
      this.op(simd(0x89));
      this.op(simd(0xa9));
      this.op(simd(0xa1));
      return;
    }
    const op =
      lanes > 1
        ? simd(0x00)
        : d.name === "f32"
          ? 0x2a
          : d.name === "f64"
            ? 0x2b
            : d.bits === 64
              ? 0x29
              : d.bits === 32
                ? 0x28
                : d.bits === 16
                  ? d.kind === "int"
                    ? 0x2e
                    : 0x2f
                  : d.kind === "int"
                    ? 0x2c
                    : 0x2d;
    this.op(op);
    this.memarg(d.byteWidth, offset);
  }

  protected broadcastConstant(v: number, float: boolean): void {
    const bytes = new DataView(new ArrayBuffer(16));
    for (let i = 0; i < 4; i++) {
      if (float) bytes.setFloat32(4 * i, v, true);
      else bytes.setInt32(4 * i, v, true);
    }
    this.op(simd(0x0c));
    this.code.bytes(new Uint8Array(bytes.buffer));
  }
}

/** The WebAssembly type of a local. */
export function localType(d: DType, lanes: number): ValueType {
  return lanes > 1 ? "v128" : d.compute;
}

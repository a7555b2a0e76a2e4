import { i32 } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import type { Stmt } from "../../loop/ir.ts";
import type { Expr, Variable } from "../../scalar/expr.ts";
import { localType } from "./code.ts";
import { ExpressionEmitter } from "./expressions.ts";

/** Writes one function's code from loop IR; all loads and stores are lowered to addresses. */
export class FunctionEmitter extends ExpressionEmitter {
  /** How `launch` is written; only main has launches. */
  launch: (s: Extract<Stmt, { kind: "launch" }>, e: FunctionEmitter) => void = () => {
    throw new InternalError("wasm", "a kernel cannot launch kernels");
  };

  /** Address of the report that `require` writes to; only main has one. */
  report: Expr | null = null;

  block(b: readonly Stmt[]): void {
    const bound: Variable[] = [];
    for (const s of b) this.stmt(s, bound);
    // Names end with their block: their locals can be used again.
    for (const v of bound) {
      this.release(localType(v.dtype, v.lanes), this.indices.get(v) as number);
      this.indices.delete(v);
    }
  }

  private stmt(s: Stmt, bound: Variable[]): void {
    switch (s.kind) {
      case "let": {
        this.expr(s.value);
        if (!this.indices.has(s.variable)) bound.push(s.variable);
        this.code.byte(0x21).u32(this.declare(s.variable));
        return;
      }
      case "assign": {
        this.expr(s.value);
        this.code.byte(0x21).u32(this.indices.get(s.variable) ?? this.declare(s.variable));
        return;
      }
      case "storeat": {
        this.expr(s.address);
        this.expr(s.value);
        this.store(s.buffer.dtype, s.value.lanes, s.offset);
        return;
      }
      case "for":
        this.loop(s);
        return;
      case "if": {
        this.expr(s.condition);
        this.code.byte(0x04, 0x40);
        this.block(s.then);
        if (s.otherwise.length > 0) {
          this.code.byte(0x05);
          this.block(s.otherwise);
        }
        this.code.byte(0x0b);
        return;
      }
      case "while":
        // block { loop { if (!condition) leave; …; again } }
        this.code.byte(0x02, 0x40, 0x03, 0x40);
        this.expr(s.condition);
        this.code.byte(0x45, 0x0d, 0x01);
        this.block(s.body);
        this.code.byte(0x0c, 0x00, 0x0b, 0x0b);
        return;
      case "require":
        this.require(s);
        return;
      case "launch":
        this.launch(s, this);
        return;
      case "store":
      case "alloc":
        throw new InternalError("wasm", `'${s.kind}' should have been lowered`);
      default:
        throw s satisfies never;
    }
  }

  /** if (!condition) { report[0] = 1 + fault; report[1] = value; return; } */
  private require(s: Extract<Stmt, { kind: "require" }>): void {
    const { code, report } = this;
    if (report === null) throw new InternalError("wasm", "a function without a report requires something");
    this.expr(s.condition);
    code.byte(0x45, 0x04, 0x40);
    this.expr(report);
    code.byte(0x41).s32(1 + s.fault);
    this.store(i32, 1, 0);
    this.expr(report);
    this.expr(s.value);
    this.store(i32, 1, 4);
    code.byte(0x0f, 0x0b);
  }

  private loop(s: Extract<Stmt, { kind: "for" }>): void {
    if (s.loop !== "serial") throw new InternalError("wasm", `a ${s.loop} loop should have been lowered`);
    const { code } = this;
    this.expr(s.begin);
    const i = this.declare(s.variable);
    code.byte(0x21).u32(i);
    // if (i < end) do { … } while (++i < end)
    const endIsSimple = s.end.constant !== null || s.end.op === "var";
    let end = -1;
    if (!endIsSimple) {
      this.expr(s.end);
      end = this.temp("i32");
      code.byte(0x21).u32(end);
    }
    const pushEnd = () => (endIsSimple ? this.expr(s.end) : void code.byte(0x20).u32(end));
    const certain = s.begin.constant !== null && s.end.constant !== null && Number(s.begin.constant) < Number(s.end.constant);
    if (!certain) {
      code.byte(0x20).u32(i);
      pushEnd();
      code.byte(0x48, 0x04, 0x40);
    }
    code.byte(0x03, 0x40);
    this.block(s.body);
    code.byte(0x20).u32(i).byte(0x41).s32(1).byte(0x6a, 0x22).u32(i);
    pushEnd();
    code.byte(0x48, 0x0d, 0x00, 0x0b);
    if (!certain) code.byte(0x0b);
    if (end >= 0) this.release("i32", end);
    this.release("i32", i);
    this.indices.delete(s.variable);
  }
}

import { type DType, arrayOf } from "../base/dtype.ts";
import { InternalError } from "../base/errors.ts";
import { type Num, readElement, roundTo, writeElement } from "../base/numeric.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import { type OpName, scalarOps } from "../scalar/ops/table.ts";
import type { Buffer, Kernel, Program, Stmt } from "./ir.ts";

/**
 * Runs loop IR, before or after any of its passes, on a memory of bytes. Values are rounded to their dtypes after every
 * operation. Expressions become closures once; a read outside of memory is an error, so that planning and guards are
 * tested too.
 */
export interface LoopMemory {
  readonly bytes: ArrayBuffer;
  readonly weights: number;
  readonly arena: number;
}

type Value = Num | readonly Num[];
/** Variables by id; register and scratch buffers that are not in memory by id too. */
interface Frame {
  readonly values: Map<number, Value>;
  readonly registers: Map<number, Num[]>;
}
type Code = (f: Frame) => Value;

/** What a run of `main` left to tell. */
export interface RunReport {
  /** What ended the run before its time; null where nothing did. */
  readonly fault: { readonly number: number; readonly value: number } | null;
  /** Values of the sizes that main computes, in the order of `dataSymbols`; those of a run that ended early mean nothing. */
  readonly data: readonly number[];
}

/** Runs `main` with the given symbol values; `room`: times 64 bytes of the arena, for a program with dynamic allocations. */
export function interpretProgram(p: Program, memory: LoopMemory, symbols: readonly number[], room = 0): RunReport {
  const i = new Interpreter(memory);
  const frame = givenFrame(p, i, memory, symbols);
  if (p.room !== null) frame.values.set(p.room.id, room);
  let fault: RunReport["fault"] = null;
  try {
    i.block(p.main)(frame);
  } catch (e) {
    if (!(e instanceof RunEnd)) throw e;
    fault = { number: e.fault, value: e.value };
  }
  if (p.report === null) return { fault, data: [] };
  const at = Number(i.code(p.report)(frame)) + 8;
  return { fault, data: p.dataSymbols.map((_, k) => new DataView(memory.bytes).getInt32(at + 4 * k, true)) };
}

/** Thrown where main requires what does not hold. */
class RunEnd extends Error {
  readonly fault: number;
  readonly value: number;
  constructor(fault: number, value: number) {
    super(`fault ${fault}`);
    this.fault = fault;
    this.value = value;
  }
}

function givenFrame(p: Program, i: Interpreter, memory: Pick<LoopMemory, "weights" | "arena">, symbols: readonly number[]): Frame {
  const frame = i.frame();
  frame.values.set(p.weights.id, memory.weights).set(p.arena.id, memory.arena);
  p.symbolVariables.forEach((v, k) => frame.values.set(v.id, symbols[k] as number));
  return frame;
}

/** Value of a size or address expression of a program; `data`: the sizes that main computed, for what depends on them. */
export function evaluateSize(
  p: Program,
  e: Expr,
  memory: Pick<LoopMemory, "weights" | "arena">,
  symbols: readonly number[],
  data: readonly number[] = [],
): number {
  const i = new Interpreter({ bytes: new ArrayBuffer(0), ...memory });
  const frame = givenFrame(p, i, memory, symbols);
  p.dataSymbols.forEach((d, k) => {
    const v = data[k];
    if (v !== undefined) frame.values.set(d.variable.id, v);
  });
  return Number(i.code(e)(frame));
}

class Interpreter {
  private readonly memory: LoopMemory;
  private readonly views = new Map<DType, { [i: number]: number | bigint; readonly length: number }>();
  private readonly codes = new Map<Expr, Code>();
  private readonly kernels = new Map<Kernel, (f: Frame) => void>();

  constructor(memory: LoopMemory) {
    this.memory = memory;
  }
  frame(): Frame {
    return { values: new Map(), registers: new Map() };
  }

  private view(d: DType): { [i: number]: number | bigint; readonly length: number } {
    let v = this.views.get(d);
    if (v === undefined) {
      v = new (arrayOf(d))(this.memory.bytes) as unknown as { [i: number]: number | bigint; readonly length: number };
      this.views.set(d, v);
    }
    return v;
  }
  /** Element number of a byte address. */
  private element(d: DType, address: number): number {
    if (d.bits < 8) return address * (8 / d.bits);
    if (address % d.byteWidth !== 0) throw new InternalError("interpret", `address ${address} is not aligned for ${d}`);
    return address / d.byteWidth;
  }
  private read(d: DType, at: number): Num {
    const v = this.view(d);
    if (at < 0 || at >= v.length * (d.bits < 8 ? 8 / d.bits : 1))
      throw new InternalError("interpret", `read of ${d} element ${at} outside of memory`);
    return readElement(d, v as never, at);
  }
  private write(d: DType, at: number, value: Num): void {
    const v = this.view(d);
    if (at < 0 || at >= v.length * (d.bits < 8 ? 8 / d.bits : 1))
      throw new InternalError("interpret", `write of ${d} element ${at} outside of memory`);
    writeElement(d, v, at, value);
  }

  private load(b: Buffer, index: number, f: Frame): Num {
    const registers = f.registers.get(b.id);
    if (registers !== undefined) {
      const v = registers[index];
      if (v === undefined) throw new InternalError("interpret", `read of %${b.name}[${index}], which has no value`);
      return v;
    }
    return this.read(b.dtype, this.element(b.dtype, Number(f.values.get(b.id))) + index);
  }
  private store(b: Buffer, index: number, value: Num, f: Frame): void {
    const registers = f.registers.get(b.id);
    if (registers !== undefined) registers[index] = value;
    else this.write(b.dtype, this.element(b.dtype, Number(f.values.get(b.id))) + index, value);
  }

  code(e: Expr): Code {
    let c = this.codes.get(e);
    if (c === undefined) {
      c = this.compile(e);
      this.codes.set(e, c);
    }
    return c;
  }

  private compile(e: Expr): Code {
    const { lanes } = e;
    switch (e.op) {
      case "const": {
        const v = e.attr as Num;
        return () => v;
      }
      case "var": {
        const v = e.attr as Variable;
        return (f) => {
          const x = f.values.get(v.id);
          if (x === undefined) throw new InternalError("interpret", `variable '${v.name}' has no value`);
          return x;
        };
      }
      case "load": {
        const [index, b] = [this.code(e.args[0] as Expr), e.attr as Buffer];
        return (f) => {
          const i = index(f);
          return Array.isArray(i) ? i.map((k) => this.load(b, Number(k), f)) : this.load(b, Number(i), f);
        };
      }
      case "loadat": {
        const [address, offset] = [this.code(e.args[0] as Expr), Number((e.args[1] as Expr).constant)];
        return (f) => {
          const at = this.element(e.dtype, Number(address(f)) + offset);
          return lanes === 1 ? this.read(e.dtype, at) : Array.from({ length: lanes }, (_, i) => this.read(e.dtype, at + i));
        };
      }
      case "ramp": {
        const [base, stride] = e.args.map((a) => this.code(a)) as [Code, Code];
        return (f) => {
          const [b, s] = [Number(base(f)), Number(stride(f))];
          return Array.from({ length: lanes }, (_, i) => b + i * s);
        };
      }
      case "broadcast": {
        const x = this.code(e.args[0] as Expr);
        return (f) => new Array<Num>(lanes).fill(x(f) as Num);
      }
      case "extract": {
        const x = this.code(e.args[0] as Expr);
        return (f) => (x(f) as readonly Num[])[e.attr as number] as Num;
      }
      case "insert": {
        const [x, v] = e.args.map((a) => this.code(a)) as [Code, Code];
        return (f) => (x(f) as readonly Num[]).with(e.attr as number, v(f) as Num);
      }
      case "select":
        return this.compileSelect(e);
      default:
        return this.compileOp(e, e.op);
    }
  }

  /** Only the chosen case is evaluated, so that guarded reads stay inside. */
  private compileSelect(e: Expr): Code {
    const [c, a, b] = e.args.map((x) => this.code(x)) as [Code, Code, Code];
    return (f) => {
      const chosen = c(f);
      if (!Array.isArray(chosen)) return chosen === 0 ? b(f) : a(f);
      if (chosen.every((x) => x === chosen[0])) return chosen[0] === 0 ? b(f) : a(f);
      const [x, y] = [a(f) as readonly Num[], b(f) as readonly Num[]];
      return chosen.map((k, i) => (k === 0 ? y[i] : x[i]) as Num);
    };
  }

  private compileOp(e: Expr, name: OpName): Code {
    const entry = scalarOps[name];
    const args = e.args.map((a) => this.code(a));
    const types = e.args.map((a) => a.dtype);
    const out = e.dtype;
    const one = (values: readonly Num[]): Num => roundTo(out, entry.evaluate(values, out, types));
    if (e.lanes === 1) return (f) => one(args.map((a) => a(f) as Num));
    return (f) => {
      const values = args.map((a) => a(f) as readonly Num[]);
      return Array.from({ length: e.lanes }, (_, i) => one(values.map((v) => v[i] as Num)));
    };
  }

  block(b: readonly Stmt[]): (f: Frame) => void {
    const stmts = b.map((s) => this.stmt(s));
    return (f) => {
      for (const s of stmts) s(f);
    };
  }

  private stmt(s: Stmt): (f: Frame) => void {
    switch (s.kind) {
      case "for": {
        const [begin, end, body] = [this.code(s.begin), this.code(s.end), this.block(s.body)];
        return (f) => {
          const n = Number(end(f));
          for (let i = Number(begin(f)); i < n; i++) {
            f.values.set(s.variable.id, i);
            body(f);
          }
        };
      }
      case "if": {
        const [c, then, otherwise] = [this.code(s.condition), this.block(s.then), this.block(s.otherwise)];
        return (f) => (c(f) === 0 ? otherwise : then)(f);
      }
      case "while": {
        const [c, body] = [this.code(s.condition), this.block(s.body)];
        return (f) => {
          while (c(f) !== 0) body(f);
        };
      }
      case "require": {
        const [c, value] = [this.code(s.condition), this.code(s.value)];
        return (f) => {
          if (c(f) === 0) throw new RunEnd(s.fault, Number(value(f)));
        };
      }
      case "store": {
        const [index, value] = [this.code(s.index), this.code(s.value)];
        return (f) => {
          const [i, v] = [index(f), value(f)];
          if (Array.isArray(i)) i.forEach((k, lane) => this.store(s.buffer, Number(k), (v as readonly Num[])[lane] as Num, f));
          else this.store(s.buffer, Number(i), v as Num, f);
        };
      }
      case "storeat": {
        const [address, value] = [this.code(s.address), this.code(s.value)];
        return (f) => {
          const at = this.element(s.buffer.dtype, Number(address(f)) + s.offset);
          const v = value(f);
          if (Array.isArray(v)) v.forEach((x, lane) => this.write(s.buffer.dtype, at + lane, x));
          else this.write(s.buffer.dtype, at, v as Num);
        };
      }
      case "let":
      case "assign": {
        const value = this.code(s.value);
        return (f) => void f.values.set(s.variable.id, value(f));
      }
      case "alloc":
        return (f) => void f.registers.set(s.buffer.id, []);
      case "launch":
        return this.launch(s);
      default:
        throw s satisfies never;
    }
  }

  private launch(s: Extract<Stmt, { kind: "launch" }>): (f: Frame) => void {
    const { kernel } = s;
    const args = s.args.map((a) => this.code(a));
    const [count, grain] = [this.code(s.count), this.code(s.grain)];
    let body = this.kernels.get(kernel);
    if (body === undefined) {
      body = this.block(kernel.body);
      this.kernels.set(kernel, body);
    }
    const run = body;
    return (f) => {
      const [n, g] = [Number(count(f)), Number(grain(f))];
      const values = args.map((a) => a(f));
      // Calls that threads may share can come in any order: here the last is the first.
      const calls = Math.ceil(n / g);
      for (let c = 0; c < calls; c++) {
        const i = g * (s.threadsFrom === null ? c : calls - 1 - c);
        const inner = this.frame();
        kernel.params.forEach((p, k) => inner.values.set(p.id, values[k] as Value));
        inner.values.set(kernel.begin.id, i).set(kernel.end.id, Math.min(i + g, n));
        run(inner);
      }
    };
  }
}

import type { DType } from "../base/dtype.ts";
import { Violations } from "../base/verify.ts";
import { type Expr, type Variable, postorder } from "../scalar/expr.ts";
import { rangeOf } from "../scalar/index.ts";
import { findScalarOp, scalarOps } from "../scalar/ops/table.ts";
import { operationFault } from "../scalar/verify.ts";
import { Buffer, type Kernel, type Program, type Stmt, type StmtOf, exprsOf, isBuffer } from "./ir.ts";
import { layOutProgram } from "./print.ts";

/**
 * The invariants of loop IR:
 *
 * L1   Variables are bound before they are used, by a parameter, a loop or a `let` of the block or one around it. In main:
 *      by symbols, the two regions of memory and allocations.
 * L2   Loads and stores name buffers that are parameters or allocated in the block or one around it. Loads and stores at
 *      addresses may name any buffer.
 * L3   A store's value has its buffer's dtype, and one lane for each of its index; a `let` or assignment has the dtype and
 *      lanes of its variable; conditions are scalar bools; bounds and indices are i32.
 * L4   Only what a `let` bound is assigned to.
 * L5   A kernel stores only to buffers that it declares as written, or that it allocated.
 * L6   Vector and unrolled loops run from 0 to a constant.
 * L7   A register buffer has a constant size, and its indices, where their range is known, lie inside.
 * L8   Only main launches kernels, those of the program, with an i32 for each parameter; main loads and stores at addresses only.
 * L9   Scalar operations have operands of the dtypes and lanes that they take.
 * L10  Forms that a step was to remove are gone.
 * L11  Names of kernels are unique.
 * L12  Launches are shared by threads from a whole number of iterations on; their rows fill the range; what they call scratch
 *      is an argument, once, and its size an i32.
 * L13  What is needed before main runs, the arena's size, the places of inputs and the sizes of allocations that are not
 *      dynamic, depends on symbols alone; places of outputs may depend on sizes that main computes.
 * L14  Only main has `while` and `require`; a fault's number is one of the program's; where there are faults or sizes that main
 *      computes there is a report. Dynamic allocations need a room.
 */

/** What a pass makes disappear. */
export type LoopForm =
  | "vector loop"
  | "unrolled loop"
  | "register buffer"
  | "indexed access"
  | "packed buffer"
  | "narrow float"
  | "derived op"
  | "scalar word op"
  | "floor division"
  | "allocation";

export interface ProgramVerifyOptions {
  readonly after?: string;
  readonly forbidden?: readonly LoopForm[];
}

/** @throws VerifyError `verify-loop` with every violation, inside the printed program */
export function verifyProgram(p: Program, options: ProgramVerifyOptions = {}): void {
  const v = new Violations();
  const verifier = new ProgramVerifier(v, new Set(options.forbidden ?? []));
  verifier.program(p);
  v.throwIfAny("verify-loop", `in program @${p.name}${options.after === undefined ? "" : ` ${options.after}`}`, () => layOutProgram(p));
}

/** What is in scope in one block. */
class Scope {
  readonly variables: Set<Variable>;
  readonly assignable: Set<Variable>;
  readonly buffers: Set<Buffer>;
  constructor(parent: Scope | null = null) {
    this.variables = new Set(parent?.variables);
    this.assignable = new Set(parent?.assignable);
    this.buffers = new Set(parent?.buffers);
  }
}

function isNarrow(d: DType): boolean {
  return d.format !== null;
}

class ProgramVerifier {
  private readonly found: Violations;
  private readonly forbidden: ReadonlySet<LoopForm>;
  private readonly checked = new Set<Expr>();
  private program_: Program | null = null;
  /** Where violations of the current function are noted. */
  private at = "main";
  private writable: Set<Buffer> | null = null;

  constructor(found: Violations, forbidden: ReadonlySet<LoopForm>) {
    this.found = found;
    this.forbidden = forbidden;
  }

  program(p: Program): void {
    this.program_ = p;
    const names = new Set<string>();
    for (const k of p.kernels) {
      this.at = `@${k.name}`;
      this.found.about = k;
      if (names.has(k.name)) this.add("L11: two kernels have this name");
      names.add(k.name);
      this.kernel(k);
    }
    this.at = "main";
    this.found.about = null;
    this.writable = null;
    const scope = this.mainScope(p);
    if (this.forbidden.has("allocation") && p.allocations.length > 0) this.add("L10: allocations should have been planned");
    this.block(p.main, scope);
  }

  /** Checks what a program says beside its main, and gives what main's code may use. */
  private mainScope(p: Program): Scope {
    const scope = new Scope();
    for (const v of [...p.symbolVariables, p.weights, p.arena, ...p.allocations.map((a) => a.address)]) scope.variables.add(v);
    const early = p.allocations.filter((a) => a.dynamic !== true).map((a) => a.bytes);
    for (const e of [p.arenaBytes, ...early, ...p.inputs.map((x) => x.address), ...(p.report === null ? [] : [p.report])])
      this.index(e, scope, "a size or address of the program (L13)");
    const after = new Scope(scope);
    for (const d of p.dataSymbols) after.variables.add(d.variable);
    for (const x of p.outputs) this.index(x.address, after, "the address of an output");
    this.check(
      p.report !== null || (p.dataSymbols.length === 0 && p.faults.length === 0),
      () => "L14: there are faults or sizes, but no report of them",
    );
    if (p.room !== null) scope.variables.add(p.room);
    else this.check(!p.allocations.some((a) => a.dynamic === true), () => "L14: there are dynamic allocations, but no room for them");
    return scope;
  }

  private add(message: string): void {
    this.found.add(this.at, message);
  }
  private check(ok: boolean, message: () => string): void {
    this.found.check(ok, this.at, message);
  }

  private kernel(k: Kernel): void {
    const scope = new Scope();
    // Sizes of buffers may be told by symbols, which the caller knows.
    for (const p of k.params) {
      if (isBuffer(p)) scope.buffers.add(p);
      else {
        scope.variables.add(p);
        this.check(p.lanes === 1, () => `L8: parameter '${p.name}' is a vector`);
      }
    }
    scope.variables.add(k.begin).add(k.end);
    this.writable = new Set(k.writes);
    this.block(k.body, scope);
  }

  private block(b: readonly Stmt[], outer: Scope): void {
    const scope = new Scope(outer);
    for (const s of b) this.stmt(s, scope);
  }

  private stmt(s: Stmt, scope: Scope): void {
    const inMain = this.writable === null;
    this.found.about = s;
    if (s.kind !== "alloc") for (const e of exprsOf(s)) this.expr(e, scope);
    switch (s.kind) {
      case "for":
        this.loop(s, scope);
        return;
      case "if":
        this.check(s.condition.dtype.kind === "bool" && s.condition.lanes === 1, () => "L3: a condition is a scalar bool");
        this.block(s.then, scope);
        this.block(s.otherwise, scope);
        return;
      case "while":
        this.check(inMain, () => "L14: a kernel has a while loop");
        this.check(s.condition.dtype.kind === "bool" && s.condition.lanes === 1, () => "L3: a condition is a scalar bool");
        this.block(s.body, scope);
        return;
      case "require":
        this.require(s, inMain);
        return;
      case "store":
        this.check(!inMain, () => "L8: main stores at addresses only");
        this.store(s, scope);
        return;
      case "storeat":
        this.store(s, scope);
        return;
      case "let":
      case "assign": {
        const { variable: v, value } = s;
        this.check(
          v.dtype === value.dtype && v.lanes === value.lanes,
          () => `L3: '${v.name}' is ${v.dtype}x${v.lanes}, its value ${value.dtype}x${value.lanes}`,
        );
        if (s.kind === "assign") this.check(scope.assignable.has(v), () => `L4: '${v.name}' is assigned to, but no let bound it here`);
        else {
          scope.variables.add(v);
          scope.assignable.add(v);
        }
        return;
      }
      case "alloc":
        this.alloc(s.buffer, scope);
        return;
      case "launch":
        this.launch(s, inMain);
        return;
      default:
        throw s satisfies never;
    }
  }

  private require(s: StmtOf<"require">, inMain: boolean): void {
    this.check(inMain, () => "L14: a kernel requires something");
    this.check(s.condition.dtype.kind === "bool" && s.condition.lanes === 1, () => "L3: a condition is a scalar bool");
    this.check(s.value.dtype.name === "i32" && s.value.lanes === 1, () => "L3: the value of a fault is no scalar i32");
    this.check(this.program_?.faults[s.fault] !== undefined, () => `L14: there is no fault ${s.fault}`);
  }

  private loop(s: StmtOf<"for">, outer: Scope): void {
    const { name } = s.variable;
    for (const e of [s.begin, s.end])
      this.check(e.dtype.name === "i32" && e.lanes === 1, () => `L3: the bounds of the loop over '${name}' are ${e.dtype}x${e.lanes}`);
    if (s.loop !== "serial") {
      this.check(s.begin.isConst(0) && s.end.constant !== null, () => `L6: the ${s.loop} loop over '${name}' does not run from 0 to a constant`);
      if (this.forbidden.has(`${s.loop} loop`)) this.add(`L10: the loop over '${name}' is still a ${s.loop} one`);
    }
    const scope = new Scope(outer);
    scope.variables.add(s.variable);
    this.block(s.body, scope);
  }

  private store(s: StmtOf<"store" | "storeat">, scope: Scope): void {
    const { buffer, value } = s;
    this.check(value.dtype === buffer.dtype, () => `L3: ${value.dtype} is stored to %${buffer.name}, which is ${buffer.dtype}`);
    this.check(this.writable === null || this.writable.has(buffer), () => `L5: stores to %${buffer.name}, which is not declared as written`);
    if (s.kind === "storeat") {
      this.check(s.address.dtype.name === "i32" && s.address.lanes === 1, () => `L3: the address of a store to %${buffer.name} is no scalar i32`);
      return;
    }
    this.access(buffer, s.index, scope);
    this.check(s.index.lanes === value.lanes, () => `L3: ${value.lanes} lanes are stored to %${buffer.name} at ${s.index.lanes} places`);
  }

  private alloc(b: Buffer, scope: Scope): void {
    this.check(this.writable !== null, () => "L8: main allocates nothing");
    this.check(b.space !== "register" || (b.size?.constant ?? null) !== null, () => `L7: the register buffer %${b.name} has no constant size`);
    if (b.space === "register" && this.forbidden.has("register buffer")) this.add(`L10: the register buffer %${b.name} should be gone`);
    scope.buffers.add(b);
    this.writable?.add(b);
  }

  private launch(s: StmtOf<"launch">, inMain: boolean): void {
    const { kernel } = s;
    this.check(inMain, () => "L8: a kernel launches another");
    this.check(this.program_?.kernels.includes(kernel) ?? false, () => `L8: launches @${kernel.name}, which the program does not hold`);
    this.check(s.args.length === kernel.params.length, () => `L8: @${kernel.name} takes ${kernel.params.length} arguments, got ${s.args.length}`);
    const { threadsFrom, scratch } = s;
    this.check(
      threadsFrom === null || (Number.isSafeInteger(threadsFrom) && threadsFrom >= 1),
      () => `L12: @${kernel.name} is shared from ${threadsFrom} iterations on`,
    );
    for (const [i, x] of scratch.entries()) {
      this.check(s.args[x.arg] !== undefined, () => `L12: @${kernel.name} has no argument ${x.arg} to be scratch`);
      this.check(scratch.findIndex((o) => o.arg === x.arg) === i, () => `L12: argument ${x.arg} of @${kernel.name} is scratch twice`);
      this.check(x.bytes.dtype.name === "i32" && x.bytes.lanes === 1, () => `L12: the size of scratch ${x.arg} of @${kernel.name} is no scalar i32`);
    }
    const [count, row] = [s.count.constant, s.row?.constant ?? null];
    this.check(
      count === null || row === null || (Number(row) >= 1 && Number(count) % Number(row) === 0),
      () => `L12: the ${count} iterations of @${kernel.name} are no rows of ${row}`,
    );
    for (const e of [...s.args, s.count, s.grain, ...(s.row === undefined ? [] : [s.row])])
      this.check(e.dtype.name === "i32" && e.lanes === 1, () => `L8: an argument of @${kernel.name} is ${e.dtype}x${e.lanes}, not i32`);
  }

  private index(e: Expr, scope: Scope, what: string): void {
    this.expr(e, scope);
    this.check(e.dtype.name === "i32" && e.lanes === 1, () => `L3: ${what} is no scalar i32`);
  }

  private access(b: Buffer, index: Expr, scope: Scope): void {
    if (this.forbidden.has("packed buffer") && b.dtype.bits < 8 && b.space !== "register") this.add(`L10: %${b.name} should be a buffer of bytes`);
    if (this.forbidden.has("narrow float") && isNarrow(b.dtype)) this.add(`L10: %${b.name} should be a buffer of words, or of f32 in registers`);
    if (this.forbidden.has("indexed access")) this.add(`L10: the access to %${b.name} by an index should be one at an address`);
    this.check(scope.buffers.has(b), () => `L2: %${b.name} is neither a parameter nor allocated here`);
    this.check(index.dtype.name === "i32", () => `L3: an index of %${b.name} is ${index.dtype}`);
    const size = b.space === "register" ? (b.size?.constant ?? null) : null;
    if (size === null) return;
    const base = index.op === "ramp" || index.op === "broadcast" ? (index.args[0] as Expr) : index;
    const [low, high] = rangeOf(base);
    const reach = index.op === "ramp" ? Number((index.args[1] as Expr).constant ?? 0) * (index.lanes - 1) : 0;
    this.check(!Number.isFinite(low) || low >= 0, () => `L7: an index of the register buffer %${b.name} starts at ${low}`);
    this.check(
      !Number.isFinite(high) || high + reach < Number(size),
      () => `L7: an index of the register buffer %${b.name} reaches ${high + reach}, its size is ${size}`,
    );
  }

  private expr(root: Expr, scope: Scope): void {
    for (const e of postorder([root])) {
      if (e.op === "var") {
        const v = e.attr as Variable;
        this.check(scope.variables.has(v), () => `L1: '${v.name}' is not bound here`);
      }
      if (e.op === "load" && e.attr instanceof Buffer && e.args[0] !== undefined) this.access(e.attr, e.args[0], scope);
      if (e.op === "load" || e.op === "loadat") {
        this.check(this.writable !== null || e.op === "loadat", () => "L8: main loads at addresses only");
        this.check(e.attr instanceof Buffer && e.args.length === (e.op === "load" ? 1 : 2), () => "L2: a load names a buffer and one index");
      }
      if (this.checked.has(e)) continue;
      this.checked.add(e);
      this.form(e);
      const fault = operationFault(e);
      if (fault !== null) this.add(`L9: ${fault}`);
    }
  }

  private form(e: Expr): void {
    if (this.writable !== null && this.forbidden.has("narrow float") && isNarrow(e.dtype))
      this.add(`L10: '${e.op}' of ${e.dtype} should be one of f32`);
    if (!Object.hasOwn(scalarOps, e.op)) return;
    if (this.forbidden.has("derived op") && scalarOps[e.op as keyof typeof scalarOps].decompose !== undefined)
      this.add(`L10: '${e.op}' should have been decomposed`);
    if (this.forbidden.has("scalar word op") && e.lanes === 1 && findScalarOp(e.op)?.expand !== undefined)
      this.add(`L10: '${e.op}' should stand on vectors alone`);
    // In main sizes are told by rounded divisions, which the target writes out.
    if (this.writable !== null && this.forbidden.has("floor division") && (e.op === "floordiv" || e.op === "mod"))
      this.add(`L10: '${e.op}' should have become a truncating division`);
  }
}

import type { Dim, DimSymbol } from "../base/dim.ts";
import type { DType } from "../base/dtype.ts";
import type { Expr, Storage, Variable } from "../scalar/expr.ts";

/**
 * Loop IR: loops, buffers, vector expressions. A program holds kernels and `main`, the host program that launches them.
 * Loads and stores address a buffer by one linear index, in elements.
 */

/**
 * `param`: given by the caller as a byte address. `register`: a small array whose every index is a constant once loops
 * are unrolled, so that it ends up in registers. `scratch`: memory of the kernel, not kept between calls.
 */
export type MemorySpace = "param" | "register" | "scratch";

export class Buffer implements Storage {
  readonly kind = "storage";
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly space: MemorySpace;
  /** Elements; for params unknown (null). */
  readonly size: Expr | null;
  constructor(id: number, name: string, dtype: DType, space: MemorySpace, size: Expr | null) {
    this.id = id;
    this.name = name;
    this.dtype = dtype;
    this.space = space;
    this.size = size;
  }
}

/** `vector` and `unrolled` loops have constant extents and disappear in the passes of those names. */
export type LoopKind = "serial" | "unrolled" | "vector";

export interface For {
  readonly kind: "for";
  readonly variable: Variable;
  readonly begin: Expr;
  readonly end: Expr;
  readonly loop: LoopKind;
  readonly body: readonly Stmt[];
}
export interface Store {
  readonly kind: "store";
  readonly buffer: Buffer;
  readonly index: Expr;
  readonly value: Expr;
}
/** A store to a byte address plus a constant offset, which address lowering makes of a store. */
export interface StoreAt {
  readonly kind: "storeat";
  readonly buffer: Buffer;
  readonly address: Expr;
  readonly offset: number;
  readonly value: Expr;
}
/** Binds a variable for the statements that follow in the block. */
export interface Let {
  readonly kind: "let";
  readonly variable: Variable;
  readonly value: Expr;
}
/** Changes a variable that a `let` bound before. */
export interface Assign {
  readonly kind: "assign";
  readonly variable: Variable;
  readonly value: Expr;
}
export interface If {
  readonly kind: "if";
  readonly condition: Expr;
  readonly then: readonly Stmt[];
  readonly otherwise: readonly Stmt[];
}
/** In `main`: runs its body as long as the condition, evaluated before every turn, holds. */
export interface While {
  readonly kind: "while";
  readonly condition: Expr;
  readonly body: readonly Stmt[];
}
/**
 * In `main`: where the condition does not hold, the run ends there, and reports number `fault` of the program's `faults`
 * together with the value that was got, an i32.
 */
export interface Require {
  readonly kind: "require";
  readonly condition: Expr;
  readonly fault: number;
  readonly value: Expr;
}
/** A buffer of the kernel, alive to the end of the block. */
export interface Alloc {
  readonly kind: "alloc";
  readonly buffer: Buffer;
}
/** In `main`: runs a kernel over `[0, count)`; the only source of parallel work. */
export interface Launch {
  readonly kind: "launch";
  readonly kernel: Kernel;
  readonly args: readonly Expr[];
  readonly count: Expr;
  /** Iterations given to one call; the calls are independent. */
  readonly grain: Expr;
  /** The range is rows of so many iterations: better that threads share every row than that each takes rows of its own. Absent: no matter. */
  readonly row?: Expr;
  /** From how many iterations on several threads may share the calls; null where they must stay on one. */
  readonly threadsFrom: number | null;
  /** Arguments that are memory for one call at a time, with its size in bytes: each thread gets a place of its own. */
  readonly scratch: readonly Scratch[];
  readonly origin: readonly string[];
  /** Pairs of address variables (result, operand) that may be one place: each element is read before it is written. */
  readonly inPlace: readonly (readonly [Variable, Variable])[];
}
export interface Scratch {
  /** Which argument, from 0. */
  readonly arg: number;
  readonly bytes: Expr;
}
export type Stmt = For | Store | StoreAt | Let | Assign | If | While | Require | Alloc | Launch;
export type StmtOf<K extends Stmt["kind"]> = Extract<Stmt, { kind: K }>;

/** A parameter: a buffer's byte address or an i32. */
export type Param = Buffer | Variable;

/**
 * A function called for a range of its outermost iterations: its parameters are followed by `begin` and `end`. Buffers in
 * `writes` are written, all others only read.
 */
export interface Kernel {
  readonly name: string;
  readonly params: readonly Param[];
  readonly begin: Variable;
  readonly end: Variable;
  readonly body: readonly Stmt[];
  readonly writes: ReadonlySet<Buffer>;
}

/** A tensor that the caller sees, row-major at a byte address. */
export interface Port {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly Dim[];
  readonly address: Expr;
}

/** A weight as it lies in memory: `offset` bytes from the start of the weights. */
export interface WeightSlot {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * A piece of the arena that main works with through its address; planning gives it a place. Where its size, and every bound
 * of it, depend on what main computes (`dynamic`), it gets its place while main runs.
 */
export interface Allocation {
  readonly name: string;
  readonly address: Variable;
  readonly bytes: Expr;
  readonly dynamic?: boolean;
}

/**
 * A size that main computes: it binds (`let`) the variable, and stores it into the report. The place that main gives an output
 * of unknown size is one too, in units of 64 bytes from the start of the arena.
 */
export interface DataSymbol {
  readonly symbol: DimSymbol;
  readonly variable: Variable;
}

/** What may go wrong in a run, by the number that `require` names: the words for it, in which `{}` stands for the value. */
export interface Fault {
  readonly text: string;
  /** The run needs more room: the value is how much, in the units of `Program.room`; with that the run may be repeated. */
  readonly room?: boolean;
}

/** Where planning put an allocation: bytes from the start of the arena. */
export interface Placement {
  readonly name: string;
  readonly offset: Expr;
  readonly bytes: Expr;
  readonly role: "input" | "output" | "value" | "scratch" | "report";
  /** The first and the last launch of main during which it is in use: -1 stands for the time before all, their number for that after them. */
  readonly first: number;
  readonly last: number;
}

/**
 * An output that begins with an input's rows (along `dim`) and goes on with others, as a cache does. Main binds (`let`) the
 * capacities, the rows that the places of input and output have room for, to those that they have; with other values, the
 * same for both, and one address for both, main adds the new rows where the old ones lie.
 */
export interface Growth {
  readonly input: number;
  readonly output: number;
  readonly dim: number;
  readonly capacities: readonly [Variable, Variable];
}

/**
 * A main that takes and gives tensors wherever its caller has them. Its parameters are, after the symbols, the capacities of
 * the program's growths, two for each, and the byte addresses of inputs, then outputs: all these are `ports`.
 */
export interface MovableMain {
  readonly main: readonly Stmt[];
  readonly ports: readonly Variable[];
}

/**
 * `main` runs the launches in order. Before planning it works with the `allocations`' address variables; planning replaces
 * them by `arena` plus an offset. `weights` and `arena` are the byte addresses where the two regions of memory start.
 */
export interface Program {
  readonly name: string;
  readonly symbols: readonly DimSymbol[];
  readonly symbolVariables: readonly Variable[];
  readonly kernels: readonly Kernel[];
  readonly arena: Variable;
  readonly weights: Variable;
  readonly main: readonly Stmt[];
  readonly allocations: readonly Allocation[];
  readonly arenaBytes: Expr;
  readonly weightSlots: readonly WeightSlot[];
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Sizes that main computes. Dims of outputs may depend on them; main leaves their values in the report. */
  readonly dataSymbols: readonly DataSymbol[];
  /**
   * Address of i32s that tell of a run: 0, which main stores first, or 1 + the number of the fault that ended it; the
   * fault's value; then the values of `dataSymbols` in order, which main stores. Before planning it is the address of an
   * allocation. Null for a program that has neither faults nor such sizes.
   */
  readonly report: Expr | null;
  readonly faults: readonly Fault[];
  /** With dynamic allocations: how many times 64 bytes from the arena's start main may use, a parameter after the symbols. Else null. */
  readonly room: Variable | null;
  /** What may grow where it lies; no part of the text form. */
  readonly growths?: readonly Growth[];
  /** What planning decided, for the artifact's manifest; no part of the text form. */
  readonly placements?: readonly Placement[];
  /** The same main with the places of all ports as parameters; no part of the text form. */
  readonly movable?: MovableMain;
}

/** How many bytes a program's report has. */
export function reportBytes(dataSymbols: number): number {
  return 4 * (2 + dataSymbols);
}

/** The blocks inside a statement. */
export function bodiesOf(s: Stmt): readonly (readonly Stmt[])[] {
  switch (s.kind) {
    case "for":
    case "while":
      return [s.body];
    case "if":
      return [s.then, s.otherwise];
    case "store":
    case "storeat":
    case "let":
    case "assign":
    case "alloc":
    case "launch":
    case "require":
      return [];
    default:
      throw s satisfies never;
  }
}

/** The expressions a statement evaluates itself (not those of nested blocks). */
export function exprsOf(s: Stmt): readonly Expr[] {
  switch (s.kind) {
    case "for":
      return [s.begin, s.end];
    case "if":
    case "while":
      return [s.condition];
    case "require":
      return [s.condition, s.value];
    case "store":
      return [s.index, s.value];
    case "storeat":
      return [s.address, s.value];
    case "let":
    case "assign":
      return [s.value];
    case "alloc":
      return s.buffer.size === null ? [] : [s.buffer.size];
    case "launch":
      return [...s.args, s.count, s.grain, ...(s.row === undefined ? [] : [s.row]), ...s.scratch.map((x) => x.bytes)];
    default:
      throw s satisfies never;
  }
}

/** The statement with its expressions and blocks replaced; the same object when nothing changed. */
export function mapStmt(s: Stmt, expr: (e: Expr) => Expr, block: (b: readonly Stmt[]) => readonly Stmt[]): Stmt {
  switch (s.kind) {
    case "for": {
      const [begin, end, body] = [expr(s.begin), expr(s.end), block(s.body)];
      return begin === s.begin && end === s.end && body === s.body ? s : { ...s, begin, end, body };
    }
    case "if": {
      const [condition, then, otherwise] = [expr(s.condition), block(s.then), block(s.otherwise)];
      return condition === s.condition && then === s.then && otherwise === s.otherwise ? s : { ...s, condition, then, otherwise };
    }
    case "while": {
      const [condition, body] = [expr(s.condition), block(s.body)];
      return condition === s.condition && body === s.body ? s : { ...s, condition, body };
    }
    case "require": {
      const [condition, value] = [expr(s.condition), expr(s.value)];
      return condition === s.condition && value === s.value ? s : { ...s, condition, value };
    }
    case "store": {
      const [index, value] = [expr(s.index), expr(s.value)];
      return index === s.index && value === s.value ? s : { ...s, index, value };
    }
    case "storeat": {
      const [address, value] = [expr(s.address), expr(s.value)];
      return address === s.address && value === s.value ? s : { ...s, address, value };
    }
    case "let":
    case "assign": {
      const value = expr(s.value);
      return value === s.value ? s : { ...s, value };
    }
    case "alloc":
      return s;
    case "launch":
      return {
        ...s,
        args: s.args.map(expr),
        count: expr(s.count),
        grain: expr(s.grain),
        ...(s.row === undefined ? {} : { row: expr(s.row) }),
        scratch: s.scratch.map((x) => ({ ...x, bytes: expr(x.bytes) })),
      };
    default:
      throw s satisfies never;
  }
}

/** Maps a block; the same array when nothing changed. `f` gives a statement's replacements. */
export function mapBlock(b: readonly Stmt[], f: (s: Stmt) => Stmt | readonly Stmt[]): readonly Stmt[] {
  let changed = false;
  const out: Stmt[] = [];
  for (const s of b) {
    const r = f(s);
    if (r !== s) changed = true;
    if (Array.isArray(r)) out.push(...(r as readonly Stmt[]));
    else out.push(r as Stmt);
  }
  return changed ? out : b;
}

export function isBuffer(p: Param): p is Buffer {
  return p.kind === "storage";
}

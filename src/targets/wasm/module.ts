import { InternalError } from "../../base/errors.ts";
import { type Kernel, type Launch, type Param, type Program, isBuffer } from "../../loop/ir.ts";
import { inDoubles } from "../../loop/doubles.ts";
import { pageBytes } from "../../runtime/memory.ts";
import { controlBlock } from "../../runtime/threads.ts";
import type { Expr, Variable } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { hostExpressions, mapMain, truncating } from "../host.ts";
import { known, launchesOf, mayShare, mostScratch, scratchLayout } from "../launches.ts";
import { type ValueType, type WasmFunction, type WasmImport, encodeModule } from "./encoder.ts";
import { FunctionEmitter } from "./emit.ts";
import { Sharing, fitsBlock } from "./threads.ts";

/** Weights start here. What lies below is the threads' control block; address 0 stays invalid. */
export const weightsBase = controlBlock.end;

export interface ModuleOptions {
  readonly relaxed: boolean;
  readonly shared: boolean;
  /** Bytes of all weights, padded to 64. */
  readonly weightBytes: number;
  /** Pages that the memory may grow to; without it, or null, as many as there are. */
  readonly maximum?: number | null;
  /** The memory starts small and is grown between calls (prepare programs). */
  readonly growable?: boolean;
  /** `main` calls the imported `env.clock` with the launch's number after each launch. */
  readonly profile?: boolean;
  /** Code of kernels that was emitted for another module with the same `relaxed`. */
  readonly kernels?: Map<Kernel, WasmFunction>;
}

/**
 * Names of exported functions. Sizes of a symbolic program are functions of its symbols; those of outputs, and their places, also
 * of the sizes that main computed, which follow the symbols.
 */
export const exportNames = {
  /** Takes the symbols, and in programs with dynamic allocations the room. */
  main: "main",
  /** The address of what a run tells, in programs with faults or sizes that main computes. */
  report: "report",
  /** Bytes, as an f64: they may be more than 32 bits hold. */
  arenaBytes: "arena_bytes",
  /** In modules with shared memory: scratch memory of each worker. */
  threadBytes: "thread_bytes",
  input: (i: number) => `input_${i}`,
  output: (i: number) => `output_${i}`,
  inputDim: (i: number, d: number) => `input_${i}_dim_${d}`,
  outputDim: (i: number, d: number) => `output_${i}_dim_${d}`,
} as const;

/** Pages that a program with known sizes needs; for symbolic ones the pages below the arena. */
export function initialPages(p: Program, weightBytes: number): number {
  const arena = p.arenaBytes.constant === null ? 0 : Number(p.arenaBytes.constant) >>> 0;
  return Math.ceil((weightsBase + weightBytes + arena) / pageBytes);
}

/** A program in a module of several: its exports are prefixed. */
export interface ModulePart {
  readonly program: Program;
  readonly prefix: string;
  /** Addresses that main takes after the symbols. */
  readonly ports?: readonly Variable[];
}

const clock: WasmImport = { module: "env", name: "clock", type: { params: ["i32"], results: [] } };

/** Emits planned programs, whose kernels have gone through all loop passes, as one module. */
export function emitModule(sc: Scalars, parts: readonly ModulePart[], options: ModuleOptions): Uint8Array {
  const index = new Map<Kernel, number>();
  const functions: WasmFunction[] = [];
  // Imported functions come first.
  const imports = options.profile ? [clock] : [];
  for (const { program } of parts)
    for (const k of program.kernels) if (!index.has(k)) index.set(k, imports.length + functions.push(kernelCode(k, options)) - 1);
  const sharing = options.shared ? new Sharing(functions, imports.length, index) : null;
  for (const part of parts) emitProgram(sc, part, options, index, functions, sharing);
  const pages = parts.map((p) => initialPages(p.program, options.weightBytes));
  const initial = options.growable ? Math.min(...pages) : Math.max(...pages);
  const memory = { initial, maximum: options.maximum ?? (options.shared ? 65536 : null), shared: options.shared };
  return encodeModule(functions, imports, memory, sharing ?? {});
}

function kernelCode(k: Kernel, { relaxed, kernels }: ModuleOptions): WasmFunction {
  const f = kernels?.get(k) ?? emitKernel(k, relaxed);
  kernels?.set(k, f);
  return f;
}

function emitProgram(
  sc: Scalars,
  { program: p, prefix, ports: movable = [] }: ModulePart,
  options: ModuleOptions,
  index: ReadonlyMap<Kernel, number>,
  functions: WasmFunction[],
  sharing: Sharing | null,
): void {
  const bases = new Map<Variable, Expr>([
    [p.weights, sc.int(weightsBase)],
    [p.arena, sc.int(weightsBase + options.weightBytes)],
  ]);
  const memo = new Map<Expr, Expr>();
  const written = hostExpressions(sc, p);
  const bind = (e: Expr): Expr => sc.substituteAll([written(e)], bases, memo)[0] as Expr;
  functions.push(emitMain(sc, mapMain(p, bind), prefix, movable, p.report === null ? null : bind(p.report), options, index, sharing));

  const data = [...p.symbolVariables, ...p.dataSymbols.map((d) => d.variable)];
  const size = (name: string, value: Expr, params: readonly Variable[] = p.symbolVariables): void => {
    const f = new FunctionEmitter(params, { relaxed: false });
    const e = bind(value);
    f.expr(e);
    const type = { params: params.map((): ValueType => "i32"), results: [e.dtype.compute] };
    functions.push({ name: prefix + name, type, locals: f.locals, code: f.code, exported: true });
  };
  size(exportNames.arenaBytes, inDoubles(sc, p.arenaBytes));
  if (p.report !== null) size(exportNames.report, p.report);
  if (sharing !== null) size(exportNames.threadBytes, inDoubles(sc, threadBytes(sc, p)));
  const ports = (list: typeof p.inputs, place: (i: number) => string, dim: (i: number, d: number) => string, params: readonly Variable[]): void => {
    list.forEach((x, i) => {
      size(place(i), x.address, params);
      x.dims.forEach((d, k) => {
        if (typeof d !== "number") size(dim(i, k), sc.dim(d), params);
      });
    });
  };
  ports(p.inputs, exportNames.input, exportNames.inputDim, p.symbolVariables);
  ports(p.outputs, exportNames.output, exportNames.outputDim, data);
}

/** Emits `main` of a program whose expressions are bound to the module's memory. */
function emitMain(
  sc: Scalars,
  p: Program,
  prefix: string,
  ports: readonly Variable[],
  report: Expr | null,
  options: ModuleOptions,
  index: ReadonlyMap<Kernel, number>,
  sharing: Sharing | null,
): WasmFunction {
  const params = [...p.symbolVariables, ...(p.room === null ? [] : [p.room]), ...ports];
  const main = new FunctionEmitter(params, { relaxed: options.relaxed });
  main.report = report;
  const shared = new Set(sharing === null ? [] : sharedLaunches(p));
  let launches = 0;
  main.launch = (s, e) => {
    if (sharing !== null && shared.has(s)) emitShared(sc, s, e, index, sharing);
    else emitCalls(s, e, index);
    if (options.profile) e.code.byte(0x41).s32(launches++).byte(0x10).u32(0);
  };
  // The first launch's time starts here: copying inputs is none of it.
  if (options.profile) main.code.byte(0x41).s32(-1).byte(0x10).u32(0);
  main.block(p.main);
  const type = { params: params.map((): ValueType => "i32"), results: [] };
  return { name: prefix + exportNames.main, type, locals: main.locals, code: main.code, exported: true };
}

function emitKernel(k: Kernel, relaxed: boolean): WasmFunction {
  const params = [...k.params.map(variableOf), k.begin, k.end];
  const e = new FunctionEmitter(params, { relaxed });
  e.block(k.body);
  return { name: k.name, type: { params: params.map((): ValueType => "i32"), results: [] }, locals: e.locals, code: e.code, exported: false };
}
function variableOf(p: Param): Variable {
  if (isBuffer(p)) throw new InternalError("wasm", `parameter '${p.name}' should have been lowered to an address`);
  return p;
}

/** The launches that threads share, all of them or, where symbols tell the number of iterations, large ones. */
export function sharedLaunches(p: Program): Launch[] {
  return launchesOf(p).filter((s) => mayShare(p, s) && fitsBlock(s));
}

/** The most scratch memory that a launch which may be shared needs. */
export function threadBytes(sc: Scalars, p: Program): Expr {
  return mostScratch(sc, sharedLaunches(p));
}

/** A launch that threads share, if symbols make it large enough. */
function emitShared(sc: Scalars, s: Launch, e: FunctionEmitter, index: ReadonlyMap<Kernel, number>, sharing: Sharing): void {
  const { count, grain } = s;
  const places = scratchLayout(sc, s).places.map((x) => truncating(sc, x));
  const share = () => sharing.emit(s, s.args, places, count, grain, e);
  if (known(count) !== null) {
    share();
    return;
  }
  e.expr(count);
  e.code
    .byte(0x41)
    .s32(s.threadsFrom ?? 0)
    .byte(0x4e, 0x04, 0x40);
  share();
  e.code.byte(0x05);
  emitCalls(s, e, index);
  e.code.byte(0x0b);
}

/** for (i = 0; i < count; i += grain) kernel(args…, i, min(i + grain, count)) */
function emitCalls(s: Launch, e: FunctionEmitter, index: ReadonlyMap<Kernel, number>): void {
  const { code } = e;
  const call = index.get(s.kernel);
  if (call === undefined) throw new InternalError("wasm", `kernel '${s.kernel.name}' is not part of the program`);
  const { args, count, grain } = s;
  if (count.constant !== null && grain.constant !== null && Number(count.constant) <= Number(grain.constant)) {
    for (const a of args) e.expr(a);
    code.byte(0x41).s32(0);
    e.expr(count);
    code.byte(0x10).u32(call);
    return;
  }
  const [i, n, g] = [e.temp("i32"), e.temp("i32"), e.temp("i32")];
  e.expr(count);
  code.byte(0x21).u32(n);
  e.expr(grain);
  code.byte(0x21).u32(g).byte(0x41).s32(0).byte(0x21).u32(i);
  code.byte(0x20).u32(n).byte(0x41).s32(0).byte(0x4a, 0x04, 0x40, 0x03, 0x40);
  for (const a of args) e.expr(a);
  code.byte(0x20).u32(i);
  // min(i + grain, count)
  code.byte(0x20).u32(i).byte(0x20).u32(g).byte(0x6a, 0x20).u32(n);
  code.byte(0x20).u32(i).byte(0x20).u32(g).byte(0x6a, 0x20).u32(n).byte(0x48, 0x1b);
  code.byte(0x10).u32(call);
  code.byte(0x20).u32(i).byte(0x20).u32(g).byte(0x6a, 0x22).u32(i).byte(0x20).u32(n).byte(0x48, 0x0d, 0x00, 0x0b, 0x0b);
  for (const t of [i, n, g]) e.release("i32", t);
}

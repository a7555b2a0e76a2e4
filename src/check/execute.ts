import { evaluateDim, makeSymbol } from "../base/dim.ts";
import { i32 } from "../base/dtype.ts";
import { UserError } from "../base/errors.ts";
import type { Compiled } from "../compile.ts";
import { type HostTensor, hostFromBytes, hostToBytes } from "../graph/host.ts";
import { bindSymbols } from "../graph/interpret.ts";
import { type RunReport, evaluateSize, interpretProgram } from "../loop/interpret.ts";
import type { Kernel, Port, Program, Stmt } from "../loop/ir.ts";
import { hasRelaxedSimd } from "../runtime/model.ts";
import { emitModule, weightsBase } from "../targets/wasm/module.ts";
import { weightBytes, writeWeights } from "../targets/wasm/weights.ts";

/** Where a program's pieces lie, and the sizes of its symbols. */
interface Place {
  readonly weights: number;
  readonly arena: number;
  readonly bytes: number;
  readonly symbols: readonly number[];
  readonly env: ReadonlyMap<string, number>;
  /** Times 64 bytes of the arena that main may use, for a program with dynamic allocations. */
  readonly room: number;
  /** Sizes that a run computed; none before it. */
  readonly data: readonly number[];
}

function placeOf(p: Program, inputs: readonly { readonly dims: readonly number[] }[], chunk: number | null, room = 0): Place {
  const env = bindSymbols(
    p.inputs,
    inputs.map((t) => t.dims),
  );
  const symbols = p.symbols.map((s) => (s.name === chunkName ? (chunk ?? 0) : (env.get(s.name) ?? s.min)));
  const at = { weights: weightsBase, arena: weightsBase + weightBytes(p) };
  const arena = Math.max(evaluateSize(p, p.arenaBytes, at, symbols), 64 * room);
  return { ...at, bytes: Math.ceil((at.arena + arena + 64) / 65536 + 1) * 65536, symbols, env, room, data: [] };
}

/**
 * The place after a run, with the sizes that it computed; the room that it needs, where that was not enough.
 * @throws UserError `size` for what ended the run
 */
function afterRun(p: Program, place: Place, told: RunReport): Place | number {
  const { fault, data } = told;
  if (fault !== null) {
    const known = p.faults[fault.number];
    if (known?.room === true) return fault.value;
    throw new UserError("size", known?.text.replace("{}", String(fault.value)) ?? `there is no fault ${fault.number}`);
  }
  const env = new Map([...place.env, ...p.dataSymbols.map((d, i) => [d.symbol.name, data[i] as number] as const)]);
  return { ...place, env, data };
}

function bytesOf(p: Program, place: Place, port: Port, dims: readonly number[], buffer: ArrayBuffer): Uint8Array {
  return new Uint8Array(buffer, evaluateSize(p, port.address, place, place.symbols, place.data), port.dtype.bytes(dims.reduce((a, b) => a * b, 1)));
}
function dimsOf(port: Port, place: Place): number[] {
  return port.dims.map((d) => evaluateDim(d, place.env));
}

/** What an output held before a partial run; every element with other bits was written. */
const sentinel = 0xa5;

/** Outputs, and for each which elements were written. */
export interface Execution {
  readonly outputs: readonly HostTensor[];
  readonly written: readonly ((i: number) => boolean)[];
}

function collect(p: Program, place: Place, buffer: ArrayBuffer): Execution {
  const bytes = p.outputs.map((o) => bytesOf(p, place, o, dimsOf(o, place), buffer));
  return {
    outputs: p.outputs.map((o, i) => hostFromBytes(o.dtype, dimsOf(o, place), bytes[i] as Uint8Array)),
    written: p.outputs.map((o, i) => {
      const width = o.dtype.byteWidth;
      const raw = bytes[i] as Uint8Array;
      return (k: number) => {
        const at = o.dtype.bits < 8 ? Math.floor((k * o.dtype.bits) / 8) : k * width;
        for (let b = at; b < at + width; b++) if (raw[b] !== sentinel) return true;
        return false;
      };
    }),
  };
}

/** Does main only launch kernels? Else it is one piece. */
function isPlain(p: Program): boolean {
  return p.main.every((s) => s.kind === "launch");
}

/** `main` in two steps: all but its last launch, which may use the outputs' place for something else, and that one. */
function steps(p: Program): readonly [Program, Program] {
  if (!isPlain(p)) return [p, { ...p, main: [] }];
  return [
    { ...p, main: p.main.slice(0, -1) },
    { ...p, main: p.main.slice(-1) },
  ];
}
function markOutputs(p: Program, place: Place, buffer: ArrayBuffer): void {
  for (const o of p.outputs) bytesOf(p, place, o, dimsOf(o, place), buffer).fill(sentinel);
}

function fill(p: Program, place: Place, buffer: ArrayBuffer, inputs: readonly HostTensor[], weights: Uint8Array): void {
  new Uint8Array(buffer).set(weights, place.weights);
  p.inputs.forEach((port, i) => {
    bytesOf(p, place, port, dimsOf(port, place), buffer).set(hostToBytes(inputs[i] as HostTensor));
  });
}

/** The weights of a compiled program, prepared by WebAssembly. */
export async function weightsOf(c: Compiled): Promise<Uint8Array> {
  const out = new Uint8Array(weightBytes(c.program));
  await writeWeights(c.sc, c.program, c.weights, c.prepare, (offset, bytes) => out.set(bytes, offset));
  return out;
}

/** The same, prepared by the loop interpreter: kernels may be at any point of their passes. */
export function interpretedWeights(c: Compiled): Uint8Array {
  const out = new Uint8Array(weightBytes(c.program));
  const slots = new Map(c.weights.map((w, i) => [w, c.program.weightSlots[i]]));
  for (const [w, slot] of slots) if (w.data !== null && slot !== undefined) out.set(w.data.read(0, w.data.byteLength), slot.offset);
  for (const { program, inputs, outputs } of c.prepare) {
    const place = placeOf(
      program,
      program.inputs.map((p) => ({ dims: p.dims.map(Number) })),
      null,
    );
    const buffer = new ArrayBuffer(place.bytes);
    const addressOf = (p: Port): number => evaluateSize(program, p.address, place, place.symbols);
    program.inputs.forEach((p, i) => {
      const data = inputs[i]?.data;
      if (data) new Uint8Array(buffer).set(data.read(0, data.byteLength), addressOf(p));
    });
    interpretProgram(program, { bytes: buffer, weights: place.weights, arena: place.arena }, place.symbols);
    program.outputs.forEach((p, i) => {
      const slot = slots.get(outputs[i] as (typeof outputs)[number]);
      if (slot !== undefined) out.set(new Uint8Array(buffer, addressOf(p), slot.bytes), slot.offset);
    });
  }
  return out;
}

/** A program ready to run as WebAssembly, whole or chunk by chunk. */
export async function startWasm(
  c: Compiled,
  program: Program,
  inputs: readonly HostTensor[],
  weights: Uint8Array,
): Promise<(chunk: number | null) => Execution> {
  const { bytes: pages } = placeOf(program, inputs, null);
  const [first, last] = steps(program);
  const parts = [
    { program: first, prefix: "first_" },
    { program: last, prefix: "last_" },
  ];
  const bytes = emitModule(c.sc, parts, { relaxed: hasRelaxedSimd(), shared: false, weightBytes: weightBytes(program) });
  const module = await WebAssembly.compile(bytes as BufferSource);
  const memory = new WebAssembly.Memory({ initial: pages / 65536 });
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  const call = (name: string, at: Place): number =>
    (instance.exports[name] as (...symbols: readonly number[]) => number)(...at.symbols, ...(program.room === null ? [] : [at.room]));
  const run = (chunk: number | null, room: number): Execution => {
    const at = placeOf(program, inputs, chunk, room);
    if (at.bytes > memory.buffer.byteLength) memory.grow((at.bytes - memory.buffer.byteLength) / 65536);
    fill(program, at, memory.buffer, inputs, weights);
    call("first_main", at);
    if (chunk !== null) markOutputs(program, at, memory.buffer);
    call("last_main", at);
    const done = afterRun(program, at, program.report === null ? nothingTold : reportIn(memory.buffer, call("first_report", at), program));
    return typeof done === "number" ? run(chunk, done) : collect(program, done, memory.buffer);
  };
  return (chunk) => run(chunk, 0);
}

const nothingTold: RunReport = { fault: null, data: [] };
function reportIn(buffer: ArrayBuffer, at: number, p: Program): RunReport {
  const [fault = 0, value = 0, ...data] = new Int32Array(buffer, at >>> 0, 2 + p.dataSymbols.length);
  return { fault: fault === 0 ? null : { number: fault - 1, value }, data };
}

/** Runs a program by the loop interpreter; `program` may be at any point between its building and its emission. */
export function runInterpreted(program: Program, inputs: readonly HostTensor[], weights: Uint8Array, chunk: number | null, room = 0): Execution {
  const place = placeOf(program, inputs, chunk, room);
  const buffer = new ArrayBuffer(place.bytes);
  fill(program, place, buffer, inputs, weights);
  const memory = { bytes: buffer, weights: place.weights, arena: place.arena };
  const [first, last] = steps(program);
  const told = interpretProgram(first, memory, place.symbols, room);
  if (chunk !== null) markOutputs(program, place, buffer);
  interpretProgram(last, memory, place.symbols, room);
  const done = afterRun(program, place, told);
  return typeof done === "number" ? runInterpreted(program, inputs, weights, chunk, done) : collect(program, done, buffer);
}

const chunkName = "chunk";

/**
 * The program with its last launch cut down to one of its iterations, which a new symbol chooses: an interpreter takes
 * seconds where the whole would take hours. Null when main does not end with a launch of a known number of iterations, or
 * that launch takes an operand's place: to mark what it does not write would destroy what it reads.
 */
export function chunked(c: Compiled): { readonly program: Program; readonly chunks: number } | null {
  const { sc, program: p } = c;
  const last = p.main[p.main.length - 1];
  if (!isPlain(p) || last?.kind !== "launch" || last.count.constant === null) return null;
  if (p.outputs.some((o) => last.args.filter((a) => a === o.address).length > 1)) return null;
  const symbol = makeSymbol(chunkName, 0);
  const variable = sc.variable(chunkName, i32, { min: 0 });
  const inner = sc.variable(chunkName, i32, { min: 0 });
  const [begin, end] = [sc.variable("begin", i32), sc.variable("end", i32)];
  const k = last.kernel;
  const body: Stmt[] = [
    { kind: "let", variable: k.begin, value: sc.var(inner) },
    { kind: "let", variable: k.end, value: sc.add(sc.var(inner), sc.int(1)) },
    ...k.body,
  ];
  const kernel: Kernel = { ...k, params: [...k.params, inner], begin, end, body };
  const { row: _, ...single } = last;
  const launch: Stmt = { ...single, kernel, args: [...last.args, sc.var(variable)], count: sc.int(1), grain: sc.int(1) };
  const used = p.main.slice(0, -1).some((s) => s.kind === "launch" && s.kernel === k);
  return {
    program: {
      ...p,
      symbols: [...p.symbols, symbol],
      symbolVariables: [...p.symbolVariables, variable],
      kernels: [...p.kernels.filter((x) => x !== k || used), kernel],
      main: [...p.main.slice(0, -1), launch],
    },
    chunks: Number(last.count.constant),
  };
}

import { type Growth, blockFor, capacityOf, isPacked } from "./caches.ts";
import { addDisposal, disposedError, disposedWhileQueued, nothing, whenIdle } from "./disposal.ts";
import { InternalError, UserError } from "../base/errors.ts";
import { type Given, type Input, bindSymbols, checkInputs } from "./inputs.ts";
import { type Block, KeptRegion, KeptTensor } from "./kept.ts";
import type { Manifest, ModelInfo } from "./manifest.ts";
import { alignUp, makeMemory, maximumBytes, plannedEnd } from "./memory.ts";
import { ThreadPool, threadsMissingHere } from "./threads.ts";
import { type InputData, type OutputTensor, type PortInfo, arrayType, isLong, outputTensor, storedBytes, storedElements } from "./values.ts";

export type { Input, SymbolInfo } from "./inputs.ts";
export type { CManifest, KernelInfo, Manifest, ModelInfo, ModelManifest, WeightFile } from "./manifest.ts";
export type { InputData, NumberArray, OutputTensor, PortInfo } from "./values.ts";

/**
 * What runs a compiled model: memory, inputs and outputs, calls. Bundled (scripts/bundle-runtime.mjs), with the manifest and the
 * places of the files before them, the files of this folder are that model's `model.js`. They import one another, and the errors.
 */

export interface RunOptions {
  /** Outputs are views of the model's memory, valid until the next run. */
  readonly views?: boolean;
}
export interface KeepOptions<K extends string> extends RunOptions {
  /** Names of outputs to keep inside; they come back as handles. */
  readonly keep: readonly K[];
}
export type Outputs = Record<string, OutputTensor>;
type Inputs = Readonly<Record<string, Input>>;
type Results = Record<string, OutputTensor | KeptTensor>;

/** Does this engine take relaxed SIMD? A module of one function with an f32x4.relaxed_madd tells. */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(
    new Uint8Array([
      0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11,
    ]),
  );
}

/** What it takes to start a model. `writeWeights` fills the weights' region; `relaxed` and `shared` say which module this is. */
export interface StartOptions {
  readonly module: WebAssembly.Module;
  readonly relaxed: boolean;
  /** Its memory is one that threads share. */
  readonly shared?: boolean;
  readonly writeWeights: (target: Uint8Array) => void | Promise<void>;
  /** Threads asked for; 1 without. */
  readonly threads?: number;
  /** Why there can only be one thread; null or absent where there can be more. */
  readonly threadsMissing?: string | null;
  /** Called after every launch of a module that was built for profiling. */
  readonly clock?: (launch: number) => void;
}

type Exports = Record<string, (...symbols: number[]) => number>;
/** What a model says of how it was started. It holds neither the module nor what writes the weights: they may be large. */
type Started = Pick<StartOptions, "relaxed" | "shared" | "threads" | "threadsMissing">;

/**
 * A loaded model. Runs are queued; each copies its inputs in and its outputs out. It holds a memory and the threads that it runs on,
 * until it is disposed of. Engines that know `using` do that at the end of a block (`await using`: after the last run).
 */
export class Model {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  private readonly manifest: Manifest;
  private readonly start: Started;
  private memory: WebAssembly.Memory | null;
  private exports: Exports;
  private readonly kept: KeptRegion;
  private pool: ThreadPool | null;
  /** The largest arena that was needed. */
  private arenaBytes: number;
  /** Times 64 bytes of the arena that a run may use: of a model that places tensors while it runs. */
  private room = 0;
  private broken = false;
  private queue: Promise<unknown> = Promise.resolve();

  /** The same as `dispose`. Only where the engine has `Symbol.dispose`. */
  declare readonly [Symbol.dispose]: () => void;
  /** Disposes of the model after the runs that were asked for. Only where the engine has `Symbol.asyncDispose`. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;

  /** @internal use `startModel` */
  constructor(manifest: Manifest, start: Started, memory: WebAssembly.Memory, exports: Exports, pool: ThreadPool | null) {
    const weightsEnd = manifest.weights_base + manifest.weight_bytes;
    this.manifest = manifest;
    this.inputs = manifest.inputs;
    this.outputs = manifest.outputs;
    this.start = { relaxed: start.relaxed, shared: start.shared ?? false, threads: start.threads ?? 1, threadsMissing: start.threadsMissing ?? null };
    this.memory = memory;
    this.exports = exports;
    this.kept = new KeptRegion(memory, alignUp(weightsEnd + (manifest.arena_bytes ?? 0)), {
      base: plannedEnd(manifest.memory, weightsEnd, this.mostThreads),
      bytes: manifest.memory.kept_bytes,
    });
    this.pool = pool;
    this.arenaBytes = manifest.arena_bytes ?? 0;
    if (pool === null) return;
    abandoned?.register(this, pool, this);
    if (manifest.symbols.length === 0) this.makeRoom([]);
  }

  /**
   * Runs the model once, after the runs asked for before.
   * @throws UserError for a missing or unknown input, or one of a wrong dtype, size or shape; `size` where a size that the model
   * computes is not what it must be; `memory` where the sizes need more than there is; `disposed` when the model is disposed of
   * before the run begins. InternalError when a kernel fails
   */
  run(inputs: Inputs, options?: RunOptions): Promise<Outputs>;
  run<K extends string>(inputs: Inputs, options: KeepOptions<K>): Promise<Record<K, KeptTensor> & Outputs>;
  run(inputs: Inputs, options: RunOptions | KeepOptions<string> = {}): Promise<Results> {
    if (this.memory === null) return Promise.reject(disposedError());
    const result = this.queue.then(() => {
      if (this.memory === null) throw disposedWhileQueued();
      return this.execute(inputs, options);
    });
    // Not the results themselves: they may be large.
    this.queue = result.then(nothing, nothing);
    return result;
  }

  /** Runs at once, on this thread. */
  runNow(inputs: Inputs, options: RunOptions = {}): Outputs {
    return this.execute(inputs, options) as Outputs;
  }

  private execute(inputs: Inputs, options: RunOptions | KeepOptions<string>): Results {
    const { memory } = this;
    if (memory === null) throw disposedError();
    if (this.broken) throw new UserError("broken", "an earlier run of the model failed; load it again");
    const keep = "keep" in options ? options.keep : [];
    const given = checkInputs(this.manifest, inputs, keep, this.kept);
    const symbols = bindSymbols(this.manifest, given, (i, k, values) => this.call(`input_${i}_dim_${k}`, values));
    if (symbols.length > 0 || this.dynamic) this.makeRoom(symbols);
    const blocks = this.keptBlocks(symbols, keep, given);
    try {
      given.forEach((g, i) => this.writeInput(memory, i, g, symbols));
      const ports = this.portArguments(given, blocks, symbols);
      let data = this.runMain(memory, symbols, ports);
      // A run leaves the inputs as they were where it may have to be repeated.
      for (; data === null; data = this.runMain(memory, symbols, ports)) this.makeRoom(symbols);
      return this.readOutputs(memory, [...symbols, ...data], options.views ?? false, keep, blocks);
    } catch (e) {
      for (const b of blocks.values()) this.kept.freeUnused(b);
      throw e;
    }
  }

  /** Places among the kept tensors for outputs to keep, where main can write to them itself. */
  private keptBlocks(symbols: readonly number[], keep: readonly string[], given: readonly Given[]): Map<string, Block> {
    const blocks = new Map<string, Block>();
    const { movable_ports, data_symbols, growths } = this.manifest;
    if (!movable_ports || data_symbols.length > 0) return blocks;
    try {
      this.outputs.forEach((p, i) => {
        if (!keep.includes(p.name)) return;
        const dims = this.outputDims(p, i, symbols);
        const growth = growths.find((g) => g.output === i);
        if (growth === undefined) blocks.set(p.name, this.kept.allocate(storedBytes(p.dtype, dims)));
        else {
          const out = { dtype: p.dtype, dims, most: this.mostRows(growth) };
          blocks.set(p.name, blockFor(this.kept, growth, given[growth.input] as Given, out, new Set(blocks.values())));
        }
      });
    } catch (e) {
      for (const b of blocks.values()) this.kept.freeUnused(b);
      throw e;
    }
    return blocks;
  }
  /** The most rows that an output may have; null where its size has no bound. */
  private mostRows({ output, dim }: Growth): number | null {
    const largest = this.manifest.symbols.map((s) => s.max);
    return largest.some((m) => m === null) ? null : this.call(`output_${output}_dim_${dim}`, largest as number[]);
  }
  /** What a movable main takes after the symbols: the rows that places have room for, and the places. */
  private portArguments(given: readonly Given[], blocks: ReadonlyMap<string, Block>, symbols: readonly number[]): number[] {
    if (!this.manifest.movable_ports) return [];
    const place = (b: Block) => this.kept.base + b.offset;
    const blockOf = (output: number) => blocks.get((this.outputs[output] as PortInfo).name) ?? null;
    const capacities = this.manifest.growths.flatMap(({ input, output, dim }) => {
      const g = given[input] as Given;
      const rows = this.outputDims(this.outputs[output] as PortInfo, output, symbols);
      return [capacityOf(this.blockRead(g, input), dim, g.dims), capacityOf(blockOf(output), dim, rows)];
    });
    const inputs = given.map((g, i) => {
      const b = this.blockRead(g, i);
      return b === null ? this.call(`input_${i}`, symbols) : place(b);
    });
    const outputs = this.outputs.map((_, i) => {
      const b = blockOf(i);
      return b === null ? this.call(`output_${i}`, symbols) : place(b);
    });
    return [...capacities, ...inputs, ...outputs];
  }
  /** The block where main can read an input as it lies there. */
  private blockRead({ kept, dims }: Given, input: number): Block | null {
    if (kept === null || !this.manifest.movable_ports) return null;
    const grows = this.manifest.growths.some((g) => g.input === input && g.dim === kept.rows?.dim);
    return grows || isPacked(kept, dims) ? kept : null;
  }
  private outputDims(p: PortInfo, i: number, symbols: readonly number[]): number[] {
    return p.dims.map((d, k) => (typeof d === "number" ? d : this.call(`output_${i}_dim_${k}`, symbols)));
  }

  /** Does the model place tensors while it runs? */
  private get dynamic(): boolean {
    return this.manifest.room_fault !== null;
  }

  /** Runs main; gives the sizes that it computed, null where it must be run again with more room. */
  private runMain(memory: WebAssembly.Memory, symbols: readonly number[], ports: readonly number[]): readonly number[] | null {
    this.callMain([...symbols, ...(this.dynamic ? [this.room] : []), ...ports]);
    const { data_symbols, faults, room_fault } = this.manifest;
    if (data_symbols.length + faults.length === 0) return [];
    const [fault = 0, value = 0, ...data] = new Int32Array(memory.buffer, this.call("report", symbols), 2 + data_symbols.length);
    if (fault === 0) return data;
    if (fault - 1 !== room_fault) throw new UserError("size", faultText(faults, fault - 1, value));
    this.room = roomFor(value, this.room);
    return null;
  }

  private callMain(args: readonly number[]): void {
    let fault: string | null = null;
    let cause: unknown;
    try {
      this.call("main", args);
      fault = this.pool?.failure() ?? null;
    } catch (e) {
      if (!(e instanceof WebAssembly.RuntimeError)) throw e;
      [fault, cause] = [String(e), e];
    }
    if (fault === null) return;
    // Threads may still be in a kernel, and count as such.
    this.broken = this.pool !== null;
    throw new InternalError("trap", `a kernel of ${this.manifest.name} failed (${fault})`, { cause });
  }

  private call(name: string, symbols: readonly number[]): number {
    return this.bytes(name, symbols) >>> 0;
  }
  /** A size, which may be more than memory can be. */
  private bytes(name: string, symbols: readonly number[]): number {
    const f = this.exports[name];
    if (f === undefined) throw new UserError("artifact", `the module does not export '${name}'; it does not belong to this manifest`);
    return f(...symbols);
  }

  /** Makes room for the arena of these sizes, and the threads' scratch memory above it; kept tensors move up if they are in the way. */
  private makeRoom(symbols: readonly number[]): void {
    const { weights_base, weight_bytes } = this.manifest;
    const planned = this.bytes("arena_bytes", symbols);
    if (this.dynamic) this.room = Math.max(this.room, Math.ceil(planned / 64) + firstRoom);
    const arena = Math.max(planned, 64 * this.room);
    const end = alignUp(weights_base + weight_bytes + arena);
    const scratch = this.pool === null ? 0 : this.bytes("thread_bytes", symbols);
    this.kept.moveAbove(end + (this.mostThreads - 1) * scratch);
    this.pool?.setScratch(end, scratch);
    this.arenaBytes = Math.max(this.arenaBytes, arena);
  }

  /** Threads that there is memory for. */
  private get mostThreads(): number {
    return this.start.shared ? (this.start.threads ?? 1) : 1;
  }

  private writeInput(memory: WebAssembly.Memory, i: number, given: Given, symbols: readonly number[]): void {
    const p = this.inputs[i] as PortInfo;
    const type = arrayType(p.dtype);
    if (this.blockRead(given, i) !== null) return;
    const at = this.call(`input_${i}`, symbols);
    if (given.kept !== null) {
      this.kept.copyOut(given.kept, at, p.dtype, given.dims);
      return;
    }
    const data = given.data as InputData;
    const target = new type.make(memory.buffer, at, data.length);
    if (Array.isArray(data) && isLong(p.dtype)) target.set(data.map(BigInt) as never);
    else target.set(data as never);
  }

  private readOutputs(
    memory: WebAssembly.Memory,
    symbols: readonly number[],
    views: boolean,
    keep: readonly string[],
    blocks: ReadonlyMap<string, Block>,
  ): Results {
    const out: Results = {};
    const places = this.outputs.map((p, i) => ({ at: this.call(`output_${i}`, symbols), dims: this.outputDims(p, i, symbols) }));
    // First what is kept: it may grow the memory, after which older views are dead.
    const handles: KeptTensor[] = [];
    try {
      this.outputs.forEach((p, i) => {
        const { at, dims } = places[i] as (typeof places)[number];
        if (!keep.includes(p.name)) return;
        const block = blocks.get(p.name) ?? this.kept.copyIn(at, storedBytes(p.dtype, dims));
        if (block.rows !== null) block.rows.filled = dims[block.rows.dim] as number;
        const handle = new KeptTensor(p.dtype, dims, block, this.kept);
        handles.push(handle);
        out[p.name] = handle;
      });
    } catch (e) {
      for (const h of handles) h.dispose();
      throw e;
    }
    this.outputs.forEach((p, i) => {
      if (keep.includes(p.name)) return;
      const { at, dims } = places[i] as (typeof places)[number];
      const type = arrayType(p.dtype);
      const view = new type.make(memory.buffer, at, storedElements(p.dtype, dims));
      out[p.name] = outputTensor(p, dims, views ? view : view.slice());
    });
    return out;
  }

  /** What a kept output holds, copied out. */
  read(kept: KeptTensor): OutputTensor {
    if (this.memory === null) throw disposedError();
    if (kept.region !== this.kept || kept.block === null) throw new UserError("kept", "this tensor is not kept by this model (any more)");
    const bytes = new Uint8Array(storedBytes(kept.dtype, kept.dims));
    this.kept.copyTo(bytes, 0, kept.block, kept.dtype, kept.dims);
    const data = new (arrayType(kept.dtype).make)(bytes.buffer, 0, storedElements(kept.dtype, kept.dims));
    return { data, dims: kept.dims, dtype: kept.dtype };
  }

  /** What the model is, and how it runs here. */
  info(): ModelInfo {
    const { manifest } = this;
    return {
      target: manifest.target,
      threads: this.pool?.threads ?? 1,
      threads_reason: this.threadsReason(),
      relaxed_simd: this.start.relaxed,
      shared_memory: this.start.shared ?? false,
      arena_bytes: this.arenaBytes,
      weight_bytes: manifest.weight_bytes,
      memory_bytes: this.memory?.buffer.byteLength ?? 0,
      maximum_bytes: maximumBytes(manifest.memory, manifest.weights_base + manifest.weight_bytes, this.mostThreads),
      kernels: manifest.kernels,
    };
  }

  private threadsReason(): string {
    const { threads = 1, threadsMissing = null } = this.start;
    const missing = threadsMissing ?? this.pool?.missing ?? null;
    const asked = threads === 1 ? "one thread was asked for" : `${threads} threads were asked for`;
    return threads === 1 || missing === null ? asked : `${asked}, but ${missing}`;
  }

  /**
   * Ends the threads and lets go of all memory, that of kept tensors included. Runs that have not begun are rejected. The engine
   * frees the memory as soon as nobody holds views of it. To call it again does nothing.
   */
  dispose(): void {
    abandoned?.unregister(this);
    this.pool?.stop();
    this.pool = null;
    this.kept.release();
    this.memory = null;
    this.exports = {};
  }

  static {
    addDisposal(
      Model.prototype,
      (m) => m.dispose(),
      async (m) => {
        await whenIdle(() => m.queue);
        m.dispose();
      },
    );
  }
}

/** Room beyond the planned part of the arena that a model which needs some begins with: 256 KiB. */
const firstRoom = 4096;

/** The room to run with next where a run with `had` found that it needs `needed`: what more it will need nobody knows, so a little more. */
function roomFor(needed: number, had: number): number {
  return Math.max(needed, Math.min(2 * had, Math.ceil(1.25 * needed)));
}

/** The words for a fault. */
function faultText(faults: readonly string[], fault: number, value: number): string {
  return (faults[fault] ?? `fault ${fault}: {}`).replace("{}", String(value));
}

/** Threads of models that nobody can use any more. Some hosts have no registry (and no threads). */
const abandoned = typeof FinalizationRegistry === "undefined" ? null : new FinalizationRegistry<ThreadPool>((pool) => pool.stop());

/** Why the model runs on one thread here, however many are asked for; null where it can run on several. */
export function threadsMissing(m: Manifest): string | null {
  return m.shared_launches === 0 ? "none of the model's kernels has enough to do for several" : threadsMissingHere();
}

/** Instantiates a module with exactly the memory it needs, starts its threads and fills in the weights. */
export async function startModel(manifest: Manifest, start: StartOptions): Promise<Model> {
  checkModule(manifest, start.module);
  const threads = start.threads ?? 1;
  const maximum = maximumBytes(manifest.memory, manifest.weights_base + manifest.weight_bytes, start.shared ? threads : 1);
  const memory = makeMemory(manifest.memory.initial_bytes, maximum, start.shared ?? false);
  const instance = await WebAssembly.instantiate(start.module, { env: { memory, clock: start.clock ?? (() => {}) } });
  const pool = start.shared ? new ThreadPool(memory) : null;
  const started = pool === null || threads === 1 || (start.threadsMissing ?? null) !== null ? null : pool.start(start.module, threads);
  try {
    if (manifest.weight_bytes > 0) await start.writeWeights(new Uint8Array(memory.buffer, manifest.weights_base, manifest.weight_bytes));
    await started;
    return new Model(manifest, start, memory, instance.exports as unknown as Exports, pool);
  } catch (e) {
    await started;
    pool?.stop();
    throw e;
  }
}

/** @throws UserError `artifact` when the module was not made together with the manifest */
function checkModule(manifest: Manifest, module: WebAssembly.Module): void {
  const [section] = WebAssembly.Module.customSections(module, "tilewright");
  const id = section === undefined ? "none" : new TextDecoder().decode(section);
  if (id !== manifest.id)
    throw new UserError(
      "artifact",
      `the module does not belong to this manifest (its id is ${id}, expected ${manifest.id}): were files of two builds mixed? Compile the model again`,
    );
}

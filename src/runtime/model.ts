import { InternalError, UserError } from "./errors.ts";
import { type Given, type Input, type SymbolInfo, bindSymbols, checkInputs } from "./inputs.ts";
import { type Block, KeptRegion, KeptTensor, alignUp, pageBytes } from "./kept.ts";
import { ThreadPool, threadsMissingHere } from "./threads.ts";
import { type InputData, type OutputTensor, type PortInfo, arrayType, isLong, outputTensor, storedBytes, storedElements } from "./values.ts";

export type { Input, SymbolInfo } from "./inputs.ts";
export type { InputData, NumberArray, OutputTensor, PortInfo } from "./values.ts";

/**
 * What runs a compiled model: memory, inputs and outputs, calls. The files of this folder import only one another: joined
 * (src/node/artifact.ts), and followed by a few lines about one model, their compiled texts are that model's `model.js`.
 */

export interface KernelInfo {
  readonly name: string;
  readonly origins: readonly string[];
}
/** A file of weights: the pieces follow one another. */
export interface WeightFile {
  readonly file: string;
  readonly bytes: number;
  /** SHA-256, in hex. */
  readonly hash: string;
}
/** A piece of the arena. */
export interface BufferInfo {
  readonly name: string;
  /** Bytes from the start of the arena, and their number; a text where symbols decide. */
  readonly offset: number | string;
  readonly bytes: number | string;
}
/** What the manifests (`model.json`) of all targets say. */
export interface ModelManifest {
  readonly format: "tilewright";
  readonly version: string;
  /** Ties manifest and code together: each module of target `wasm` holds it in a custom section named `tilewright`. */
  readonly id: string;
  readonly name: string;
  readonly target: string;
  /** Threads to run on where the caller does not say. */
  readonly threads: number;
  /** Launches of kernels that threads share; the others are too small for it. */
  readonly shared_launches: number;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly symbols: readonly SymbolInfo[];
  /** Sizes and places that a run computes, in the order in which it reports them. Dims of outputs may depend on them. */
  readonly data_symbols: readonly SymbolInfo[];
  /** What may end a run before its time, by number; `{}` stands for a value. */
  readonly faults: readonly string[];
  /** The fault that says that a run needs more room (its value: how much, in units of 64 bytes); null in a model whose needs are known. */
  readonly room_fault: number | null;
  readonly weight_bytes: number;
  /** Null when it depends on symbols. */
  readonly arena_bytes: number | null;
  readonly weights: readonly WeightFile[];
  readonly kernels: readonly KernelInfo[];
  /** Additions and multiplications of one run; null when it depends on symbols or is not known. */
  readonly flops: number | null;
  readonly buffers: readonly BufferInfo[];
  /** SHA-256 of the model's file. */
  readonly source_hash: string;
}

/** The manifest of target `wasm`. */
export interface Manifest extends ModelManifest {
  readonly target: "wasm";
  /** Byte address of the weights; the arena follows them. */
  readonly weights_base: number;
  /** Does main take the addresses of inputs and outputs after the symbols? Kept tensors are then used where they lie. */
  readonly movable_ports: boolean;
  readonly modules: readonly { readonly file: string; readonly relaxed: boolean; readonly shared: boolean; readonly bytes: number }[];
}

/** The manifest of target `c`. */
export interface CManifest extends ModelManifest {
  readonly target: "c";
  /** What the names of its C functions begin with. */
  readonly prefix: string;
  /** The kinds of processor that there is code for, widest first. */
  readonly levels: readonly string[];
  readonly files: readonly { readonly file: string; readonly bytes: number }[];
}

export interface ModelInfo {
  readonly target: string;
  readonly threads: number;
  /** Why there are no more threads. */
  readonly threads_reason: string;
  readonly relaxed_simd: boolean;
  /** Is the memory one that threads share? Views of it are then views of a SharedArrayBuffer. */
  readonly shared_memory: boolean;
  readonly arena_bytes: number;
  readonly weight_bytes: number;
  /** All of the model's memory, kept tensors included. */
  readonly memory_bytes: number;
  readonly kernels: readonly KernelInfo[];
}
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

/** A loaded model. Runs are queued; each copies its inputs in and its outputs out. */
export class Model {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  private readonly manifest: Manifest;
  private readonly start: StartOptions;
  private memory: WebAssembly.Memory | null;
  private exports: Exports;
  private readonly kept: KeptRegion;
  private readonly pool: ThreadPool | null;
  /** The largest arena that was needed. */
  private arenaBytes: number;
  /** Times 64 bytes of the arena that a run may use: of a model that places tensors while it runs. */
  private room = 0;
  private broken = false;
  private queue: Promise<unknown> = Promise.resolve();

  /** @internal use `startModel` */
  constructor(manifest: Manifest, start: StartOptions, memory: WebAssembly.Memory, exports: Exports, pool: ThreadPool | null) {
    this.manifest = manifest;
    this.inputs = manifest.inputs;
    this.outputs = manifest.outputs;
    this.start = start;
    this.memory = memory;
    this.exports = exports;
    this.kept = new KeptRegion(memory, alignUp(manifest.weights_base + manifest.weight_bytes + (manifest.arena_bytes ?? 0)));
    this.pool = pool;
    this.arenaBytes = manifest.arena_bytes ?? 0;
    if (pool === null) return;
    abandoned?.register(this, pool);
    if (manifest.symbols.length === 0) this.makeRoom([]);
  }

  /**
   * Runs the model once, after the runs asked for before.
   * @throws UserError for a missing or unknown input, or one of a wrong dtype, size or shape, and `size` where a size that the
   * model computes is not what it must be; InternalError when a kernel fails
   */
  run(inputs: Inputs, options?: RunOptions): Promise<Outputs>;
  run<K extends string>(inputs: Inputs, options: KeepOptions<K>): Promise<Record<K, KeptTensor> & Outputs>;
  run(inputs: Inputs, options: RunOptions | KeepOptions<string> = {}): Promise<Results> {
    const result = this.queue.then(() => this.execute(inputs, options));
    this.queue = result.catch(() => {});
    return result;
  }

  /** Runs at once, on this thread. */
  runNow(inputs: Inputs, options: RunOptions = {}): Outputs {
    return this.execute(inputs, options) as Outputs;
  }

  private execute(inputs: Inputs, options: RunOptions | KeepOptions<string>): Results {
    const { memory } = this;
    if (memory === null) throw new UserError("disposed", "the model was disposed of; load it again");
    if (this.broken) throw new UserError("broken", "an earlier run of the model failed; load it again");
    const keep = "keep" in options ? options.keep : [];
    const given = checkInputs(this.manifest, inputs, keep, this.kept);
    const symbols = bindSymbols(this.manifest, given, (i, k, values) => this.call(`input_${i}_dim_${k}`, values));
    if (symbols.length > 0 || this.dynamic) this.makeRoom(symbols);
    const blocks = this.keptBlocks(symbols, keep);
    try {
      given.forEach((g, i) => this.writeInput(memory, i, g, symbols));
      const ports = this.portAddresses(given, blocks, symbols);
      let data = this.runMain(memory, symbols, ports);
      // A run leaves the inputs as they were where it may have to be repeated.
      for (; data === null; data = this.runMain(memory, symbols, ports)) this.makeRoom(symbols);
      return this.readOutputs(memory, [...symbols, ...data], options.views ?? false, keep, blocks);
    } catch (e) {
      for (const b of blocks.values()) this.kept.free(b);
      throw e;
    }
  }

  /** Places among the kept tensors for outputs to keep, where main can write to them itself. */
  private keptBlocks(symbols: readonly number[], keep: readonly string[]): Map<string, Block> {
    const blocks = new Map<string, Block>();
    if (!this.manifest.movable_ports || this.manifest.data_symbols.length > 0) return blocks;
    this.outputs.forEach((p, i) => {
      if (!keep.includes(p.name)) return;
      blocks.set(p.name, this.kept.allocate(storedBytes(p.dtype, this.outputDims(p, i, symbols))));
    });
    return blocks;
  }
  private portAddresses(given: readonly Given[], blocks: ReadonlyMap<string, Block>, symbols: readonly number[]): number[] {
    if (!this.manifest.movable_ports) return [];
    const place = (b: Block) => this.kept.base + b.offset;
    return [
      ...given.map((g, i) => (g.kept === null ? this.call(`input_${i}`, symbols) : place(g.kept))),
      ...this.outputs.map((p, i) => {
        const b = blocks.get(p.name);
        return b === undefined ? this.call(`output_${i}`, symbols) : place(b);
      }),
    ];
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
    throw new InternalError("trap", `a kernel of ${this.manifest.name} failed (${fault}); this is a bug in tilewright`, { cause });
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
    const end = alignUp(weights_base + weight_bytes + arena + 64);
    const scratch = this.pool === null ? 0 : this.bytes("thread_bytes", symbols);
    this.kept.moveAbove(end + ((this.start.threads ?? 1) - 1) * scratch);
    this.pool?.setScratch(end, scratch);
    this.arenaBytes = Math.max(this.arenaBytes, arena);
  }

  private writeInput(memory: WebAssembly.Memory, i: number, given: Given, symbols: readonly number[]): void {
    const p = this.inputs[i] as PortInfo;
    const type = arrayType(p.dtype);
    if (given.kept !== null && this.manifest.movable_ports) return;
    const at = this.call(`input_${i}`, symbols);
    if (given.kept !== null) {
      this.kept.copyOut(given.kept, at, storedBytes(p.dtype, given.dims));
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
    this.outputs.forEach((p, i) => {
      const { at, dims } = places[i] as (typeof places)[number];
      if (!keep.includes(p.name)) return;
      out[p.name] = new KeptTensor(p.dtype, dims, blocks.get(p.name) ?? this.kept.copyIn(at, storedBytes(p.dtype, dims)), this.kept);
    });
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
    if (this.memory === null || kept.region !== this.kept || kept.block === null)
      throw new UserError("kept", "this tensor is not kept by this model (any more)");
    const view = new (arrayType(kept.dtype).make)(this.memory.buffer, this.kept.base + kept.block.offset, storedElements(kept.dtype, kept.dims));
    return { data: view.slice(), dims: kept.dims, dtype: kept.dtype };
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
      kernels: manifest.kernels,
    };
  }

  private threadsReason(): string {
    const { threads = 1, threadsMissing = null } = this.start;
    const missing = threadsMissing ?? this.pool?.missing ?? null;
    const asked = threads === 1 ? "one thread was asked for" : `${threads} threads were asked for`;
    return threads === 1 || missing === null ? asked : `${asked}, but ${missing}`;
  }

  /** Ends the threads and lets go of all memory. */
  dispose(): void {
    this.pool?.stop();
    this.memory = null;
    this.exports = {};
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
  const memory = makeMemory(manifest.weights_base + manifest.weight_bytes + (manifest.arena_bytes ?? 0), start.shared ?? false);
  const instance = await WebAssembly.instantiate(start.module, { env: { memory, clock: start.clock ?? (() => {}) } });
  const pool = start.shared ? new ThreadPool(memory) : null;
  const threads = start.threads ?? 1;
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

/** Pages that a shared memory may grow to: what this engine reserves, at best all that 32 bits can address. */
const mostPages = [65536, 32768, 16384, 8192];

/** @throws UserError `memory` when the engine gives no memory of that size */
function makeMemory(bytes: number, shared: boolean): WebAssembly.Memory {
  const initial = Math.ceil(bytes / pageBytes) + 1;
  const options: WebAssembly.MemoryDescriptor[] = shared
    ? [...mostPages.filter((p) => p >= initial), initial].map((maximum) => ({ initial, maximum, shared }))
    : [{ initial }];
  for (const o of options) {
    try {
      return new WebAssembly.Memory(o);
    } catch {
      // The next one asks for less.
    }
  }
  throw new UserError("memory", `the model needs ${Math.ceil(bytes / 2 ** 20)} MiB, more than this engine gives`);
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

import { InternalError, UserError } from "../../base/errors.ts";
import { addDisposal, disposedError, disposedWhileQueued, nothing, whenIdle } from "../../runtime/disposal.ts";
import { type Given, type Input, bindSymbols, checkInputs } from "../../runtime/inputs.ts";
import { type Block, type KeptPlace, KeptTensor } from "../../runtime/kept.ts";
import type { CManifest, KeepOptions, Model, ModelInfo, OutputTensor, Outputs, PortInfo, RunOptions } from "../../runtime/model.ts";
import { type InputData, type NumberArray, arrayType, isLong, outputTensor, storedBytes, storedElements } from "../../runtime/values.ts";
import type { Context, NativeLibrary, RunKind, Sizes } from "./library.ts";

/** What a native model needs to know of itself. */
export type NativeManifest = Pick<
  CManifest,
  | "prefix"
  | "name"
  | "inputs"
  | "outputs"
  | "symbols"
  | "data_symbols"
  | "faults"
  | "room_fault"
  | "weight_bytes"
  | "arena_bytes"
  | "kernels"
  | "shared_launches"
>;

/** What a model's runs may tell. */
export function runsOf(m: NativeManifest): RunKind {
  return { mayFail: m.data_symbols.length + m.faults.length > 0, hasSizes: m.data_symbols.length > 0 };
}

/** What the model is, and how it runs here. */
export interface NativeInfo extends ModelInfo {
  /** Which of its code runs: `portable`, `sse42`, `avx2` or `avx512`. */
  readonly level: string;
  /** The C compiler that made it. */
  readonly compiler: string;
  /** The shared library. */
  readonly library: string;
}

export interface NativeStart {
  readonly library: NativeLibrary;
  /** Its file, and the compiler that made it. */
  readonly file: string;
  readonly compiler: string;
  /** The file of weights; null when there are none. */
  readonly weights: string | null;
  readonly threads: number;
}

type Inputs = Readonly<Record<string, Input>>;
type Results = Record<string, OutputTensor | KeptTensor>;

/** Kept outputs: each in memory of its own that nobody else sees. */
class KeptArrays implements KeptPlace {
  readonly arrays = new Map<Block, NumberArray>();
  private readonly registry = new FinalizationRegistry<Block>((b) => this.arrays.delete(b));
  readonly watch = (handle: KeptTensor, block: Block): void => this.registry.register(handle, block, handle);
  readonly unwatch = (handle: KeptTensor, block: Block): void => {
    this.registry.unregister(handle);
    this.arrays.delete(block);
  };
  add(dtype: string, dims: readonly number[], array: NumberArray): KeptTensor {
    const block: Block = { offset: 0, bytes: array.byteLength, rows: null, handles: 1 };
    this.arrays.set(block, array);
    return new KeptTensor(dtype, dims, block, this);
  }
  get bytes(): number {
    return [...this.arrays.keys()].reduce((n, b) => n + b.bytes, 0);
  }
}

/** A run that passed all checks: the memory that the C code reads and writes. */
interface Prepared {
  readonly sizes: Sizes;
  readonly inputs: BigUint64Array;
  readonly outputs: BigUint64Array;
  /** Everything that the addresses point to. */
  readonly arrays: readonly NumberArray[];
  readonly results: readonly Result[];
}

/** An output: where it is copied to; null where the run computes its size. */
interface Result {
  readonly port: PortInfo;
  readonly made: { readonly dims: readonly number[]; readonly array: NumberArray } | null;
  readonly keep: boolean;
}

/** The context, apart from the model, so that it can be closed when nobody can reach the model any more. */
interface Held {
  readonly library: NativeLibrary;
  context: Context | null;
}
const abandoned = new FinalizationRegistry<Held>(release);
function release(held: Held): void {
  if (held.context !== null) held.library.close(held.context);
  held.context = null;
}

/**
 * A model that was compiled by this machine's C compiler and runs in this process, beside JavaScript: `run` computes on
 * another thread. Its use is that of a model of target `wasm`.
 */
export class NativeModel implements Pick<Model, keyof Model> {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  private readonly manifest: NativeManifest;
  private readonly start: NativeStart;
  private readonly held: Held;
  private readonly kept = new KeptArrays();
  /** For each input the place where its values are put before a run: in the arena itself, or memory that is copied from. */
  private places: (NumberArray | null)[];
  private readonly inArena: readonly boolean[];
  /**
   * Outputs that `runNow` gave as views; its next call writes them again where sizes are the same. A run beside JavaScript
   * always writes new ones: whoever has a view could transfer its memory away meanwhile.
   */
  private views: (NumberArray | null)[];
  private arenaBytes: number;
  private disposed = false;
  private running = false;
  private queue: Promise<unknown> = Promise.resolve();
  /** The same as `dispose`. Only where the engine has `Symbol.dispose`. */
  declare readonly [Symbol.dispose]: () => void;
  /** Disposes of the model after the runs that were asked for. Only where the engine has `Symbol.asyncDispose`. */
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;

  /** @internal use `compile`; @throws UserError when the model cannot be opened */
  constructor(manifest: NativeManifest, start: NativeStart) {
    this.manifest = manifest;
    this.start = start;
    this.inputs = manifest.inputs;
    this.outputs = manifest.outputs;
    this.arenaBytes = manifest.arena_bytes ?? 0;
    this.held = { library: start.library, context: start.library.open(start.weights, start.threads) };
    this.places = manifest.inputs.map((p, i) => this.placeInArena(p, i));
    this.inArena = this.places.map((p) => p !== null);
    this.views = manifest.outputs.map(() => null);
    abandoned.register(this, this.held, this);
  }

  /** An input's place in the arena, where it stays: in models without symbols whose needs are known. */
  private placeInArena(p: PortInfo, i: number): NumberArray | null {
    if (this.manifest.symbols.length > 0 || this.manifest.room_fault !== null || this.held.context === null) return null;
    const dims = p.dims as readonly number[];
    const [address, bytes] = [this.start.library.input(this.held.context, i), storedBytes(p.dtype, dims)];
    if (address === null || bytes === 0) return null;
    try {
      return new (arrayType(p.dtype).make)(this.start.library.ffi.view(address, bytes), 0, storedElements(p.dtype, dims));
    } catch {
      // Some hosts of Node do not let an ArrayBuffer be memory that is not theirs.
      return null;
    }
  }

  /**
   * Runs the model once, after the runs asked for before. The inputs' values are taken when the run starts.
   * @throws UserError for a missing or unknown input, or one of a wrong dtype, size or shape; `disposed` when the model is
   * disposed of before the run begins
   */
  run(inputs: Inputs, options?: RunOptions): Promise<Outputs>;
  run<K extends string>(inputs: Inputs, options: KeepOptions<K>): Promise<Record<K, KeptTensor> & Outputs>;
  run(inputs: Inputs, options: RunOptions | KeepOptions<string> = {}): Promise<Results> {
    if (this.disposed) return Promise.reject(disposedError());
    const result = this.queue.then(async () => {
      if (this.disposed) throw disposedWhileQueued();
      const context = this.context();
      const p = this.prepare(inputs, options, false);
      this.running = true;
      try {
        await this.start.library.runBeside(context, p.sizes, p.inputs, p.outputs);
        return this.collect(p, context);
      } finally {
        this.running = false;
        if (this.disposed) this.letGo();
      }
    });
    // Not the results themselves: they may be large.
    this.queue = result.then(nothing, nothing);
    return result;
  }

  /** Runs at once, on this thread. @throws UserError `busy` while a run asked for before goes on */
  runNow(inputs: Inputs, options: RunOptions = {}): Outputs {
    const context = this.context();
    if (this.running) throw new UserError("busy", "another run of the model is going on: await it first, or use run, which queues");
    const p = this.prepare(inputs, options, options.views ?? false);
    this.start.library.run(context, p.sizes, p.inputs, p.outputs);
    return this.collect(p, context) as Outputs;
  }

  private context(): Context {
    if (this.disposed || this.held.context === null) throw disposedError();
    return this.held.context;
  }

  private prepare(inputs: Inputs, options: RunOptions | KeepOptions<string>, reuse: boolean): Prepared {
    const keep = "keep" in options ? options.keep : [];
    const given = checkInputs(this.manifest, inputs, keep, this.kept);
    const { library } = this.start;
    const values = bindSymbols(this.manifest, given, (i, k, v) => library.inputDim(this.sizes(v), i, k));
    const sizes = this.sizes(values);
    if (sizes !== null) this.arenaBytes = Math.max(this.arenaBytes, library.arenaBytes(sizes));
    const sources = given.map((g, i) => this.source(g, i));
    const results = this.outputs.map((port, i): Result => {
      const kept = keep.includes(port.name);
      if (this.manifest.data_symbols.length > 0 && port.dims.some((d) => typeof d === "string")) return { port, made: null, keep: kept };
      const dims = port.dims.map((d, k) => (typeof d === "number" ? d : library.outputDim(sizes, i, k)));
      return { port, made: { dims, array: this.target(port, i, dims, reuse && !kept) }, keep: kept };
    });
    const address = (a: NumberArray | null): bigint => (a === null ? 0n : library.ffi.address(a));
    const outputs = results.map((r) => r.made?.array ?? null);
    return {
      sizes,
      inputs: BigUint64Array.from(sources, address),
      outputs: BigUint64Array.from(outputs, address),
      arrays: [...sources, ...outputs].flatMap((a) => a ?? []),
      results,
    };
  }

  private sizes(values: readonly number[]): Sizes {
    if (values.length === 0) return null;
    const large = values.findIndex((v) => v > 0x7fffffff);
    if (large >= 0) throw new UserError("shape", `'${this.manifest.symbols[large]?.name}' is ${values[large]}, too large for native code`);
    return Int32Array.from(values);
  }

  /** Puts an input's values where the run takes them from; null when that is the arena. */
  private source(g: Given, i: number): NumberArray | null {
    const p = this.inputs[i] as PortInfo;
    const kept = g.kept === null ? null : this.kept.arrays.get(g.kept);
    if (kept === undefined) throw new InternalError("native", `the kept tensor given as '${p.name}' has no memory`);
    const count = storedElements(p.dtype, g.dims);
    if (this.inArena[i]) {
      copyInto(this.places[i] as NumberArray, kept ?? (g.data as InputData), p.dtype);
      return null;
    }
    // Kept tensors are not in anybody's hands, so that they can be read while JavaScript goes on. All else is copied.
    if (kept !== null) return kept;
    const old = this.places[i];
    const place = old?.length === count ? old : new (arrayType(p.dtype).make)(count);
    this.places[i] = place;
    copyInto(place, g.data as InputData, p.dtype);
    return place;
  }

  private target(p: PortInfo, i: number, dims: readonly number[], view: boolean): NumberArray {
    const count = storedElements(p.dtype, dims);
    const make = (): NumberArray => new (arrayType(p.dtype).make)(count);
    if (!view) return make();
    const old = this.views[i];
    const array = old?.length === count ? old : make();
    this.views[i] = array;
    return array;
  }

  private collect(p: Prepared, context: Context): Results {
    const out: Results = {};
    p.results.forEach(({ port, made, keep }, i) => {
      const { dims, array } = made ?? this.readResult(context, port, i);
      out[port.name] = keep ? this.kept.add(port.dtype, dims, array) : outputTensor(port, dims, array);
    });
    return out;
  }

  /** An output whose size the run computed. */
  private readResult(context: Context, port: PortInfo, i: number): { readonly dims: readonly number[]; readonly array: NumberArray } {
    const { library } = this.start;
    const dims = port.dims.map((d, k) => (typeof d === "number" ? d : library.resultDim(context, i, k)));
    const array = new (arrayType(port.dtype).make)(storedElements(port.dtype, dims));
    if (array.length > 0) library.read(context, i, library.ffi.address(array));
    return { dims, array };
  }

  /** What a kept output holds, copied out. */
  read(kept: KeptTensor): OutputTensor {
    if (this.disposed) throw disposedError();
    const array = kept.region !== this.kept || kept.block === null ? undefined : this.kept.arrays.get(kept.block);
    if (array === undefined) throw new UserError("kept", "this tensor is not kept by this model (any more)");
    return { data: array.slice(), dims: kept.dims, dtype: kept.dtype };
  }

  /** What the model is, and how it runs here. */
  info(): NativeInfo {
    const { manifest, start } = this;
    const { context } = this.held;
    const threads = context === null ? 1 : start.library.threads(context);
    return {
      target: "native",
      threads,
      threads_reason: this.threadsReason(threads),
      relaxed_simd: false,
      shared_memory: false,
      arena_bytes: this.arenaBytes,
      weight_bytes: manifest.weight_bytes,
      maximum_bytes: null,
      memory_bytes: this.disposed ? 0 : manifest.weight_bytes + this.arenaBytes + this.kept.bytes,
      kernels: manifest.kernels,
      level: context === null ? "none" : start.library.levelName(context),
      compiler: start.compiler,
      library: start.file,
    };
  }

  private threadsReason(threads: number): string {
    const { threads: wanted } = this.start;
    const asked = wanted === 1 ? "one thread was asked for" : `${wanted} threads were asked for`;
    if (threads >= wanted || this.disposed) return asked;
    const why = this.manifest.shared_launches === 0 ? "none of the model's kernels has enough to do for several" : "the system gives no more";
    return `${asked}, but ${why}`;
  }

  /** Seconds of each launch of the last run, of a model built for profiling. */
  launchTimes(launches: number): number[] {
    return this.start.library.launchTimes(this.context(), launches);
  }

  /**
   * Ends the threads and lets go of all memory, that of kept tensors included. Runs that have not begun are rejected; one that is
   * going on is awaited, and gives its results. To call it again does nothing.
   */
  dispose(): void {
    this.disposed = true;
    abandoned.unregister(this);
    if (!this.running) this.letGo();
  }

  private letGo(): void {
    this.kept.arrays.clear();
    // Some of them are views of the arena.
    this.places = [];
    this.views = [];
    release(this.held);
  }

  static {
    addDisposal(
      NativeModel.prototype,
      (m) => m.dispose(),
      async (m) => {
        await whenIdle(() => m.queue);
        m.dispose();
      },
    );
  }
}

function copyInto(place: NumberArray, data: InputData, dtype: string): void {
  if (Array.isArray(data) && isLong(dtype)) place.set(data.map(BigInt) as never);
  else place.set(data as never);
}

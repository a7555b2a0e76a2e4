import { InternalError, UserError } from "../../base/errors.ts";
import type { Ffi, ForeignFunction } from "./ffi.ts";

/** A model's context inside its library. */
export type Context = bigint;

/** Sizes of symbols; null for a model that has none. */
export type Sizes = Int32Array | null;

/** A compiled model's C functions. Memory that a call is given must stay alive until it is over. */
export class NativeLibrary {
  readonly ffi: Ffi;
  private readonly prefix: string;
  private readonly functions: Readonly<Record<keyof typeof prototypes, ForeignFunction>>;
  private readonly times: ForeignFunction | null;
  /** What only models have whose runs compute sizes, or may fail. */
  private readonly told: Partial<Record<keyof typeof toldPrototypes, ForeignFunction>>;

  /**
   * @param profile the library was built with -DTW_PROFILE
   * @param runs what a run of the model may tell: why it failed, sizes that it computed
   * @throws InternalError `native` when the file cannot be loaded, or is no library of a model of that prefix
   */
  constructor(ffi: Ffi, file: string, prefix: string, profile: boolean, runs: RunKind) {
    this.ffi = ffi;
    this.prefix = prefix;
    try {
      const library = ffi.load(file);
      const bind = (prototype: string): ForeignFunction => library.func(prototype.replace("NAME", prefix));
      const names = Object.keys(prototypes) as (keyof typeof prototypes)[];
      this.functions = Object.fromEntries(names.map((n) => [n, bind(prototypes[n])])) as Record<keyof typeof prototypes, ForeignFunction>;
      this.told = {
        ...(runs.mayFail ? { fault: bind(toldPrototypes.fault) } : {}),
        ...(runs.hasSizes ? { result_dim: bind(toldPrototypes.result_dim), read: bind(toldPrototypes.read) } : {}),
      };
      this.times = profile ? bind("int NAME_launch_times(void *m, void *seconds, int capacity)") : null;
    } catch (e) {
      throw new InternalError("native", `${file} cannot be loaded: ${(e as Error).message}`);
    }
  }

  /** Opens the model on a file of weights (null: it has none). @throws UserError for what the C code refuses */
  open(weights: string | null, threads: number): Context {
    const out: [Context | null] = [null];
    this.check(this.functions.open(out, weights ?? "", threads));
    return out[0] as Context;
  }
  /** Ends the threads and frees all memory. */
  close(m: Context): void {
    this.functions.close(m);
  }
  /** Bytes of the arena. @throws UserError for sizes that the C code refuses */
  arenaBytes(sizes: Sizes): number {
    return this.size(this.functions.arena_bytes(sizes));
  }
  /** Where an input lies in the arena of a model without symbols. */
  input(m: Context, index: number): bigint | null {
    return (this.functions.input(m, null, index) as bigint | null) ?? null;
  }
  inputDim(sizes: Sizes, index: number, dim: number): number {
    return this.size(this.functions.input_dim(sizes, index, dim));
  }
  outputDim(sizes: Sizes, index: number, dim: number): number {
    return this.size(this.functions.output_dim(sizes, index, dim));
  }
  /** The level of code that runs: `portable`, `avx2`, … */
  levelName(m: Context): string {
    return String(this.functions.level_name(m));
  }
  /** Threads that the model really has. */
  threads(m: Context): number {
    return Number(this.functions.threads(m));
  }
  /** Runs at once. `inputs` and `outputs` hold addresses; 0 for an input that is in place. */
  run(m: Context, sizes: Sizes, inputs: BigUint64Array, outputs: BigUint64Array): void {
    this.checkRun(m, this.functions.run(m, sizes, inputs, outputs));
  }
  /** Runs on another thread. */
  runBeside(m: Context, sizes: Sizes, inputs: BigUint64Array, outputs: BigUint64Array): Promise<void> {
    return new Promise((resolve, reject) => {
      // Nothing else refers to the memory of the call while it goes on.
      const used = { sizes, inputs, outputs };
      calls.add(used);
      const done = (error: Error | null, status: unknown): void => {
        calls.delete(used);
        try {
          if (error !== null) throw new InternalError("native", `the call failed: ${error.message}`);
          this.checkRun(m, status);
          resolve();
        } catch (e) {
          reject(e as Error);
        }
      };
      try {
        this.functions.run.async(m, sizes, inputs, outputs, done);
      } catch (e) {
        calls.delete(used);
        reject(e as Error);
      }
    });
  }
  /** Seconds of each launch of the last run, of a library built for profiling. */
  launchTimes(m: Context, launches: number): number[] {
    if (this.times === null) throw new InternalError("native", "the library was not built for profiling");
    const seconds = new Float64Array(launches);
    const count = Number(this.times(m, seconds, launches));
    return [...seconds.subarray(0, Math.max(0, Math.min(count, launches)))];
  }

  /** A dimension of an output as the last run computed it. */
  resultDim(m: Context, index: number, dim: number): number {
    return this.size(this.told.result_dim?.(m, index, dim));
  }
  /** Copies an output of the last run, whose size it computed, to that address. */
  read(m: Context, index: number, to: bigint): void {
    this.check(this.told.read?.(m, index, to));
  }

  private checkRun(m: Context, status: unknown): void {
    if (Number(status) === statusData && this.told.fault !== undefined) {
      const value = new Int32Array(1);
      const text = String(this.told.fault(m, value));
      throw new UserError("size", text.replace("{}", String(value[0])));
    }
    this.check(status);
  }

  /** A size, or a status in its place. */
  private size(value: unknown): number {
    const size = Number(value);
    if (size < 0) this.check(size);
    return size;
  }

  private check(status: unknown): void {
    const code = Number(status);
    if (code === 0) return;
    throw new UserError(codes.get(code) ?? "native", `${this.prefix}: ${String(this.functions.error(code))}`);
  }
}

/** What runs of a model may tell. */
export interface RunKind {
  readonly mayFail: boolean;
  readonly hasSizes: boolean;
}

/** NAME_ERROR_DATA. */
const statusData = -11;

/** Codes of the errors that wrong inputs lead to; what a status means is told by the C code itself. */
const codes: ReadonlyMap<number, string> = new Map([
  [-5, "shape"],
  [-6, "memory"],
  [-8, "weights"],
  [-9, "memory"],
]);

/** Memory of calls that go on beside JavaScript. */
const calls = new Set<object>();

const prototypes = {
  open: "int NAME_open(_Out_ void **out, str weights, int threads)",
  close: "void NAME_close(void *m)",
  arena_bytes: "int64_t NAME_arena_bytes(void *symbols)",
  input: "void *NAME_input(void *m, void *symbols, int i)",
  input_dim: "int64_t NAME_input_dim(void *symbols, int i, int d)",
  level_name: "str NAME_level_name(void *m)",
  threads: "int NAME_threads(void *m)",
  output_dim: "int64_t NAME_output_dim(void *symbols, int i, int d)",
  run: "int NAME_run(void *m, void *symbols, void *inputs, void *outputs)",
  error: "str NAME_error(int status)",
} as const;

const toldPrototypes = {
  fault: "str NAME_fault(void *m, void *value)",
  result_dim: "int64_t NAME_result_dim(void *m, int i, int d)",
  read: "int NAME_read(void *m, int i, void *to)",
} as const;

/**
 * What runs a compiled model: memory, inputs and outputs, calls. It has no imports, so that its compiled text, followed by
 * a few lines about one model, is that model's `model.js`.
 */

export type NumberArray = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array | Uint32Array | BigUint64Array;
export type InputData = NumberArray | readonly number[] | readonly bigint[];
/** A value given to `run`: bare data where all dims are known, data with dims where one is symbolic, or a kept output. */
export type Input = InputData | { readonly data: InputData; readonly dims: readonly number[] } | KeptTensor;
export interface OutputTensor {
  readonly data: NumberArray;
  readonly dims: readonly number[];
  readonly dtype: string;
}

/** An output that stayed in the model; give it back as an input of a later run. */
export class KeptTensor {
  readonly dtype: string;
  readonly dims: readonly number[];
  /** @internal bytes held for the next run */
  readonly bytes: Uint8Array;
  constructor(dtype: string, dims: readonly number[], bytes: Uint8Array) {
    this.dtype = dtype;
    this.dims = dims;
    this.bytes = bytes;
  }
}

/** A symbolic dimension stands by its name or expression. */
export interface PortInfo {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly (number | string)[];
}
export interface SymbolInfo {
  readonly name: string;
  readonly min: number;
  readonly max: number | null;
  readonly multiple: number;
}
export interface KernelInfo {
  readonly name: string;
  readonly origins: readonly string[];
}
/** The manifest, `model.json`. */
export interface Manifest {
  readonly format: "tilewright";
  readonly version: string;
  readonly name: string;
  readonly target: "wasm";
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly symbols: readonly SymbolInfo[];
  /** Byte address of the weights, and their size; the arena follows. */
  readonly weights_base: number;
  readonly weight_bytes: number;
  /** Null when it depends on symbols. */
  readonly arena_bytes: number | null;
  readonly modules: readonly { readonly file: string; readonly relaxed: boolean; readonly shared: boolean; readonly bytes: number }[];
  readonly weights: string | null;
  readonly kernels: readonly KernelInfo[];
  readonly source_hash: string;
}

export interface ModelInfo {
  readonly target: string;
  readonly threads: number;
  /** Why there are no more threads. */
  readonly threads_reason: string;
  readonly relaxed_simd: boolean;
  readonly arena_bytes: number;
  readonly weight_bytes: number;
  readonly kernels: readonly KernelInfo[];
}
export interface RunOptions {
  /** Outputs are views of the model's memory, valid until the next run. */
  readonly views?: boolean;
  /** Names of outputs to keep inside; they come back as handles. */
  readonly keep?: readonly string[];
}
export type Outputs = Record<string, OutputTensor>;

interface ArrayClass {
  new (buffer: ArrayBufferLike, offset: number, length: number): NumberArray;
  new (n: number): NumberArray;
}
const arrays: Record<string, { readonly make: ArrayClass; readonly bits: number }> = {
  f32: { make: Float32Array, bits: 32 },
  f64: { make: Float64Array, bits: 64 },
  f16: { make: Uint16Array, bits: 16 },
  bf16: { make: Uint16Array, bits: 16 },
  i8: { make: Int8Array, bits: 8 },
  i16: { make: Int16Array, bits: 16 },
  i32: { make: Int32Array, bits: 32 },
  i64: { make: BigInt64Array, bits: 64 },
  u8: { make: Uint8Array, bits: 8 },
  u16: { make: Uint16Array, bits: 16 },
  u32: { make: Uint32Array, bits: 32 },
  u64: { make: BigUint64Array, bits: 64 },
  bool: { make: Uint8Array, bits: 8 },
  i4: { make: Uint8Array, bits: 4 },
  u4: { make: Uint8Array, bits: 4 },
};

/** Wrong use of a model: its message says what was got and what was expected. */
class UserError extends Error {
  override readonly name = "UserError";
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const shapeText = (dims: readonly (number | string)[]) => `[${dims.join(", ")}]`;
const elements = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
const pageBytes = 65536;

/** Does this engine take relaxed SIMD? A module of one function with an f32x4.relaxed_madd tells. */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(
    new Uint8Array([
      0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0, 10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11,
    ]),
  );
}

/** What it takes to start a model. `writeWeights` fills the weights' region; `relaxed` says which module this is. */
export interface StartOptions {
  readonly module: WebAssembly.Module;
  readonly relaxed: boolean;
  readonly writeWeights: (target: Uint8Array) => void | Promise<void>;
  readonly threadsReason: string;
}

type Exports = Record<string, (...symbols: number[]) => number>;

/** A loaded model. Runs are queued; each copies its inputs in and its outputs out. */
export class Model {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  private readonly manifest: Manifest;
  private readonly start: StartOptions;
  private memory: WebAssembly.Memory | null;
  private readonly exports: Exports;
  private queue: Promise<unknown> = Promise.resolve();

  /** @internal use `startModel` */
  constructor(manifest: Manifest, start: StartOptions, memory: WebAssembly.Memory, exports: Exports) {
    this.manifest = manifest;
    this.inputs = manifest.inputs;
    this.outputs = manifest.outputs;
    this.start = start;
    this.memory = memory;
    this.exports = exports;
  }

  /**
   * Runs the model once. @throws UserError for a missing or unknown input, or one of a wrong dtype, size or shape
   */
  run(inputs: Readonly<Record<string, Input>>, options: RunOptions = {}): Promise<Outputs> {
    const result = this.queue.then(() => this.runNow(inputs, options));
    this.queue = result.catch(() => {});
    return result;
  }

  /** Runs at once, on this thread. */
  runNow(inputs: Readonly<Record<string, Input>>, options: RunOptions = {}): Outputs {
    const memory = this.memory;
    if (memory === null) throw new UserError("disposed", "the model was disposed of; load it again");
    for (const name of Object.keys(inputs)) if (!this.inputs.some((p) => p.name === name)) throw new UserError("unknown-input", `there is no input '${name}'; the inputs are: ${this.describeInputs()}`);
    const given = this.inputs.map((p) => this.checkInput(p, inputs[p.name]));
    const symbols = this.bindSymbols(given);
    this.grow(memory, symbols);
    given.forEach((g, i) => this.writeInput(memory, i, g, symbols));
    this.call("main", symbols);
    return this.readOutputs(memory, symbols, options);
  }

  private call(name: string, symbols: readonly number[]): number {
    const f = this.exports[name];
    if (f === undefined) throw new UserError("artifact", `the module does not export '${name}'; it does not belong to this manifest`);
    return f(...symbols) >>> 0;
  }

  private describeInputs(): string {
    return this.inputs.map((p) => `${p.name}: ${p.dtype}${shapeText(p.dims)}`).join(", ");
  }

  private checkInput(p: PortInfo, value: Input | undefined): { data: InputData | Uint8Array; dims: readonly number[]; raw: boolean } {
    if (value === undefined) throw new UserError("missing-input", `input '${p.name}' is missing; the inputs are: ${this.describeInputs()}`);
    if (value instanceof KeptTensor) {
      if (value.dtype !== p.dtype) throw new UserError("dtype", `input '${p.name}': expected ${p.dtype}, got a kept ${value.dtype}`);
      return { data: value.bytes, dims: value.dims, raw: true };
    }
    const withDims = typeof value === "object" && "data" in value && "dims" in value;
    const data = withDims ? value.data : (value as InputData);
    const known = p.dims.every((d) => typeof d === "number");
    if (!withDims && !known) throw new UserError("shape", `input '${p.name}' has symbolic dims ${shapeText(p.dims)}: give { data, dims }`);
    const dims = withDims ? value.dims : (p.dims as readonly number[]);
    if (dims.length !== p.dims.length || dims.some((d, i) => !Number.isInteger(d) || d < 0 || (typeof p.dims[i] === "number" && p.dims[i] !== d))) throw new UserError("shape", `input '${p.name}': expected shape ${shapeText(p.dims)}, got ${shapeText(dims)}`);
    const type = arrays[p.dtype];
    if (type === undefined) throw new UserError("dtype", `input '${p.name}' has dtype ${p.dtype}, which this runtime does not know`);
    const plain = Array.isArray(data);
    if (!plain && !(data instanceof type.make) && !(p.dtype === "bool" && data instanceof Uint8Array)) throw new UserError("dtype", `input '${p.name}': expected a ${type.make.name} (${p.dtype}), got ${(data as object)?.constructor?.name ?? typeof data}`);
    const expected = type.bits === 4 ? Math.ceil(elements(dims) / 2) : elements(dims);
    if (data.length !== expected) throw new UserError("size", `input '${p.name}': shape ${shapeText(dims)} needs ${expected} elements, got ${data.length}`);
    return { data, dims, raw: false };
  }

  private bindSymbols(given: readonly { readonly dims: readonly number[] }[]): number[] {
    const { symbols } = this.manifest;
    const values = symbols.map((s) => {
      for (const [i, p] of this.inputs.entries()) {
        const d = p.dims.indexOf(s.name);
        if (d >= 0) return given[i]?.dims[d] as number;
      }
      throw new UserError("shape", `no input tells the size of '${s.name}'`);
    });
    symbols.forEach((s, i) => {
      const v = values[i] as number;
      if (v < s.min || (s.max !== null && v > s.max) || v % s.multiple !== 0) throw new UserError("shape", `'${s.name}' is ${v}, but must lie in [${s.min}, ${s.max ?? "∞"}]${s.multiple === 1 ? "" : ` and be a multiple of ${s.multiple}`}`);
    });
    this.inputs.forEach((p, i) => {
      p.dims.forEach((d, k) => {
        if (typeof d !== "string") return;
        const expected = this.call(`input_${i}_dim_${k}`, values);
        if (expected !== given[i]?.dims[k]) throw new UserError("shape", `input '${p.name}': dimension ${k} (${d}) must be ${expected}, got ${given[i]?.dims[k]}`);
      });
    });
    return values;
  }

  /** Makes room for the arena; the only place where memory grows. */
  private grow(memory: WebAssembly.Memory, symbols: readonly number[]): void {
    if (symbols.length === 0) return;
    const needed = this.manifest.weights_base + this.manifest.weight_bytes + this.call("arena_bytes", symbols) + 64;
    const missing = needed - memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      memory.grow(Math.ceil(missing / pageBytes));
    } catch {
      throw new UserError("memory", `these shapes need ${Math.ceil(needed / 2 ** 20)} MiB, more than this engine gives`);
    }
  }

  private writeInput(memory: WebAssembly.Memory, i: number, given: { data: InputData | Uint8Array; dims: readonly number[]; raw: boolean }, symbols: readonly number[]): void {
    const p = this.inputs[i] as PortInfo;
    const type = arrays[p.dtype] as (typeof arrays)[string];
    const at = this.call(`input_${i}`, symbols);
    if (given.raw) {
      new Uint8Array(memory.buffer, at, given.data.length).set(given.data as Uint8Array);
      return;
    }
    const target = new type.make(memory.buffer, at, given.data.length);
    if (!Array.isArray(given.data)) target.set(given.data as never);
    else if (type.bits === 64 && p.dtype !== "f64") target.set(given.data.map(BigInt) as never);
    else target.set(given.data as never);
  }

  private readOutputs(memory: WebAssembly.Memory, symbols: readonly number[], options: RunOptions): Outputs {
    const out: Record<string, OutputTensor | KeptTensor> = {};
    this.outputs.forEach((p, i) => {
      const type = arrays[p.dtype] as (typeof arrays)[string];
      const dims = p.dims.map((d, k) => (typeof d === "number" ? d : this.call(`output_${i}_dim_${k}`, symbols)));
      const n = type.bits === 4 ? Math.ceil(elements(dims) / 2) : elements(dims);
      const view = new type.make(memory.buffer, this.call(`output_${i}`, symbols), n);
      if (options.keep?.includes(p.name)) out[p.name] = new KeptTensor(p.dtype, dims, new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength).slice());
      else out[p.name] = { data: options.views ? view : view.slice(), dims, dtype: p.dtype };
    });
    return out as Outputs;
  }

  /** What the model is, and how it runs here. */
  info(): ModelInfo {
    const { manifest } = this;
    return {
      target: manifest.target,
      threads: 1,
      threads_reason: this.start.threadsReason,
      relaxed_simd: this.start.relaxed,
      arena_bytes: manifest.arena_bytes ?? Math.max(0, (this.memory?.buffer.byteLength ?? 0) - manifest.weights_base - manifest.weight_bytes),
      weight_bytes: manifest.weight_bytes,
      kernels: manifest.kernels,
    };
  }

  /** Lets go of all memory. */
  dispose(): void {
    this.memory = null;
  }
}

/** Instantiates a module with exactly the memory it needs and fills in the weights. */
export async function startModel(manifest: Manifest, start: StartOptions): Promise<Model> {
  const bytes = manifest.weights_base + manifest.weight_bytes + (manifest.arena_bytes ?? 0);
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / pageBytes) + 1 });
  const instance = await WebAssembly.instantiate(start.module, { env: { memory } });
  if (manifest.weight_bytes > 0) await start.writeWeights(new Uint8Array(memory.buffer, manifest.weights_base, manifest.weight_bytes));
  return new Model(manifest, start, memory, instance.exports as unknown as Exports);
}

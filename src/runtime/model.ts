/**
 * What runs a compiled model: memory, inputs and outputs, calls. It has no imports, so that its compiled text, followed by
 * a few lines about one model, is that model's `model.js`.
 */

export type NumberArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;
export type InputData = NumberArray | readonly number[] | readonly bigint[];
/** A value given to `run`: bare data where all dims are known, data with dims where one is symbolic, or a kept output. */
export type Input = InputData | { readonly data: InputData; readonly dims: readonly number[] } | KeptTensor;
export interface OutputTensor {
  readonly data: NumberArray;
  readonly dims: readonly number[];
  readonly dtype: string;
}

/**
 * An output that stayed in the model's memory; give it back as an input of a later run of the same model. It lies above the
 * arena until it is disposed of (or collected as garbage, which a loop without pauses may never see: dispose of handles
 * that are no longer needed).
 */
export class KeptTensor {
  readonly dtype: string;
  readonly dims: readonly number[];
  /** @internal the place inside the region of kept tensors; null after `dispose` */
  block: Block | null;
  /** @internal */
  readonly region: KeptRegion;
  constructor(dtype: string, dims: readonly number[], block: Block, region: KeptRegion) {
    this.dtype = dtype;
    this.dims = dims;
    this.block = block;
    this.region = region;
    region.watch(this, block);
  }
  /** Frees its memory; the handle cannot be used any more. */
  dispose(): void {
    if (this.block !== null) this.region.free(this.block);
    this.block = null;
  }
}

interface Block {
  /** Bytes from the start of the region. */
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Kept tensors lie in one region above the arena. It grows with the memory; when the arena needs the room (inputs of larger
 * sizes), the whole region moves up within the memory.
 */
class KeptRegion {
  readonly memory: WebAssembly.Memory;
  base: number;
  private readonly blocks = new Set<Block>();
  private readonly registry: FinalizationRegistry<Block>;
  constructor(memory: WebAssembly.Memory, base: number) {
    this.memory = memory;
    this.base = base;
    this.registry = new FinalizationRegistry((b) => this.blocks.delete(b));
  }
  get bytes(): number {
    let end = 0;
    for (const b of this.blocks) end = Math.max(end, b.offset + b.bytes);
    return end;
  }
  watch(handle: KeptTensor, block: Block): void {
    this.registry.register(handle, block);
  }
  free(block: Block): void {
    this.blocks.delete(block);
  }
  /** The lowest free place of that size; grows the memory when there is none. */
  allocate(size: number): Block {
    const bytes = alignUp(size);
    let offset = 0;
    for (const b of [...this.blocks].sort((x, y) => x.offset - y.offset)) {
      if (offset + bytes <= b.offset) break;
      offset = Math.max(offset, b.offset + b.bytes);
    }
    growMemory(this.memory, this.base + offset + bytes);
    const block = { offset, bytes };
    this.blocks.add(block);
    return block;
  }
  /** Makes room for an arena that ends at `end`. */
  moveAbove(end: number): void {
    const { bytes } = this;
    const base = Math.max(this.base, alignUp(end));
    growMemory(this.memory, base + bytes);
    if (base > this.base && bytes > 0) new Uint8Array(this.memory.buffer).copyWithin(base, this.base, this.base + bytes);
    this.base = base;
  }
  copyIn(from: number, size: number): Block {
    const block = this.allocate(size);
    new Uint8Array(this.memory.buffer).copyWithin(this.base + block.offset, from, from + size);
    return block;
  }
  copyOut(block: Block, to: number, size: number): void {
    const from = this.base + block.offset;
    new Uint8Array(this.memory.buffer).copyWithin(to, from, from + size);
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
/** The manifest, `model.json`. */
export interface Manifest {
  readonly format: "tilewright";
  readonly version: string;
  /** Ties manifest and modules together: each module holds it in a custom section named `tilewright`. */
  readonly id: string;
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
  readonly weights: readonly WeightFile[];
  readonly kernels: readonly KernelInfo[];
  /** Additions and multiplications of one run; null when it depends on symbols or is not known. */
  readonly flops: number | null;
  readonly buffers: readonly BufferInfo[];
  /** SHA-256 of the model's file. */
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
const alignUp = (n: number) => Math.ceil(n / 64) * 64;

/** Grows the memory to at least that many bytes. */
function growMemory(memory: WebAssembly.Memory, bytes: number): void {
  const missing = Math.ceil(bytes / pageBytes) - memory.buffer.byteLength / pageBytes;
  if (missing <= 0) return;
  try {
    memory.grow(missing);
  } catch {
    throw new UserError("memory", `${Math.ceil(bytes / 2 ** 20)} MiB are needed, more than this engine gives`);
  }
}

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
  /** Called after every launch of a module that was built for profiling. */
  readonly clock?: (launch: number) => void;
}

type Exports = Record<string, (...symbols: number[]) => number>;

interface Given {
  readonly data: InputData | null;
  readonly kept: Block | null;
  readonly dims: readonly number[];
}

/** A loaded model. Runs are queued; each copies its inputs in and its outputs out. */
export class Model {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  private readonly manifest: Manifest;
  private readonly start: StartOptions;
  private memory: WebAssembly.Memory | null;
  private readonly exports: Exports;
  private readonly kept: KeptRegion;
  private queue: Promise<unknown> = Promise.resolve();

  /** @internal use `startModel` */
  constructor(manifest: Manifest, start: StartOptions, memory: WebAssembly.Memory, exports: Exports) {
    this.manifest = manifest;
    this.inputs = manifest.inputs;
    this.outputs = manifest.outputs;
    this.start = start;
    this.memory = memory;
    this.exports = exports;
    this.kept = new KeptRegion(memory, alignUp(manifest.weights_base + manifest.weight_bytes + (manifest.arena_bytes ?? 0)));
  }

  /**
   * Runs the model once, after the runs asked for before.
   * @throws UserError for a missing or unknown input, or one of a wrong dtype, size or shape
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
    for (const name of Object.keys(inputs)) {
      if (!this.inputs.some((p) => p.name === name))
        throw new UserError("unknown-input", `there is no input '${name}'; the inputs are: ${describePorts(this.inputs)}`);
    }
    const keep = "keep" in options ? options.keep : [];
    for (const name of keep) {
      if (!this.outputs.some((p) => p.name === name))
        throw new UserError("unknown-output", `there is no output '${name}' to keep; the outputs are: ${describePorts(this.outputs)}`);
    }
    const given = this.inputs.map((p) => this.checkInput(p, Object.hasOwn(inputs, p.name) ? inputs[p.name] : undefined));
    const symbols = this.bindSymbols(given);
    this.makeRoom(symbols);
    given.forEach((g, i) => this.writeInput(memory, i, g, symbols));
    this.call("main", symbols);
    return this.readOutputs(memory, symbols, options.views ?? false, keep);
  }

  private call(name: string, symbols: readonly number[]): number {
    const f = this.exports[name];
    if (f === undefined) throw new UserError("artifact", `the module does not export '${name}'; it does not belong to this manifest`);
    return f(...symbols) >>> 0;
  }

  private checkInput(p: PortInfo, value: Input | undefined): Given {
    if (value === undefined || value === null)
      throw new UserError("missing-input", `input '${p.name}' is missing; the inputs are: ${describePorts(this.inputs)}`);
    if (value instanceof KeptTensor) {
      if (value.region !== this.kept) throw new UserError("kept", `input '${p.name}': this tensor was kept by another model`);
      if (value.block === null) throw new UserError("kept", `input '${p.name}': this kept tensor was disposed of`);
      if (value.dtype !== p.dtype) throw new UserError("dtype", `input '${p.name}': expected ${p.dtype}, got a kept ${value.dtype}`);
      checkDims(p, value.dims);
      return { data: null, kept: value.block, dims: value.dims };
    }
    const withDims = typeof value === "object" && "data" in value && "dims" in value;
    const data = withDims ? value.data : (value as InputData);
    const known = p.dims.every((d) => typeof d === "number");
    if (!withDims && !known) throw new UserError("shape", `input '${p.name}' has symbolic dims ${shapeText(p.dims)}: give { data, dims }`);
    const dims = withDims ? value.dims : (p.dims as readonly number[]);
    checkDims(p, dims);
    checkData(p, data, dims);
    return { data, kept: null, dims };
  }

  private bindSymbols(given: readonly Given[]): number[] {
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
      if (v < s.min || (s.max !== null && v > s.max) || v % s.multiple !== 0) {
        throw new UserError(
          "shape",
          `'${s.name}' is ${v}, but must lie in [${s.min}, ${s.max ?? "∞"}]${s.multiple === 1 ? "" : ` and be a multiple of ${s.multiple}`}`,
        );
      }
    });
    this.inputs.forEach((p, i) => {
      p.dims.forEach((d, k) => {
        if (typeof d !== "string") return;
        const expected = this.call(`input_${i}_dim_${k}`, values);
        if (expected !== given[i]?.dims[k])
          throw new UserError("shape", `input '${p.name}': dimension ${k} (${d}) must be ${expected}, got ${given[i]?.dims[k]}`);
      });
    });
    return values;
  }

  /** Makes room for the arena of these sizes; kept tensors move up if they are in the way. */
  private makeRoom(symbols: readonly number[]): void {
    if (symbols.length === 0) return;
    const { weights_base, weight_bytes } = this.manifest;
    this.kept.moveAbove(weights_base + weight_bytes + this.call("arena_bytes", symbols) + 64);
  }

  private writeInput(memory: WebAssembly.Memory, i: number, given: Given, symbols: readonly number[]): void {
    const p = this.inputs[i] as PortInfo;
    const type = arrayType(p.dtype);
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

  private readOutputs(memory: WebAssembly.Memory, symbols: readonly number[], views: boolean, keep: readonly string[]): Results {
    const out: Results = {};
    const places = this.outputs.map((p, i) => ({
      at: this.call(`output_${i}`, symbols),
      dims: p.dims.map((d, k) => (typeof d === "number" ? d : this.call(`output_${i}_dim_${k}`, symbols))),
    }));
    // First what is kept: it may grow the memory, after which older views are dead.
    this.outputs.forEach((p, i) => {
      const { at, dims } = places[i] as (typeof places)[number];
      if (keep.includes(p.name)) out[p.name] = new KeptTensor(p.dtype, dims, this.kept.copyIn(at, storedBytes(p.dtype, dims)), this.kept);
    });
    this.outputs.forEach((p, i) => {
      if (keep.includes(p.name)) return;
      const { at, dims } = places[i] as (typeof places)[number];
      const type = arrayType(p.dtype);
      const view = new type.make(memory.buffer, at, storedElements(p.dtype, dims));
      out[p.name] = { data: views ? view : view.slice(), dims, dtype: p.dtype };
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
      threads: 1,
      threads_reason: this.start.threadsReason,
      relaxed_simd: this.start.relaxed,
      arena_bytes: manifest.arena_bytes ?? Math.max(0, this.kept.base - manifest.weights_base - manifest.weight_bytes),
      weight_bytes: manifest.weight_bytes,
      memory_bytes: this.memory?.buffer.byteLength ?? 0,
      kernels: manifest.kernels,
    };
  }

  /** Lets go of all memory. */
  dispose(): void {
    this.memory = null;
  }
}

function describePorts(ports: readonly PortInfo[]): string {
  return ports.map((p) => `${p.name}: ${p.dtype}${shapeText(p.dims)}`).join(", ");
}
function arrayType(dtype: string): { readonly make: ArrayClass; readonly bits: number } {
  const type = arrays[dtype];
  if (type === undefined) throw new UserError("dtype", `this runtime does not know the dtype ${dtype}`);
  return type;
}
const isLong = (dtype: string) => dtype === "i64" || dtype === "u64";
/** Elements of the typed array that holds a tensor: 4-bit types lie two in a byte. */
function storedElements(dtype: string, dims: readonly number[]): number {
  return arrayType(dtype).bits === 4 ? Math.ceil(elements(dims) / 2) : elements(dims);
}
function storedBytes(dtype: string, dims: readonly number[]): number {
  return Math.ceil((elements(dims) * arrayType(dtype).bits) / 8);
}

function checkDims(p: PortInfo, dims: readonly number[]): void {
  const fits =
    Array.isArray(dims) &&
    dims.length === p.dims.length &&
    dims.every((d, i) => Number.isInteger(d) && d >= 0 && (typeof p.dims[i] !== "number" || p.dims[i] === d));
  if (!fits)
    throw new UserError(
      "shape",
      `input '${p.name}': expected shape ${shapeText(p.dims)}, got ${Array.isArray(dims) ? shapeText(dims) : String(dims)}`,
    );
}

/** The type of a value as a reader knows it: `Float32Array`, `Array`, `number`, … */
function typeName(data: unknown): string {
  return ArrayBuffer.isView(data)
    ? ((data as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? "DataView")
    : Array.isArray(data)
      ? "Array"
      : data === null
        ? "null"
        : (data?.constructor?.name ?? typeof data);
}

function checkData(p: PortInfo, data: InputData, dims: readonly number[]): void {
  const type = arrayType(p.dtype);
  const got = typeName(data);
  const half = p.dtype === "f16" || p.dtype === "bf16";
  const fits = got === type.make.name || (got === "Array" && !half && type.bits !== 4);
  if (!fits) throw new UserError("dtype", `input '${p.name}': expected a ${type.make.name} (${p.dtype}${half ? ", as its bits" : ""}), got ${got}`);
  const expected = storedElements(p.dtype, dims);
  if (data.length !== expected)
    throw new UserError("size", `input '${p.name}': shape ${shapeText(dims)} needs ${expected} elements, got ${data.length}`);
  if (got !== "Array") return;
  const long = isLong(p.dtype);
  const bad = (data as readonly unknown[]).findIndex(
    (v) => !(typeof v === "number" && (!long || Number.isSafeInteger(v))) && !(long && typeof v === "bigint"),
  );
  if (bad >= 0)
    throw new UserError(
      "dtype",
      `input '${p.name}': element ${bad} is ${String(data[bad])}, expected ${long ? "an integer" : "a number"} (${p.dtype})`,
    );
}

/** Instantiates a module with exactly the memory it needs and fills in the weights. */
export async function startModel(manifest: Manifest, start: StartOptions): Promise<Model> {
  checkModule(manifest, start.module);
  const bytes = manifest.weights_base + manifest.weight_bytes + (manifest.arena_bytes ?? 0);
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / pageBytes) + 1 });
  } catch {
    throw new UserError("memory", `the model needs ${Math.ceil(bytes / 2 ** 20)} MiB, more than this engine gives`);
  }
  const instance = await WebAssembly.instantiate(start.module, { env: { memory, clock: start.clock ?? (() => {}) } });
  if (manifest.weight_bytes > 0) await start.writeWeights(new Uint8Array(memory.buffer, manifest.weights_base, manifest.weight_bytes));
  return new Model(manifest, start, memory, instance.exports as unknown as Exports);
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

/** What an artifact's `load` takes. */
export interface LoadOptions {
  /** Threads wanted; `model.info()` tells how many there are and why not more. */
  readonly threads?: number;
  /** The weights, or where they are; of a sharded artifact all pieces in one, or the folder they are in. */
  readonly weights?: ArrayBuffer | Uint8Array | URL;
  /** One of the artifact's modules, where it is imported statically. */
  readonly wasm?: WebAssembly.Module;
}

/** Loads an artifact from the folder (a URL that ends in a slash) that it lies in. */
export async function loadArtifact(manifest: Manifest, folder: URL, options: LoadOptions = {}): Promise<Model> {
  const found = options.wasm === undefined ? await loadModule(manifest, folder) : { module: options.wasm, relaxed: usesRelaxed(options.wasm) };
  const asked = options.threads ?? 1;
  return startModel(manifest, {
    ...found,
    writeWeights: (target) => readWeights(manifest, folder, options.weights, target),
    threadsReason:
      asked > 1 ? `${asked} threads were asked for, but this artifact was compiled for one` : "this artifact was compiled for one thread",
  });
}

/** The kind of a module that was given: told by another custom section. */
function usesRelaxed(module: WebAssembly.Module): boolean {
  return WebAssembly.Module.customSections(module, "tilewright.relaxed").length > 0;
}

async function loadModule(manifest: Manifest, folder: URL): Promise<{ module: WebAssembly.Module; relaxed: boolean }> {
  const relaxedHere = hasRelaxedSimd();
  const chosen = manifest.modules.find((m) => m.relaxed && relaxedHere) ?? manifest.modules.find((m) => !m.relaxed);
  if (chosen === undefined)
    throw new UserError(
      "engine",
      "this artifact has only a module with relaxed SIMD, which this engine does not take; compile it with --features simd",
    );
  const bytes = new Uint8Array(chosen.bytes);
  await readInto(new URL(chosen.file, folder), bytes);
  return { module: await WebAssembly.compile(bytes), relaxed: chosen.relaxed };
}

async function readWeights(manifest: Manifest, folder: URL, given: LoadOptions["weights"], target: Uint8Array): Promise<void> {
  const total = manifest.weights.reduce((n, w) => n + w.bytes, 0);
  if (total !== target.length) throw new UserError("weights", `the manifest's weights have ${total} bytes, expected ${target.length}`);
  if (given !== undefined && !(given instanceof URL)) {
    const bytes = given instanceof Uint8Array ? given : new Uint8Array(given);
    if (bytes.length !== total) throw new UserError("weights", `the given weights have ${bytes.length} bytes, expected ${total}`);
    target.set(bytes);
    return;
  }
  let at = 0;
  for (const w of manifest.weights) {
    const single = given !== undefined && manifest.weights.length === 1 && !given.pathname.endsWith("/");
    await readInto(single ? given : new URL(w.file, given ?? folder), target.subarray(at, at + w.bytes));
    at += w.bytes;
  }
}

/** Reads a whole file, which must have exactly the target's length, without a second copy of it. */
async function readInto(url: URL, target: Uint8Array): Promise<void> {
  const wrong = (got: string) =>
    new UserError("artifact", `${url}: expected ${target.length} bytes, got ${got}: the file is damaged, or belongs to another build`);
  if (url.protocol === "file:") {
    const name = "node:fs/promises";
    const fs = (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as typeof import("node:fs/promises");
    const file = await fs.open(url).catch((e: Error) => {
      throw new UserError("artifact", `${url.pathname}: cannot be read (${e.message})`);
    });
    try {
      const { size } = await file.stat();
      if (size !== target.length) throw wrong(String(size));
      for (let at = 0; at < size; ) {
        const { bytesRead } = await file.read(target, at, Math.min(size - at, 1 << 26), at);
        if (bytesRead === 0) throw wrong(String(at));
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
    return;
  }
  const response = await fetch(url);
  if (!response.ok || response.body === null) throw new UserError("artifact", `${url}: ${response.status} ${response.statusText}`);
  let at = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > target.length) throw wrong("more");
    target.set(value, at);
    at += value.length;
  }
  if (at !== target.length) throw wrong(String(at));
}

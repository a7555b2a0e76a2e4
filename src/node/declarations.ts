import type { Manifest, PortInfo } from "../runtime/model.ts";

const arrays: Readonly<Record<string, string>> = {
  f32: "Float32Array",
  f64: "Float64Array",
  f16: "Uint16Array",
  bf16: "Uint16Array",
  i8: "Int8Array",
  i16: "Int16Array",
  i32: "Int32Array",
  i64: "BigInt64Array",
  u8: "Uint8Array",
  u16: "Uint16Array",
  u32: "Uint32Array",
  u64: "BigUint64Array",
  bool: "Uint8Array",
  i4: "Uint8Array",
  u4: "Uint8Array",
};

function arrayOfPort(p: PortInfo): string {
  return arrays[p.dtype] ?? "Uint8Array";
}
function dims(p: PortInfo): string {
  return `[${p.dims.map(() => "number").join(", ")}]`;
}
function shape(p: PortInfo): string {
  return `${p.dtype}[${p.dims.join(", ")}]`.replaceAll("*/", "* /");
}

function inputType(p: PortInfo): string {
  const packed = !/^(f32|f64|bool|[iu](8|16|32|64))$/.test(p.dtype);
  const long = p.dtype === "i64" || p.dtype === "u64";
  const data = [arrayOfPort(p), ...(packed ? [] : ["readonly number[]"]), ...(long ? ["readonly bigint[]"] : [])].join(" | ");
  const withDims = `{ readonly data: ${data}; readonly dims: readonly ${dims(p)} }`;
  return p.dims.every((d) => typeof d === "number") ? `${data} | ${withDims} | KeptTensor` : `${withDims} | KeptTensor`;
}

function outputType(p: PortInfo): string {
  const tensor = `OutputTensor<${arrayOfPort(p)}, ${dims(p)}>`;
  if (p.labels === undefined) return tensor;
  const keys = p.labels.map((l) => JSON.stringify(l)).join(" | ");
  return `${tensor} & { readonly maps: readonly ReadonlyMap<${keys}, number>[] }`;
}

/** The first line of generated files: a comment, whatever the model is called. */
export function headLine(m: Pick<Manifest, "name" | "version">): string {
  return `// ${m.name.replace(/[\r\n\u2028\u2029]+/g, " ")}, compiled by tilewright ${m.version}`;
}

/** `model.d.ts`: names, dtypes and ranks of this model's inputs and outputs. */
export function declarationsOf(m: Manifest): string {
  const field = (name: string, type: string, comment: string) => `  /** ${comment} */\n  readonly ${JSON.stringify(name)}: ${type};`;
  return `${headLine(m)}
/// <reference lib="esnext.disposable" />

/** An output that stayed in the model's memory; give it back as an input, and dispose of it when it is no longer needed. */
export interface KeptTensor {
  readonly dtype: string;
  readonly dims: readonly number[];
  dispose(): void;
  [Symbol.dispose](): void;
}
export interface OutputTensor<A, D> {
  readonly data: A;
  readonly dims: D;
  readonly dtype: string;
}
export interface Inputs {
${m.inputs.map((p) => field(p.name, inputType(p), shape(p))).join("\n")}
}
export interface Outputs {
${m.outputs.map((p) => field(p.name, outputType(p), shape(p))).join("\n")}
}
export interface PortInfo {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly (number | string)[];
  /** Keys of the maps of an output that is a list of maps. */
  readonly labels?: readonly (number | string)[];
}
export interface ModelInfo {
  readonly target: string;
  readonly threads: number;
  readonly threads_reason: string;
  readonly relaxed_simd: boolean;
  readonly shared_memory: boolean;
  readonly arena_bytes: number;
  readonly weight_bytes: number;
  readonly memory_bytes: number;
  readonly maximum_bytes: number | null;
  readonly kernels: readonly { readonly name: string; readonly origins: readonly string[] }[];
}
export interface Model {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  /** Runs once, after the runs asked for before. With \`views\`, outputs are views of the model's memory, valid until the next run. */
  run(inputs: Inputs, options?: { readonly views?: boolean }): Promise<Outputs>;
  /** Outputs named in \`keep\` stay inside and come back as handles. */
  run<K extends keyof Outputs>(inputs: Inputs, options: { readonly keep: readonly K[]; readonly views?: boolean }): Promise<{ [P in keyof Outputs]: P extends K ? KeptTensor : Outputs[P] }>;
  /** What a kept output holds, copied out. */
  read(kept: KeptTensor): OutputTensor<ArrayBufferView, readonly number[]>;
  info(): ModelInfo;
  /** Ends the threads and frees all memory; runs that have not begun are rejected. */
  dispose(): void;
  /** For \`using\`, in engines that know it. */
  [Symbol.dispose](): void;
  /** For \`await using\`: disposes of the model after the runs that were asked for. */
  [Symbol.asyncDispose](): Promise<void>;
}
export interface LoadOptions {
  /** Threads wanted; \`info()\` tells how many there are and why not more. */
  readonly threads?: number;
  /** The weights, or where they are; of a sharded artifact all pieces in one, or the folder they are in. */
  readonly weights?: ArrayBuffer | Uint8Array | URL;
  /** One of the artifact's modules, where it is imported statically, or its bytes. */
  readonly wasm?: WebAssembly.Module | ArrayBuffer | Uint8Array;
}
export function load(options?: LoadOptions): Promise<Model>;
`;
}

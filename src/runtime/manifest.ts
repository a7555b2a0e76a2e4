import type { Growth } from "./caches.ts";
import type { SymbolInfo } from "./inputs.ts";
import type { MemoryPlan } from "./memory.ts";
import type { PortInfo } from "./values.ts";

/** What is written down of a compiled model (`model.json`), and what a loaded one tells of itself. */

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
interface BufferInfo {
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
  /** Outputs that may lie where an input does; for each main takes, before the addresses, the rows that the two places have room for. */
  readonly growths: readonly Growth[];
  readonly memory: MemoryPlan;
  /** The weights are in pieces whose hashes are checked while they are loaded. */
  readonly sharded: boolean;
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
  /** What the memory may grow to; null where the sizes of inputs, or those that the model computes, have no bound. */
  readonly maximum_bytes: number | null;
  readonly kernels: readonly KernelInfo[];
}

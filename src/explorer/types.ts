import type { DimSymbol } from "../base/dim.ts";
import type { ErrorInfo, Progress, Stage } from "../worker/protocol.ts";

export type { ErrorInfo, Stage } from "../worker/protocol.ts";

/** How far compilation is. */
export type ProgressView = Progress;

/**
 * What the explorer tells of a model and of its compilation: plain data, which a worker can send to a page. Texts of whole
 * IRs and graphs can be large, and are asked for one by one (`TextRef`, `GraphView`).
 */

/** An input or output. A symbolic dimension stands by its name or expression; dims are null where the rank is unknown. */
export interface PortView {
  readonly name: string;
  /** By our name (`f32`), or by ONNX's for what we do not have. */
  readonly dtype: string;
  readonly dims: readonly (number | string)[] | null;
}

export interface SymbolView {
  readonly name: string;
  readonly min: number;
  /** Null where there is no upper bound. */
  readonly max: number | null;
  readonly multiple: number;
  /** `input`: it follows from the sizes of the inputs. `data`: the model computes it. */
  readonly source: DimSymbol["source"];
}

/** Why one node cannot be compiled. */
export interface ProblemView {
  /** With its domain, where it is not ONNX's own: `com.microsoft.Gelu`. */
  readonly op: string;
  /** Of the opset; 0 where it does not matter. */
  readonly version: number;
  readonly node: string;
  readonly reason: string;
}

/** What a model's file holds. */
export interface ModelView {
  readonly name: string;
  /** `ONNX, IR version 8`, `graph IR text`, … */
  readonly format: string;
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly bytes: number;
  /** Nodes of the file, and how many there are of each op, most frequent first. */
  readonly nodes: number;
  readonly ops: Readonly<Record<string, number>>;
  /** Elements of all weights. */
  readonly parameters: number;
  readonly inputs: readonly PortView[];
  readonly outputs: readonly PortView[];
  readonly symbols: readonly SymbolView[];
  /** Everything that stands in the way of compiling it. */
  readonly problems: readonly ProblemView[];
  /** Files of weights that belong to the model and were not given. It is told of as far as that goes without them; it cannot be run. */
  readonly missingFiles: readonly string[];
  /** Additions and multiplications of one run, a multiply-add counting two; null where symbols decide, or nobody knows. */
  readonly flops: number | null;
}

/** One step of the compiler. The first one is the model as it was read. */
export interface StepView {
  /** Its place in the list. */
  readonly step: number;
  readonly stage: Stage;
  readonly name: string;
  /** What the step is for, in one sentence; empty where nobody wrote it down. */
  readonly doc: string;
  readonly ms: number;
  readonly changed: boolean;
  /** Rewrite rules that fired, and how often. */
  readonly rules: Readonly<Record<string, number>>;
  /** Is there a text (`TextRef` of kind `step`)? */
  readonly text: boolean;
  /** Is there a graph (`GraphView`)? */
  readonly graph: boolean;
  /** The last step before it with a text of the same stage, to compare with; null for the first one. */
  readonly before: number | null;
}

export interface ValueView {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly (number | string)[];
}

/** `constant`: a weight, or a small constant. `parameter` and `result` are those of a region (the body of an `if` or `loop`). */
export type NodeKind = "input" | "output" | "constant" | "op" | "parameter" | "result";

export interface NodeView {
  /** Its place in the list. */
  readonly id: number;
  readonly kind: NodeKind;
  /** The op's name (`convolution`), or that of the port. */
  readonly op: string;
  /** Values that it gives, with their types; of an output the one that it takes. */
  readonly values: readonly ValueView[];
  /** Attributes as the IR's text has them. */
  readonly attrs: Readonly<Record<string, string>>;
  /** The nodes of the model's file that it stands for. */
  readonly origins: readonly string[];
  /** The node whose region it lies in, and which region, from 0; null for the model's own. */
  readonly parent: { readonly node: number; readonly region: number } | null;
}

export interface EdgeView {
  readonly from: number;
  readonly to: number;
  /** Which of the values of `from`, and which operand of `to`. */
  readonly value: number;
  readonly operand: number;
}

/** The graph after a step. Nodes are in order: each after those that it uses. */
export interface GraphView {
  readonly step: number;
  readonly nodes: readonly NodeView[];
  readonly edges: readonly EdgeView[];
}

/** Code that was generated. Launches that are alike share one kernel. */
export interface KernelView {
  /** Its place in the list. */
  readonly kernel: number;
  readonly name: string;
  /** The nodes of the model's file that it serves. */
  readonly origins: readonly string[];
  /** By place in the list of launches. */
  readonly launches: readonly number[];
  /** As one line of JSON, which `parseSchedule` reads; empty for kernels that have none. */
  readonly schedule: string;
  /** The same for readers. */
  readonly scheduleText: string;
  /** Of the WebAssembly function; null where it is in no module. */
  readonly codeBytes: number | null;
  readonly instructions: number | null;
}

/** One call of a kernel in the program's `main`; the same call in a loop may run many times. */
export interface LaunchView {
  /** Its place in the list; profiling builds number launches so too. */
  readonly launch: number;
  readonly kernel: number;
  readonly origins: readonly string[];
  /** Additions and multiplications of its nodes in the model; null where there are none, or symbols decide. */
  readonly flops: number | null;
  /**
   * What its code does: every operation on data counted once, a multiply-add as two. Less than `flops` where an algorithm saves
   * arithmetic (Winograd), more where a node has none of its own in the model (a maximum). Null where symbols decide.
   */
  readonly operations: number | null;
  /** Bytes of the tensors that it reads and writes, each counted once; null where symbols decide. */
  readonly bytes: number | null;
  /** Names of the tensors that it reads and writes. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** May threads share it? */
  readonly shared: boolean;
}

export type BufferRole = "input" | "output" | "value" | "scratch" | "report";

/** A piece of the arena. */
export interface BufferView {
  readonly name: string;
  readonly role: BufferRole;
  /** Bytes from the arena's start, and their number, at the plan's `sizes`. */
  readonly offset: number;
  readonly bytes: number;
  /** The same as expressions of symbols. */
  readonly offsetText: string;
  readonly bytesText: string;
  /** The first and the last launch during which it is in use: -1 stands for the time before the first, the number of launches for that after the last. */
  readonly first: number;
  readonly last: number;
}

export interface WeightView {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly (number | string)[];
  /** Bytes from the start of the weights. */
  readonly offset: number;
  readonly bytes: number;
  readonly origins: readonly string[];
}

export interface MemoryView {
  /** What symbols were taken to be. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly arenaBytes: number;
  readonly weightBytes: number;
  readonly buffers: readonly BufferView[];
  /** Does the model place more tensors, whose sizes it computes, while it runs? */
  readonly grows: boolean;
  /** Launches in all. */
  readonly launches: number;
}

export interface CodeView {
  /** Bytes of the module that runs here. */
  readonly bytes: number;
  readonly relaxedSimd: boolean;
  readonly sharedMemory: boolean;
}

/** What was made of a model. */
export interface ProgramView {
  readonly kernels: readonly KernelView[];
  readonly launches: readonly LaunchView[];
  readonly weights: readonly WeightView[];
  /** At usual sizes of the symbols, a batch of one; others can be asked for. */
  readonly memory: MemoryView;
  readonly code: CodeView;
}

/** All that is told of a model at once. */
export interface Exploration {
  readonly model: ModelView;
  /** Up to where it went: all of them where there is no error. */
  readonly steps: readonly StepView[];
  /** Null where compilation failed: then `error` says why. */
  readonly program: ProgramView | null;
  readonly error: ErrorInfo | null;
  /** Milliseconds from the bytes to the code. */
  readonly compileMs: number;
}

/** A text to ask for. */
export type TextRef =
  /** The IR after a step. */
  | { readonly kind: "step"; readonly step: number }
  /** A kernel in loop IR, or in WebAssembly's text format. */
  | { readonly kind: "loop" | "wasm"; readonly kernel: number };

/** How the model is to be compiled. */
export interface ExploreOptions {
  /** For messages; `model` without it. */
  readonly name?: string;
  /** Fixes inputs' shapes, by input name. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** Fixes or bounds symbolic dims, by name. */
  readonly symbols?: Readonly<Record<string, number | { readonly min?: number; readonly max?: number; readonly multiple?: number }>>;
  readonly threads?: number;
  readonly exact?: boolean;
  readonly deterministic?: boolean;
  /** Files of external data, by the location that the model gives. */
  readonly files?: Readonly<Record<string, Uint8Array | Blob>>;
}

/** A tensor that is given or that comes out. What is narrower than a byte is packed; halves are given as their bits. */
export interface TensorView {
  readonly dtype: string;
  readonly dims: readonly number[];
  readonly data: ArrayBufferView;
}

/** Values for inputs by name; those that are missing are drawn at random. */
export interface RunRequest {
  readonly inputs?: Readonly<Record<string, { readonly data: ArrayBufferView | readonly number[]; readonly dims: readonly number[] }>>;
  /** Of symbols in shapes of inputs that are not given; without it those of `ProgramView.memory`. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Of the random numbers. */
  readonly seed?: number;
}

export interface RunView {
  readonly ms: number;
  /** What the model was given, random inputs included. */
  readonly inputs: Readonly<Record<string, TensorView>>;
  readonly outputs: Readonly<Record<string, TensorView>>;
  readonly threads: number;
  readonly threadsReason: string;
  readonly memoryBytes: number;
}

/** Where a launch's time goes. */
export interface LaunchTime {
  readonly launch: number;
  /** Mean over the runs, but those in which something else had the processor; of a launch in a loop the sum of its turns. */
  readonly ms: number;
  /** As in LaunchView, at the sizes of the run. */
  readonly flops: number | null;
  readonly operations: number | null;
  readonly bytes: number | null;
}

export interface ProfileRequest extends RunRequest {
  /** Samples to take; 20 without. Runs that are shorter than clocks can tell are timed several at once. */
  readonly runs?: number;
}

/** What the machine can do, measured in this engine on one thread. */
export interface MachineView {
  /** Multiply-adds in registers, each counted as two: GFLOP/s. */
  readonly gflops: number;
  /** Reading memory that no cache holds: GB/s. */
  readonly memoryGBs: number;
  /** Reading what fits the first cache: GB/s. */
  readonly cacheGBs: number;
}

export interface ProfileView {
  readonly runs: number;
  /** Of the normal build, which reads no clock. */
  readonly medianMs: number;
  readonly minMs: number;
  /** By how much the profiling build takes longer: 0.05 is five per cent. */
  readonly overhead: number;
  readonly launches: readonly LaunchTime[];
  readonly machine: MachineView;
  readonly threads: number;
  readonly relaxedSimd: boolean;
}

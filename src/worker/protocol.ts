import type { CompileOptions } from "../load.ts";
import type { Manifest } from "../runtime/model.ts";
import type { ScheduleDatabase } from "../schedule/database.ts";

/**
 * What a page and the worker that compiles for it say to one another. The worker compiles one model: it tells of its
 * progress, then sends the module, then the weights piece by piece, and ends with `done`; or it sends an error.
 */

/** An error in words, as it crosses to another thread. */
export interface ErrorInfo {
  /** `UserError`, `UnsupportedError`, `VerifyError`, `InternalError`; or the name of an error that is none of ours. */
  readonly name: string;
  /** Stable: programs may match on it. Empty for an error that is none of ours. */
  readonly code: string;
  readonly message: string;
  /** What an UnsupportedError lists, or the violations of a VerifyError. */
  readonly items: readonly string[];
}

export type Stage = "graph" | "tensor" | "schedule" | "loop" | "code";

/** How far compilation is. */
export interface Progress {
  /** The step that has just been done, and the stage that it belongs to. */
  readonly stage: Stage;
  readonly name: string;
  /** Steps that are done, and all of them. */
  readonly done: number;
  readonly of: number;
}

/** Where a model comes from: bytes; a Blob, which the worker reads; or, in Node, the path of its file. */
export type SentModel = Uint8Array | Blob | string;

/** The compiler's options as they can be sent. */
export interface SentOptions extends Omit<CompileOptions, "database" | "signal"> {
  readonly files?: Readonly<Record<string, Uint8Array | Blob>>;
  readonly database?: {
    readonly database: ScheduleDatabase;
    /** The machine's id without and with relaxed SIMD. */
    readonly machines: readonly [string, string];
  };
}

/** To the worker, once. */
export interface Job {
  readonly tilewright: "compile";
  readonly model: SentModel;
  readonly options: SentOptions;
}

/** From the worker. */
export type News =
  /** At once, so that the page knows that its worker understands it. */
  | { readonly kind: "begun" }
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "note"; readonly text: string }
  | {
      readonly kind: "start";
      readonly manifest: Manifest;
      readonly module: WebAssembly.Module;
      readonly relaxed: boolean;
      readonly shared: boolean;
      readonly threadsMissing: string | null;
    }
  | { readonly kind: "weights"; readonly offset: number; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "done" }
  | { readonly kind: "error"; readonly error: ErrorInfo };

/** A worker, whichever kind it is of, as the page's side uses it. */
export interface CompilerThread {
  /** Is told what the worker says, and why it failed where it did. */
  readonly listen: (news: (n: News) => void, failed: (why: string) => void) => void;
  readonly send: (job: Job, transfer: Transferable[]) => void;
  readonly end: () => void;
}

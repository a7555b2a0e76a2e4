import type {
  ErrorInfo,
  Exploration,
  ExploreOptions,
  GraphView,
  MachineView,
  MemoryView,
  ProfileRequest,
  ProfileView,
  ProgressView,
  RunRequest,
  RunView,
  TextRef,
} from "./types.ts";

/**
 * What a page and the worker that explores for it say to one another. Every request has a number, which its answer names;
 * a request is answered once, after any number of messages about its progress.
 */

/** Each thing to ask for: what is sent, and what comes back. All but `open` are about the model that was opened last. */
export interface Calls {
  /** Compiles a model. */
  readonly open: { readonly give: { readonly bytes: Uint8Array; readonly options: ExploreOptions }; readonly get: Exploration };
  readonly text: { readonly give: TextRef; readonly get: string };
  readonly graph: { readonly give: { readonly step: number }; readonly get: GraphView };
  readonly memory: { readonly give: { readonly sizes: Readonly<Record<string, number>> }; readonly get: MemoryView };
  readonly run: { readonly give: RunRequest; readonly get: RunView };
  readonly profile: { readonly give: ProfileRequest; readonly get: ProfileView };
  readonly machine: { readonly give: Record<string, never>; readonly get: MachineView };
}
export type CallName = keyof Calls;

/** From the page. */
export type Request = { readonly [K in CallName]: { readonly kind: K; readonly id: number } & { readonly give: Calls[K]["give"] } }[CallName];
/** The request is not wanted any more: it is answered at once where that can be. */
export interface Cancel {
  readonly kind: "cancel";
  readonly id: number;
}

/** From the worker. */
export type Answer =
  | { readonly kind: "result"; readonly id: number; readonly get: unknown }
  | { readonly kind: "error"; readonly id: number; readonly error: ErrorInfo }
  | { readonly kind: "progress"; readonly id: number; readonly progress: ProgressView };

/** The side of a Worker, or of the worker's own scope, that is used here. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: "message", listener: (e: MessageEvent) => void): void;
}

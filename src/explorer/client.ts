import { UserError } from "../base/errors.ts";
import { errorOf } from "../worker/errors.ts";
import type { Answer, CallName, Calls, Request } from "./protocol.ts";
import type {
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

/** The part of a Worker that is used here. */
export interface ExplorerWorker {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: "message", listener: (e: MessageEvent<Answer>) => void): void;
  addEventListener(type: "error", listener: (e: ErrorEvent) => void): void;
  terminate(): void;
}

export interface CallOptions {
  /** Ends the call: it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}
export interface OpenOptions extends CallOptions {
  readonly onProgress?: (p: ProgressView) => void;
}

interface Waiting {
  readonly kind: CallName;
  readonly done: (value: never) => void;
  readonly failed: (e: unknown) => void;
  readonly progress: ((p: ProgressView) => void) | undefined;
}

/**
 * Explores models in a worker, so that the page stays free. One model is open at a time; what is asked about an earlier one
 * rejects with an AbortError.
 */
export class ExplorerClient {
  private readonly start: () => ExplorerWorker;
  private worker: ExplorerWorker | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private next = 1;

  /** `start` makes the worker, whose script is `tilewright/explorer`'s thread. */
  constructor(start: () => ExplorerWorker = startWorker) {
    this.start = start;
  }

  /**
   * Compiles a model. The bytes are copied to the worker. Whatever else is going on is ended.
   * @throws UserError for bytes that are no model; what is wrong with the model itself stands in the exploration
   */
  open(bytes: Uint8Array, options: ExploreOptions = {}, { signal, onProgress }: OpenOptions = {}): Promise<Exploration> {
    // The worker may be in the middle of something that no message reaches.
    if (this.waiting.size > 0 && signal?.aborted !== true) this.restart(new DOMException("another model was opened", "AbortError"));
    return this.call("open", { bytes, options }, signal, onProgress);
  }
  /** The IR after a step, or a kernel's loop IR or WebAssembly. */
  text(ref: TextRef, { signal }: CallOptions = {}): Promise<string> {
    return this.call("text", ref, signal);
  }
  /** The graph after a step that has one. */
  graph(step: number, { signal }: CallOptions = {}): Promise<GraphView> {
    return this.call("graph", { step }, signal);
  }
  /** The memory plan at other sizes of symbols. */
  memory(sizes: Readonly<Record<string, number>>, { signal }: CallOptions = {}): Promise<MemoryView> {
    return this.call("memory", { sizes }, signal);
  }
  /** Runs the model in the worker. */
  run(request: RunRequest = {}, { signal }: CallOptions = {}): Promise<RunView> {
    return this.call("run", request, signal);
  }
  /** Times the model, launch by launch, and the machine. */
  profile(request: ProfileRequest = {}, { signal }: CallOptions = {}): Promise<ProfileView> {
    return this.call("profile", request, signal);
  }
  /** What the machine can do at most. */
  machine({ signal }: CallOptions = {}): Promise<MachineView> {
    return this.call("machine", {}, signal);
  }
  /** Ends the worker. The client can be used again: a model has to be opened first. */
  close(): void {
    this.restart(new DOMException("the explorer was closed", "AbortError"));
  }

  private call<K extends CallName>(
    kind: K,
    give: Calls[K]["give"],
    signal?: AbortSignal,
    progress?: (p: ProgressView) => void,
  ): Promise<Calls[K]["get"]> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = this.next++;
    return new Promise((resolve, reject) => {
      const abort = (): void => this.cancel(id, signal?.reason);
      const settle = (then: () => void): void => {
        signal?.removeEventListener("abort", abort);
        this.waiting.delete(id);
        then();
      };
      this.waiting.set(id, {
        kind,
        done: (value) => settle(() => resolve(value)),
        failed: (e) => settle(() => reject(e)),
        progress,
      });
      signal?.addEventListener("abort", abort);
      try {
        this.started().postMessage({ kind, id, give } as Request, []);
      } catch (e) {
        this.waiting.get(id)?.failed(new UserError("message", `this cannot be sent to the worker: ${(e as Error).message}`));
      }
    });
  }

  /** A compilation hears no messages: its worker is ended. Other requests are told, and forgotten. */
  private cancel(id: number, reason: unknown): void {
    const w = this.waiting.get(id);
    if (w?.kind === "open") this.restart(reason);
    else {
      this.worker?.postMessage({ kind: "cancel", id }, []);
      w?.failed(reason);
    }
  }

  private started(): ExplorerWorker {
    if (this.worker !== null) return this.worker;
    const worker = this.start();
    worker.addEventListener("message", (e: MessageEvent<Answer>) => this.hear(e.data));
    worker.addEventListener("error", (e: ErrorEvent) => {
      if (this.worker === worker)
        this.restart(new UserError("worker", `the explorer's worker failed: ${e.message || "its script cannot be loaded"}`));
    });
    this.worker = worker;
    return worker;
  }

  private hear(a: Answer): void {
    const w = this.waiting.get(a.id);
    if (w === undefined) return;
    if (a.kind === "progress") w.progress?.(a.progress);
    else if (a.kind === "result") w.done(a.get as never);
    else w.failed(errorOf(a.error));
  }

  /** Ends the worker and all that waits for it. */
  private restart(reason: unknown): void {
    this.worker?.terminate();
    this.worker = null;
    for (const w of [...this.waiting.values()]) w.failed(reason);
  }
}

function startWorker(): ExplorerWorker {
  // Bundlers find the script by this very expression.
  return new Worker(new URL("../browser/explorer-worker.js", import.meta.url), { type: "module", name: "tilewright-explorer" });
}

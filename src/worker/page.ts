import { UserError } from "../base/errors.ts";
import type { CompileOptions } from "../load.ts";
import { type Model, startModel } from "../runtime/model.ts";
import { errorOf } from "./errors.ts";
import type { CompilerThread, Job, News, Progress, SentOptions } from "./protocol.ts";

/** How a model is compiled in a worker. */
export interface WorkerOptions extends CompileOptions {
  /** Files of external data, by the location that the model gives. Blobs (a page's Files) are read by the worker, piece by piece. */
  readonly files?: Readonly<Record<string, Uint8Array | Blob>>;
  /** Is told after every step of the compiler. */
  readonly onProgress?: (p: Progress) => void;
  /** Ends the worker at once. */
  readonly signal?: AbortSignal;
  /** Hand the model's bytes over instead of copying them: the caller cannot use them any more. */
  readonly transfer?: boolean;
  /**
   * Makes the worker, where its script is not beside this module: `() => new Worker(url, { type: "module" })` with the URL of
   * `tilewright/dist/browser/compile-worker.js`.
   */
  readonly worker?: () => Worker;
}

interface Following {
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((p: Progress) => void) | undefined;
  readonly onNote: ((text: string) => void) | undefined;
}

/** Weights on their way from the worker: they wait until the model's memory is there, and go straight into it. */
class WeightStream {
  private waiting: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  private target: Uint8Array | null = null;
  private readonly end: Promise<void>;
  private settle: { readonly resolve: () => void; readonly reject: (e: unknown) => void } | null = null;

  constructor() {
    this.end = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    // Who waits for it, if anybody does, hears of it.
    this.end.catch(() => {});
  }
  push(offset: number, bytes: Uint8Array): void {
    if (this.target === null) this.waiting.push({ offset, bytes });
    else this.target.set(bytes, offset);
  }
  done(): void {
    this.settle?.resolve();
  }
  fail(e: unknown): void {
    this.settle?.reject(e);
  }
  /** Fills the target as the weights come; resolves when all are there. */
  into(target: Uint8Array): Promise<void> {
    this.target = target;
    for (const { offset, bytes } of this.waiting) target.set(bytes, offset);
    this.waiting = [];
    return this.end;
  }
}

/** Compiles in a worker of the caller's; a text is the path of a model's file. */
export async function compileWith(
  start: () => CompilerThread,
  model: Uint8Array | ArrayBuffer | Blob | string,
  { signal, onProgress, database, transfer = false, worker: _, ...rest }: WorkerOptions,
): Promise<Model> {
  signal?.throwIfAborted();
  const sent = typeof model === "string" || model instanceof Blob ? model : bytesOf(model);
  const threads = rest.threads ?? 1;
  const options: SentOptions =
    database === undefined
      ? rest
      : { ...rest, database: { database: database.database, machines: [database.machine(false, threads), database.machine(true, threads)] } };
  const moved = transfer && sent instanceof Uint8Array && sent.buffer instanceof ArrayBuffer ? [sent.buffer] : [];
  return compileIn(start(), { tilewright: "compile", model: sent, options }, moved, { signal, onProgress, onNote: database?.note });
}

function bytesOf(model: Uint8Array | ArrayBuffer): Uint8Array {
  if (model instanceof ArrayBuffer) return new Uint8Array(model);
  if (ArrayBuffer.isView(model)) return new Uint8Array(model.buffer, model.byteOffset, model.byteLength);
  throw new UserError("model", `expected the model's bytes or a Blob, got ${typeof model}`);
}

/** A worker whose script has to be loaded first, over a slow line maybe, gets this long for its first word. */
const startMs = 60_000;

/**
 * Has a worker compile a model, and starts it here. The worker is ended in any case.
 * @throws what the worker reports; the signal's reason when aborted; UserError `worker` when the worker cannot be started
 */
function compileIn(thread: CompilerThread, job: Job, transfer: Transferable[], following: Following): Promise<Model> {
  return new Promise((resolve, reject) => {
    new Compilation(thread, following, { resolve, reject }).begin(job, transfer);
  });
}

/** A model on its way. It is settled once; what comes later is of no interest. */
class Compilation {
  private readonly thread: CompilerThread;
  private readonly following: Following;
  private readonly settle: { readonly resolve: (m: Model) => void; readonly reject: (e: unknown) => void };
  private readonly weights = new WeightStream();
  private settled = false;
  private late: ReturnType<typeof setTimeout> | undefined;

  constructor(thread: CompilerThread, following: Following, settle: Compilation["settle"]) {
    [this.thread, this.following, this.settle] = [thread, following, settle];
  }

  begin(job: Job, transfer: Transferable[]): void {
    const silent = `the worker that compiles said nothing for ${startMs / 1000} seconds: is its script compile-worker.js?`;
    this.late = setTimeout(() => this.fail(new UserError("worker", silent)), startMs);
    this.following.signal?.addEventListener("abort", this.abort);
    const listener = (n: News): void => {
      try {
        if (!this.settled) this.hear(n);
      } catch (e) {
        // A progress callback of the user's own, for one.
        this.fail(e);
      }
    };
    this.thread.listen(listener, (why) => this.fail(new UserError("worker", `the worker that compiles failed: ${why}`)));
    try {
      this.thread.send(job, transfer);
    } catch (e) {
      this.fail(new UserError("worker", `the model or the options cannot be sent to a worker: ${(e as Error).message}`));
    }
  }

  private hear(n: News): void {
    clearTimeout(this.late);
    switch (n.kind) {
      case "begun":
        return;
      case "progress":
        this.following.onProgress?.(n.progress);
        return;
      case "note":
        this.following.onNote?.(n.text);
        return;
      case "start":
        this.start(n).then(
          (model) => this.succeed(model),
          (e) => this.fail(e),
        );
        return;
      case "weights":
        this.weights.push(n.offset, n.bytes);
        return;
      case "done":
        this.weights.done();
        return;
      case "error":
        this.fail(errorOf(n.error));
        return;
      default:
        throw n satisfies never;
    }
  }

  private start({ manifest, module, relaxed, shared, threadsMissing }: Extract<News, { kind: "start" }>): Promise<Model> {
    const { threads } = manifest;
    return startModel(manifest, { module, relaxed, shared, threads, threadsMissing, writeWeights: (target) => this.weights.into(target) });
  }

  private readonly abort = (): void => this.fail(this.following.signal?.reason);

  private succeed(model: Model): void {
    // Aborted while its threads were starting.
    if (this.settled) model.dispose();
    this.finish();
    this.settle.resolve(model);
  }
  private fail(e: unknown): void {
    this.finish();
    this.weights.fail(e);
    this.settle.reject(e);
  }
  private finish(): void {
    this.settled = true;
    clearTimeout(this.late);
    this.following.signal?.removeEventListener("abort", this.abort);
    this.thread.end();
  }
}

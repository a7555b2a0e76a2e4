/**
 * Threads: workers that run the same module on the same memory. The protocol between them and the leader is WebAssembly
 * (src/targets/wasm/threads.ts); here workers are started and stopped. This file is also the script that they run: in an
 * artifact it is part of `model.js`. It has no imports.
 */

/** Byte addresses of the block, below the weights, through which leader and workers speak; every group has a cache line of its own. */
export const controlBlock = {
  /** Joined workers (8 bits), `open`, `stop`, and the number of the job. */
  state: 64,
  /** The first iteration that nobody has taken. */
  next: 128,
  /** How many workers sleep. */
  sleeping: 192,
  /** 1 while the leader sleeps until the last worker is done. */
  waiting: 256,
  /** 1 once a worker failed. */
  failed: 320,
  /** 1 where the leader may sleep: not on a page's main thread. */
  maySleep: 324,
  /** The workers' scratch memory: its place, and the bytes of each. */
  scratch: 328,
  scratchBytes: 332,
  /** The job: its task, iterations, and iterations of one call; arguments from `args` on. */
  task: 384,
  count: 388,
  grain: 392,
  args: 396,
  /** What a worker that failed has to say: bytes of text, ended by 0. */
  message: 896,
  end: 1024,
} as const;

/** Bits of the state. */
export const controlState = { joined: 0xff, open: 0x100, stop: 0x200, job: 0x400, jobShift: 10 } as const;

/** More threads than that are refused. */
export const mostThreads = 64;

/** Tells a worker that it is one of ours: its name begins so, and it is the last argument of its process. */
const threadMark = "tilewright-thread";
const startMs = 10_000;

interface ThreadJob {
  readonly tilewright: typeof threadMark;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** From 1 on; the leader is 0. */
  readonly thread: number;
}
/** What a thread says: it is ready, or it cannot start. */
interface ThreadNews {
  readonly tilewright: typeof threadMark;
  readonly error: string | null;
}

/** The part of the two kinds of workers that is used here. */
interface Thread {
  readonly listen: (news: (n: ThreadNews) => void, failed: (why: string) => void) => void;
  readonly start: (job: ThreadJob) => void;
  /** The process need not wait for it. */
  readonly release: () => void;
  readonly end: () => void;
}

type NodeThreads = typeof import("node:worker_threads");
type Scope = {
  readonly process?: {
    readonly versions?: { readonly node?: string };
    readonly argv?: readonly string[];
    readonly getBuiltinModule?: (name: string) => unknown;
  };
  readonly navigator?: { readonly userAgent?: string };
  readonly crossOriginIsolated?: boolean;
  readonly name?: string;
  readonly document?: unknown;
};
const scope = globalThis as Scope;
/** In Deno and Bun too. workerd can imitate Node's modules, but neither files nor threads are behind them. */
const onNode = scope.process?.versions?.node !== undefined && scope.navigator?.userAgent !== "Cloudflare-Workers";

/** Why there is no shared memory here; null where there is. */
export function sharedMemoryMissing(): string | null {
  if (!onNode && (scope.crossOriginIsolated === false || typeof SharedArrayBuffer === "undefined"))
    return "the page is not cross-origin isolated, so there is no shared memory: serve it with the headers 'Cross-Origin-Opener-Policy: same-origin' and 'Cross-Origin-Embedder-Policy: require-corp'";
  try {
    if (new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer instanceof SharedArrayBuffer) return null;
  } catch {
    // Said below.
  }
  return "this engine has no shared WebAssembly memory";
}

/** Why there can only be one thread here; null where there can be more. */
export function threadsMissingHere(): string | null {
  if (!onNode && typeof Worker === "undefined") return "no workers can be started here: service workers and edge workers have one thread";
  return sharedMemoryMissing();
}

/**
 * One of Node's own modules, which Deno and Bun have too. It is no import, which bundlers for browsers would follow, and
 * which service workers forbid.
 * @throws Error where there are none
 */
export function builtin<T>(name: string): T {
  const found = onNode ? scope.process?.getBuiltinModule?.(name) : undefined;
  if (found === undefined) throw new Error(onNode ? `${name} needs Node 20.16, 22.3 or newer` : `there is no ${name} here`);
  return found as T;
}

function nodeThread(node: NodeThreads): Thread {
  // Not written out as one expression: bundlers for browsers would take it for a file of their own.
  const [file, here] = ["./threads.js", import.meta.url];
  const script = new URL(file, here);
  let worker: import("node:worker_threads").Worker | null = null;
  let hear: { news: (n: ThreadNews) => void; failed: (why: string) => void } | null = null;
  return {
    listen(news, failed) {
      hear = { news, failed };
    },
    start(job) {
      // None of the flags that the process was started with, which may load other scripts.
      worker = new node.Worker(script, { argv: [threadMark], execArgv: [], workerData: job, name: threadMark });
      worker.on("message", (n: ThreadNews) => hear?.news(n));
      worker.on("error", (e: Error) => hear?.failed(e.message));
      worker.on("exit", () => hear?.failed("it ended"));
    },
    release: () => worker?.unref(),
    end: () => void worker?.terminate(),
  };
}

function webThread(): Thread {
  // Bundlers find the script by this very expression.
  const worker = new Worker(new URL("./threads.js", import.meta.url), { type: "module", name: "tilewright-thread" });
  return {
    listen(news, failed) {
      worker.addEventListener("message", (e: MessageEvent<ThreadNews>) => news(e.data));
      worker.addEventListener("error", (e) => failed(e.message || `its script cannot be loaded`));
      worker.addEventListener("messageerror", () => failed("it cannot be given shared memory"));
    },
    start: (job) => worker.postMessage(job),
    release: () => {},
    end: () => worker.terminate(),
  };
}

/** Workers that wait for launches of one model. */
export class ThreadPool {
  /** Those that are running, with the leader. */
  threads = 1;
  /** Why there are fewer than asked for; null when there are not. */
  missing: string | null = null;
  private readonly control: Int32Array;
  private readonly memory: WebAssembly.Memory;
  private readonly running = new Set<Thread>();

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    this.control = new Int32Array(memory.buffer, 0, controlBlock.end / 4);
    this.control[controlBlock.maySleep / 4] = maySleep(this.control) ? 1 : 0;
  }

  /** Starts `threads - 1` workers; resolves when each of them waits for work, or cannot. It never rejects. */
  async start(module: WebAssembly.Module, threads: number): Promise<void> {
    if (isThread) {
      this.missing = "a thread of a model starts no threads itself";
      return;
    }
    let node: NodeThreads | null = null;
    try {
      if (onNode) node = builtin<NodeThreads>("node:worker_threads");
    } catch (e) {
      this.missing = `there are no worker threads (${(e as Error).message})`;
      return;
    }
    const starting = Array.from({ length: threads - 1 }, (_, i) => this.startOne(node, module, i + 1));
    const faults = (await Promise.all(starting)).filter((x) => x !== null);
    if (faults.length > 0)
      this.missing = `${faults.length} of ${threads - 1} workers did not start: ${faults[0]} (their script is the artifact's model.js)`;
  }

  /** Null when the worker waits for work, else why it does not. */
  private startOne(node: NodeThreads | null, module: WebAssembly.Module, thread: number): Promise<string | null> {
    return new Promise((resolve) => {
      let worker: Thread;
      try {
        worker = node === null ? webThread() : nodeThread(node);
      } catch (e) {
        resolve(`where it lies is not known: ${(e as Error).message}`);
        return;
      }
      const late = setTimeout(() => settle(`it was not ready after ${startMs / 1000} seconds`), startMs);
      const settle = (fault: string | null): void => {
        clearTimeout(late);
        if (fault === null) {
          this.running.add(worker);
          this.threads = this.running.size + 1;
          worker.release();
        } else {
          // One that ends later was not doing anything: the others go on.
          this.running.delete(worker);
          this.threads = this.running.size + 1;
          worker.end();
        }
        resolve(fault);
      };
      worker.listen((n) => settle(n.error), settle);
      try {
        worker.start({ tilewright: threadMark, module, memory: this.memory, thread });
      } catch (e) {
        settle((e as Error).message);
      }
    });
  }

  /** Where the workers' scratch memory is, and how much each has. */
  setScratch(at: number, bytes: number): void {
    this.control[controlBlock.scratch / 4] = at;
    this.control[controlBlock.scratchBytes / 4] = bytes;
  }

  /** What made a worker fail; null while none has. */
  failure(): string | null {
    if (Atomics.load(this.control, controlBlock.failed / 4) === 0) return null;
    const text = new Uint8Array(this.memory.buffer, controlBlock.message, controlBlock.end - controlBlock.message).slice();
    const end = text.indexOf(0);
    return new TextDecoder().decode(text.subarray(0, end < 0 ? text.length : end));
  }

  /** Ends all workers. */
  stop(): void {
    Atomics.or(this.control, controlBlock.state / 4, controlState.stop);
    Atomics.notify(this.control, controlBlock.state / 4);
    for (const w of this.running) w.end();
    this.running.clear();
    this.threads = 1;
  }
}

/** May this thread sleep? On a page's main thread the question is answered by an exception. */
function maySleep(control: Int32Array): boolean {
  try {
    Atomics.wait(control, controlBlock.waiting / 4, 1, 0);
    return true;
  } catch {
    return false;
  }
}

/** What a worker does: it gets ready, says so, and works until it is told to stop. */
async function runThread({ module, memory, thread }: ThreadJob, say: (n: ThreadNews) => void): Promise<void> {
  let work: (thread: number) => void;
  try {
    const instance = await WebAssembly.instantiate(module, { env: { memory, clock: () => {} } });
    work = instance.exports.work as typeof work;
  } catch (e) {
    say({ tilewright: threadMark, error: (e as Error).message });
    return;
  }
  say({ tilewright: threadMark, error: null });
  try {
    work(thread);
  } catch (e) {
    leaveFailed(memory, e);
  }
}

/** A trap in a kernel: the leader must not wait for this worker. */
function leaveFailed(memory: WebAssembly.Memory, e: unknown): void {
  const control = new Int32Array(memory.buffer, 0, controlBlock.end / 4);
  const text = new TextEncoder().encode(String(e)).subarray(0, controlBlock.end - controlBlock.message - 1);
  new Uint8Array(memory.buffer).set(text, controlBlock.message);
  Atomics.store(control, controlBlock.failed / 4, 1);
  Atomics.sub(control, controlBlock.state / 4, 1);
  Atomics.store(control, controlBlock.waiting / 4, 0);
  Atomics.notify(control, controlBlock.waiting / 4);
}

/** Was this script started as a thread of a model? A worker of a user that imports it is none. */
const isThread = onNode ? scope.process?.argv?.[2] === threadMark : (scope.name?.startsWith(threadMark) ?? false) && scope.document === undefined;

if (isThread && onNode) {
  const { parentPort, workerData } = builtin<NodeThreads>("node:worker_threads");
  const job = workerData as Partial<ThreadJob> | null;
  if (job?.tilewright === threadMark && parentPort !== null) void runThread(job as ThreadJob, (n) => parentPort.postMessage(n));
} else if (isThread) {
  addEventListener("message", function start(e: MessageEvent<Partial<ThreadJob> | null>) {
    if (e.data?.tilewright !== threadMark) return;
    removeEventListener("message", start);
    void runThread(e.data as ThreadJob, (n) => postMessage(n));
  });
}

import { Worker } from "node:worker_threads";
import type { Engine, Loaded, Runnable } from "../tune/engine.ts";
import { controlBlock, controlState } from "../runtime/threads.ts";
import { type Answer, type ControlLayout, type Request, help, serve } from "./measure-worker.ts";

/** A first run, and a call that times, get this long; what takes longer is taken to hang. */
const limits = { loadMs: 20_000, timeMs: 60_000 };

const control: ControlLayout = { block: controlBlock, stop: controlState.stop };
const threads = `require("node:worker_threads")`;
const helperText = `(${help.toString()})(${threads}.parentPort, ${JSON.stringify(control)})`;
const startHelper = `() => new (${threads}.Worker)(${JSON.stringify(helperText)}, { eval: true, execArgv: [] })`;
const workerText = `(${serve.toString()})(${threads}.parentPort, ${JSON.stringify(control)}, ${startHelper})`;

/**
 * Runs candidates in a worker of this process, which is ended and started anew when one does not come back. What was
 * loaded is loaded again then.
 */
export class WorkerEngine implements Engine {
  private worker: Worker | null = null;
  private readonly waiting = new Map<number, (a: Answer | null) => void>();
  private readonly kept = new Map<number, Runnable>();
  private next = 0;
  private readonly limits: typeof limits;

  constructor(options: Partial<typeof limits> = {}) {
    this.limits = { ...limits, ...options };
  }

  async load(r: Runnable): Promise<Loaded> {
    const id = this.next++;
    const a = await this.send({ kind: "load", request: this.next++, id, ...r }, this.limits.loadMs);
    if (a === null) {
      await this.restart();
      return { kind: "hang", why: `no result after ${this.limits.loadMs / 1e3} s` };
    }
    if (a.kind !== "ran") return { kind: "trap", why: a.kind === "trap" ? a.why : "an answer of another kind" };
    this.kept.set(id, r);
    return { kind: "ran", id, outputs: a.outputs };
  }

  async time(ids: readonly number[], rounds: number): Promise<readonly (readonly number[])[] | null> {
    const a = await this.send({ kind: "time", request: this.next++, ids, rounds }, this.limits.timeMs);
    if (a === null) await this.restart();
    return a?.kind === "times" ? a.times : null;
  }

  unload(id: number): void {
    this.kept.delete(id);
    this.worker?.postMessage({ kind: "unload", id } satisfies Request);
  }

  async close(): Promise<void> {
    const w = this.worker;
    this.worker = null;
    await w?.terminate();
    this.failAll();
  }

  /** Null when there was no answer in time, or the worker died. */
  private send(r: Extract<Request, { request: number }>, limitMs: number): Promise<Answer | null> {
    const worker = this.started();
    return new Promise((resolve) => {
      const done = (a: Answer | null) => {
        clearTimeout(timer);
        this.waiting.delete(r.request);
        resolve(a);
      };
      const timer = setTimeout(() => done(null), limitMs);
      this.waiting.set(r.request, done);
      worker.postMessage(r);
    });
  }

  private started(): Worker {
    if (this.worker !== null) return this.worker;
    const worker = new Worker(workerText, { eval: true });
    const gone = () => {
      if (this.worker === worker) this.worker = null;
      this.failAll();
    };
    worker.on("message", (a: Answer) => this.waiting.get(a.request)?.(a));
    worker.on("error", gone);
    worker.on("exit", gone);
    // An idle worker keeps no process alive.
    worker.unref();
    this.worker = worker;
    return worker;
  }
  private failAll(): void {
    for (const done of [...this.waiting.values()]) done(null);
  }

  private async restart(): Promise<void> {
    await this.close();
    for (const [id, r] of this.kept) await this.send({ kind: "load", request: this.next++, id, ...r }, this.limits.loadMs);
  }
}

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Request } from "./options.ts";
import type { Done, News, Work } from "./worker.ts";

/** A compiled model. */
export interface Artifact extends Done {
  /** The files of external data that it was made from. */
  readonly files: readonly string[];
}

/** A model that cannot be compiled. */
export class CompileFailure extends Error {
  readonly code: string;
  readonly files: readonly string[];
  constructor(name: string, code: string, message: string, files: readonly string[] = []) {
    super(message);
    this.name = name;
    this.code = code;
    this.files = files;
  }
}

/** Threads that compile at the same time. */
const mostThreads = Math.max(1, availableParallelism() - 1);

/** The models that are being compiled, each in a thread of its own; where there are many, some wait for their turn. */
export class Jobs {
  private readonly cache: string;
  private readonly jobs = new Map<string, Job>();

  constructor(cache: string) {
    this.cache = cache;
  }

  /** Compiles a model, or waits for the job that does so already. @throws CompileFailure */
  get(file: string, request: Request, step: (text: string) => void): Promise<Artifact> {
    const key = JSON.stringify([file, request]);
    const known = this.jobs.get(key);
    if (known !== undefined) return known.result;
    const job = new Job({ file, request, cache: this.cache }, step);
    this.jobs.set(key, job);
    const settled = () => {
      this.jobs.delete(key);
      this.startSome();
    };
    job.result.then(settled, settled);
    this.startSome();
    return job.result;
  }

  /** A file changed: jobs that read it begin anew. */
  changed(file: string): void {
    for (const job of this.jobs.values()) if (job.runs && job.reads(file)) job.start();
  }

  /** Ends all jobs: they fail. */
  close(): void {
    for (const job of this.jobs.values()) job.abandon();
  }

  private startSome(): void {
    let running = 0;
    for (const job of this.jobs.values()) {
      if (!job.runs && running < mostThreads) job.start();
      running += job.runs ? 1 : 0;
    }
  }
}

class Job {
  readonly result: Promise<Artifact>;
  private readonly work: Work;
  private readonly step: (text: string) => void;
  private worker: Worker | null = null;
  private settle: { done: (a: Artifact) => void; failed: (e: CompileFailure) => void } = { done() {}, failed() {} };

  constructor(work: Work, step: (text: string) => void) {
    this.work = work;
    this.step = step;
    this.result = new Promise((done, failed) => {
      this.settle = { done, failed };
    });
  }

  get runs(): boolean {
    return this.worker !== null;
  }

  reads(file: string): boolean {
    return file === this.work.file || file === this.work.request.db;
  }

  start(): void {
    this.end();
    const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: this.work, execArgv: [] });
    this.worker = worker;
    // A worker that was ended says nothing any more.
    const current = () => this.worker === worker;
    worker.on("message", (news: News) => {
      if (current()) this.hear(news);
    });
    worker.on("error", (e: Error) => {
      if (current()) this.settle.failed(new CompileFailure(e.name, "thread", e.message));
    });
    worker.on("exit", (code) => {
      if (current()) this.settle.failed(new CompileFailure("Error", "thread", `the thread that compiles ended with status ${code}`));
    });
  }

  abandon(): void {
    this.end();
    this.settle.failed(new CompileFailure("Error", "closed", "it was not done when Vite ended"));
  }

  private end(): void {
    const { worker } = this;
    this.worker = null;
    void worker?.terminate();
  }

  private hear(news: News): void {
    switch (news.kind) {
      case "step":
        this.step(news.text);
        return;
      case "done":
        this.settle.done({ folder: news.folder, text: news.text, files: news.files });
        return;
      case "failed":
        this.settle.failed(new CompileFailure(news.name, news.code, news.message, news.files));
        return;
      default:
        throw news satisfies never;
    }
  }
}

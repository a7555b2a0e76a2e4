import { Worker } from "node:worker_threads";
import type { Request } from "./options.ts";
import type { Done, News, Work } from "./worker.ts";

/** What a job hears of its model. */
export interface JobListener {
  readonly step: (text: string) => void;
  /** Files of external data, once they are known. */
  readonly files: (files: readonly string[]) => void;
}

/** A model that cannot be compiled. */
export class CompileFailure extends Error {
  readonly code: string;
  constructor(name: string, code: string, message: string) {
    super(message);
    this.name = name;
    this.code = code;
  }
}

/** The models that are being compiled, each in a thread of its own. */
export class Jobs {
  private readonly cache: string;
  private readonly running = new Map<string, Job>();

  constructor(cache: string) {
    this.cache = cache;
  }

  /** Compiles a model, or waits for the job that does so already. @throws CompileFailure */
  get(file: string, request: Request, listener: JobListener): Promise<Done> {
    const key = JSON.stringify([file, request]);
    const running = this.running.get(key);
    if (running !== undefined) return running.result;
    const job = new Job({ file, request, cache: this.cache }, listener);
    this.running.set(key, job);
    const forget = () => this.running.delete(key);
    job.result.then(forget, forget);
    return job.result;
  }

  /** A file changed: jobs that read it begin anew. */
  changed(file: string): void {
    for (const job of this.running.values()) if (job.reads(file)) job.start();
  }

  /** Ends all jobs; their promises are never settled, for nobody waits any more. */
  close(): void {
    for (const job of this.running.values()) job.end();
    this.running.clear();
  }
}

class Job {
  readonly result: Promise<Done>;
  private readonly work: Work;
  private readonly listener: JobListener;
  private worker: Worker | null = null;
  private settle: { done: (d: Done) => void; failed: (e: CompileFailure) => void } = { done() {}, failed() {} };

  constructor(work: Work, listener: JobListener) {
    this.work = work;
    this.listener = listener;
    this.result = new Promise((done, failed) => {
      this.settle = { done, failed };
    });
    this.start();
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

  end(): void {
    const { worker } = this;
    this.worker = null;
    void worker?.terminate();
  }

  private hear(news: News): void {
    switch (news.kind) {
      case "step":
        this.listener.step(news.text);
        return;
      case "done":
        this.listener.files(news.files);
        this.settle.done({ folder: news.folder, text: news.text });
        return;
      case "failed":
        this.listener.files(news.files);
        this.settle.failed(new CompileFailure(news.name, news.code, news.message));
        return;
      default:
        throw news satisfies never;
    }
  }
}

/**
 * The compiler in a worker thread, as Node gets it: `compile` also takes the path of a model, which the thread reads itself.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { Model } from "../runtime/model.ts";
import { type WorkerOptions, compileWith } from "../worker/page.ts";
import type { CompilerThread, News } from "../worker/protocol.ts";

export * from "../worker/index.ts";

/**
 * Compiles a model (ONNX, or IR text of any level), given as bytes or as the path of its file, in a worker thread of its own,
 * and starts it on this one. The option `worker` is for pages, and means nothing here.
 * @throws UserError, UnsupportedError for what is wrong with the model or the options; the signal's reason when aborted
 */
export function compile(model: Uint8Array | ArrayBuffer | Blob | string | URL, options: WorkerOptions = {}): Promise<Model> {
  const file = model instanceof URL ? fileURLToPath(model) : typeof model === "string" ? path.resolve(model) : model;
  return compileWith(nodeThread, file, options);
}

function nodeThread(): CompilerThread {
  // None of the flags that the process was started with, which may load other scripts.
  const worker = new Worker(new URL("./worker-thread.js", import.meta.url), { execArgv: [], name: "tilewright-compiler" });
  return {
    listen(news, failed) {
      worker.on("message", (n: News) => news(n));
      worker.on("error", (e: Error) => failed(e.message));
      worker.on("exit", (code) => failed(`it ended (${code}) before it was done`));
    },
    send: (job, transfer) => worker.postMessage(job, transfer as ArrayBuffer[]),
    end: () => void worker.terminate(),
  };
}

/**
 * The compiler in a worker: the page stays free while it works, and holds only the runtime. What comes back is the same
 * Model that `compile` of the library gives, running on the page.
 */
import { UserError } from "../base/errors.ts";
import type { Model } from "../runtime/model.ts";
import { type WorkerOptions, compileWith } from "./page.ts";
import type { CompilerThread, News } from "./protocol.ts";

export { InternalError, TilewrightError, UnsupportedError, UserError, VerifyError } from "../base/errors.ts";
export { KeptTensor } from "../runtime/kept.ts";
export { Model, hasRelaxedSimd } from "../runtime/model.ts";
export type { WorkerOptions } from "./page.ts";
export type { Progress, Stage } from "./protocol.ts";
export { version } from "../version.ts";

/**
 * Compiles a model (ONNX, or IR text of any level) in a worker of its own, and starts it here.
 * @throws UserError, UnsupportedError for what is wrong with the model or the options, UserError `worker` where no worker can
 *   be had; the signal's reason when aborted
 */
export function compile(model: Uint8Array | ArrayBuffer | Blob, options: WorkerOptions = {}): Promise<Model> {
  return compileWith(() => webThread(options.worker), model, options);
}

function webThread(make: (() => Worker) | undefined): CompilerThread {
  if (typeof Worker === "undefined" && make === undefined)
    throw new UserError("worker", "there are no workers here to compile in: use compile of 'tilewright', which works on this thread");
  const worker = (make ?? startWorker)();
  return {
    listen(news, failed) {
      worker.addEventListener("message", (e: MessageEvent<News>) => news(e.data));
      worker.addEventListener("error", (e) =>
        failed(
          e.message ||
            "its script cannot be loaded: give the option worker where the script is elsewhere, and see that a Content Security Policy allows it (worker-src)",
        ),
      );
      worker.addEventListener("messageerror", () => failed("what it sent cannot be read here"));
    },
    send: (job, transfer) => worker.postMessage(job, transfer),
    end: () => worker.terminate(),
  };
}

function startWorker(): Worker {
  // Bundlers find the script by this very expression.
  return new Worker(new URL("../browser/compile-worker.js", import.meta.url), { type: "module", name: "tilewright-compiler" });
}

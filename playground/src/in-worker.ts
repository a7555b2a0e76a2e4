/**
 * One question to a worker that is made for it, and ended after its answer. Null when the worker fails or takes longer than
 * `limit` milliseconds.
 * @throws the signal's reason when aborted
 */
export function inWorker<T>(worker: Worker, question: unknown, signal: AbortSignal, limit?: number): Promise<T | null> {
  return new Promise<T | null>((resolve, reject) => {
    const timer = limit === undefined ? undefined : setTimeout(() => end(null), limit);
    const abort = () => {
      reject(signal.reason);
      end(null);
    };
    const end = (result: T | null) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      worker.terminate();
      resolve(result);
    };
    signal.addEventListener("abort", abort);
    worker.onmessage = (e: MessageEvent<T>) => end(e.data);
    worker.onerror = () => end(null);
    if (signal.aborted) abort();
    else worker.postMessage(question);
  });
}

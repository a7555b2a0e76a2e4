import { inWorker } from "../in-worker.ts";
import type { Comparison } from "./diff.ts";

/** Compares two texts in a worker; null when they are too different for it. */
export function compare(before: string, after: string, signal: AbortSignal): Promise<Comparison | null> {
  const worker = new Worker(new URL("./diff.worker.ts", import.meta.url), { type: "module" });
  return inWorker<Comparison | null>(worker, { before, after }, signal);
}

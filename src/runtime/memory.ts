import { UserError } from "../base/errors.ts";

/** A model's memory: what it starts with, and what it may grow to. */

export const pageBytes = 65536;
/** All that addresses of 32 bits reach. */
const mostPages = 65536;
const pagesOf = (bytes: number) => Math.ceil(bytes / pageBytes);

/** Everything in memory starts at a multiple of this. */
export const alignUp = (n: number) => Math.ceil(n / 64) * 64;

/** What a model's memory is planned to hold, in bytes: part of the manifest. The sizes named so are null where inputs' sizes, or sizes that the model computes, have no bound. */
export interface MemoryPlan {
  /** What it starts with, in whole pages: the threads' control block, the weights and, where its size is known, the arena. */
  readonly initial_bytes: number;
  /** What it may grow to on as many threads as the artifact was compiled for, in whole pages; null: what the engine gives. */
  readonly maximum_bytes: number | null;
  /** The arena at the largest sizes. */
  readonly arena_bytes: number | null;
  /** Scratch memory of each thread but the first, at the largest sizes. */
  readonly thread_bytes: number | null;
  /** Most bytes of tensors that are kept inside at the same time; null: no limit but the engine's. */
  readonly kept_bytes: number | null;
}

/** Where kept tensors begin at the latest: above weights (they end at `weightsEnd`), arena and the threads' scratch memory; null where sizes have no bound. */
export function plannedEnd(plan: MemoryPlan, weightsEnd: number, threads: number): number | null {
  const { arena_bytes, thread_bytes } = plan;
  return arena_bytes === null || thread_bytes === null ? null : alignUp(weightsEnd + arena_bytes) + (threads - 1) * thread_bytes;
}

/** Bytes that the memory may have, in whole pages; null for as many as the engine gives. */
export function maximumBytes(plan: MemoryPlan, weightsEnd: number, threads: number): number | null {
  const end = plannedEnd(plan, weightsEnd, threads);
  if (end === null || plan.kept_bytes === null) return null;
  return Math.min(pagesOf(end + plan.kept_bytes), mostPages) * pageBytes;
}

/** Pages that a shared memory without a known maximum may grow to: what this engine reserves, at best all. */
const reserves = [mostPages, 32768, 16384, 8192];

/**
 * A memory of exactly the planned bytes.
 * @throws UserError `memory` when the engine gives none of that size
 */
export function makeMemory(initialBytes: number, maximum: number | null, shared: boolean): WebAssembly.Memory {
  const initial = pagesOf(initialBytes);
  const known = maximum === null ? null : pagesOf(maximum);
  const maxima = known !== null ? [known] : shared ? [...reserves.filter((p) => p >= initial), initial] : [null];
  for (const m of maxima) {
    try {
      return new WebAssembly.Memory(m === null ? { initial } : { initial, maximum: m, shared });
    } catch {
      // The next one asks for less.
    }
  }
  throw new UserError("memory", `the model needs ${mibText(initialBytes)}, more than this engine gives`);
}

/**
 * Grows the memory to at least that many bytes.
 * @throws UserError `memory` when the engine gives no more, or the memory may not be that large
 */
export function growMemory(memory: WebAssembly.Memory, bytes: number): void {
  const missing = pagesOf(bytes) - memory.buffer.byteLength / pageBytes;
  if (missing <= 0) return;
  try {
    if (bytes > mostPages * pageBytes) throw new RangeError("beyond 32 bits");
    memory.grow(missing);
  } catch {
    throw new UserError("memory", `${mibText(bytes)} are needed, more than this engine gives: use smaller sizes`);
  }
}

function mibText(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}

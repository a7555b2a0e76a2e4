import { dimMax } from "../../base/dim.ts";
import type { Port, Program } from "../../loop/ir.ts";
import { type MemoryPlan, alignUp, maximumBytes, pageBytes } from "../../runtime/memory.ts";
import { mostThreads } from "../../runtime/threads.ts";
import { type Expr, type Variable, variablesOf } from "../../scalar/expr.ts";
import { rangeOf } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { initialPages, threadBytes, weightsBase } from "./module.ts";
import { weightBytes } from "./weights.ts";

/** Bytes that addresses of 32 bits reach. */
export const mostBytes = 2 ** 32;

/** What decides on a model's memory besides the program. */
export interface MemoryOptions {
  /** Threads to run on; 1 without modules for several. */
  readonly threads: number;
  /** Bytes for kept tensors; without it room for all outputs twice (those of one run and those of the next), as far as there is any. */
  readonly kept?: number | undefined;
  /** The room for kept tensors is smaller where more than so many bytes would be planned. */
  readonly limit?: number | undefined;
}

/** Plans a model's memory at the largest sizes of its symbols. What it gives may be more than a memory can have. */
export function planModelMemory(sc: Scalars, p: Program, o: MemoryOptions): MemoryPlan {
  const weights = weightBytes(p);
  const initial_bytes = initialPages(p, weights) * pageBytes;
  const arena_bytes = p.room === null ? largest(p, p.arenaBytes) : null;
  const thread_bytes = largest(p, threadBytes(sc, p));
  if (arena_bytes === null || thread_bytes === null)
    return { initial_bytes, maximum_bytes: null, arena_bytes: null, thread_bytes: null, kept_bytes: o.kept ?? null };
  const end = alignUp(weightsBase + weights + arena_bytes) + (o.threads - 1) * thread_bytes;
  const kept_bytes = o.kept ?? Math.min(2 * outputBytes(p.outputs), roomAbove(end, o.limit ?? mostBytes));
  return { initial_bytes, maximum_bytes: inPages(end + kept_bytes), arena_bytes, thread_bytes, kept_bytes };
}

/** The pages that a module of the model says its memory may have; null where there is no bound. Shared memory is for any number of threads. */
export function maximumPages(plan: MemoryPlan, weightsEnd: number, shared: boolean): number | null {
  const most = maximumBytes(plan, weightsEnd, shared ? mostThreads : 1);
  return most === null ? null : most / pageBytes;
}

/** The largest value of a size; null where it has none. */
function largest(p: Program, size: Expr): number | null {
  // Sizes up to 4 GiB are kept modulo 2^32.
  if (size.constant !== null) return Number(size.constant) >>> 0;
  const open = new Set<Variable>(p.symbolVariables.filter((_, i) => !Number.isFinite(p.symbols[i]?.max)));
  if ([...variablesOf(size)].some((v) => open.has(v))) return null;
  const most = rangeOf(size)[1];
  return Number.isFinite(most) && most >= 0 ? most : null;
}

/** Of all outputs at their largest sizes, each where a kept tensor may begin. */
function outputBytes(outputs: readonly Port[]): number {
  return outputs.reduce((n, o) => n + alignUp(o.dtype.bytes(o.dims.reduce<number>((e, d) => e * dimMax(d), 1))), 0);
}

function roomAbove(end: number, limit: number): number {
  return Math.max(0, Math.floor(Math.min(limit, mostBytes) / pageBytes) * pageBytes - end);
}

function inPages(bytes: number): number {
  return Math.ceil(bytes / pageBytes) * pageBytes;
}

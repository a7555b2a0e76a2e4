import { UserError } from "./base/errors.ts";
import type { Compiled } from "./compile.ts";
import { type MemoryPlan, alignUp, pageBytes, plannedEnd } from "./runtime/memory.ts";
import { mostBytes, planModelMemory } from "./targets/wasm/memory.ts";
import { weightsBase } from "./targets/wasm/module.ts";
import { weightBytes } from "./targets/wasm/weights.ts";

/** What a caller says about a model's memory. */
export interface MemoryLimits {
  /** Threads to run on. */
  readonly threads: number;
  readonly keptMemory?: number | undefined;
  readonly maxMemory?: number | undefined;
}

/**
 * Plans the memory of a model of target `wasm`.
 * @throws UserError `memory` for more than WebAssembly can have, `max-memory` for more than the limit
 */
export function planMemoryWithin(c: Compiled, o: MemoryLimits): MemoryPlan {
  const { sc, program: p } = c;
  const plan = planModelMemory(sc, p, { threads: o.threads, kept: o.keptMemory, limit: o.maxMemory });
  const weights = weightBytes(p);
  const end = plannedEnd(plan, weightsBase + weights, o.threads);
  if (end === null) {
    if (o.maxMemory !== undefined) throw openPeak(c);
    return plan;
  }
  // Room for kept tensors that nobody asked for takes what is left.
  const peak = end + (o.keptMemory ?? 0);
  const parts = (): string => {
    const arena = plan.arena_bytes ?? 0;
    const threads = end - alignUp(weightsBase + weights + arena);
    return [
      `weights ${sizeText(weights)}`,
      `arena ${sizeText(arena)}`,
      ...(threads > 0 ? [`scratch memory of ${o.threads} threads ${sizeText(threads)}`] : []),
      ...(o.keptMemory ? [`kept tensors ${sizeText(o.keptMemory)}`] : []),
    ].join(", ");
  };
  if (peak > mostBytes)
    throw new UserError(
      "memory",
      `the model needs ${sizeText(peak)} (${parts()}); WebAssembly's 32-bit memory ends at ${sizeText(mostBytes)}: use smaller sizes`,
    );
  if (o.maxMemory !== undefined && inPages(peak) > o.maxMemory)
    throw new UserError(
      "max-memory",
      `the planned peak is ${sizeText(peak)} (${parts()}), in pages of 64 KiB ${sizeText(inPages(peak))}, more than the limit of ${sizeText(o.maxMemory)}`,
    );
  return plan;
}

/** @throws UserError `max-memory`, `kept-memory` for numbers that are no sizes */
export function checkMemoryOptions(o: Omit<MemoryLimits, "threads">): void {
  if (o.maxMemory !== undefined && !(o.maxMemory > 0))
    throw new UserError("max-memory", `the memory limit must be a positive number of bytes, got ${o.maxMemory}`);
  if (o.keptMemory !== undefined && !(Number.isSafeInteger(o.keptMemory) && o.keptMemory >= 0))
    throw new UserError("kept-memory", `the memory for kept tensors must be a whole number of bytes, 0 or more, got ${o.keptMemory}`);
}

/** The error for a memory limit on a model whose largest sizes nobody knows. */
export function openPeak({ program: p }: Compiled): UserError {
  const open = p.symbols.filter((s) => !Number.isFinite(s.max)).map((s) => s.name);
  const bounds = open.map((name) => `--shape ${name}=1..16`).join(" ");
  if (p.room === null)
    return new UserError("max-memory", `the peak depends on symbols without an upper bound (${open.join(", ")}): bound them, for example ${bounds}`);
  return new UserError("max-memory", "the peak depends on sizes without an upper bound that the model computes while it runs: leave the limit out");
}

function inPages(bytes: number): number {
  return Math.ceil(bytes / pageBytes) * pageBytes;
}

function sizeText(n: number): string {
  return n < 2 ** 20 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 2 ** 20).toFixed(1)} MiB`;
}

import { dimSymbols, evaluateDim, productOf } from "../base/dim.ts";
import type { Compiled } from "../compile.ts";
import { flopsByOrigin } from "../graph/flops.ts";
import type { GraphFunction } from "../graph/ir.ts";
import type { Kernel } from "../loop/ir.ts";
import { type Step, flattenSteps } from "../schedule/build.ts";
import { describeSchedule, parseSchedule } from "../schedule/schedule.ts";
import type { Listing } from "../targets/wasm/disassemble.ts";
import type { Tensor } from "../tensor/ir.ts";
import { launchFlops, launchesOf } from "./kernel-times.ts";
import { countOperations } from "./operations.ts";
import type { KernelView, LaunchView } from "./types.ts";

/** What a launch does, where it is known: the step of the schedule that it was made from. */
function launchSteps(c: Compiled): readonly Step[] {
  if (c.scheduled === undefined) return [];
  // Steps of the host program launch nothing, but opaque ones do.
  const steps = flattenSteps(c.scheduled.run).filter((s) => s.kernel.control === undefined || s.kernel.control.kind === "opaque");
  return steps.length === launchesOf(c.program.main).length ? steps : [];
}

/** Bytes of tensors; null where sizes are unknown. */
function bytesOf(tensors: Iterable<Tensor>, sizes: ReadonlyMap<string, number>): number | null {
  let bytes = 0;
  for (const t of tensors) {
    const n = productOf(t.dims);
    if ([...dimSymbols(n).keys()].some((s) => !sizes.has(s))) return null;
    bytes += t.dtype.bytes(evaluateDim(n, sizes));
  }
  return bytes;
}

/** The launches of `main`, at these sizes of symbols. `graph` is where arithmetic is counted. */
export function viewLaunches(c: Compiled, graph: GraphFunction | null, sizes: ReadonlyMap<string, number> = new Map()): LaunchView[] {
  const launches = launchesOf(c.program.main);
  const steps = launchSteps(c);
  const place = new Map(c.program.kernels.map((k, i) => [k, i]));
  const flops = launchFlops(
    launches,
    launches.map((_, i) => steps[i]?.cost ?? 0),
    graph === null ? new Map() : flopsByOrigin(graph, sizes),
  );
  return launches.map((l, i) => {
    const step = steps[i];
    return {
      launch: i,
      kernel: place.get(l.kernel) ?? -1,
      origins: l.origin,
      flops: flops[i] === 0 ? null : (flops[i] ?? null),
      operations: step === undefined || step.kernel.control !== undefined ? null : countOperations(step.kernel, sizes),
      bytes: step === undefined ? null : bytesOf(new Set([...step.reads, ...step.writes]), sizes),
      reads: step?.reads.map((t) => t.name) ?? [],
      writes: step?.writes.map((t) => t.name) ?? [],
      shared: l.threadsFrom !== null,
    };
  });
}

/** The program's kernels, with the sizes of their code. */
export function viewKernels(c: Compiled, launches: readonly LaunchView[], code: ReadonlyMap<string, Listing>): KernelView[] {
  return c.program.kernels.map((k, kernel) => {
    const own = launches.filter((l) => l.kernel === kernel);
    const listing = code.get(k.name);
    const schedule = scheduleOf(c, k);
    return {
      kernel,
      name: k.name,
      origins: [...new Set(own.flatMap((l) => l.origins))],
      launches: own.map((l) => l.launch),
      schedule,
      scheduleText: schedule === "" ? "" : describeSchedule(parseSchedule(schedule)),
      codeBytes: listing?.bytes ?? null,
      instructions: listing?.instructions ?? null,
    };
  });
}

function scheduleOf(c: Compiled, k: Kernel): string {
  return c.schedules.get(k) ?? "";
}

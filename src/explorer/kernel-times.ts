import { flopsByOrigin } from "../graph/flops.ts";
import type { GraphFunction } from "../graph/ir.ts";
import { type Stmt, bodiesOf } from "../loop/ir.ts";

/** One launch of `main`: the kernel, the nodes of the source model that it stands for, and what it did. */
export interface KernelTime {
  readonly kernel: string;
  readonly origins: readonly string[];
  readonly ms: number;
  /** Null where its nodes count no additions or multiplications. */
  readonly gflops: number | null;
}

/** Adds up the time of each launch of a profiling build, over several runs. */
export class LaunchClock {
  private readonly spent: number[] = [];
  private runs = 0;
  private last = 0;
  /** Give it to `startArtifact`. */
  readonly tick = (launch: number): void => {
    const now = performance.now();
    // Less than 0 where main begins.
    if (launch >= 0) this.spent[launch] = (this.spent[launch] ?? 0) + now - this.last;
    this.last = now;
  };
  /** Forgets what was measured: warm-up is over. */
  reset(): void {
    this.spent.length = 0;
    this.runs = 0;
  }
  /** Call it before each run. */
  begin(): void {
    this.runs++;
    this.last = performance.now();
  }
  /** Counts a run of which the launches' seconds are known. */
  add(seconds: readonly number[]): void {
    this.runs++;
    seconds.forEach((s, i) => {
      this.spent[i] = (this.spent[i] ?? 0) + s * 1e3;
    });
  }
  /** Mean milliseconds of a launch. */
  mean(launch: number): number {
    return (this.spent[launch] ?? 0) / Math.max(1, this.runs);
  }
}

/** The launches of `main`, in the order of their numbers in a profiling build, with their times. */
export function kernelTimes(main: readonly Stmt[], graph: GraphFunction | null, clock: LaunchClock): KernelTime[] {
  const launches = launchesOf(main);
  const times = launches.map((_, i) => clock.mean(i));
  const flops = launchFlops(launches, times, graph === null ? new Map() : flopsByOrigin(graph));
  return launches.map((l, i) => {
    const [ms = 0, n = 0] = [times[i], flops[i]];
    return { kernel: l.kernel.name, origins: l.origin, ms, gflops: n === 0 ? null : n / ms / 1e6 };
  });
}

type Launch = Extract<Stmt, { kind: "launch" }>;

/** Additions and multiplications of each launch: where one node became several launches, its arithmetic is that of the one of the largest weight. */
export function launchFlops(launches: readonly Launch[], weights: readonly number[], byOrigin: ReadonlyMap<string, number>): number[] {
  const owner = new Map<string, number>();
  for (const [i, l] of launches.entries()) {
    for (const o of l.origin) {
      const old = owner.get(o);
      if (old === undefined || (weights[i] ?? 0) > (weights[old] ?? 0)) owner.set(o, i);
    }
  }
  return launches.map((l, i) => l.origin.reduce((n, o) => n + (owner.get(o) === i ? (byOrigin.get(o) ?? 0) : 0), 0));
}

/** The launches of `main`, those in branches and loops included, in the order of their numbers in a profiling build. */
export function launchesOf(main: readonly Stmt[]): Launch[] {
  return main.flatMap((s) => (s.kind === "launch" ? [s] : bodiesOf(s).flatMap(launchesOf)));
}

import { useRef, useState } from "preact/hooks";
import type { LaunchTime, ProfileView } from "../../../src/explorer/types.ts";
import { count, duration, percent, significant } from "../format.ts";
import { client, errorInfo } from "../open.ts";
import { openKernel, profile, program, sizes } from "../state.ts";
import { Empty, Facts, Spinner } from "../ui/parts.tsx";
import { Sizes } from "./sizes.tsx";
import { Roofline } from "./roofline.tsx";
import { ErrorReport } from "./errors.tsx";

/** Where the time of a run goes: by kernel, and beside what the machine can do. */
export function TimingPanel() {
  const [state, setState] = useState<{ readonly error: unknown } | "idle" | "busy">("idle");
  const control = useRef<AbortController | null>(null);
  if (program.value === null) return <Empty title="There is nothing to measure: the model could not be compiled" />;
  const measure = async () => {
    const stop = new AbortController();
    const { signal } = stop;
    control.current = stop;
    setState("busy");
    try {
      const request = { sizes: sizes.value };
      const { ms } = await client().run(request, { signal });
      profile.value = await client().profile({ ...request, runs: runsFor(ms) }, { signal });
      setState("idle");
    } catch (error) {
      setState(signal.aborted ? "idle" : { error });
    }
  };
  const p = profile.value;
  if (state === "busy")
    return (
      <div class="empty">
        <Spinner label="Running the model, and measuring what this machine can do…" />
        <button type="button" class="button" onClick={() => control.current?.abort()}>
          Cancel
        </button>
      </div>
    );
  if (typeof state === "object") return <ErrorReport error={errorInfo(state.error)} problems={[]} />;
  if (p === null)
    return (
      <Empty title="Not measured yet">
        <p class="muted">
          The model runs on random inputs in the compiler's worker: as it is, then in a build that reads a clock after every kernel.
        </p>
        <Sizes />
        <button type="button" class="button primary" onClick={() => void measure()}>
          Measure
        </button>
      </Empty>
    );
  return (
    <div class="timing">
      <div class="card span">
        <div class="card-head">
          <h2>A run</h2>
          <button type="button" class="button" onClick={() => void measure()}>
            Measure again
          </button>
        </div>
        <Sizes />
        <Totals profile={p} />
      </div>
      <div class="card">
        <h2>Time by kernel</h2>
        <Bars profile={p} />
      </div>
      <div class="card">
        <h2>Beside what the machine can do</h2>
        <Roofline profile={p} />
      </div>
    </div>
  );
}

/** Some seconds' worth of runs: many of a short one, as browsers' clocks are coarse. */
function runsFor(ms: number): number {
  return Math.min(300, Math.max(5, Math.round(2000 / Math.max(ms, 0.01))));
}

function Totals(p: { readonly profile: ProfileView }) {
  const { medianMs, minMs, runs, overhead, machine, threads, relaxedSimd, launches } = p.profile;
  const flops = launches.reduce((n, l) => n + (l.flops ?? 0), 0);
  return (
    <Facts
      rows={[
        ["Median", `${duration(medianMs)} of ${count(runs)} runs; the best took ${duration(minMs)}`],
        flops === 0 ? null : ["Speed", speedText(flops / medianMs / 1e6, machine.gflops)],
        [
          "This machine",
          `${significant(machine.gflops)} GFLOP/s in registers, ${significant(machine.cacheGBs)} GB/s from the nearest cache, ${significant(machine.memoryGBs)} GB/s from memory; measured, one thread`,
        ],
        ["Ran on", `${threads === 1 ? "one thread" : `${threads} threads`}, ${relaxedSimd ? "relaxed SIMD" : "SIMD without relaxed operations"}`],
        ["Cost of the clock", overhead <= 0 ? "too small to see" : `${percent(overhead)} of the time below`],
      ]}
    />
  );
}

function speedText(gflops: number, peak: number): string {
  const speed = `${significant(gflops)} GFLOP/s`;
  if (gflops <= peak) return `${speed}, ${percent(gflops / peak)} of what the machine can do`;
  return `${speed}, counted on the model; Winograd's convolutions need fewer operations`;
}

export interface KernelTotal {
  readonly kernel: number;
  readonly name: string;
  readonly launches: number;
  readonly ms: number;
  /** What its code does, and the data that it touches. */
  readonly operations: number | null;
  readonly bytes: number | null;
}

/** Times of launches added up by kernel, longest first. */
export function byKernel(launches: readonly LaunchTime[]): KernelTotal[] {
  const { kernels = [], launches: views = [] } = program.value ?? {};
  const totals = new Map<number, KernelTotal>();
  const plus = (a: number | null, b: number | null) => (a === null || b === null ? null : a + b);
  for (const l of launches) {
    const k = views[l.launch]?.kernel;
    if (k === undefined) continue;
    const old = totals.get(k);
    totals.set(k, {
      kernel: k,
      name: kernels[k]?.name ?? "",
      launches: (old?.launches ?? 0) + 1,
      ms: (old?.ms ?? 0) + l.ms,
      operations: old === undefined ? l.operations : plus(old.operations, l.operations),
      bytes: old === undefined ? l.bytes : plus(old.bytes, l.bytes),
    });
  }
  return [...totals.values()].sort((a, b) => b.ms - a.ms);
}

function Bars(p: { readonly profile: ProfileView }) {
  const list = byKernel(p.profile.launches);
  const all = list.reduce((n, k) => n + k.ms, 0);
  const most = Math.max(...list.map((k) => k.ms), Number.MIN_VALUE);
  return (
    <ol class="bars links-bars">
      {list.map((k) => (
        <li key={k.kernel}>
          <button type="button" class="bar-button" onClick={() => openKernel(k.kernel)} title="Show this kernel">
            <span class="bar-name">
              {k.name}
              {k.launches > 1 ? <span class="muted"> × {k.launches}</span> : null}
            </span>
            <span class="bar-track">
              <span style={{ width: `${(k.ms / most) * 100}%` }} />
            </span>
            <span class="bar-value">
              {duration(k.ms)} <span class="muted">{percent(k.ms / all)}</span>
            </span>
          </button>
        </li>
      ))}
    </ol>
  );
}

import { UserError } from "../base/errors.ts";
import { type KnownSizes, randomInput, randomSource } from "../data/inputs.ts";
import { startArtifact } from "../load.ts";
import type { Input, Model, NumberArray, OutputTensor } from "../runtime/model.ts";
import { measureBandwidth } from "../targets/wasm/bandwidth.ts";
import type { WasmArtifact } from "../targets/wasm/artifact.ts";
import { measurePeak } from "../targets/wasm/peak.ts";
import type { Explored } from "./explore.ts";
import { LaunchClock } from "./kernel-times.ts";
import { usualSizes } from "./sizes.ts";
import type { LaunchTime, MachineView, ProfileRequest, ProfileView, RunRequest, RunView, TensorView } from "./types.ts";

/** Values for all inputs, and the sizes that go with them. */
interface Given {
  readonly inputs: Readonly<Record<string, TensorView>>;
  readonly sizes: Readonly<Record<string, number>>;
}

/** What the run of a model needs of its surroundings: a pause in which messages come in, and whether to go on. */
export interface RunControl {
  /** Resolves after what waits in the event loop was done. @throws when the run is not wanted any more */
  readonly pause: () => Promise<void>;
}

/** Runs and measures a model that was explored. The model is started when it is needed first. */
export class Runner {
  private readonly explored: Explored;
  private readonly model: Promise<Model>[] = [];

  constructor(explored: Explored) {
    this.explored = explored;
  }

  /** Runs the model once. @throws UserError for inputs that do not fit */
  async run(request: RunRequest): Promise<RunView> {
    const model = await this.started();
    const given = this.given(request);
    const start = performance.now();
    const outputs = await model.run(inputsOf(given));
    const ms = performance.now() - start;
    const { threads, threads_reason, memory_bytes } = model.info();
    return { ms, inputs: given.inputs, outputs: mapValues(outputs, tensorOf), threads, threadsReason: threads_reason, memoryBytes: memory_bytes };
  }

  /** Times the model, and each of its launches in a build that reads a clock between them. */
  async profile(request: ProfileRequest, control: RunControl): Promise<ProfileView> {
    const runs = request.runs ?? 20;
    if (!Number.isInteger(runs) || runs < 1 || runs > 10_000) throw new UserError("runs", `runs must be a whole number from 1 to 10000, got ${runs}`);
    const given = this.given(request);
    const model = await this.started();
    const steady = paced(control);
    const normal = await timeRuns(model, given, runs, steady);
    const clock = new LaunchClock();
    const profiled = await startArtifact(this.explored.artifact(true), undefined, clock.tick);
    try {
      const slowed = await timeRuns(profiled, given, runs, steady);
      const { threads, relaxed_simd } = model.info();
      const views = this.explored.launches(given.sizes);
      // Never without end, should the clock stand still.
      const enough = Math.ceil(longMs / Math.max(slowed.median, longMs / 50_000));
      const means = await timeLaunches(profiled, given, Math.max(runs, enough), clock, views.length, steady);
      const launches = views.map(({ launch, flops, operations, bytes }, i): LaunchTime => ({ launch, ms: means[i] ?? 0, flops, operations, bytes }));
      await control.pause();
      const machine = await this.machine();
      return {
        runs,
        medianMs: normal.median,
        minMs: normal.min,
        overhead: slowed.median / normal.median - 1,
        launches,
        machine,
        threads,
        relaxedSimd: relaxed_simd,
      };
    } finally {
      profiled.dispose();
    }
  }

  /** What this machine can do at most, in this engine. */
  async machine(): Promise<MachineView> {
    const { relaxedSimd = false } = this.explored.exploration.program?.code ?? {};
    const { memoryGBs, cacheGBs } = await measureBandwidth();
    return { gflops: await measurePeak(relaxedSimd), memoryGBs, cacheGBs };
  }

  /** Lets go of the model. */
  dispose(): void {
    for (const m of this.model.splice(0)) void m.then((x) => x.dispose()).catch(() => {});
  }

  private started(): Promise<Model> {
    let [model] = this.model;
    if (model === undefined) {
      model = startArtifact(this.explored.artifact());
      this.model.push(model);
    }
    return model;
  }

  /** The inputs that were given, and random ones for the rest. */
  private given({ inputs = {}, sizes = {}, seed = 1 }: RunRequest): Given {
    const { manifest } = this.explored.artifact();
    const unknown = Object.keys(inputs).find((n) => !manifest.inputs.some((p) => p.name === n));
    if (unknown !== undefined)
      throw new UserError("unknown-input", `the model has no input '${unknown}'; it has ${manifest.inputs.map((p) => `'${p.name}'`).join(", ")}`);
    const symbols = sizesOf(manifest, inputs, sizes);
    const known: KnownSizes = { shapes: {}, symbols };
    const random = randomSource(seed);
    const all = manifest.inputs.map((p): [string, TensorView] => {
      const drawn = inputs[p.name];
      if (drawn === undefined) return [p.name, { dtype: p.dtype, ...randomInput(p, known, random) }];
      return [p.name, { dtype: p.dtype, dims: drawn.dims, data: drawn.data as NumberArray }];
    });
    return { inputs: Object.fromEntries(all), sizes: Object.fromEntries(symbols) };
  }
}

/** The values of symbols: those that were asked for, those that given inputs show, and typical ones. */
function sizesOf(
  m: WasmArtifact["manifest"],
  inputs: NonNullable<RunRequest["inputs"]>,
  asked: Readonly<Record<string, number>>,
): Map<string, number> {
  const found = new Map<string, number>();
  for (const p of m.inputs)
    p.dims.forEach((d, i) => {
      const size = inputs[p.name]?.dims[i];
      if (typeof d === "string" && size !== undefined && m.symbols.some((s) => s.name === d)) found.set(d, size);
    });
  const usual = usualSizes(m.symbols, m.inputs);
  for (const { name } of m.symbols) if (!found.has(name)) found.set(name, asked[name] ?? (usual[name] as number));
  return found;
}
const inputsOf = ({ inputs }: Given): Record<string, Input> =>
  mapValues(inputs, ({ data, dims }) => ({ data: data as NumberArray, dims: [...dims] }));

function mapValues<A, B>(record: Readonly<Record<string, A>>, f: (a: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([k, v]) => [k, f(v)]));
}

function tensorOf(t: OutputTensor): TensorView {
  return { dtype: t.dtype, dims: t.dims, data: t.data };
}

/** Pauses at most once in this many milliseconds: after a pause the caches are cold, and a short run takes several times as long. */
const pauseEvery = 50;

function paced({ pause }: RunControl): RunControl {
  let last = performance.now();
  return {
    pause: async () => {
      if (performance.now() - last < pauseEvery) return;
      await pause();
      last = performance.now();
    },
  };
}

/** A profile's runs are timed in so many groups. */
const groups = 16;

/**
 * Mean milliseconds of every launch. Groups of runs that took much longer than most are left out: something else had the
 * processor. (The median of each launch would not do: the clocks of pages are coarse, many launches take no time by them.)
 */
async function timeLaunches(
  model: Model,
  given: Given,
  runs: number,
  clock: LaunchClock,
  launches: number,
  { pause }: RunControl,
): Promise<number[]> {
  const inputs = inputsOf(given);
  const timed: { readonly total: number; readonly means: readonly number[] }[] = [];
  for (let g = 0, done = 0; done < runs; g++) {
    const end = Math.ceil(((g + 1) * runs) / groups);
    if (end === done) continue;
    clock.reset();
    for (; done < end; done++) {
      await pause();
      clock.begin();
      model.runNow(inputs, { views: true });
    }
    const means = Array.from({ length: launches }, (_, i) => clock.mean(i));
    timed.push({ total: means.reduce((a, b) => a + b, 0), means });
  }
  timed.sort((a, b) => a.total - b.total);
  const usual = 1.5 * (timed[timed.length >> 1]?.total ?? 0);
  const kept = timed.filter((t) => t.total <= usual);
  return Array.from({ length: launches }, (_, i) => kept.reduce((n, t) => n + (t.means[i] ?? 0), 0) / kept.length);
}

/** Warms the engine up for this long, so that it optimises the kernels. */
const warmMs = 300;
/** Clocks of pages are as coarse as a tenth of a millisecond: shorter runs are timed several at once, launches over at least so long. */
const [sampleMs, longMs] = [1, 300];

/** Milliseconds of one run: the median and the least of `runs` samples. */
async function timeRuns(model: Model, given: Given, runs: number, { pause }: RunControl): Promise<{ median: number; min: number }> {
  const inputs = inputsOf(given);
  const time = (n: number): number => {
    const start = performance.now();
    for (let i = 0; i < n; i++) model.runNow(inputs, { views: true });
    return performance.now() - start;
  };
  const begun = performance.now();
  let warm = 0;
  for (; warm < 3 || performance.now() - begun < warmMs; warm++) {
    time(1);
    if (warm % 16 === 0) await pause();
  }
  const atOnce = Math.ceil((sampleMs * warm) / (performance.now() - begun));
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    await pause();
    times.push(time(atOnce) / atOnce);
  }
  times.sort((a, b) => a - b);
  return { median: times[times.length >> 1] as number, min: times[0] as number };
}

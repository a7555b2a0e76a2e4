import type { Task } from "./task.ts";
import { tuneLayouts } from "./layouts.ts";
import type { TrialOutcome } from "./log.ts";
import { type ModelCompiler, type TuneOptions, type TuneResult, collectTasks, tune } from "./tune.ts";

/** Share of the trials, and of the time, that orders of dims may take. */
const layoutShare = 1 / 4;

export interface ModelTuneOptions extends TuneOptions {
  /** Only what stands for such nodes; all without. */
  readonly wanted?: (origin: readonly string[]) => boolean;
}

/**
 * Tunes a model: first in which order the dims of its tensors lie, which decides what kernels there are, then the schedules of
 * these kernels.
 */
export async function tuneModel(compile: ModelCompiler, o: ModelTuneOptions): Promise<TuneResult> {
  const clock = o.clock ?? (() => performance.now());
  const seconds = o.seconds ?? Number.POSITIVE_INFINITY;
  // Time counts from the first question on: not what it takes to compile, and to find out what there is to tune.
  let start: number | null = null;
  const spent = (): number => {
    start ??= clock();
    return (clock() - start) / 1e3;
  };
  const isOver = () => (o.signal?.aborted ?? false) || spent() >= seconds * layoutShare;
  const compiled = compile({ tuned: o.context, exact: o.context.exact });
  const laid = await tuneLayouts(compiled, { ...o, trials: Math.ceil(o.trials * layoutShare), isOver });
  const left = { trials: o.trials - laid.trials, ...(o.seconds === undefined ? {} : { seconds: Math.max(0, seconds - spent()) }) };
  const context = { ...o.context, database: laid.database };
  const tasks = wantedTasks(collectTasks(compile, context), o.wanted);
  const result = await tune(tasks, { ...o, ...left, context });
  const outcomes = { ...result.outcomes };
  for (const x of laid.outcomes) outcomes[x]++;
  const [layouts, trials] = [laid.layouts, result.trials + laid.trials];
  return { ...result, layouts, trials, outcomes, savedMs: laid.saved.at(-1)?.ms ?? 0, curve: joinedCurve(laid.saved, result) };
}

export function wantedTasks(tasks: readonly Task[], wanted: ((origin: readonly string[]) => boolean) | undefined): readonly Task[] {
  return wanted === undefined ? tasks : tasks.filter((t) => wanted(t.origin));
}

/** Both searches in one curve: what orders save, and then the kernels under those orders, in parts of the time under the default of both. */
function joinedCurve(saved: readonly { readonly trials: number; readonly ms: number }[], r: TuneResult): TuneResult["curve"] {
  const kernels = r.tasks.reduce((n, t) => n + (t.task.isPart || Number.isNaN(t.defaultMs) ? 0 : t.defaultMs * t.task.launches), 0);
  const [first, last] = [saved[0]?.trials ?? 0, saved.at(-1)];
  if (last === undefined || kernels === 0) return r.curve;
  const all = kernels + last.ms;
  const before = saved.map((p) => ({ trials: p.trials - first, time: 1 - p.ms / all }));
  return [...before, ...r.curve.map((p) => ({ trials: p.trials + last.trials, time: (p.time * kernels) / all }))];
}

/** How many of a call's trials were refused, by why. */
export function refusals(outcomes: Readonly<Record<TrialOutcome, number>>): string[] {
  return (["wrong", "trap", "hang", "unbuildable"] as const).filter((o) => outcomes[o] > 0).map((o) => `${outcomes[o]} ${o}`);
}

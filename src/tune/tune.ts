import type { Compiled, PipelineOptions } from "../compile.ts";
import { flattenSteps } from "../schedule/build.ts";
import { defaultChooser } from "../schedule/choose.ts";
import { type DatabaseEntry, type ScheduleDatabase, databaseChooser, withEntry } from "../schedule/database.ts";
import { printSchedule } from "../schedule/schedule.ts";
import { seededRandom } from "../schedule/random.ts";
import type { Tensor } from "../tensor/ir.ts";
import type { BuildContext } from "./candidate.ts";
import type { Engine } from "./engine.ts";
import type { LayoutResult } from "./layouts.ts";
import { type LogRecord, type TrialOutcome, type TrialRecord, isScheduleTrial, outcomes } from "./log.ts";
import { RankModel } from "./rank.ts";
import { TaskSearch } from "./search.ts";
import { type Task, TaskRecorder, taskBytes } from "./task.ts";
import type { Verdict } from "./timing.ts";

export interface TuneOptions {
  /** Candidates to measure, in all. */
  readonly trials: number;
  /** Seconds after which the search ends; the last comparisons come on top. */
  readonly seconds?: number;
  readonly seed: number;
  /** Ends the search as if the trials were used up. */
  readonly signal?: AbortSignal;
  readonly engine: Engine;
  readonly context: BuildContext;
  /** What earlier calls tried. */
  readonly records: readonly LogRecord[];
  /** Is told of everything that was tried, to be kept for later calls. */
  readonly record: (t: LogRecord) => void;
  /** Is given the database whenever it has changed. */
  readonly save: (db: ScheduleDatabase) => void;
  readonly progress?: (text: string) => void;
  readonly clock?: () => number;
}

/** What came of one kernel. */
export interface TaskResult {
  readonly task: Task;
  /** Milliseconds of one launch under the default schedule; NaN where it was not reached. */
  readonly defaultMs: number;
  /** Best time that the search saw, relative to the default's. */
  readonly best: number;
  readonly trials: number;
  /** The last comparison with the default; null where nothing better was found. */
  readonly verdict: Verdict | null;
  /** Does the database have an entry for it now? */
  readonly kept: boolean;
  /** Time relative to the default's under what the database says. */
  readonly ratio: number;
  /** Why it was not searched, or no further. */
  readonly over: string | null;
}

export interface TuneResult {
  readonly tasks: readonly TaskResult[];
  /** What came of groups of tensors whose order of dims was changed, the costliest first; empty where only kernels were tuned. */
  readonly layouts: readonly LayoutResult[];
  /** Milliseconds that the database's orders take from one run of the model. */
  readonly savedMs: number;
  readonly database: ScheduleDatabase;
  /** Time of all kernels together by the number of trials, relative to the default's. */
  readonly curve: readonly { readonly trials: number; readonly time: number }[];
  readonly outcomes: Readonly<Record<TrialOutcome, number>>;
  readonly trials: number;
}

/** Candidates measured before another kernel may have its turn. */
const batch = 8;
/** Bytes of kernels that stay loaded from turn to turn. Each is there some eight times: modules, references, copies. */
const loadedBytes = 64 << 20;
/** A kernel whose buffers need more is left alone. */
const largestTask = 1 << 29;
/** What a first step may hope for; it is hoped for less and less. */
const optimism = 0.3;

/** Runs the pipeline for the model that is tuned. */
export type ModelCompiler = (options: Pick<PipelineOptions, "schedule" | "tuned" | "exact">) => Compiled;

/** The distinct kernels that a model runs, under the layouts and schedules that it would get. */
export function collectTasks(compile: ModelCompiler, c: BuildContext): Task[] {
  const isConstant = (t: Tensor) => t.data !== null;
  const chosen = databaseChooser(defaultChooser(c.machine, isConstant, { exact: c.exact }), c.database, { ...c, isConstant });
  const recorder = new TaskRecorder(chosen, isConstant);
  const { scheduled } = compile({ schedule: recorder.chooser, tuned: c, exact: c.exact });
  if (scheduled === undefined) return [];
  const run = new Set(flattenSteps(scheduled.run).map((s) => s.kernel));
  return recorder.tasks(scheduled.function, (k) => run.has(k));
}

/**
 * Tunes the tasks. Trials go where they promise most: a kernel's expected gain is its share of the model's time under the
 * best schedule so far, times the relative improvement that its next step may bring, which is that of its last two steps
 * plus an optimism that falls with the number of steps. Every kernel's default is measured first; at the end each best
 * schedule is compared with the default once more, and those that win by more than the spread become entries.
 */
export async function tune(tasks: readonly Task[], o: TuneOptions): Promise<TuneResult> {
  return new Tuner(tasks, o).run();
}

interface Turn {
  readonly search: TaskSearch;
  /** Best times after each step. */
  readonly history: number[];
  verdict: Verdict | null;
  lastUse: number;
}

class Tuner {
  private readonly o: TuneOptions;
  private readonly turns: readonly Turn[];
  private readonly counts = Object.fromEntries(outcomes.map((x) => [x, 0])) as Record<TrialOutcome, number>;
  private readonly curve: { trials: number; time: number }[] = [];
  private readonly deadline: number;
  private readonly clock: () => number;
  private database: ScheduleDatabase;
  private trials = 0;

  constructor(tasks: readonly Task[], o: TuneOptions) {
    this.o = o;
    this.clock = o.clock ?? (() => performance.now());
    this.deadline = this.clock() + (o.seconds ?? Number.POSITIVE_INFINITY) * 1e3;
    this.database = o.context.database;
    const random = seededRandom(o.seed);
    const model = new RankModel();
    const mine = o.records.filter(isScheduleTrial).filter((r) => r.machine === o.context.machineId);
    for (const r of mine) if (r.row !== null && r.ratio !== null) model.add(r.row, r.ratio);
    const record = (t: TrialRecord) => {
      this.counts[t.outcome]++;
      o.record(t);
    };
    this.turns = tasks.map((task) => {
      const search = new TaskSearch(task, o.engine, o.context, model, random, record);
      if (taskBytes(task.function) > largestTask) search.over = "its buffers are too large to be measured apart";
      const entry = this.entryOf(task);
      search.resume(
        mine.filter((r) => r.kernel === task.key),
        entry === null ? null : { schedule: entry.schedule, ratio: entry.ms / entry.default_ms },
      );
      return { search, history: [], verdict: null, lastUse: 0 };
    });
  }

  async run(): Promise<TuneResult> {
    await this.measureDefaults();
    this.note();
    while (!this.isOver()) {
      const turn = this.next();
      if (turn === null) break;
      await this.step(turn);
    }
    for (const turn of this.turns) await this.decide(turn);
    for (const { search } of this.turns) search.release();
    return {
      tasks: this.turns.map((t) => this.result(t)),
      layouts: [],
      savedMs: 0,
      database: this.database,
      curve: this.curve,
      outcomes: this.counts,
      trials: this.trials,
    };
  }

  private isOver(): boolean {
    return this.trials >= this.o.trials || this.clock() >= this.deadline || (this.o.signal?.aborted ?? false);
  }

  /** The most expensive kernels first, as the model reckons: time may not suffice for all. */
  private async measureDefaults(): Promise<void> {
    const order = [...this.turns].sort((a, b) => b.search.task.cost * b.search.task.launches - a.search.task.cost * a.search.task.launches);
    for (const [i, turn] of order.entries()) {
      if (this.isOver()) return;
      this.o.progress?.(`default ${i + 1} of ${order.length}: ${nameOf(turn.search.task)}`);
      await this.acquire(turn);
    }
  }

  /** Loads what a turn needs, in place of what has not been used for longest. */
  private async acquire(turn: Turn): Promise<void> {
    turn.lastUse = this.clock();
    const bytes = (t: Turn) => taskBytes(t.search.task.function);
    const others = this.turns.filter((t) => t !== turn && t.search.isLoaded).sort((a, b) => a.lastUse - b.lastUse);
    let total = bytes(turn) + others.reduce((n, t) => n + bytes(t), 0);
    for (const t of others) {
      if (total <= loadedBytes) break;
      t.search.release();
      total -= bytes(t);
    }
    await turn.search.acquire();
  }

  private weight({ search }: Turn): number {
    return Number.isNaN(search.defaultMs) ? 0 : search.defaultMs * search.task.launches;
  }

  /** The turn with most to gain. */
  private next(): Turn | null {
    const gain = (t: Turn): number => {
      const [last, before] = [t.history.at(-1) ?? 1, t.history.at(-3) ?? 1];
      const recent = t.history.length === 0 ? 0 : 1 - last / before;
      return this.weight(t) * t.search.best * (recent + optimism / (1 + t.history.length));
    };
    const open = this.turns.filter((t) => t.search.over === null && this.weight(t) > 0);
    return open.reduce<Turn | null>((best, t) => (best === null || gain(t) > gain(best) ? t : best), null);
  }

  private async step(turn: Turn): Promise<void> {
    const { search } = turn;
    await this.acquire(turn);
    const done = await search.step(Math.min(batch, this.o.trials - this.trials));
    this.trials += done;
    turn.history.push(search.best);
    this.note();
    const gained = ((1 - search.best) * 100).toFixed(0);
    this.o.progress?.(
      `${this.trials} of ${this.o.trials} trials, model at ${(this.time() * 100).toFixed(1)}%: ${nameOf(search.task)} ${gained}% quicker`,
    );
  }

  /** Time of all kernels together under the best schedules seen, relative to the default's. */
  private time(): number {
    let [all, now] = [0, 0];
    for (const t of this.turns) {
      // A part's time, and what it gains, is in the time of the kernel that it belongs to.
      if (t.search.task.isPart) continue;
      const w = this.weight(t);
      all += w;
      now += w * t.search.best;
    }
    return all === 0 ? 1 : now / all;
  }
  private note(): void {
    this.curve.push({ trials: this.trials, time: this.time() });
  }

  /** The last word on a kernel, and its entry. */
  private async decide(turn: Turn): Promise<void> {
    const { search } = turn;
    if (search.best >= 1 || Number.isNaN(search.defaultMs)) return;
    const old = this.entryOf(search.task);
    if (old !== null && search.isBest(printSchedule(old.schedule))) return;
    this.o.progress?.(`comparing with the default: ${nameOf(search.task)}`);
    await this.acquire(turn);
    const confirmed = await search.confirm();
    if (confirmed === null) return;
    const { verdict, schedule } = confirmed;
    turn.verdict = verdict;
    if (!verdict.kept || (old !== null && verdict.ratio >= old.ms / old.default_ms)) return;
    const round = (ms: number) => Number(ms.toPrecision(4));
    const entry: DatabaseEntry = {
      kernel: search.task.key,
      machine: this.o.context.machineId,
      what: `${nameOf(search.task)}: ${search.task.what}`,
      schedule,
      ms: round(verdict.defaultMs * verdict.ratio),
      default_ms: round(verdict.defaultMs),
      trials: search.trials,
    };
    this.database = withEntry(this.database, entry);
    this.o.save(this.database);
  }

  private entryOf(task: Task): DatabaseEntry | null {
    return this.database.entries.find((e) => e.kernel === task.key && e.machine === this.o.context.machineId) ?? null;
  }

  private result({ search, verdict }: Turn): TaskResult {
    const entry = this.entryOf(search.task);
    return {
      task: search.task,
      defaultMs: search.defaultMs,
      best: search.best,
      trials: search.trials,
      verdict,
      kept: entry !== null,
      ratio: entry === null ? 1 : entry.ms / entry.default_ms,
      over: search.over,
    };
  }
}

/** What a kernel is called in messages: the nodes that it stands for. */
export function nameOf(t: Task): string {
  const [first = "kernel", ...rest] = t.origin;
  return `${first}${rest.length > 0 ? ` + ${rest.length} more` : ""}${t.isPart ? " (part)" : ""}`;
}

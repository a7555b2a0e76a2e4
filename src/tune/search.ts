import { evaluateDim } from "../base/dim.ts";
import { median } from "./statistics.ts";
import type { Random } from "../schedule/random.ts";
import { type PortableSchedule, fromPortable, toPortable } from "../schedule/portable.ts";
import { type KernelSchedule, printSchedule } from "../schedule/schedule.ts";
import { type BuildContext, type Candidate, buildCandidate } from "./candidate.ts";
import { NoReference, type Reference, differenceOf, factorOf, makeReference } from "./check.ts";
import type { Engine } from "./engine.ts";
import { dynamicOperations, featureRow } from "./features.ts";
import type { TrialOutcome, TrialRecord } from "./log.ts";
import { type OpenTask, openTask } from "./open.ts";
import type { RankModel } from "./rank.ts";
import { ScheduleSpace } from "./space.ts";
import { type Verdict, compareFirst, compareLast, rounds } from "./timing.ts";
import { type Task, symbolValues } from "./task.ts";

/** Schedules that are looked at in one step: made, then priced by the machine's model, then built and ranked, then measured. */
const amounts = { proposed: 64, built: 14, atRandom: 4, parents: 8 } as const;
/** Share of proposals that are new draws; of measured ones that are taken at random (epsilon-greedy). */
const freshShare = 0.3;
const epsilon = 0.25;
/** Operations, relative to the default's, above which a schedule is not run. */
const tooSlow = 24;

interface Known {
  readonly schedule: KernelSchedule;
  /** Time relative to the default's. */
  readonly ratio: number;
}

/** The evolutionary search for one kernel. */
export class TaskSearch {
  readonly task: Task;
  private readonly engine: Engine;
  private readonly context: BuildContext;
  private readonly model: RankModel;
  private readonly random: Random;
  private readonly open: OpenTask;
  private readonly space: ScheduleSpace;
  /** What was tried, by portable text. */
  private readonly tried = new Set<string>();
  /** Times by code: another schedule of the same code has the same. */
  private readonly byCode = new Map<string, number>();
  private readonly found: Known[] = [];
  private readonly record: (t: TrialRecord) => void;
  private reference: Reference | null = null;
  private standard: { candidate: Candidate; cost: number; id: number } | null = null;
  private incumbent: { known: Known; id: number } | null = null;
  /** Schedules that were measured, earlier calls included. */
  trials = 0;
  /** Milliseconds under the default schedule. */
  defaultMs = Number.NaN;
  /** Nothing new is found any more, or the kernel cannot be tuned: then the reason. */
  over: string | null = null;

  constructor(task: Task, engine: Engine, context: BuildContext, model: RankModel, random: Random, record: (t: TrialRecord) => void) {
    this.task = task;
    this.engine = engine;
    this.context = context;
    this.model = model;
    this.random = random;
    this.record = record;
    this.open = openTask(task.function);
    this.space = new ScheduleSpace(this.open.sc, context.machine, this.open.kernel, { isConstant: (t) => t.data !== null, exact: context.exact });
  }

  /** Is it this schedule, in portable text, that is best of all? */
  isBest(text: string): boolean {
    const [first] = [...this.found].sort((a, b) => a.ratio - b.ratio);
    return first !== undefined && this.portableText(first.schedule) === text;
  }
  /** Best time found, relative to the default's. */
  get best(): number {
    return this.found.reduce((n, k) => Math.min(n, k.ratio), 1);
  }

  /** Takes over what an earlier call tried; `entry` is the database's, with its time relative to the default's. */
  resume(records: readonly TrialRecord[], entry: { readonly schedule: PortableSchedule; readonly ratio: number } | null): void {
    for (const r of records) {
      const fitted = this.named(r.schedule);
      if (fitted === null) continue;
      this.tried.add(printSchedule(r.schedule));
      if (r.outcome === "ok") this.trials++;
      if (r.outcome === "ok" && r.ratio !== null) this.found.push({ schedule: fitted, ratio: r.ratio });
    }
    const known = entry === null ? null : this.named(entry.schedule);
    if (known === null || entry === null || this.tried.has(printSchedule(entry.schedule))) return;
    this.tried.add(printSchedule(entry.schedule));
    this.found.push({ schedule: known, ratio: entry.ratio });
  }
  private named(s: PortableSchedule): KernelSchedule | null {
    return fromPortable(this.open.sc, this.context.machine, this.open.kernel, s).schedule;
  }

  /** Is everything loaded that a step needs? */
  get isLoaded(): boolean {
    return this.incumbent !== null;
  }

  /** Builds and times the default and loads the best that is known; what is wrong with the default ends the search. */
  async acquire(): Promise<void> {
    if (this.isLoaded || this.over !== null) return;
    const { function: f } = this.task;
    try {
      const schedule = this.space.default();
      const candidate = buildCandidate(f, schedule, this.context);
      const symbols = symbolValues(f);
      const env = new Map(f.symbols.map((s, i) => [s.name, symbols[i] as number]));
      const sizes = f.inputs.map((t) => evaluateDim(t.dims[0] ?? 1, env));
      this.reference = await makeReference(this.engine, f, candidate, sizes);
      const loaded = await this.engine.load(await candidate.runnable(this.reference.inputs));
      if (loaded.kind !== "ran") throw new NoReference(loaded.why);
      const times = await this.engine.time([loaded.id], rounds.first);
      if (times === null) throw new NoReference("the default schedule could not be timed");
      this.defaultMs = median(times[0] ?? []);
      this.standard = { candidate, cost: this.space.cost(schedule), id: loaded.id };
      this.byCode.set(candidate.codeId, 1);
      this.tried.add(this.portableText(schedule));
      if (!this.found.some((k) => k.ratio === 1)) this.found.push({ schedule, ratio: 1 });
      await this.hire();
    } catch (e) {
      const text = e instanceof Error ? (e.message.split("\n")[0] ?? "") : String(e);
      this.over = e instanceof NoReference ? text : `internal: ${text}`;
    }
  }

  /** Loads the best of what is known, if it is not the default, as what candidates are compared with. */
  private async hire(): Promise<void> {
    const [first] = [...this.found].sort((a, b) => a.ratio - b.ratio);
    if (first === undefined || this.standard === null || this.reference === null) return;
    if (first.ratio >= 1) {
      this.incumbent = { known: { schedule: this.standard.candidate.schedule, ratio: 1 }, id: this.standard.id };
      return;
    }
    const loaded = await this.engine.load(await buildCandidate(this.task.function, first.schedule, this.context).runnable(this.reference.inputs));
    if (loaded.kind === "ran") this.incumbent = { known: first, id: loaded.id };
    else this.incumbent = { known: { schedule: this.standard.candidate.schedule, ratio: 1 }, id: this.standard.id };
  }

  /** Measures up to `count` new schedules; gives how many it measured. */
  async step(count: number): Promise<number> {
    if (this.standard === null || this.over !== null) return 0;
    const built = this.propose();
    let measured = 0;
    while (measured < count && built.length > 0) {
      built.sort((a, b) => a.predicted - b.predicted);
      const at = this.random() < epsilon ? Math.floor(this.random() * built.length) : 0;
      const [next] = built.splice(at, 1);
      if (next !== undefined && (await this.measure(next))) measured++;
    }
    if (measured === 0 && built.length === 0) this.over = "no schedule is left that was not tried";
    return measured;
  }

  /** New legal schedules: the machine's model chooses among many which to build, what was learnt tells which to measure first. */
  private propose(): Built[] {
    const { random, space } = this;
    const parents = [...this.found].sort((a, b) => a.ratio - b.ratio).slice(0, amounts.parents);
    const proposals = new Map<string, { schedule: KernelSchedule; cost: number }>();
    for (let i = 0; i < amounts.proposed; i++) {
      const parent = parents[Math.floor(random() ** 2 * parents.length)];
      const schedule = parent === undefined || random() < freshShare ? space.draw(random) : space.mutate(random, parent.schedule);
      if (!space.isLegal(schedule)) continue;
      const text = this.portableText(schedule);
      if (!this.tried.has(text)) proposals.set(text, { schedule, cost: space.cost(schedule) });
    }
    const list = [...proposals].sort((a, b) => a[1].cost - b[1].cost);
    const chosen = list.splice(0, amounts.built - amounts.atRandom);
    for (let i = 0; i < amounts.atRandom && list.length > 0; i++) chosen.push(...list.splice(Math.floor(random() * list.length), 1));
    return chosen.flatMap(([text, p]) => this.build(text, p.schedule, p.cost) ?? []);
  }

  private build(text: string, schedule: KernelSchedule, cost: number): Built | null {
    const standard = this.standard as NonNullable<typeof this.standard>;
    this.tried.add(text);
    let candidate: Candidate;
    try {
      candidate = buildCandidate(this.task.function, schedule, this.context);
    } catch {
      this.log(schedule, "unbuildable");
      return null;
    }
    const reference = standard.candidate.features;
    const row = featureRow(candidate.features, reference, cost, standard.cost);
    if (dynamicOperations(candidate.features) > tooSlow * dynamicOperations(reference)) {
      this.log(schedule, "slow");
      return null;
    }
    const same = this.byCode.get(candidate.codeId);
    if (same !== undefined) {
      this.log(schedule, "ok", same, row);
      return null;
    }
    return { candidate, row, predicted: this.model.predict(row) };
  }

  /** Checks and times a candidate. @returns whether it counts as a trial */
  private async measure({ candidate, row }: Built): Promise<boolean> {
    const { engine } = this;
    const reference = this.reference as Reference;
    const incumbent = this.incumbent as NonNullable<typeof this.incumbent>;
    const loaded = await engine.load(await candidate.runnable(reference.inputs));
    if (loaded.kind !== "ran") {
      this.log(candidate.schedule, loaded.kind);
      return true;
    }
    this.trials++;
    if (differenceOf(reference, loaded.outputs, factorOf(candidate.schedule.algorithm)) !== null) {
      engine.unload(loaded.id);
      this.log(candidate.schedule, "wrong");
      return true;
    }
    const relative = await compareFirst(engine, loaded.id, incumbent.id);
    if (relative === null) {
      engine.unload(loaded.id);
      this.log(candidate.schedule, "hang");
      return true;
    }
    const ratio = relative * incumbent.known.ratio;
    this.byCode.set(candidate.codeId, ratio);
    const known = { schedule: candidate.schedule, ratio };
    this.found.push(known);
    this.log(candidate.schedule, "ok", ratio, row);
    this.model.add(row, ratio);
    if (relative < 1) {
      if (incumbent.id !== this.standard?.id) engine.unload(incumbent.id);
      this.incumbent = { known, id: loaded.id };
    } else engine.unload(loaded.id);
    return true;
  }

  private log(schedule: KernelSchedule, outcome: TrialOutcome, ratio: number | null = null, row: readonly number[] | null = null): void {
    this.record({ kernel: this.task.key, machine: this.context.machineId, schedule: this.portable(schedule), outcome, ratio, row });
  }
  private portable(s: KernelSchedule): PortableSchedule {
    return toPortable(this.open.sc, this.context.machine, this.open.kernel, s);
  }
  private portableText(s: KernelSchedule): string {
    return printSchedule(this.portable(s));
  }

  /** Compares the best with the default once more, in turns; null where there is nothing better. It is kept if it wins by more than the spread. */
  async confirm(): Promise<{ readonly schedule: PortableSchedule; readonly verdict: Verdict } | null> {
    const { incumbent, standard } = this;
    if (incumbent === null || standard === null || incumbent.id === standard.id) return null;
    const verdict = await compareLast(this.engine, incumbent.id, standard.id);
    if (verdict === null) return null;
    return { schedule: this.portable(incumbent.known.schedule), verdict };
  }

  /** Gives back what is loaded; `acquire` loads it again. */
  release(): void {
    if (this.incumbent !== null && this.incumbent.id !== this.standard?.id) this.engine.unload(this.incumbent.id);
    if (this.standard !== null) this.engine.unload(this.standard.id);
    this.incumbent = null;
    this.standard = null;
    this.reference = null;
  }
}

interface Built {
  readonly candidate: Candidate;
  readonly row: readonly number[];
  readonly predicted: number;
}

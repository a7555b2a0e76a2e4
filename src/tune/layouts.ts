import { type Compiled, compileTensor } from "../compile.ts";
import { evaluateDim } from "../base/dim.ts";
import { kernelPasses } from "../loop/passes/pipeline.ts";
import { type LayoutEntry, type ScheduleDatabase, layoutOrders, withLayout } from "../schedule/database.ts";
import { type GivenOrders, type LayoutChoice, assignLayouts, layoutChoices } from "../schedule/layout.ts";
import type { Scalars } from "../scalar/scalars.ts";
import type { TensorFunction } from "../tensor/ir.ts";
import { mapSegments } from "../tensor/segments.ts";
import { type Affected, affectedKernels } from "./affected.ts";
import { BufferPlan } from "./buffers.ts";
import type { BuildContext } from "./candidate.ts";
import { NoReference, differenceOf, factorOf, reducedPoints, referenceOf, runOnce } from "./check.ts";
import type { Engine, Runnable } from "./engine.ts";
import { type LayoutTrial, type LogRecord, type TrialOutcome, isLayoutTrial } from "./log.ts";
import { openFunction } from "./open.ts";
import { packageProgram } from "./package.ts";
import { symbolValues } from "./task.ts";
import { type Verdict, compareFirst, compareLast } from "./timing.ts";

export interface LayoutOptions {
  readonly engine: Engine;
  readonly context: BuildContext;
  /** Orders to measure at most. */
  readonly trials: number;
  readonly isOver: () => boolean;
  readonly records: readonly LogRecord[];
  readonly record: (t: LogRecord) => void;
  readonly save: (db: ScheduleDatabase) => void;
  readonly progress?: (text: string) => void;
  /** Which groups, by the nodes that their kernels stand for; all without. */
  readonly wanted?: (origin: readonly string[]) => boolean;
}

/** What came of the groups of one structure. */
export interface LayoutResult {
  readonly key: string;
  readonly name: string;
  /** The first group's first tensor. */
  readonly dims: string;
  /** Groups of this structure. */
  readonly groups: number;
  /** The order that they have now. */
  readonly order: readonly number[];
  readonly trials: number;
  /** The last comparison that was made; null where nothing looked better. */
  readonly verdict: Verdict | null;
  /** Does the database have an entry for it now? */
  readonly kept: boolean;
  /** Why it was not searched. */
  readonly over: string | null;
}

export interface LayoutsResult {
  readonly layouts: readonly LayoutResult[];
  readonly database: ScheduleDatabase;
  readonly trials: number;
  readonly outcomes: readonly TrialOutcome[];
  /** Milliseconds that the database's orders took from one run of the model, by the number of trials. */
  readonly saved: readonly { readonly trials: number; readonly ms: number }[];
}

/** Orders that the model reckons to be this much dearer are not tried. */
const clearlyDearer = 1.5;
/** Buffers of more bytes in all are left alone: they are there some eight times. */
const largestSet = 1 << 28;

/**
 * Tunes in which order the dims of tensors lie. What is measured are all kernels that an order changes, in one program, before
 * and after, in turns; so what a kernel's result does to the next one counts. An order becomes an entry, and what the next one
 * is compared with, if it wins by more than the spread. Orders come in the order of what they may gain: the modelled cost of
 * the kernels around a group, less for every order of it that the model prefers.
 */
export async function tuneLayouts(compiled: Compiled, o: LayoutOptions): Promise<LayoutsResult> {
  const t = compiled.scheduled === undefined ? null : new LayoutTuner(compiled, compiled.scheduled.plain, o);
  return (await t?.run()) ?? { layouts: [], database: o.context.database, trials: 0, outcomes: [], saved: [] };
}

/** Kernels that run one after the other: layouts are assigned to each such part of a model by itself. */
interface Segment {
  readonly plain: TensorFunction;
  /** Under the orders that hold now. */
  present: TensorFunction;
}

interface Group {
  readonly segment: Segment;
  readonly choice: LayoutChoice;
  readonly name: string;
  order: readonly number[];
  trials: number;
  verdict: Verdict | null;
  over: string | null;
}

class LayoutTuner {
  private readonly o: LayoutOptions;
  private readonly compiled: Compiled;
  private readonly segments: readonly Segment[];
  private readonly groups: readonly Group[];
  /** What earlier calls tried on this machine. */
  private readonly mine: readonly LayoutTrial[];
  private readonly outcomes: TrialOutcome[] = [];
  private readonly saved: { trials: number; ms: number }[] = [];
  private database: ScheduleDatabase;
  private trials = 0;

  constructor(compiled: Compiled, plain: TensorFunction, o: LayoutOptions) {
    const { machine, machineId, exact, database } = o.context;
    this.o = o;
    this.compiled = compiled;
    this.database = database;
    const given = layoutOrders(database, machineId);
    this.segments = segmentsOf(compiled.sc, plain).map((f) => ({ plain: f, present: this.assign(f, given) }));
    this.mine = o.records.filter(isLayoutTrial).filter((r) => r.machine === machineId);
    const groups = new Map<string, Group>();
    for (const segment of this.segments)
      for (const choice of layoutChoices(compiled.sc, machine, segment.plain, exact, given)) {
        // Those of the same structure in another part get the same order.
        if (groups.has(choice.key) || !(o.wanted?.(originOf(choice)) ?? true)) continue;
        const trials = this.mine.filter((r) => r.group === choice.key && r.outcome === "ok").length;
        groups.set(choice.key, { segment, choice, name: nameOfGroup(choice), order: choice.order, trials, verdict: null, over: null });
      }
    this.groups = [...groups.values()].sort((a, b) => b.choice.cost - a.choice.cost);
  }

  async run(): Promise<LayoutsResult> {
    this.note();
    const queue = this.proposals();
    for (const [i, p] of queue.entries()) {
      if (this.trials >= this.o.trials || this.o.isOver()) break;
      if (p.group.over !== null) continue;
      this.o.progress?.(`layout ${i + 1} of ${queue.length}: ${p.group.name} as ${orderText(p.order)}`);
      await this.measure(p.group, p.order);
      this.note();
    }
    return {
      layouts: this.groups.map((g) => this.result(g)),
      database: this.database,
      trials: this.trials,
      outcomes: this.outcomes,
      saved: this.saved,
    };
  }

  private assign(f: TensorFunction, given: GivenOrders): TensorFunction {
    const { machine, exact } = this.o.context;
    return assignLayouts(this.compiled.sc, machine, f, exact, given);
  }

  /** What was not tried yet and is not hopeless, the most promising first. */
  private proposals(): { readonly group: Group; readonly order: readonly number[] }[] {
    const id = (key: string, order: readonly number[]) => `${key} ${order.join()}`;
    const tried = new Set(this.mine.filter((r) => !this.mayWinNow(r)).map((r) => id(r.group, r.order)));
    return this.groups
      .flatMap((group) =>
        group.choice.others
          .filter((x) => x.cost <= clearlyDearer * group.choice.cost)
          .map(({ order }, i) => ({ group, order, weight: group.choice.cost / (1 + i) })),
      )
      .filter((p) => !tried.has(id(p.group.choice.key, p.order)))
      .sort((a, b) => b.weight - a.weight);
  }

  /** Was it better in an earlier call, but by less than the spread? On a quieter machine it may win. */
  private mayWinNow(r: LayoutTrial): boolean {
    return r.ratio !== null && r.ratio < 1 && layoutOrders(this.database, r.machine).get(r.group) === undefined;
  }

  private entryOf(g: Group): LayoutEntry | null {
    return this.database.layouts?.find((e) => e.group === g.choice.key && e.machine === this.o.context.machineId) ?? null;
  }

  private note(): void {
    const entries = this.groups.flatMap((g) => this.entryOf(g) ?? []);
    this.saved.push({ trials: this.trials, ms: entries.reduce((n, e) => n + e.default_ms - e.ms, 0) });
  }

  private log(g: Group, order: readonly number[], outcome: TrialOutcome, ratio: number | null = null): void {
    this.outcomes.push(outcome);
    this.o.record({ group: g.choice.key, machine: this.o.context.machineId, order, outcome, ratio });
  }

  /** Measures one order of one group against what holds now. */
  private async measure(g: Group, order: readonly number[]): Promise<void> {
    const { plain, present } = g.segment;
    const after = this.assign(plain, new Map(layoutOrders(this.database, this.o.context.machineId)).set(g.choice.key, order));
    const affected = affectedKernels(this.compiled.sc, plain, present, after);
    if (affected === null) {
      this.log(g, order, "ok", 1);
      return;
    }
    let pair: Pair;
    try {
      pair = buildPair(affected, { ...this.o.context, database: this.database });
    } catch {
      this.log(g, order, "unbuildable");
      return;
    }
    if (pair.bytes > largestSet) {
      g.over = "the buffers around it are too large to be measured apart";
      return;
    }
    this.trials++;
    try {
      await this.compare(g, order, pair);
    } catch (e) {
      if (!(e instanceof NoReference)) throw e;
      g.over = e.message;
    }
  }

  private async compare(g: Group, order: readonly number[], pair: Pair): Promise<void> {
    const { engine } = this.o;
    if (pair.isSame) {
      g.trials++;
      this.log(g, order, "ok", 1);
      return;
    }
    const reference = await referenceOf({
      ...pair,
      run: async (inputs) => pair.before.read(await runOnce(engine, await pair.before.runnable(inputs))),
    });
    const candidate = await engine.load(await pair.after.runnable(reference.inputs));
    if (candidate.kind !== "ran") {
      this.log(g, order, candidate.kind);
      return;
    }
    if (differenceOf(reference, pair.after.read(candidate.outputs), pair.factor) !== null) {
      engine.unload(candidate.id);
      this.log(g, order, "wrong");
      return;
    }
    const standard = await engine.load(await pair.before.runnable(reference.inputs));
    const ratio = standard.kind === "ran" ? await compareFirst(engine, candidate.id, standard.id) : null;
    const verdict = ratio !== null && ratio < 1 && standard.kind === "ran" ? await compareLast(engine, candidate.id, standard.id) : null;
    engine.unload(candidate.id);
    if (standard.kind === "ran") engine.unload(standard.id);
    if (ratio === null) {
      this.log(g, order, "hang");
      return;
    }
    g.trials++;
    this.log(g, order, "ok", verdict?.ratio ?? ratio);
    if (verdict === null) return;
    // What was kept stays in the report, whatever is tried later.
    if (g.verdict?.kept !== true || verdict.kept) g.verdict = verdict;
    if (verdict.kept) this.keep(g, order, verdict);
  }

  private keep(g: Group, order: readonly number[], verdict: Verdict): void {
    const round = (ms: number) => Number(ms.toPrecision(4));
    const old = this.entryOf(g);
    // An order that takes the place of one that was found before adds to its gain.
    const before = verdict.defaultMs * (old === null ? 1 : old.default_ms / old.ms);
    const entry: LayoutEntry = {
      group: g.choice.key,
      machine: this.o.context.machineId,
      what: `${g.name}: ${dimsText(g.choice)}`,
      order,
      ms: round(verdict.defaultMs * verdict.ratio),
      default_ms: round(before),
      trials: g.trials,
    };
    g.order = order;
    this.database = withLayout(this.database, entry);
    const given = layoutOrders(this.database, this.o.context.machineId);
    for (const s of this.segments) s.present = this.assign(s.plain, given);
    this.o.save(this.database);
  }

  private result(g: Group): LayoutResult {
    const { choice, name, order, trials, verdict, over } = g;
    return {
      key: choice.key,
      name,
      dims: dimsText(choice),
      groups: choice.groups.length,
      order,
      trials,
      verdict,
      kept: this.entryOf(g) !== null,
      over,
    };
  }
}

interface Pair {
  readonly inputs: readonly { readonly dtype: BufferPlan["dtype"]; readonly elements: number }[];
  readonly outputs: readonly BufferPlan["dtype"][];
  readonly terms: number;
  /** By how much algorithms that change the arithmetic widen the bound. */
  readonly factor: number;
  readonly before: Built;
  readonly after: Built;
  readonly bytes: number;
  /** Is it the same code? */
  readonly isSame: boolean;
}

/** A function under its layouts, compiled. */
interface Built {
  /** Given the inputs, row-major. */
  readonly runnable: (inputs: readonly Uint8Array[]) => Promise<Runnable>;
  /** The results, row-major. */
  readonly read: (outputs: readonly Uint8Array[]) => readonly Uint8Array[];
  readonly codeId: string;
  readonly bytes: number;
  readonly factor: number;
}

/** @throws VerifyError or InternalError when one of the functions cannot be built */
function buildPair({ before, after, results }: Affected, c: BuildContext): Pair {
  const [a, b] = [buildSide(before, results.length, c), buildSide(after, results.length, c)];
  const symbols = symbolValues(before);
  const env = new Map(before.symbols.map((s, i) => [s.name, symbols[i] as number]));
  return {
    inputs: before.inputs.map((t) => ({ dtype: t.dtype, elements: t.dims.reduce<number>((n, d) => n * evaluateDim(d, env), 1) })),
    outputs: results.map((t) => t.dtype),
    terms: before.kernels.reduce((n, k) => n + reducedPoints(k), 0),
    factor: Math.max(a.factor, b.factor),
    before: a,
    after: b,
    bytes: Math.max(a.bytes, b.bytes),
    isSame: a.codeId === b.codeId,
  };
}

function buildSide(f: TensorFunction, results: number, c: BuildContext): Built {
  const open = openFunction(f);
  const compiled = compileTensor(open.sc, open.function, {
    machines: [c.machine],
    tuned: c,
    exact: c.exact,
    layouts: "keep",
    verify: false,
    passes: { graph: [], tensor: [], kernel: kernelPasses },
  });
  const symbols = symbolValues(f);
  const env = new Map(f.symbols.map((s, i) => [s.name, symbols[i] as number]));
  const plans = f.inputs.map((t) => new BufferPlan(f, t, env));
  const outputs = f.outputs.slice(0, results).map((t) => new BufferPlan(f, t, env));
  const pack = packageProgram(compiled, { ...c, symbols, results: outputs.map((p, port) => ({ port, bytes: p.bytes })) });
  return {
    runnable: (inputs) => pack.runnable(inputs.map((b, i) => (plans[i] as BufferPlan).store(b))),
    read: (found) => found.map((b, i) => (outputs[i] as BufferPlan).load(b)),
    codeId: pack.codeId,
    bytes: pack.memoryBytes,
    factor: Math.max(1, ...(compiled.scheduled?.run ?? []).map((s) => factorOf(s.schedule.algorithm))),
  };
}

/** The parts of a function that steps of the host program divide it into; as a rule it is one. */
function segmentsOf(sc: Scalars, f: TensorFunction): TensorFunction[] {
  const out: TensorFunction[] = [];
  mapSegments(sc, f, (g) => {
    out.push(g);
    return g;
  });
  return out;
}

function originOf(c: LayoutChoice): string[] {
  return [
    ...new Set(c.groups.flatMap((g) => [...g.tensors.flatMap((t) => t.origin), ...g.kernels.flatMap((k) => k.stages.flatMap((s) => s.origin))])),
  ];
}

/** What a group is called in messages: the nodes that its tensors stand for. */
function nameOfGroup(c: LayoutChoice): string {
  const tensors = c.groups.flatMap((g) => g.tensors);
  const [first, ...rest] = [...new Set(tensors.flatMap((t) => t.origin.slice(0, 1)))];
  return `${first ?? tensors[0]?.name ?? "tensor"}${rest.length > 0 ? ` + ${rest.length} more` : ""}`;
}

const dimsText = (c: LayoutChoice) => c.groups[0]?.tensors[0]?.dims.join("x") ?? "";
export const orderText = (order: readonly number[]) => order.join(",");

import { productOf } from "../base/dim.ts";
import { InternalError } from "../base/errors.ts";
import type { Capabilities } from "../base/machine.ts";
import { type Expr, type Variable, loadsOf } from "../scalar/expr.ts";
import { polynomialOf } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { printExpr } from "../scalar/text.ts";
import { type Kernel, type Stage, type Tensor, allStages, mapStage, readsOf, stageExprs, writesOf } from "../tensor/ir.ts";
import { type Access, stageAccesses, typicalSize } from "./access.ts";
import { type Effort, chooseSchedule, hasSmallWindow, mostSteps, packedAxes, plainSchedule } from "./candidates.ts";
import { collapseAxes } from "./linearize.ts";
import { movingCost, stageCost, stageFacts } from "./model.ts";
import { type Packed, packOperand } from "./primitives/pack.ts";
import { hasWindow, minimalAlgorithms, minimalFilter } from "./primitives/winograd.ts";
import type { KernelSchedule, Pack, StageSchedule } from "./schedule.ts";

/** A kernel with the schedule it gets: packing and algorithms rewrite the kernel and add others that run before it. */
export interface Scheduled {
  readonly kernel: Kernel;
  readonly schedule: KernelSchedule;
  /** Kernels that run first; each still needs a schedule of its own. */
  readonly before: readonly Kernel[];
  /** Modelled cost of the kernel alone, in units of one vector multiply-add; 0 where nobody asked the model. */
  readonly cost: number;
}

/** Decides the schedule of a linearised kernel. */
export type Chooser = (sc: Scalars, k: Kernel) => Scheduled;

/** Every axis one serial loop: what correctness is measured against. */
export const emptyChooser: Chooser = (_, k) => ({
  kernel: k,
  schedule: {
    algorithm: "direct",
    stages: Object.fromEntries(allStages(k).map((s) => [s.name, plainSchedule({ stage: s })])),
    packs: [],
    joined: false,
    specialize: false,
  },
  before: [],
  cost: 0,
});

/** Sizes of packed tiles, in vectors. */
const packVectors = [1, 2, 3, 4] as const;
/** A copy made on every run may be this many times as large as what it copies: windows that overlap would multiply it. */
const largestGrowth = 1.5;
/** A launch of fewer iterations can hardly be shared evenly. */
const enoughPieces = 16;
/** Up to this many address streams in the innermost loop need no code of their own for their strides. */
const fewStreams = 5;
/** A kernel that takes that many times what its arithmetic does may gain by packing another operand. */
const clearLoss = 1.3;
/** A tile of fewer rows is not worth a copy. */
const fewestRows = 4;
/** A kernel of its own for one shape must be that much better. */
const worthCode = 0.9;

/** Costs that were computed before, by the kernel's text. */
export type CostCache = Map<string, number>;

export interface ChooserOptions {
  /** No algorithm that changes the arithmetic. */
  readonly exact?: boolean;
}

/** The cheapest schedule under the machine's cost model, algorithm and packing included; kernels of one structure are decided once. */
export function defaultChooser(machine: Capabilities, isConstant: (t: Tensor) => boolean, options: ChooserOptions = {}): Chooser {
  const decided = new Map<string, { readonly chosen: Scheduled; readonly stages: readonly StageSchedule[] }>();
  const constants = constantsFrom(isConstant);
  return (sc, k) => {
    constants.note(k);
    const key = costKey(sc, k, constants.has);
    const old = decided.get(key);
    if (old !== undefined) return replay(sc, machine, k, old.chosen, old.stages);
    const chosen = cheapest(sc, { machine, isConstant: constants.has, effort: "full", exact: options.exact ?? false }, k);
    decided.set(key, { chosen, stages: allStages(chosen.kernel).map((s) => chosen.schedule.stages[s.name] as StageSchedule) });
    return chosen;
  };
}

/** The cheapest loops for kernels as they are: what was rewritten for another machine stays so. */
export function loopsChooser(machine: Capabilities): Chooser {
  const search: Search = { machine, isConstant: () => false, effort: "full", exact: true };
  return (sc, k) => withoutPacking(sc, search, k);
}

/** Constants, and what kernels that were seen make of nothing but constants. */
export function constantsFrom(isConstant: (t: Tensor) => boolean): { has: (t: Tensor) => boolean; note: (k: Kernel) => void } {
  const made = new Set<Tensor>();
  const has = (t: Tensor) => isConstant(t) || made.has(t);
  const note = (k: Kernel) => {
    const reads = readsOf(k);
    if (reads.length > 0 && reads.every(has)) for (const t of writesOf(k)) made.add(t);
  };
  return { has, note };
}

/** A schedule decided for a kernel of the same structure, whose stages have other names. */
function replay(sc: Scalars, machine: Capabilities, k: Kernel, old: Scheduled, stages: readonly StageSchedule[]): Scheduled {
  const { kernel, before } = rewritten(sc, machine, k, old.schedule);
  const named = Object.fromEntries(allStages(kernel).map((s, i) => [s.name, stages[i] as StageSchedule]));
  return { kernel, schedule: { ...old.schedule, stages: named }, before, cost: old.cost };
}

/** The kernel with a given schedule, as it was printed. @throws InternalError when it does not fit */
export function applySchedule(sc: Scalars, machine: Capabilities, k: Kernel, schedule: KernelSchedule): Scheduled {
  const { kernel, before } = rewritten(sc, machine, k, schedule);
  return { kernel, schedule, before, cost: kernelCost(sc, machine, kernel, schedule) };
}

type Rewriting = Pick<KernelSchedule, "algorithm" | "packs">;
type Rewritten = Pick<Scheduled, "kernel" | "before">;

function rewritten(sc: Scalars, machine: Capabilities, k: Kernel, schedule: Rewriting): Rewritten {
  const r = rewriteKernel(sc, machine, k, schedule);
  if (r !== null) return r;
  const { algorithm, packs } = schedule;
  throw new InternalError("schedule", `kernel @${k.name} cannot be rewritten as its schedule says: ${JSON.stringify({ algorithm, packs })}`);
}

/** What algorithm and packing make of a kernel; null when they do not fit it. */
export function rewriteKernel(sc: Scalars, machine: Capabilities, k: Kernel, { algorithm, packs }: Rewriting): Rewritten | null {
  let kernel = k;
  const before: Kernel[] = [];
  if (algorithm !== "direct") {
    const filter = minimalFilter(sc, kernel, algorithm, blockBytes(machine));
    if (filter === null) return null;
    kernel = filter.result;
    before.push(filter.weights(), filter.data, filter.product);
  }
  for (const pack of packs) {
    const packed = packOperand(sc, kernel, pack);
    if (packed === null) return null;
    kernel = packed.kernel;
    before.push(packed.packing);
  }
  return { kernel, before };
}

/** What a tile's transform keeps should leave room in the first cache for what it reads and writes. */
export const blockBytes = (machine: Capabilities) => machine.l1Bytes / 4;

/** Modelled cost of a kernel under a given schedule. */
export function kernelCost(sc: Scalars, machine: Capabilities, k: Kernel, schedule: KernelSchedule): number {
  const cost = (s: Stage) => stageCost(machine, stageFacts(sc, s), schedule.stages[s.name] as StageSchedule, schedule.specialize);
  return allStages(k).reduce((n, s) => n + cost(s), 0) * sharedPoints(k) + movingCost(machine, k);
}

/** How often the stages of a kernel run. */
function sharedPoints(k: Kernel): number {
  return k.axes.reduce((n, a) => n * typicalSize(a.extent), 1);
}

/** Cost of a linearised kernel under about its default schedule. */
export function scheduleCost(
  sc: Scalars,
  machine: Capabilities,
  k: Kernel,
  isConstant: (t: Tensor) => boolean,
  exact: boolean,
  cache: CostCache = new Map(),
): number {
  const key = costKey(sc, k, isConstant);
  let cost = cache.get(key);
  if (cost === undefined) {
    cost = cheapest(sc, { machine, isConstant, effort: "quick", exact }, k).total;
    cache.set(key, cost);
  }
  return cost;
}

/** A text equal for kernels that cost the same: their axes and accesses, wherever in their tensors those begin. */
function costKey(sc: Scalars, k: Kernel, isConstant: (t: Tensor) => boolean): string {
  const names = new Map<string, string>();
  const rename = (e: Expr) => printExpr(e).replace(/%[^[]+\[/g, (m) => names.get(m) ?? names.set(m, `%${names.size}[`).get(m) ?? m);
  const stages = allStages(withoutOffsets(sc, k));
  const lines = stages.map(
    (s) =>
      `${s.axes.map((a) => `${a.variable.name}${a.kind[0]}${a.extent}`).join()};${s.accumulators.map((a) => rename(a.lift)).join()};${s.writes.map((w) => `${rename(w.index[0] as Expr)}=${rename(w.value)}${w.guard === null ? "" : rename(w.guard)}`).join()}`,
  );
  const constants = readsOf(k)
    .map((t) => `${isConstant(t) ? "c" : "t"}${t.dtype}`)
    .join("");
  return `${k.axes.map((a) => a.extent).join()}|${constants}|${lines.join("|")}`;
}

/** The kernel with the lowest constant offset of each tensor's accesses taken from all of them: what a view's place adds. */
export function withoutOffsets(sc: Scalars, k: Kernel): Kernel {
  const lowest = new Map<Tensor, number>();
  const note = (t: Tensor, index: Expr) => lowest.set(t, Math.min(lowest.get(t) ?? Number.POSITIVE_INFINITY, constantTerm(index)));
  for (const s of allStages(k)) {
    for (const l of loadsOf(...stageExprs(s))) note(l.attr as Tensor, l.args[0] as Expr);
    for (const w of s.writes) note(w.tensor, w.index[0] as Expr);
  }
  if ([...lowest.values()].every((n) => n === 0)) return k;
  const memo = new Map<Expr, Expr>();
  const shift = (t: Tensor, index: Expr) => sc.sub(index, sc.int(lowest.get(t) ?? 0));
  const rewrite = (e: Expr): Expr =>
    sc.rebuild([e], (x, args) => (x.op === "load" ? sc.load(x.attr as Tensor, [shift(x.attr as Tensor, args[0] as Expr)]) : null), memo)[0] as Expr;
  const stage = (s: Stage): Stage => {
    const m = mapStage(s, rewrite);
    return { ...m, writes: m.writes.map((w) => ({ ...w, index: [shift(w.tensor, w.index[0] as Expr)] })) };
  };
  return { ...k, stages: k.stages.map(stage) };
}

function constantTerm(index: Expr): number {
  return polynomialOf(index).get("")?.coef ?? 0;
}

interface Search {
  readonly machine: Capabilities;
  readonly isConstant: (t: Tensor) => boolean;
  readonly effort: Effort;
  readonly exact: boolean;
}
/** `total` is the cost of the kernel and of all that runs before it on every run of the model. */
type Option = Scheduled & { readonly total: number };

function cheapest(sc: Scalars, search: Search, k: Kernel): Option {
  let best = packedAtBest(sc, search, k);
  if (search.exact || !hasWindow(sc, k)) return best;
  for (const algorithm of minimalAlgorithms) {
    const filter = minimalFilter(sc, k, algorithm, blockBytes(search.machine));
    if (filter === null) continue;
    const fixed = search.isConstant(filter.source);
    const isConstant = (t: Tensor) => search.isConstant(t) || (fixed && t === filter.transformed);
    let total = 0;
    for (const b of [...(fixed ? [] : [filter.weights()]), filter.data, filter.product])
      if (total < best.total) total += packedAtBest(sc, { ...search, isConstant }, collapseAxes(sc, b)).total;
    if (total >= best.total) continue;
    const last = withoutPacking(sc, search, filter.result);
    if (total + last.total < best.total)
      best = {
        ...last,
        total: total + last.total,
        schedule: { ...last.schedule, algorithm },
        before: [filter.weights(), filter.data, filter.product],
      };
  }
  return best;
}

/** Packs the operands of each stage where that pays, stage by stage: one for vectors, then perhaps another for the rows of the tile. */
function packedAtBest(sc: Scalars, search: Search, k: Kernel): Option {
  let best = withoutPacking(sc, search, k);
  for (const stage of k.stages.keys()) {
    const start = best;
    const options = [...packings(sc, search.machine, start.kernel, stage)];
    // Where a constant can be packed, whose copy costs nothing when the model runs, the other operand stays as it is at first.
    const { reduced } = stageAccesses(sc, start.kernel.stages[stage] as Stage);
    const constant = (p: Pack) => search.isConstant((reduced[p.operand] as Access).tensor);
    const free = options.some(constant);
    for (const pack of options) {
      if ((search.effort === "quick" && pack.size !== 2 * search.machine.lanes.f32) || (free && !constant(pack))) continue;
      best = cheaper(best, withPack(sc, search, start, pack));
    }
    if (search.effort === "full" && best !== start && losesClearly(sc, search.machine, best, stage))
      for (const rows of rowPackings(sc, search.machine, best.kernel, packsOf(best, stage))) best = cheaper(best, withPack(sc, search, best, rows));
  }
  return best;
}

/** The packs that were made for one stage. */
const packsOf = (o: Option, stage: number): Pack[] => o.schedule.packs.filter((p) => p.stage === stage);

const cheaper = (a: Option, b: Option | null): Option => (b !== null && b.total < a.total ? b : a);

/** The option with one operand more packed; null where that cannot be done or multiplies what is copied. */
function withPack(sc: Scalars, search: Search, from: Option, pack: Pack): Option | null {
  const packed = packOperand(sc, from.kernel, pack);
  if (packed === null) return null;
  const fixed = search.isConstant(sourceOf(packed));
  if (!fixed && typicalSize(productOf(packed.copy.dims)) > largestGrowth * typicalSize(productOf(sourceOf(packed).dims))) return null;
  const packs = [...from.schedule.packs, pack];
  const option = withoutPacking(sc, search, packed.kernel, packs);
  // Copies of constants are made once, when the model is compiled; others on every run.
  const copying = from.total - from.cost + (fixed ? 0 : withoutPacking(sc, search, packed.packing).total);
  return { ...option, total: option.cost + copying, schedule: { ...option.schedule, packs }, before: [...from.before, packed.packing] };
}

/** Does a stage, and what the kernel moves, take much longer than the arithmetic of the stage's sums alone? */
function losesClearly(sc: Scalars, machine: Capabilities, o: Option, stage: number): boolean {
  const own = o.kernel.stages[stage] as Stage;
  const cost = (s: Stage): number => stageCost(machine, stageFacts(sc, s), o.schedule.stages[s.name] as StageSchedule, o.schedule.specialize);
  const points = sharedPoints(o.kernel);
  const others = allStages(o.kernel).reduce((n, s) => (s === own ? n : n + cost(s) * points), 0);
  return o.cost - others > clearLoss * leastCost(sc, machine, own) * points;
}

/** What the arithmetic of a stage's sums takes if nothing else does. */
function leastCost(sc: Scalars, machine: Capabilities, s: Stage): number {
  const f = stageFacts(sc, s);
  if (s.accumulators.length === 0) return 0;
  return (f.liftCost * f.extents.reduce((p, e) => p * e, 1)) / (f.vectorizable ? machine.lanes.f32 : 1);
}

function sourceOf(p: Packed): Tensor {
  const load = p.packing.stages[0]?.writes[0]?.value;
  return load?.attr as Tensor;
}

/** The cheapest loops for the stages as they are; vectors of a stage that was packed run along its packed lanes. */
function withoutPacking(sc: Scalars, search: Search, k: Kernel, packs: readonly Pack[] = []): Option {
  const plain = loopsFor(sc, search, k, packs, false);
  // Code for a shape that only moves data is worth having where there is much to move.
  const moves = (s: Stage) => s.accumulators.length === 0 && plain.cost * sharedPoints(k) >= search.machine.cost.fork;
  const mayGain = (s: Stage) => moves(s) || hasSmallWindow(stageFacts(sc, s));
  const special = plain.streams > fewStreams || allStages(k).some(mayGain) ? loopsFor(sc, search, k, packs, true) : plain;
  const specialize = special.cost < worthCode * plain.cost;
  const { stages, cost: each } = specialize ? special : plain;
  const cost = each * sharedPoints(k) + movingCost(search.machine, k);
  const joined = cost >= 2 * search.machine.cost.fork && outermostTrips(k, stages) < enoughPieces;
  return { kernel: k, schedule: { algorithm: "direct", stages, packs: [], joined, specialize }, before: [], cost, total: cost };
}

/** Iterations of the loop that is cut into pieces. */
function outermostTrips(k: Kernel, stages: Readonly<Record<string, StageSchedule>>): number {
  const [shared] = k.axes;
  if (shared !== undefined) return typicalSize(shared.extent);
  const [s] = k.stages;
  for (const l of s === undefined ? [] : (stages[s.name]?.loops ?? [])) {
    const trips = Math.ceil(typicalSize(s?.axes.find((a) => a.variable.name === l.axis)?.extent ?? 1) / l.size);
    if (trips > 1) return trips;
  }
  return 1;
}

interface Loops {
  readonly stages: Readonly<Record<string, StageSchedule>>;
  readonly cost: number;
  /** Most pointers that an innermost loop needs. */
  readonly streams: number;
}

function loopsFor(sc: Scalars, search: Search, k: Kernel, packs: readonly Pack[], specialize: boolean): Loops {
  const stages: Record<string, StageSchedule> = {};
  let [cost, streams] = [0, 0];
  for (const s of allStages(k)) {
    const own = packedAxes(packs.filter((p) => k.stages[p.stage] === s));
    const chosen = chooseSchedule(search.machine, stageFacts(sc, s), own, search.effort, specialize);
    stages[s.name] = chosen.schedule;
    cost += chosen.cost;
    streams = Math.max(streams, chosen.streams);
  }
  return { stages, cost, streams };
}

/** Ways to pack one operand of a stage's reduction along an axis that the other operands do not have. */
export function* packings(sc: Scalars, machine: Capabilities, k: Kernel, stage: number): Generator<Pack> {
  const s = k.stages[stage];
  if (s === undefined || s.inner !== null || s.accumulators.length !== 1 || !s.axes.some((a) => a.kind === "reduction")) return;
  const { reduced } = stageAccesses(sc, s);
  if (reduced.length < 2) return;
  for (const [operand, access] of reduced.entries())
    for (const axis of ownAxes(s, reduced, access)) for (const n of packVectors) yield { stage, operand, axis, size: n * machine.lanes.f32 };
}

/** As many rows as fill the registers beside the vectors of one row, and the even number below. */
function rowCounts(machine: Capabilities, lanes: number): number[] {
  const most = Math.min(mostSteps(machine), Math.floor((machine.vectorRegisters - 2) / Math.ceil(lanes / machine.lanes.f32)));
  return [...new Set([most, most - (most % 2)])].filter((n) => n >= fewestRows);
}

/** Ways to pack, after the operand of a stage whose lanes are vectors, the one whose rows make the tile: then all its rows come from one place. */
export function* rowPackings(sc: Scalars, machine: Capabilities, k: Kernel, packs: readonly Pack[]): Generator<Pack> {
  const [first, second] = packs;
  const s = first === undefined ? undefined : k.stages[first.stage];
  if (first === undefined || second !== undefined || s === undefined) return;
  const lanes = `${first.axis}.i`;
  const { reduced } = stageAccesses(sc, s);
  for (const [operand, access] of reduced.entries()) {
    if ([...access.strides.keys()].some((v) => v.name === lanes)) continue;
    for (const axis of ownAxes(s, reduced, access))
      for (const size of rowCounts(machine, first.size)) yield { stage: first.stage, operand, axis, size };
  }
}

/** The parallel axes that of all operands only one moves with. */
function ownAxes(s: Stage, operands: readonly Access[], one: Access): string[] {
  const isOwn = (v: Variable) => one.strides.has(v) && !operands.some((o) => o !== one && o.strides.has(v));
  return s.axes.filter((a) => a.kind === "parallel" && isOwn(a.variable)).map((a) => a.variable.name);
}

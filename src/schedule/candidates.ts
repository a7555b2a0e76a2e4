import type { Capabilities } from "../base/machine.ts";
import type { Axis } from "../tensor/ir.ts";
import {
  type AccessFacts,
  type OuterLoop,
  type StageFacts,
  type Tile,
  runsInLanes,
  stageCost,
  tileCost,
  tileOperations,
  trafficCost,
} from "./model.ts";
import type { LoopSpec, Pack, StageSchedule } from "./schedule.ts";

/**
 * The default schedule of a stage: the cheapest of enumerated candidates under the cost model. First come the tiles (the
 * vector axis, how many vectors of it, steps of a second parallel axis, the unrolling of the reduction); the best few of
 * them are then tried with each order of the loops outside.
 */
export interface Chosen {
  readonly schedule: StageSchedule;
  readonly cost: number;
  readonly streams: number;
}

/** Steps of a tile's second axis: up to what makes a tile of two vectors fill the registers, whatever they hold besides. */
export const mostSteps = (machine: Capabilities) => Math.max(8, Math.floor(0.46 * machine.vectorRegisters));
const quickSteps = [1, 2, 4, 7, 14] as const;
const vectorCounts = [1, 2, 3, 4] as const;
/** Operations of a point that its multiply-add stands for where code is counted. */
const fewOperations = 4;
/** Tiles that go on to the choice of a loop order. */
const finalists = 4;
/** Reductions of at most this many points may be unrolled whole. */
const unrolledPoints = 27;
/** A reduction axis of at most this many steps may be unrolled alone. */
const shortAxis = 7;

/** `quick` tries fewer tiles: enough to tell a good layout from a bad one. */
export type Effort = "full" | "quick";

/** A tile as it will be written down: the second axis, its steps, how each reduction runs. */
interface Plan {
  readonly tile: Tile;
  readonly vector: number;
  readonly count: number;
  readonly second: number;
  readonly step: number;
  readonly reductions: readonly LoopSpec[];
}

/** Axes that packing made, which a tile has to cover whole: one with its vectors, and, if the other operand is packed too, one with its rows. */
export interface PackedAxes {
  readonly vector: string;
  readonly rows: string | null;
}

/** The axes that the packs of one stage make: the first pack's lanes become vectors, the second's rows. */
export function packedAxes(packs: readonly Pack[]): PackedAxes | null {
  const [first, second] = packs;
  return first === undefined ? null : { vector: `${first.axis}.i`, rows: second === undefined ? null : `${second.axis}.i` };
}

/** With `only`, tiles that do not cover the packed axes are left out. */
export function chooseSchedule(
  machine: Capabilities,
  f: StageFacts,
  only: PackedAxes | null = null,
  effort: Effort = "full",
  specialize = false,
): Chosen {
  const plain = plainSchedule(f);
  let best: Chosen = { schedule: plain, cost: stageCost(machine, f, plain, specialize), streams: 0 };
  if (isWide(f)) {
    for (const schedule of innerCandidates(machine, f)) {
      const cost = stageCost(machine, f, schedule, specialize);
      if (cost <= best.cost) best = { schedule, cost, streams: 0 };
    }
    return best;
  }
  const ranked: { plan: Plan; work: number; streams: number }[] = [];
  const kept = effort === "full" ? finalists : 1;
  for (const plan of plans(machine, f, only, effort)) {
    const { work, streams } = tileCost(machine, f, plan.tile, specialize);
    if (ranked.length === kept && work >= (ranked[kept - 1]?.work ?? 0)) continue;
    const at = ranked.findIndex((r) => r.work > work);
    ranked.splice(at < 0 ? ranked.length : at, 0, { plan, work, streams });
    if (ranked.length > kept) ranked.pop();
  }
  for (const { plan, work, streams } of ranked) {
    for (const order of outerOrders(f, plan)) {
      const cost = work + trafficCost(machine, f, plan.tile, outerLoops(f, plan, order));
      if (cost < best.cost) best = { schedule: scheduleOf(machine, f, plan, order), cost, streams };
    }
  }
  return best;
}

/** One serial loop for each axis, in order: the empty schedule. */
export function plainSchedule(f: Pick<StageFacts, "stage">): StageSchedule {
  return { loops: f.stage.axes.map((a) => ({ axis: a.variable.name, size: 1, kind: "serial" })), tails: {} };
}

/** Every candidate of the enumeration, for tests and tuning. */
export function* candidates(machine: Capabilities, f: StageFacts): Generator<StageSchedule> {
  yield plainSchedule(f);
  if (isWide(f)) yield* innerCandidates(machine, f);
  else for (const plan of plans(machine, f)) for (const order of outerOrders(f, plan)) yield scheduleOf(machine, f, plan, order);
}

/** Does the stage hold others, or have accumulators of different widths? */
function isWide(f: StageFacts): boolean {
  const { axes, accumulators, inner } = f.stage;
  const parallel = axes.filter((a) => a.kind === "parallel").length;
  return inner !== null || accumulators.some((a) => a.axes.length !== parallel);
}

const serial = (name: string): LoopSpec => ({ axis: name, size: 1, kind: "serial" });

/** Axes along which something lies next to each other in memory, long enough for one vector. */
function vectorAxes(f: StageFacts, lanes: number): number[] {
  const accesses = [...f.writes, ...f.reduced, ...f.finishing];
  /** Along how many axes the largest of what lies next to each other along this one extends; 0 where nothing does. */
  const reach = (i: number) => Math.max(0, ...accesses.map((a) => (a.strides[i] === 1 ? a.strides.filter((s) => s !== 0).length : 0)));
  const all = f.names.map((_, i) => i).filter((i) => (f.extents[i] as number) >= lanes && reach(i) > 0 && runsInLanes(f, i));
  const isKnown = (i: number) => typeof f.stage.axes[i]?.extent === "number";
  // A parallel axis of unknown extent only where no other will do as well: short ones would leave the vector empty.
  const known = Math.max(0, ...all.filter((i) => isKnown(i) && !f.isReduction[i]).map(reach));
  return all.filter((i) => isKnown(i) || reach(i) > known);
}

function* plans(machine: Capabilities, f: StageFacts, only: PackedAxes | null = null, effort: Effort = "full"): Generator<Plan> {
  const lanes = f.vectorizable ? machine.lanes.f32 : 1;
  const parallel = f.names.map((_, i) => i).filter((i) => !f.isReduction[i]);
  for (const v of lanes > 1 ? vectorAxes(f, lanes) : []) {
    if (only !== null && f.names[v] !== only.vector) continue;
    if (f.isReduction[v]) {
      yield* reductionVectors(machine, f, v, lanes);
      continue;
    }
    for (const count of vectorCounts) {
      if (count * lanes > (f.extents[v] as number) || (only !== null && count * lanes !== f.extents[v])) continue;
      yield* secondAxis(machine, f, v, count, lanes, only?.rows == null ? parallel : [f.names.indexOf(only.rows)], effort, only?.rows != null);
    }
  }
  if (lanes === 1) yield* secondAxis(machine, f, -1, 1, 1, parallel, effort);
}

function* secondAxis(
  machine: Capabilities,
  f: StageFacts,
  v: number,
  count: number,
  lanes: number,
  parallel: readonly number[],
  effort: Effort,
  whole = false,
): Generator<Plan> {
  const most = mostSteps(machine);
  const steps = effort === "full" ? Array.from({ length: most }, (_, i) => i + 1) : quickSteps.filter((n) => n <= most);
  const reductions = [...reductionLoops(f)];
  for (const m of [-1, ...parallel]) {
    if (m === v && m >= 0) continue;
    for (const step of m < 0 ? [1] : steps) {
      if (whole && (m < 0 || step !== f.extents[m])) continue;
      if ((m >= 0 && step === 1) || (m >= 0 && step > (f.extents[m] as number)) || count * step > machine.vectorRegisters) continue;
      for (const { size, loops } of effort === "full" ? reductions : reductions.slice(0, 1)) {
        const points = [...size];
        if (v >= 0) points[v] = count * lanes;
        if (m >= 0) points[m] = step;
        const tile: Tile = { size: points, vector: v };
        if (fitsInCode(machine, f, tile, lanes)) yield { tile, vector: v, count, second: m, step, reductions: loops };
      }
    }
  }
}

/** May a tile be written out? A few operations go beside each multiply-add; where they are many, a few vectors are code enough. */
function fitsInCode(machine: Capabilities, f: StageFacts, t: Tile, lanes: number): boolean {
  const points = t.size.reduce((n, s) => n * s, 1) / lanes;
  return points <= vectorCounts.length || Math.max(points, tileOperations(f, t, lanes, points) / fewOperations) <= machine.tileOps;
}

/** Does the stage reduce over few points that neighbours share, so that code which knows the strides reads them once? */
export function hasSmallWindow(f: StageFacts): boolean {
  const points = f.isReduction.reduce((n, is, i) => (is ? n * (f.extents[i] as number) : n), 1);
  const moves = (a: AccessFacts, reduction: boolean) => f.isReduction.some((is, i) => is === reduction && a.strides[i] !== 0);
  return points > 1 && points <= 2 * unrolledPoints && f.reduced.some((a) => moves(a, true) && moves(a, false));
}

/** Serial reductions with the innermost unrolled in a few ways; short ones may be unrolled whole. */
function* reductionLoops(f: StageFacts): Generator<{ size: number[]; loops: LoopSpec[] }> {
  const ones = f.names.map(() => 1);
  const axes = f.names.map((_, i) => i).filter((i) => f.isReduction[i]);
  const last = axes[axes.length - 1];
  if (last === undefined) {
    yield { size: ones, loops: [] };
    return;
  }
  const name = (i: number) => f.names[i] as string;
  const extent = (i: number): number => {
    const e = (f.stage.axes[i] as Axis).extent;
    return typeof e === "number" ? e : Number.POSITIVE_INFINITY;
  };
  const before = axes.slice(0, -1).map((i) => serial(name(i)));
  yield { size: ones, loops: [...before, serial(name(last))] };
  for (const u of [2, 4]) {
    if ((f.extents[last] as number) >= u)
      yield {
        size: ones.with(last, u),
        loops: [...before, { axis: name(last), size: u, kind: "serial" }, { axis: name(last), size: 1, kind: "unrolled" }],
      };
  }
  const points = axes.reduce((n, i) => n * extent(i), 1);
  const whole: LoopSpec[] = axes.map((i) => ({ axis: name(i), size: 1, kind: "unrolled" }));
  if (points <= unrolledPoints) yield { size: ones.map((one, i) => (f.isReduction[i] ? extent(i) : one)), loops: whole };
  // One short axis unrolled, the others around it: steps of a window share what they read with those of the tile.
  for (const i of axes) {
    if (extent(i) > shortAxis || (i === last && points <= unrolledPoints && axes.length === 1)) continue;
    yield {
      size: ones.with(i, extent(i)),
      loops: [...axes.filter((o) => o !== i).map((o) => serial(name(o))), { axis: name(i), size: 1, kind: "unrolled" }],
    };
  }
}

/**
 * The vector runs along a reduction: partial sums in lanes, a few of them in flight. Where factors are computed from several
 * operands (weights of few bits with their scales), what is computed is shared by steps of a second axis, and a short
 * reduction may be unrolled: its steps take apart what one load brings.
 */
function* reductionVectors(machine: Capabilities, f: StageFacts, v: number, lanes: number): Generator<Plan> {
  const name = f.names[v] as string;
  const rest = f.names.map((_, i) => i).filter((i) => f.isReduction[i] && i !== v);
  const shares = f.reduced.length > 2;
  const short = shares ? rest.filter((i) => (f.extents[i] as number) <= shortAxis && typeof f.stage.axes[i]?.extent === "number") : [];
  for (const u of [-1, ...short]) {
    const unrolled: LoopSpec[] = u < 0 ? [] : [{ axis: f.names[u] as string, size: 1, kind: "unrolled" }];
    for (const count of [1, 2, 4]) {
      if ((f.extents[v] as number) < count * lanes) continue;
      const split: LoopSpec[] = count > 1 ? [{ axis: name, size: lanes, kind: "unrolled", split: true }] : [];
      for (const [m, step] of shares ? sharedSteps(machine, f, count) : ([[-1, 1]] as const)) {
        const size = f.names.map((_, i) => (i === v ? count * lanes : i === m ? step : i === u ? (f.extents[i] as number) : 1));
        if (!fitsInCode(machine, f, { size, vector: v }, lanes)) continue;
        const second: LoopSpec[] = m < 0 ? [] : [{ axis: f.names[m] as string, size: 1, kind: "unrolled" }];
        const serials = rest.filter((i) => i !== u).map((i) => serial(f.names[i] as string));
        const reductions: LoopSpec[] = [
          ...serials,
          { axis: name, size: count * lanes, kind: "serial" },
          ...unrolled,
          ...second,
          ...split,
          { axis: name, size: 1, kind: "vector" },
        ];
        yield { tile: { size, vector: v }, vector: v, count, second: m, step, reductions };
      }
    }
  }
}

/** Steps of one of the parallel axes beside `count` vectors of partial sums: none, or up to what the registers hold. */
function* sharedSteps(machine: Capabilities, f: StageFacts, count: number): Generator<readonly [axis: number, step: number]> {
  yield [-1, 1];
  for (const [m, isReduction] of f.isReduction.entries()) {
    if (isReduction) continue;
    for (const step of [2, 4, 8]) if (step <= (f.extents[m] as number) && count * step < machine.vectorRegisters) yield [m, step];
  }
}

/**
 * Orders of the parallel loops outside of the tile: as given, and with the tile's own axes moved in or out. Between orders of
 * equal cost the first is taken, where tiles that are neighbours in memory follow each other: what only moves data goes
 * through it in its own order.
 */
function outerOrders(f: StageFacts, plan: Plan): number[][] {
  const parallel = f.names.map((_, i) => i).filter((i) => !f.isReduction[i]);
  const own = [plan.second, f.isReduction[plan.vector] ? -1 : plan.vector].filter((i) => i >= 0);
  const rest = parallel.filter((i) => !own.includes(i));
  const [m, v] = [plan.second >= 0 ? [plan.second] : [], own.includes(plan.vector) ? [plan.vector] : []];
  if (m.length === 0) return [[...rest, ...v]];
  const moves = !f.isReduction.includes(true);
  const orders = [...(moves ? [parallel] : []), [...rest, ...m, ...v], [...rest, ...v, ...m]];
  if (rest.length > 0)
    orders.push([...m, ...rest, ...v], [...rest.slice(-1), ...rest.slice(0, -1), ...v, ...m], [...rest.slice(0, -1), ...m, ...rest.slice(-1), ...v]);
  return [...new Map(orders.map((o) => [o.join(), o])).values()];
}

function outerLoops(f: StageFacts, plan: Plan, order: readonly number[]): OuterLoop[] {
  const trips = (axis: number): OuterLoop => ({
    axis,
    trips: Math.max(1, Math.ceil((f.extents[axis] as number) / (plan.tile.size[axis] as number))),
  });
  const reductions = plan.reductions.filter((l) => l.kind === "serial").map((l) => trips(f.names.indexOf(l.axis)));
  return [...order.map(trips), ...reductions];
}

function scheduleOf(machine: Capabilities, f: StageFacts, plan: Plan, order: readonly number[]): StageSchedule {
  const lanes = machine.lanes.f32;
  const vectorIsParallel = plan.vector >= 0 && !f.isReduction[plan.vector];
  const outer = order.map((i): LoopSpec => {
    const axis = f.names[i] as string;
    if (i === plan.second) return { axis, size: plan.step, kind: "serial" };
    if (i === plan.vector) return { axis, size: plan.count * lanes, kind: "serial" };
    return serial(axis);
  });
  // Vectors along a reduction have the second axis within it already.
  const inner: LoopSpec[] =
    plan.second >= 0 && (plan.vector < 0 || vectorIsParallel) ? [{ axis: f.names[plan.second] as string, size: 1, kind: "unrolled" }] : [];
  if (vectorIsParallel) {
    const axis = f.names[plan.vector] as string;
    if (plan.count > 1) inner.push({ axis, size: lanes, kind: "unrolled" });
    inner.push({ axis, size: 1, kind: "vector" });
  }
  return { loops: [...outer, ...plan.reductions, ...inner], tails: {} };
}

/** Stages whose accumulators differ in width, or that hold others: the narrow axes outside, the wide ones inside. */
function* innerCandidates(machine: Capabilities, f: StageFacts): Generator<StageSchedule> {
  const { axes, accumulators } = f.stage;
  const name = (a: Axis) => a.variable.name;
  const narrowest = accumulators.reduce((a, b) => (b.axes.length < a.length ? b.axes : a), accumulators[0]?.axes ?? []);
  const outside = axes.filter((a) => a.kind === "parallel" && narrowest.includes(a.variable)).map((a) => serial(name(a)));
  const inside = axes.filter((a) => a.kind === "parallel" && !narrowest.includes(a.variable));
  const reductions = axes.filter((a) => a.kind === "reduction").map((a) => serial(name(a)));
  yield { loops: [...outside, ...reductions, ...inside.map((a) => serial(name(a)))], tails: {} };
  const wide = inside[inside.length - 1];
  const lanes = machine.lanes.f32;
  if (wide === undefined || !f.vectorizable || typeof wide.extent !== "number" || wide.extent % lanes !== 0) return;
  const vector: LoopSpec[] = [
    ...(wide.extent > lanes ? [{ axis: name(wide), size: lanes, kind: "unrolled" } as const] : []),
    { axis: name(wide), size: 1, kind: "vector" },
  ];
  yield { loops: [...outside, ...reductions, ...inside.slice(0, -1).map((a) => serial(name(a))), ...vector], tails: {} };
}

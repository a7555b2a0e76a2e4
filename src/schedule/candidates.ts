import type { Capabilities } from "../base/machine.ts";
import type { Axis } from "../tensor/ir.ts";
import { type StageFacts, stageCost } from "./model.ts";
import type { LoopSpec, StageSchedule } from "./schedule.ts";

/**
 * The default schedule of a stage: the cheapest of enumerated candidates under the cost model. Candidates vary the vector
 * axis, the register tile (vectors along it times steps of a second parallel axis), the unrolling of the reduction, and
 * the order of the outer loops.
 */
export interface Chosen {
  readonly schedule: StageSchedule;
  readonly cost: number;
  readonly streams: number;
}

const tileSteps = [1, 2, 3, 4, 5, 6, 7, 8] as const;
const vectorCounts = [1, 2, 3, 4] as const;

export function chooseSchedule(machine: Capabilities, f: StageFacts): Chosen {
  let best: Chosen | null = null;
  for (const schedule of candidates(machine, f)) {
    const c = stageCost(machine, f, schedule);
    if (best === null || c.total < best.cost) best = { schedule, cost: c.total, streams: c.streams };
  }
  return best ?? { schedule: plainSchedule(f), cost: stageCost(machine, f, plainSchedule(f)).total, streams: 0 };
}

/** One serial loop for each axis, in order: the empty schedule. */
export function plainSchedule(f: Pick<StageFacts, "stage">): StageSchedule {
  return { loops: f.stage.axes.map((a) => ({ axis: a.variable.name, size: 1, kind: "serial" })), tails: {} };
}

export function* candidates(machine: Capabilities, f: StageFacts): Generator<StageSchedule> {
  yield plainSchedule(f);
  const { axes } = f.stage;
  const parallel = axes.filter((a) => a.kind === "parallel");
  const reductions = axes.filter((a) => a.kind === "reduction");
  if (f.stage.inner !== null || f.stage.accumulators.some((a) => a.axes.length !== parallel.length)) {
    yield* innerCandidates(machine, f);
    return;
  }
  const lanes = f.vectorizable ? machine.lanes.f32 : 1;
  for (const v of lanes > 1 ? vectorAxes(f, lanes) : []) {
    if (v.kind === "reduction") yield* reductionVector(f, v, parallel, reductions, lanes);
    else yield* parallelVector(machine, f, v, parallel, reductions, lanes);
  }
  if (lanes === 1 && reductions.length > 0) yield { loops: [...outerLoops(parallel, []), ...reductions.map(serial)], tails: {} };
}

const name = (a: Axis) => a.variable.name;
const serial = (a: Axis): LoopSpec => ({ axis: name(a), size: 1, kind: "serial" });
const extentOf = (f: StageFacts, a: Axis) => f.extents.get(name(a)) ?? 1;

function outerLoops(axes: readonly Axis[], without: readonly Axis[]): LoopSpec[] {
  return axes.filter((a) => !without.includes(a)).map(serial);
}

/** Axes along which something lies next to each other in memory, long enough for one vector. */
function vectorAxes(f: StageFacts, lanes: number): Axis[] {
  return f.stage.axes.filter((a) => {
    if (extentOf(f, a) < lanes || (typeof a.extent !== "number" && f.stage.axes.some((b) => b !== a && typeof b.extent === "number" && b.extent >= lanes && isUnit(f, b)))) return false;
    return isUnit(f, a);
  });
}
function isUnit(f: StageFacts, a: Axis): boolean {
  const unit = (m: ReadonlyMap<unknown, { isConst(n: number): boolean } | null>) => m.get(a.variable)?.isConst(1) ?? false;
  return f.writes.some(unit) || f.reduced.some((x) => unit(x.strides)) || f.finishing.some((x) => unit(x.strides));
}

/** Splits of an axis by a register tile: `serial` tiles, then unrolled vectors, then the vector itself. */
function vectorLoops(a: Axis, count: number, lanes: number): { outer: LoopSpec; inner: LoopSpec[] } {
  const size = count * lanes;
  const inner: LoopSpec[] = count > 1 ? [{ axis: name(a), size: lanes, kind: "unrolled" }] : [];
  return { outer: { axis: name(a), size, kind: "serial" }, inner: [...inner, { axis: name(a), size: 1, kind: "vector" }] };
}

function* parallelVector(machine: Capabilities, f: StageFacts, v: Axis, parallel: readonly Axis[], reductions: readonly Axis[], lanes: number): Generator<StageSchedule> {
  const n = extentOf(f, v);
  for (const count of vectorCounts) {
    if (count * lanes > n) continue;
    const { outer, inner } = vectorLoops(v, count, lanes);
    for (const m of [null, ...parallel.filter((a) => a !== v)]) {
      for (const step of m === null ? [1] : tileSteps.filter((t) => t > 1)) {
        if (m !== null && step > extentOf(f, m)) continue;
        if (count * step > machine.vectorRegisters) continue;
        const tiled: LoopSpec[] = m === null ? [] : [{ axis: name(m), size: step, kind: "serial" }];
        const unrolled: LoopSpec[] = m === null ? [] : [{ axis: name(m), size: 1, kind: "unrolled" }];
        const rest = outerLoops(parallel, m === null ? [v] : [v, m]);
        const orders = m === null ? [[...rest, outer]] : [[...rest, outer, ...tiled], [...rest, ...tiled, outer]];
        // Axes that outrank the tile's own: with packed tiles the tile index is an axis among `rest`, which may go in or out.
        if (rest.length > 0 && m !== null) orders.push([...tiled, ...rest, outer]);
        for (const order of orders) for (const red of reductionLoops(f, reductions)) yield { loops: [...order, ...red, ...unrolled, ...inner], tails: {} };
      }
    }
  }
}

/** Serial reductions with the innermost unrolled in a few ways; short ones may be unrolled whole. */
function* reductionLoops(f: StageFacts, reductions: readonly Axis[]): Generator<LoopSpec[]> {
  const last = reductions[reductions.length - 1];
  if (last === undefined) {
    yield [];
    return;
  }
  const before = reductions.slice(0, -1).map(serial);
  yield [...before, serial(last)];
  for (const u of [2, 4]) {
    if (extentOf(f, last) < u) continue;
    yield [...before, { axis: name(last), size: u, kind: "serial" }, { axis: name(last), size: 1, kind: "unrolled" }];
  }
  const points = reductions.reduce((n, a) => n * (typeof a.extent === "number" ? a.extent : Number.POSITIVE_INFINITY), 1);
  if (points <= 27) yield reductions.map((a) => ({ axis: name(a), size: 1, kind: "unrolled" }));
  else if (typeof last.extent === "number" && last.extent <= 7) yield [...before, { axis: name(last), size: 1, kind: "unrolled" }];
}

/** The vector runs along a reduction: partial sums in lanes, a few of them in flight. */
function* reductionVector(f: StageFacts, v: Axis, parallel: readonly Axis[], reductions: readonly Axis[], lanes: number): Generator<StageSchedule> {
  const others = reductions.filter((r) => r !== v).map(serial);
  for (const count of [1, 2, 4]) {
    if (extentOf(f, v) < count * lanes) continue;
    const loops: LoopSpec[] = [{ axis: name(v), size: count * lanes, kind: "serial" }];
    if (count > 1) loops.push({ axis: name(v), size: lanes, kind: "unrolled", split: true });
    loops.push({ axis: name(v), size: 1, kind: "vector" });
    yield { loops: [...outerLoops(parallel, []), ...others, ...loops], tails: {} };
  }
}

/** Stages whose accumulators differ in width, or that hold others: the narrow axes outside, the wide ones inside. */
function* innerCandidates(machine: Capabilities, f: StageFacts): Generator<StageSchedule> {
  const { axes, accumulators } = f.stage;
  const narrowest = accumulators.reduce((a, b) => (b.axes.length < a.length ? b.axes : a), accumulators[0]?.axes ?? []);
  const outside = axes.filter((a) => a.kind === "parallel" && narrowest.includes(a.variable));
  const inside = axes.filter((a) => a.kind === "parallel" && !narrowest.includes(a.variable));
  const reductions = axes.filter((a) => a.kind === "reduction").map(serial);
  yield { loops: [...outside.map(serial), ...reductions, ...inside.map(serial)], tails: {} };
  const wide = inside[inside.length - 1];
  if (wide === undefined || !f.vectorizable || typeof wide.extent !== "number" || wide.extent % machine.lanes.f32 !== 0) return;
  const vector: LoopSpec[] = wide.extent > machine.lanes.f32 ? [{ axis: name(wide), size: machine.lanes.f32, kind: "unrolled" }, { axis: name(wide), size: 1, kind: "vector" }] : [{ axis: name(wide), size: 1, kind: "vector" }];
  yield { loops: [...outside.map(serial), ...reductions, ...inside.slice(0, -1).map(serial), ...vector], tails: {} };
}

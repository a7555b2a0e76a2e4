import type { Capabilities } from "../base/machine.ts";
import { type Expr, type Variable, postorder } from "../scalar/expr.ts";
import { type OpName, scalarOps } from "../scalar/ops/table.ts";
import type { Scalars } from "../scalar/scalars.ts";
import type { Axis, Stage } from "../tensor/ir.ts";
import { type Access, stageAccesses, stridesOf, typicalSize } from "./access.ts";
import type { LoopSpec, StageSchedule } from "./schedule.ts";

/**
 * The cost model: an estimate of a stage's run time under a schedule, in units of one vector multiply-add, from the
 * machine record. It counts what one tile loads, computes and stores, how often tiles run (waste at the edges included),
 * and how many bytes come from beyond the first cache. It knows nothing of what is computed.
 */
export interface StageCost {
  readonly total: number;
  readonly tileWork: number;
  readonly traffic: number;
  /** Address streams of the innermost loop: many of them are better baked into the code than kept in registers. */
  readonly streams: number;
}

/** What does not depend on the schedule, computed once for all candidates of a stage. */
export interface StageFacts {
  readonly stage: Stage;
  readonly reduced: readonly Access[];
  readonly finishing: readonly Access[];
  readonly writes: readonly ReadonlyMap<Variable, Expr | null>[];
  readonly liftCost: number;
  readonly finishCost: number;
  readonly extents: ReadonlyMap<string, number>;
  readonly axes: ReadonlyMap<string, Axis>;
  /** May the stage run in vectors at all: 32-bit elements, no lane-dependent branch around a load? */
  readonly vectorizable: boolean;
}

export function stageFacts(sc: Scalars, s: Stage): StageFacts {
  const { reduced, finishing } = stageAccesses(sc, s);
  const lifts = s.accumulators.flatMap((a) => [a.lift, a.combine]);
  const finals = s.writes.flatMap((w) => [w.value]);
  return {
    stage: s,
    reduced,
    finishing,
    writes: s.writes.map((w) => stridesOf(sc, w.index[0] as Expr)),
    liftCost: arithmeticCost(lifts),
    finishCost: arithmeticCost(finals),
    extents: new Map(s.axes.map((a) => [a.variable.name, typicalSize(a.extent)])),
    axes: new Map(s.axes.map((a) => [a.variable.name, a])),
    vectorizable: [...lifts, ...finals].every(hasVectorForm) && s.writes.every((w) => w.tensor.dtype.bits === 32 && w.combiner === null),
  };
}

/** Sum of op costs; a product that is added costs nothing of its own where multiply-adds fuse. */
function arithmeticCost(roots: readonly Expr[]): number {
  let cost = 0;
  const inIndex = new Set<Expr>();
  for (const e of postorder(roots)) if (e.op === "load") for (const i of postorder(e.args)) inIndex.add(i);
  for (const e of postorder(roots)) {
    const entry = scalarOps[e.op as OpName] as (typeof scalarOps)[OpName] | undefined;
    if (entry === undefined || inIndex.has(e) || e.dtype.name === "i32") continue;
    cost += entry.cost;
  }
  return Math.max(cost - 1, 1);
}

function hasVectorForm(root: Expr): boolean {
  return postorder([root]).every((e) => (e.dtype.bits === 32 || (e.dtype.kind === "bool" && e.op !== "load")) && e.op !== "rem");
}

interface Tile {
  /** Points of each axis in one pass of the innermost tile. */
  readonly size: ReadonlyMap<string, number>;
  readonly vector: string | null;
}

export function stageCost(machine: Capabilities, f: StageFacts, schedule: StageSchedule): StageCost {
  const { cost } = machine;
  const vectorLoop = schedule.loops.find((l) => l.kind === "vector");
  const lanes = vectorLoop === undefined ? 1 : machine.lanes.f32;
  const tile = tileOf(f, schedule);
  const reductions = [...f.axes.values()].filter((a) => a.kind === "reduction");
  const unrolledReduction = product(reductions.map((a) => tile.size.get(a.variable.name) ?? 1));
  const parallelTile = product([...f.axes.values()].filter((a) => a.kind === "parallel").map((a) => tile.size.get(a.variable.name) ?? 1));
  const vectorIsReduction = vectorLoop !== undefined && f.axes.get(vectorLoop.axis)?.kind === "reduction";

  // One pass of the tile: loads (each distinct place once), arithmetic, the loop around it.
  const load = (a: Access, within: "reduction" | "finish"): number => loadCost(machine, a, tile, lanes, within === "finish" && vectorIsReduction);
  const points = (parallelTile * unrolledReduction) / lanes;
  const arithmetic = points * f.liftCost * (lanes === 1 ? cost.scalarOp : cost.vectorOp);
  const loads = f.reduced.reduce((n, a) => n + load(a, "reduction"), 0);
  const accumulators = (parallelTile * (vectorIsReduction ? lanes : 1)) / lanes;
  const operands = f.reduced.reduce((n, a) => n + Math.min(2, distinct(a, tile) / lanes), 0);
  const pressure = accumulators * Math.max(1, f.stage.accumulators.length) + operands;
  const spill = Math.max(0, pressure - machine.vectorRegisters, accumulators - machine.accumulators) * 2 * unrolledReduction;
  const streams = f.reduced.reduce((n, a) => n + streamsOf(a, tile), 0);
  const latency = reductions.length > 0 && accumulators < 4 ? (4 - accumulators) * 1.0 : 0;
  const bodyOps = points * f.stage.accumulators.length + f.reduced.reduce((n, a) => n + distinct(a, tile) / (tile.vector !== null && strideAlong(a, tile.vector) === 1 ? lanes : 1), 0);
  const pass = Math.max(arithmetic, loads) + 0.2 * Math.min(arithmetic, loads) + spill + (latency * unrolledReduction) / Math.max(1, vectorIsReduction ? lanes : 1) + cost.loopOverhead + 0.1 * streams + 0.1 * Math.max(0, bodyOps - machine.bodyOps);

  const edge = (name: string, size: number): number => {
    const n = f.extents.get(name) ?? 1;
    const whole = Math.floor(n / size);
    const rest = n - whole * size;
    if (rest === 0 || n < size) return Math.ceil(n / size);
    return (f.axes.get(name)?.kind ?? "parallel") === "parallel" ? whole + 1 : whole + rest * 0.9;
  };
  const tiles = product([...f.axes.values()].filter((a) => a.kind === "parallel").map((a) => edge(a.variable.name, tile.size.get(a.variable.name) ?? 1)));
  const steps = product(reductions.map((a) => edge(a.variable.name, tile.size.get(a.variable.name) ?? 1)));
  const finish = f.finishing.reduce((n, a) => n + load(a, "finish"), 0) + (parallelTile / (vectorIsReduction ? 1 : lanes)) * (f.finishCost + storeCost(machine, f, tile, lanes, vectorIsReduction)) + 3;
  const horizontal = vectorIsReduction ? parallelTile * lanes : 0;
  const traffic = trafficOf(machine, f, schedule, tile);
  const work = tiles * ((reductions.length > 0 ? steps * pass : 0) + (reductions.length > 0 ? finish + horizontal : Math.max(finish, loads) + cost.loopOverhead));
  return { total: work + traffic, tileWork: work, traffic, streams };
}

function product(xs: readonly number[]): number {
  return xs.reduce((a, b) => a * b, 1);
}

/** The innermost tile: what the unrolled and vector loops cover. */
function tileOf(f: StageFacts, schedule: StageSchedule): Tile {
  const size = new Map<string, number>();
  let vector: string | null = null;
  const above = new Map<string, number>();
  for (const l of schedule.loops) {
    const span = above.get(l.axis) ?? f.extents.get(l.axis) ?? 1;
    if (l.kind !== "serial") {
      size.set(l.axis, (size.get(l.axis) ?? 1) * Math.max(1, Math.ceil(span / l.size)));
      if (l.kind === "vector") vector = l.axis;
    }
    above.set(l.axis, l.size);
  }
  return { size, vector };
}

const moves = (a: Access, axis: string): boolean => [...a.strides.keys()].some((v) => v.name === axis);
function strideAlong(a: Access, axis: string): number | null {
  for (const [v, s] of a.strides) if (v.name === axis) return s?.constant == null ? null : Number(s.constant);
  return 0;
}

/** Distinct elements of an access in one tile. */
function distinct(a: Access, tile: Tile): number {
  let n = 1;
  for (const [axis, size] of tile.size) if (moves(a, axis)) n *= size;
  return n;
}

function loadCost(machine: Capabilities, a: Access, tile: Tile, lanes: number, scalar: boolean): number {
  const n = distinct(a, tile);
  const { cost } = machine;
  if (lanes === 1 || scalar || tile.vector === null) return n * cost.vectorLoad;
  const stride = strideAlong(a, tile.vector);
  if (stride === 0) return n * (machine.loadSplat ? cost.splatLoad : cost.splatLoad + cost.vectorOp);
  if (stride === 1) return (n / lanes) * cost.vectorLoad;
  return n * cost.gatherLane;
}

function storeCost(machine: Capabilities, f: StageFacts, tile: Tile, lanes: number, scalar: boolean): number {
  const { cost } = machine;
  return f.writes.reduce((sum, w) => {
    if (lanes === 1 || scalar || tile.vector === null) return sum + cost.vectorLoad;
    const along = [...w].find(([v]) => v.name === tile.vector);
    return sum + (along?.[1]?.isConst(1) ? cost.vectorLoad : lanes * cost.gatherLane);
  }, 0);
}

/** Pointers an access needs in the innermost loop: one for each unrolled step whose stride is no small constant. */
function streamsOf(a: Access, tile: Tile): number {
  let n = 1;
  for (const [axis, size] of tile.size) {
    if (axis === tile.vector) continue;
    const stride = strideAlong(a, axis);
    if (stride === null || Math.abs(stride) > 1) n *= size;
  }
  return n;
}

/** Bytes that must be fetched again because the loops in between touch more than the caches hold, weighted by where from. */
function trafficOf(machine: Capabilities, f: StageFacts, schedule: StageSchedule, tile: Tile): number {
  const outer: LoopSpec[] = schedule.loops.filter((l) => l.kind === "serial");
  const trips = (l: LoopSpec): number => {
    const i = schedule.loops.indexOf(l);
    const span = schedule.loops.slice(0, i).findLast((x) => x.axis === l.axis)?.size ?? f.extents.get(l.axis) ?? 1;
    return Math.max(1, Math.ceil(span / l.size));
  };
  const all = [...f.reduced, ...f.finishing];
  const footprint = (a: Access, from: number): number => {
    let n = distinct(a, tile);
    for (const l of outer.slice(from)) if (moves(a, l.axis)) n *= trips(l);
    return n * a.tensor.dtype.byteWidth;
  };
  const innermost = schedule.loops.findLast((l) => f.axes.get(l.axis)?.kind === "reduction")?.axis;
  let cycles = 0;
  for (const a of all) {
    // The outermost level at which everything inside fits a cache decides how often this access is fetched from beyond it.
    for (const [bytes, perByte] of [[machine.l1Bytes, machine.cost.l2Byte] as const, [machine.l2Bytes, machine.cost.memoryByte] as const]) {
      let fetched = footprint(a, 0) * (bytes === machine.l1Bytes ? linesPerUse(machine, a, tile, innermost) : 1);
      for (let depth = 0; depth < outer.length; depth++) {
        const inside = all.reduce((n, x) => n + footprint(x, depth + 1), 0);
        const l = outer[depth] as LoopSpec;
        if (!moves(a, l.axis) && inside > bytes) fetched *= trips(l);
      }
      if (footprint(a, 0) > bytes) cycles += fetched * perByte;
    }
  }
  return cycles;
}

/** How many times the bytes it uses an access fetches, because it takes less than a line and then strides on. */
function linesPerUse(machine: Capabilities, a: Access, tile: Tile, innermost: string | undefined): number {
  if (innermost === undefined) return 1;
  const step = strideAlong(a, innermost);
  if (step === 0 || (step !== null && Math.abs(step) === 1)) return 1;
  const run = Math.max(1, ...[...tile.size].map(([axis, n]) => (strideAlong(a, axis) === 1 ? n : 1)));
  if (step !== null && Math.abs(step) <= run) return 1;
  return Math.max(1, machine.lineBytes / (run * a.tensor.dtype.byteWidth));
}

import { productOf } from "../base/dim.ts";
import type { DType } from "../base/dtype.ts";
import type { Capabilities } from "../base/machine.ts";
import { type Expr, loadsOf, postorder } from "../scalar/expr.ts";
import { mentionedIn } from "../scalar/index.ts";
import { type OpName, scalarOps } from "../scalar/ops/table.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Axis, type Kernel, type Stage, type Tensor, readsOf, writesOf } from "../tensor/ir.ts";
import { accessesOf, stridesOf, typicalSize } from "./access.ts";
import type { StageSchedule } from "./schedule.ts";

/**
 * The cost model: an estimate of a stage's run time under a schedule, in units of one vector multiply-add, from the
 * machine record. It counts what one pass of the innermost tile loads, computes and stores, how often the tile runs (waste
 * at the edges included), and how many bytes come from beyond the caches. It knows nothing of what is computed. It runs
 * for hundreds of candidates of every kernel, so everything that does not depend on the schedule is turned into numbers
 * once.
 */
export interface StageFacts {
  readonly stage: Stage;
  /** By axis, in the stage's order. */
  readonly extents: readonly number[];
  readonly isReduction: readonly boolean[];
  readonly names: readonly string[];
  readonly reduced: readonly AccessFacts[];
  readonly finishing: readonly AccessFacts[];
  readonly writes: readonly AccessFacts[];
  /** Cost of a point's arithmetic, and that by the axes that it depends on: what does not depend on one is shared by its steps in a tile. */
  readonly liftCost: number;
  readonly liftParts: readonly LiftPart[];
  readonly finishCost: number;
  readonly accumulators: number;
  /** May the stage run in vectors at all: 32-bit elements, no op without a vector form? */
  readonly vectorizable: boolean;
}

/** How an access moves: elements per step of each axis; NaN where that is unknown or not even. */
export interface AccessFacts {
  readonly strides: readonly number[];
  readonly bytes: number;
}

/** Operations of a lift that depend on the same axes. */
export interface LiftPart {
  readonly cost: number;
  /** By axis. */
  readonly axes: readonly boolean[];
}

/** The innermost tile: for each axis the points it covers; which axis its vectors run along (-1: none). */
export interface Tile {
  readonly size: readonly number[];
  readonly vector: number;
}

export interface TileCost {
  /** Run time if everything were in the first cache. */
  readonly work: number;
  /** Pointers that the innermost loop needs. */
  readonly streams: number;
}

const known = new WeakMap<Stage, StageFacts>();

/** The facts of a (linearised) stage, reckoned once. */
export function stageFacts(sc: Scalars, s: Stage): StageFacts {
  const old = known.get(s);
  if (old !== undefined) return old;
  const facts = reckonFacts(sc, s);
  known.set(s, facts);
  return facts;
}

function reckonFacts(sc: Scalars, s: Stage): StageFacts {
  const { axes } = s;
  const lifts = s.accumulators.flatMap((a) => [a.lift, a.combine]);
  const finals = s.writes.map((w) => w.value);
  const facts = (strides: ReadonlyMap<unknown, Expr | null>, bytes: number): AccessFacts => ({
    strides: axes.map((a) => {
      const e = strides.get(a.variable);
      return e === undefined ? 0 : e?.constant == null ? Number.NaN : Number(e.constant);
    }),
    bytes,
  });
  const access = (roots: readonly Expr[]) => accessesOf(sc, roots).map((a) => facts(a.strides, a.tensor.dtype.byteWidth));
  return {
    stage: s,
    extents: axes.map((a) => typicalSize(a.extent)),
    isReduction: axes.map((a) => a.kind === "reduction"),
    names: axes.map((a) => a.variable.name),
    reduced: access(s.accumulators.map((a) => a.lift)),
    finishing: access(finals),
    writes: s.writes.map((w) => facts(stridesOf(sc, w.index[0] as Expr), w.tensor.dtype.byteWidth)),
    liftCost: arithmeticCost(lifts),
    liftParts: liftParts(axes, lifts),
    finishCost: arithmeticCost(finals),
    accumulators: s.accumulators.length,
    vectorizable:
      [...lifts, ...finals].every(hasVectorForm) &&
      s.writes.every((w) => hasLanes(w.tensor.dtype) && w.combiner === null && loadsOf(w.index[0] as Expr).length === 0),
  };
}

/** Sum of op costs; a product that is added costs nothing of its own where multiply-adds fuse. */
function arithmeticCost(roots: readonly Expr[]): number {
  let cost = 0;
  for (const [, own] of operations(roots)) cost += own;
  return Math.max(cost - 1, 1);
}

/** The operations on data below some roots, and their costs: what only indices are made of is left out. */
function operations(roots: readonly Expr[]): readonly (readonly [Expr, number])[] {
  const all = postorder(roots);
  const ofData = new Set<Expr>();
  const inIndex = new Set<Expr>();
  const out: [Expr, number][] = [];
  for (const e of all) if (e.op === "load") for (const i of postorder(e.args)) inIndex.add(i);
  for (const e of all) {
    const entry = scalarOps[e.op as OpName] as (typeof scalarOps)[OpName] | undefined;
    if (e.op === "load" || e.args.some((a) => ofData.has(a))) ofData.add(e);
    if (entry !== undefined && !inIndex.has(e) && (e.dtype.name !== "i32" || ofData.has(e))) out.push([e, entry.cost]);
  }
  return out;
}

/** The costs of a lift by the axes that they depend on; what the accumulators do depends on all. They sum up to its cost. */
function liftParts(axes: readonly Axis[], lifts: readonly Expr[]): readonly LiftPart[] {
  const parts = new Map<string, { cost: number; axes: readonly boolean[] }>();
  const add = (mask: readonly boolean[], cost: number): void => {
    const key = mask.join();
    const part = parts.get(key) ?? { cost: 0, axes: mask };
    part.cost += cost;
    parts.set(key, part);
  };
  const known = new Set(axes.map((a) => a.variable));
  const all = axes.map(() => true);
  const found = operations(lifts);
  // Guards stay with what they guard: engines branch on them, and share nothing across the branches.
  if (found.some(([e]) => e.op === "select")) return [{ cost: arithmeticCost(lifts), axes: all }];
  for (const [e, cost] of found) {
    const mentioned = mentionedIn(e);
    const own = [...mentioned].every((v) => known.has(v));
    add(
      axes.map((a) => !own || mentioned.has(a.variable)),
      cost,
    );
  }
  const total = [...parts.values()].reduce((n, p) => n + p.cost, 0);
  add(all, Math.max(total - 1, 1) - total);
  return [...parts.values()];
}

/** Operations of a tile of so many points, what those share counted once; of vectors, as many as there are. */
export function tileOperations(f: StageFacts, t: Tile, lanes: number, points: number): number {
  // Most lifts are a product, of which nothing is shared.
  if (f.liftParts.length === 1) return f.liftCost * points;
  let n = 0;
  for (const { cost, axes } of f.liftParts) {
    let own = cost;
    for (let i = 0; i < t.size.length; i++) if (axes[i]) own *= t.size[i] as number;
    n += t.vector >= 0 && axes[t.vector] ? own / lanes : own;
  }
  return n;
}

/** Are there vectors of the dtype: 32 bits, integers of 8 and 16 that are widened to that, floats of so many that are computed in f32? */
function hasLanes(d: DType): boolean {
  return d.bits === 32 || (d.kind !== "bool" && (d.bits === 16 || d.bits === 8));
}

/** May a vector run along the axis? What is widened or narrowed on its way has to be neighbours there, or one element for all lanes. */
export function runsInLanes(f: StageFacts, axis: number): boolean {
  const near = (a: AccessFacts, spread: boolean) => a.bytes >= 4 || a.strides[axis] === 1 || (spread && a.strides[axis] === 0);
  return f.writes.every((a) => near(a, f.isReduction[axis] as boolean)) && [...f.reduced, ...f.finishing].every((a) => near(a, true));
}

/** Indices do not count: they stay scalar, or the vectoriser finds out. */
function hasVectorForm(root: Expr): boolean {
  const stack = [root];
  const seen = new Set<Expr>();
  while (stack.length > 0) {
    const e = stack.pop() as Expr;
    if (seen.has(e)) continue;
    seen.add(e);
    if (!hasLanes(e.dtype) && e.dtype.kind !== "bool") return false;
    if (e.op !== "load") stack.push(...e.args);
  }
  return true;
}

/** Elements of an access that one tile touches, places that windows share counted as often as they are named. */
function distinct(a: AccessFacts, t: Tile): number {
  let n = 1;
  for (let i = 0; i < t.size.length; i++) if (a.strides[i] !== 0) n *= t.size[i] as number;
  return n;
}

/**
 * The same with shared places counted once, as code does that knows the strides: of two axes whose steps divide one
 * another, the longer steps fall on places of the shorter ones. With `lanes`, a place is a vector along that axis: two that
 * overlap are two.
 */
function distinctPlaces(a: AccessFacts, points: readonly number[], vector = -1, lanes = 1): number {
  const moves: [number, number][] = [];
  let n = 1;
  for (let i = 0; i < points.length; i++) {
    const wide = i === vector && a.strides[i] !== 0 ? lanes : 1;
    const [step, size] = [Math.abs(a.strides[i] as number) * wide, (points[i] as number) / wide];
    if (Number.isNaN(step)) n *= size;
    else if (step !== 0 && size > 1) moves.push([step, size]);
  }
  moves.sort((x, y) => x[0] - y[0]);
  for (let i = 0; i < moves.length; i++) {
    const [step, size] = moves[i] as [number, number];
    let places = size;
    for (let next = moves[i + 1]; next !== undefined && next[0] % step === 0 && next[0] / step <= places; next = moves[i + 1]) {
      places += (next[0] / step) * (next[1] - 1);
      i++;
    }
    n *= places;
  }
  return n;
}

function loadCost(machine: Capabilities, a: AccessFacts, t: Tile, lanes: number, scalar: boolean, n = distinct(a, t)): number {
  const { cost } = machine;
  if (t.vector < 0 || scalar) return n * cost.vectorLoad;
  const stride = a.strides[t.vector] as number;
  if (stride === 0) return n * (machine.loadSplat ? cost.splatLoad : cost.splatLoad + cost.vectorOp);
  return stride === 1 ? (n / lanes) * cost.vectorLoad : n * cost.gatherLane;
}

/** Pointers an access needs in the innermost loop: one for each unrolled step whose stride is no small constant. */
function streamsOf(a: AccessFacts, t: Tile): number {
  let n = 1;
  for (let i = 0; i < t.size.length; i++) if (i !== t.vector && !(Math.abs(a.strides[i] as number) <= 1)) n *= t.size[i] as number;
  return n;
}

/** How often a tile of that size runs along an axis; what is left over costs as much as a tile, or is done point by point. */
function passesAlong(f: StageFacts, axis: number, size: number): number {
  const n = f.extents[axis] as number;
  if (n <= size) return 1;
  const whole = Math.floor(n / size);
  const rest = n - whole * size;
  if (rest === 0) return whole;
  return f.isReduction[axis] ? whole + rest * 0.9 : whole + 1;
}

/**
 * Cost of a stage with a tile, whatever the order of the loops around it. With `specialize` the code knows all strides:
 * then an access needs one pointer, and reads that windows share are made once.
 */
export function tileCost(machine: Capabilities, f: StageFacts, t: Tile, specialize: boolean): TileCost {
  const { cost } = machine;
  const lanes = t.vector < 0 ? 1 : machine.lanes.f32;
  const vectorIsReduction = t.vector >= 0 && (f.isReduction[t.vector] as boolean);
  let [unrolled, parallel, tiles, steps, trips, reduces] = [1, 1, 1, 1, 1, false];
  for (let i = 0; i < t.size.length; i++) {
    const size = t.size[i] as number;
    if (f.isReduction[i]) {
      reduces = true;
      unrolled *= size;
      const passes = passesAlong(f, i, size);
      steps *= passes;
      if (passes > 1) trips = passes;
    } else {
      parallel *= size;
      tiles *= passesAlong(f, i, size);
    }
  }
  const operations = tileOperations(f, t, lanes, (parallel * unrolled) / lanes);
  let arithmetic = operations * (lanes === 1 ? cost.scalarOp : cost.vectorOp);
  let [loads, operands, streams, distance, missed, fewest] = [0, 0, 0, 0, 0, Number.POSITIVE_INFINITY];
  for (const a of f.reduced) {
    const moves = t.vector >= 0 && a.strides[t.vector] !== 0;
    const places = specialize ? distinctPlaces(a, t.size, t.vector, lanes) : moves ? distinct(a, t) / lanes : distinct(a, t);
    const load = loadCost(machine, a, t, lanes, false, moves ? places * lanes : places);
    loads += load;
    // Putting elements into lanes, one by one, takes the units that add: partial sums are no gain then.
    if (vectorIsReduction && moves && a.strides[t.vector] !== 1) arithmetic += load;
    if (collidesInTile(machine, a, t)) missed += places;
    operands += places;
    fewest = Math.min(fewest, places / unrolled);
    streams += specialize ? 1 : streamsOf(a, t);
    // Between equals, a tile of neighbours is kinder to caches and pages than one of far places.
    for (let i = 0; i < t.size.length; i++)
      if ((t.size[i] as number) > 1 && Math.abs(a.strides[i] as number) > 16) distance += 0.01 * Math.log2(Math.abs(a.strides[i] as number));
  }
  const accumulators = (vectorIsReduction ? parallel * unrolled : parallel) / lanes;
  // What is too much for the registers goes through memory, and with it an accumulator that one pass hands to the next: each
  // pass then waits for the one before.
  const held = machine.loadsFirst ? operands : Math.min(operands, 1 + fewest);
  const excess = Math.max(0, accumulators * Math.max(1, f.accumulators) + held - machine.vectorRegisters);
  const chain = cost.chain * (vectorIsReduction ? 1 : unrolled) + (excess > 0 && steps > 1 ? cost.memoryChain : 0);
  // Arithmetic, loads and the issue of instructions (a pointer is moved on by one) run beside each other: the slowest counts.
  const issued = cost.issue * (operations + operands + streams);
  const spilled = cost.spilledPointer * Math.max(0, streams - machine.addressRegisters);
  const throughput = Math.max(arithmetic, loads, issued) + 2 * excess + cost.loopOverhead + missed * machine.lineBytes * cost.l2Byte + spilled;
  // Where the innermost loop starts, every pointer is computed. Tiles of which none waits for the one before overlap.
  const pass = Math.max(throughput, reduces && steps > 1 ? chain : 0) + distance * unrolled + (cost.pointer * streams) / trips;

  const each = parallel / (vectorIsReduction ? 1 : lanes);
  let finish = each * f.finishCost + (reduces ? 3 : 1);
  for (const a of f.finishing) finish += loadCost(machine, a, t, lanes, vectorIsReduction);
  for (const w of f.writes)
    finish += each * (lanes === 1 || vectorIsReduction || w.strides[t.vector] === 1 ? cost.vectorLoad : lanes * cost.gatherLane);
  const horizontal = vectorIsReduction ? parallel * lanes : 0;
  // Without a reduction the end is the body.
  const crowding = 0.2 * Math.max(0, each * (f.finishing.length + f.writes.length + f.finishCost) - machine.bodyOps);
  if (reduces) return { work: tiles * (steps * pass + finish + horizontal), streams };
  const moved = [...f.finishing, ...f.writes];
  const pointers = specialize ? moved.length : moved.reduce((n, a) => n + streamsOf(a, t), 0);
  // Where a body has many accesses, what it does with them hides their pointers.
  const own = moved.length > fewAccesses ? 0 : pointerSteps * cost.issue * pointers;
  return { work: tiles * (finish + crowding + cost.loopOverhead + own), streams: f.finishing.reduce((n, a) => n + streamsOf(a, t), 0) };
}

/** Instructions that a pointer takes in a body without a reduction, where every iteration computes it. */
const pointerSteps = 2;
const fewAccesses = 4;

/** A loop outside of the tile: its axis and how often it runs. */
export interface OuterLoop {
  readonly axis: number;
  readonly trips: number;
}

/** Steps that are multiples of this many bytes use at most a few sets of a cache whose ways are 4 kB. */
const collidingBytes = 1024;
const cacheWays = 8;
const pageBytes = 4096;
const keptPages = 64;
/** Rows of a tile that lie far from each other are so many streams for the prefetchers, which begin anew on every page. */
const scatteredRows = 1.5;

/** Do rows of a tile lie so that more of them fall into one set of the first cache than it has ways? One is left for other operands. */
function collidesInTile(machine: Capabilities, a: AccessFacts, t: Tile): boolean {
  for (let i = 0; i < t.size.length; i++) {
    const step = Math.abs(a.strides[i] as number) * a.bytes;
    if (i === t.vector || !(step >= machine.lineBytes)) continue;
    let sets = 1;
    for (let s = step; s % pageBytes !== 0; s *= 2) sets *= 2;
    if ((t.size[i] as number) >= cacheWays * sets) return true;
  }
  return false;
}

/** Cost of bytes fetched again because the loops in between touch more than the caches hold. */
export function trafficCost(machine: Capabilities, f: StageFacts, t: Tile, outer: readonly OuterLoop[]): number {
  let innermost = -1;
  for (const l of outer) if (f.isReduction[l.axis]) innermost = l.axis;
  const all = [...f.reduced, ...f.finishing];
  const footprints = all.map((a) => {
    const inside = new Array<number>(outer.length + 1);
    const size = [...t.size];
    inside[outer.length] = distinctPlaces(a, size) * a.bytes;
    for (let d = outer.length - 1; d >= 0; d--) {
      const l = outer[d] as OuterLoop;
      size[l.axis] = (size[l.axis] as number) * l.trips;
      inside[d] = a.strides[l.axis] === 0 ? (inside[d + 1] as number) : distinctPlaces(a, size) * a.bytes;
    }
    return inside;
  });
  const total = outer.map((_, d) => footprints.reduce((n, p) => n + (p[d + 1] as number), 0));
  let cycles = 0;
  all.forEach((a, k) => {
    const whole = footprints[k]?.[0] as number;
    const lines = linesPerUse(machine, a, t, innermost);
    const rows =
      f.reduced.includes(a) && t.size.some((n, i) => n > 1 && i !== t.vector && Math.abs((a.strides[i] as number) * a.bytes) >= pageBytes / 4);
    for (const [bytes, perByte, waste] of [
      [machine.l1Bytes, machine.cost.l2Byte, lines] as const,
      [machine.l2Bytes, machine.cost.memoryByte, 1] as const,
    ]) {
      // Far steps of a power of two fall into few sets of the first cache: nothing stays there from one tile to the next.
      const collides =
        bytes === machine.l1Bytes &&
        innermost >= 0 &&
        (f.extents[innermost] as number) > cacheWays &&
        ((a.strides[innermost] as number) * a.bytes) % collidingBytes === 0 &&
        a.strides[innermost] !== 0;
      if (whole <= bytes && !collides) continue;
      // No prefetcher follows steps that leave its page at once.
      const far = bytes === machine.l1Bytes && innermost >= 0 && Math.abs((a.strides[innermost] as number) * a.bytes) >= pageBytes / 4;
      let fetched = whole * waste * (far ? machine.cost.farLine : rows ? scatteredRows : 1);
      for (let d = 0; d < outer.length; d++) {
        const l = outer[d] as OuterLoop;
        if (a.strides[l.axis] === 0 && (collides || (total[d] as number) > bytes)) fetched *= l.trips;
      }
      cycles += fetched * perByte;
    }
  });
  return cycles + pageCost(machine, f, t, outer);
}

/** What an innermost loop costs that goes from page to page, more of them than the processor keeps the addresses of. */
function pageCost(machine: Capabilities, f: StageFacts, t: Tile, outer: readonly OuterLoop[]): number {
  const last = outer.findLast((l) => l.trips > 1);
  if (last === undefined) return 0;
  let [pages, touched] = [0, 0];
  for (const a of f.isReduction[last.axis] ? f.reduced : [...f.finishing, ...f.writes]) {
    const stride = Math.abs((a.strides[last.axis] as number) * a.bytes);
    const steps = t.size[last.axis] as number;
    if (!(stride * steps >= pageBytes)) continue;
    const each = stride >= pageBytes ? steps : 1;
    pages += each * last.trips;
    touched += each;
  }
  if (pages <= keptPages) return 0;
  const tiles = outer.reduce((n, l) => n * l.trips, 1);
  // Reads ahead of sums are under way while others are added; a copy waits for every line, and twice for those it writes.
  const line = machine.cost.farLine * machine.lineBytes * machine.cost.l2Byte;
  return tiles * touched * (f.isReduction[last.axis] ? line / 5 : line);
}

/** How many times the bytes it uses an access fetches, because it takes less than a line and then strides on. */
function linesPerUse(machine: Capabilities, a: AccessFacts, t: Tile, innermost: number): number {
  if (innermost < 0) return 1;
  const step = Math.abs(a.strides[innermost] as number);
  if (step <= 1) return 1;
  let run = 1;
  for (let i = 0; i < t.size.length; i++) if (a.strides[i] === 1) run = Math.max(run, t.size[i] as number);
  return step <= run ? 1 : Math.max(1, machine.lineBytes / (run * a.bytes));
}

/** The tile of a schedule, and the loops outside of it. */
function tileOf(f: StageFacts, schedule: StageSchedule): { tile: Tile; outer: OuterLoop[] } {
  const size = f.names.map(() => 1);
  const above = new Map<number, number>();
  let vector = -1;
  const outer: OuterLoop[] = [];
  for (const l of schedule.loops) {
    const axis = f.names.indexOf(l.axis);
    const span = above.get(axis) ?? f.extents[axis] ?? 1;
    const trips = Math.max(1, Math.ceil(span / l.size));
    if (l.kind === "serial") outer.push({ axis, trips });
    else size[axis] = (size[axis] as number) * trips;
    if (l.kind === "vector") vector = axis;
    above.set(axis, l.size);
  }
  return { tile: { size, vector }, outer };
}

/** The whole estimate for one schedule. */
export function stageCost(machine: Capabilities, f: StageFacts, schedule: StageSchedule, specialize: boolean): number {
  const { tile, outer } = tileOf(f, schedule);
  return tileCost(machine, f, tile, specialize).work + trafficCost(machine, f, tile, outer);
}

/**
 * Cost of moving what a kernel writes past the caches (a line is fetched before it is written), and, where its stages
 * share axes, of what it reads: their own estimates see one point of those axes only.
 */
export function movingCost(machine: Capabilities, k: Kernel): number {
  const bytes = (t: Tensor) => typicalSize(productOf(t.dims)) * t.dtype.byteWidth;
  const perByte = (n: number) => (n > machine.l2Bytes ? machine.cost.memoryByte : n > machine.l1Bytes ? machine.cost.l2Byte : 0);
  const cost = (t: Tensor) => bytes(t) * perByte(bytes(t));
  const written = writesOf(k).reduce((n, t) => n + 2 * cost(t), 0);
  return k.axes.length === 0 ? written : written + readsOf(k).reduce((n, t) => n + cost(t), 0);
}

import { spanAbove } from "../schedule/legal.ts";
import type { Random } from "../schedule/random.ts";
import type { LoopSpec, StageSchedule, Tail } from "../schedule/schedule.ts";
import type { Stage } from "../tensor/ir.ts";

/** A change of one field of a stage's schedule; null where it does not apply. What it gives may be illegal. */
type Change = (random: Random, s: Stage, x: StageSchedule, lanes: number) => StageSchedule | null;

const pick = <T>(random: Random, items: readonly T[]): T | undefined => items[Math.floor(random() * items.length)];
const withLoops = (x: StageSchedule, loops: readonly LoopSpec[]): StageSchedule => ({ ...x, loops });

/** Tile sizes that a loop may get, in vectors or points. */
const sizes = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16] as const;
/** Sizes of outer tiles, as multiples of the tile inside. */
const blocks = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64] as const;

/** One random change of one of its fields: a tile's size, the order, a loop's kind, the vector axis, a tail. */
export function changeStage(random: Random, s: Stage, x: StageSchedule, lanes: number): StageSchedule | null {
  const total = changes.reduce((n, [weight]) => n + weight, 0);
  let dice = random() * total;
  for (const [weight, change] of changes) {
    dice -= weight;
    if (dice < 0) return change(random, s, x, lanes);
  }
  return null;
}

const extentOf = (s: Stage, axis: string): number => {
  const e = s.axes.find((a) => a.variable.name === axis)?.extent;
  return typeof e === "number" ? e : Number.POSITIVE_INFINITY;
};
const isReduction = (s: Stage, axis: string) => s.axes.find((a) => a.variable.name === axis)?.kind === "reduction";

/** Another size for a tile, in units of the tile inside of it; blocks outside of it keep their number of tiles. */
const resize: Change = (random, s, x, lanes) => {
  const l = pick(
    random,
    x.loops.filter((o) => o.size > 1),
  );
  if (l === undefined) return null;
  const at = x.loops.indexOf(l);
  const inside = x.loops.findIndex((o, i) => i > at && o.axis === l.axis);
  const inner = x.loops[inside];
  if (inner === undefined) return null;
  const unit = inner.kind === "vector" ? lanes : inner.size;
  const size = unit * (pick(random, sizes) as number);
  if (size === l.size || size > extentOf(s, l.axis)) return null;
  const loops = x.loops.with(at, { ...l, size }).map((o, i) => scaled(o, i, at, l, size));
  // A tile as large as the one inside is that one; several vectors need a loop over them.
  if (size === inner.size) return withLoops(x, inner.kind === "serial" ? loops.toSpliced(inside, 1) : loops.toSpliced(at, 1));
  if (inner.kind === "vector" && size > lanes)
    loops.splice(inside, 0, { axis: l.axis, size: lanes, kind: "unrolled", ...(isReduction(s, l.axis) ? { split: true } : {}) });
  return withLoops(x, loops);
};
function scaled(o: LoopSpec, i: number, at: number, l: LoopSpec, size: number): LoopSpec {
  return i < at && o.axis === l.axis ? { ...o, size: Math.max(size, Math.round(o.size / l.size) * size) } : o;
}

/** A tile over an axis that has none: the outer loop stays, the tile goes to the innermost place that keeps vectors innermost. */
const addTile: Change = (random, s, x) => {
  const untiled = s.axes.filter((a) => x.loops.filter((l) => l.axis === a.variable.name).length === 1);
  const axis = pick(random, untiled)?.variable.name;
  if (axis === undefined) return null;
  const at = x.loops.findIndex((l) => l.axis === axis);
  const outer = x.loops[at] as LoopSpec;
  const size = pick(random, sizes) as number;
  if (outer.kind === "vector" || size <= 1 || size > extentOf(s, axis)) return null;
  const kind = random() < 0.8 ? "unrolled" : "serial";
  const vector = x.loops.findIndex((l) => l.kind === "vector");
  const end = vector < 0 ? x.loops.length : vector;
  const to = kind === "unrolled" ? end : at + 1 + Math.floor(random() * Math.max(1, end - at));
  const inner: LoopSpec = { axis, size: 1, kind };
  const loops = [...x.loops.with(at, { axis, size, kind: "serial" })];
  loops.splice(Math.max(at + 1, Math.min(to, loops.length)), 0, inner);
  return withLoops(x, loops);
};

/** A tile gone: its loops become the one outside. */
const dropTile: Change = (random, _s, x) => {
  const l = pick(
    random,
    x.loops.filter((o) => o.size > 1),
  );
  if (l === undefined) return null;
  const inside = x.loops.findIndex((o, i) => i > x.loops.indexOf(l) && o.axis === l.axis);
  const inner = x.loops[inside];
  if (inner === undefined || inner.kind === "vector") return null;
  return withLoops(
    x,
    x.loops.filter((_, i) => i !== inside).map((o) => (o === l ? { ...o, size: inner.size } : o)),
  );
};

/** Blocks for a cache: a loop outside of all, over tiles of an axis that is tiled or long. */
const addBlock: Change = (random, s, x) => {
  const at = Math.floor(random() * x.loops.length);
  const l = x.loops[at];
  if (l === undefined || l.kind !== "serial" || x.loops.slice(0, at).some((o) => o.axis === l.axis)) return null;
  const size = l.size * (pick(random, blocks) as number);
  if (size >= extentOf(s, l.axis) || (isReduction(s, l.axis) && size > 4096)) return null;
  const loops = [...x.loops];
  loops.splice(Math.floor(random() * (at + 1)), 0, { axis: l.axis, size, kind: "serial" });
  return withLoops(x, loops);
};

/** Two neighbouring loops change places. */
const swap: Change = (random, s, x) => {
  const at = Math.floor(random() * (x.loops.length - 1));
  const [a, b] = [x.loops[at], x.loops[at + 1]];
  if (a === undefined || b === undefined || a.axis === b.axis || a.kind === "vector" || b.kind === "vector") return null;
  // The steps of a tuple of accumulators may depend on their order.
  if (s.accumulators.length > 1 && isReduction(s, a.axis) && isReduction(s, b.axis)) return null;
  return withLoops(x, x.loops.with(at, b).with(at + 1, a));
};

/** A loop moves anywhere between its axis's neighbours. */
const move: Change = (random, s, x) => {
  const from = Math.floor(random() * x.loops.length);
  const l = x.loops[from];
  if (l === undefined || l.kind === "vector" || (s.accumulators.length > 1 && isReduction(s, l.axis))) return null;
  const loops = x.loops.toSpliced(from, 1);
  const above = loops.findLastIndex((o, i) => i < from && o.axis === l.axis);
  const below = loops.findIndex((o, i) => i >= from && o.axis === l.axis);
  const [low, high] = [above + 1, below < 0 ? loops.length : below];
  const to = low + Math.floor(random() * (high - low + 1));
  return to === from ? null : withLoops(x, loops.toSpliced(to, 0, l));
};

/** A serial loop of known length is unrolled, or an unrolled one is not. */
const unroll: Change = (random, s, x) => {
  const at = Math.floor(random() * x.loops.length);
  const l = x.loops[at];
  if (l === undefined || l.kind === "vector") return null;
  if (l.kind === "unrolled") {
    const { split: _, ...rest } = l;
    return withLoops(x, x.loops.with(at, { ...rest, kind: "serial" }));
  }
  const span = spanAbove(s, x.loops, at) ?? extentOf(s, l.axis);
  return span / l.size <= 32 ? withLoops(x, x.loops.with(at, { ...l, kind: "unrolled" })) : null;
};

/** An unrolled loop over a reduction adds up in places of its own, or no longer. */
const split: Change = (random, s, x) => {
  const at = pick(
    random,
    x.loops.flatMap((l, i) => (l.kind === "unrolled" && isReduction(s, l.axis) ? [i] : [])),
  );
  const l = at === undefined ? undefined : x.loops[at];
  if (at === undefined || l === undefined) return null;
  const { split: old, ...rest } = l;
  return withLoops(x, x.loops.with(at, old === true ? rest : { ...rest, split: true }));
};

/** Vectors along another axis: its innermost loop runs in vectors, the one that did is unrolled. */
const vector: Change = (random, s, x, lanes) => {
  if (lanes === 1) return null;
  const axis = pick(random, s.axes)?.variable.name;
  if (axis === undefined || extentOf(s, axis) < lanes) return null;
  const old = x.loops.find((l) => l.kind === "vector");
  if (old?.axis === axis) return null;
  const own = x.loops.filter((l) => l.axis === axis);
  const last = own.at(-1);
  if (last === undefined || (own.at(-2) !== undefined && (own.at(-2) as LoopSpec).size % lanes !== 0)) return null;
  const loops: LoopSpec[] = x.loops.flatMap((l): LoopSpec[] => {
    if (l === old) return [{ ...l, kind: "unrolled" }];
    if (l !== last) return [l];
    // Its innermost loop steps by whole vectors from now on, or is gone where it would make one step.
    const { split: _, ...rest } = l;
    return own.at(-2)?.size === lanes ? [] : [{ ...rest, size: lanes }];
  });
  return withLoops(x, [...loops, { axis, size: 1, kind: "vector" }]);
};

/** What happens at an axis's end. */
const tail: Change = (random, s, x) => {
  const axis = pick(random, s.axes);
  if (axis === undefined) return null;
  const name = axis.variable.name;
  const options: readonly (Tail | null)[] = axis.kind === "reduction" ? [null, "peel", "mask"] : [null, "overlap", "peel", "mask"];
  const chosen = pick(random, options) ?? null;
  if (chosen === (x.tails[name] ?? null)) return null;
  const { [name]: _, ...others } = x.tails;
  return { ...x, tails: chosen === null ? others : { ...others, [name]: chosen } };
};

/** Every kind of change with how often it is tried. */
const changes: readonly (readonly [number, Change])[] = [
  [5, resize],
  [3, addTile],
  [2, dropTile],
  [2, addBlock],
  [2, swap],
  [3, move],
  [2, unroll],
  [1, split],
  [1, vector],
  [1, tail],
];

import { type Dim, addDim, ceilDivDim, divideExactly, floorDivDim, isDataDependent, maxDim, minDim, mulDim, subDim } from "../../../base/dim.ts";
import type { Value } from "../../../graph/ir.ts";
import { axesFromStart, axisMask, listOf, overAllAxes } from "../axes.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { stepsBetween } from "../known.ts";
import type { Operand } from "../operand.ts";
import type { Int } from "../sizes.ts";
import { clampDim, isNonNegative } from "../symbols.ts";
import { sliced, slicedAlong } from "./shape.ts";

/** What Slice takes along one axis; `start` and `step` are values where only data tells them. */
interface Part {
  readonly axis: number;
  readonly start: Int;
  readonly step: Int;
  readonly size: Dim;
}

/** A list of Slice: an attribute, or an input, whose elements are known or not. */
interface List {
  readonly known: readonly Dim[] | null;
  readonly operand: Operand | null;
}

function listAt(c: NodeContext, name: string, i: number): List | null {
  if (c.version < 10) {
    const known = c.ints(name);
    return known === null ? null : { known, operand: null };
  }
  const operand = c.optional(i);
  return operand === null ? null : { known: operand.known, operand };
}

function slice(c: NodeContext): Operand {
  const x = c.input(0);
  const starts = listAt(c, "starts", 1) ?? c.fail("'starts' is missing");
  const ends = listAt(c, "ends", 2) ?? c.fail("'ends' is missing");
  const [steps, given] = [listAt(c, "steps", 4), listAt(c, "axes", 3)];
  const lists = [starts, ends, steps, given].filter((l) => l !== null);
  const [count, ...others] = lists.map((l) => l.known?.length ?? l.operand?.dims[0] ?? 1);
  if (count === undefined || others.some((n) => typeof n === "number" && typeof count === "number" && n !== count))
    return c.fail(`starts, ends${given === null ? "" : ", axes"}${steps === null ? "" : ", steps"} have ${[count, ...others].join(", ")} elements`);
  for (const n of others) c.sizes.require(count, n);
  const axes = given?.known ?? (given === null && typeof count === "number" ? Array.from({ length: count }, (_, i) => i) : null);
  const parts = axes === null ? byData(c, x, starts, ends, steps, given) : alongAxes(c, x, axes.map(Number), starts, ends, steps);
  return take(c, x, parts);
}

/** One part for each axis, as far as possible without data. */
function alongAxes(c: NodeContext, x: Operand, given: readonly number[], starts: List, ends: List, steps: List | null): Part[] {
  const s = c.sizes;
  const element = (l: List, k: number): Int =>
    l.known?.[k] ?? l.operand?.partial?.[k] ?? s.entry(listOf(c, l.operand ?? c.fail("a list is missing")), k);
  return c.normalAxes(given, x.rank).map((axis, k): Part => {
    const [start, end] = [element(starts, k), element(ends, k)];
    const step = steps === null ? 1 : element(steps, k);
    if (step === 0) return c.fail("a step of 0");
    return partByDims(x, axis, start, end, step) ?? partByData(c, x, axis, start, end, step);
  });
}

/** Axes from data: every dimension has a start, an end and a step, by which those that the axes do not name stay whole. */
function byData(c: NodeContext, x: Operand, starts: List, ends: List, steps: List | null, given: List | null): Part[] {
  const s = c.sizes;
  const list = (l: List): Value => listOf(c, l.operand ?? c.fail("a list is missing"));
  const start = list(starts);
  if (given?.operand) axisMask(c, given.operand, x.rank);
  const axes = given === null ? s.positions(start.dims, 0) : axesFromStart(c, list(given), x.rank);
  const all = (v: Value, otherwise: number): Value => overAllAxes(c, s.refine(v, axes.dims), axes, x.rank, otherwise);
  const [from, to] = [all(start, 0), all(list(ends), 2 ** 31 - 1)];
  const by = steps === null ? null : all(list(steps), 1);
  return x.dims.map((_, axis) => partByData(c, x, axis, s.entry(from, axis), s.entry(to, axis), by === null ? 1 : s.entry(by, axis)));
}

/** The part where sizes alone decide it; null where data does. */
function partByDims(x: Operand, axis: number, start: Int, end: Int, step: Int): Part | null {
  if (typeof step !== "number" || isValue(start) || isValue(end)) return null;
  const n = x.dims[axis] as Dim;
  const last = subDim(n, 1);
  const [low, high]: [Dim, Dim] = step > 0 ? [0, n] : [0, last];
  const [first, limit] = [fromEnd(start, n), fromEnd(end, n)];
  if (first === null || limit === null) return null;
  const from = clampDim(first, low, high);
  // Backwards, the end may lie one before the first element.
  const to = step > 0 ? clampDim(limit, 0, n) : clampDim(limit, -1, last);
  return { axis, start: from, step: Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, step)), size: stepsBetween(from, to, step) };
}

const isValue = (x: Int): x is Value => typeof x === "object" && "dtype" in x;

/** An index that counts from the end when it is negative; null when it may be either. */
function fromEnd(at: Dim, n: Dim): Dim | null {
  switch (isNonNegative(at)) {
    case true:
      return at;
    case false:
      return typeof at === "number" && at <= -(2 ** 31) ? at : addDim(at, n);
    case null:
      return null;
  }
}

/** The same in the graph: start and number of elements are computed when the model runs. */
function partByData(c: NodeContext, x: Operand, axis: number, start: Int, end: Int, step: Int): Part {
  const s = c.sizes;
  const n = x.dims[axis] as Dim;
  const last = subDim(n, 1);
  const counted = (at: Int): Int =>
    typeof at === "number"
      ? at < 0
        ? at <= -(2 ** 31)
          ? -(2 ** 31 - 1)
          : addDim(at, n)
        : Math.min(at, 2 ** 31 - 1)
      : s.select(s.lt(at, 0), s.add(at, n), at);
  const [first, limit] = [counted(start), counted(end)];
  const between = (v: Int, low: Int, high: Int): Value => s.max(s.min(v, high), low);
  const forwards = (): [Value, Value] => [between(first, 0, n), between(limit, 0, n)];
  const backwards = (): [Value, Value] => [between(first, 0, last), between(limit, -1, last)];
  const span = ([from, to]: [Value, Value], back: boolean): [Value, Value] => [from, back ? s.sub(from, to) : s.sub(to, from)];
  const [from, distance] = ((): [Value, Value] => {
    if (typeof step === "number") return span(step > 0 ? forwards() : backwards(), step < 0);
    const [up, down] = [span(forwards(), false), span(backwards(), true)];
    const back = s.lt(step, 0);
    return [s.select(back, down[0], up[0]), s.select(back, down[1], up[1])];
  })();
  // ⌈distance / |step|⌉; a step of 0 takes nothing.
  const size = typeof step === "number" ? Math.min(Math.abs(step), 2 ** 31 - 1) : s.max(s.abs(step), 1);
  const steps = s.add(s.div(s.sub(distance, 1), size), 1);
  const count = s.select(s.lt(distance, 1), 0, steps);
  const taken = s.size(count, "size", 0, n, declaredSize(c, axis));
  return { axis, start: from, step, size: taken };
}

/** The size that the model declares for the result along an axis. */
const declaredSize = (c: NodeContext, axis: number): number | null => c.declaredDim(0, axis);

/** Takes the parts out of x: boxes, and what has a step from data by index. */
function take(c: NodeContext, x: Operand, parts: readonly Part[]): Operand {
  const s = c.sizes;
  const start: Dim[] = x.dims.map(() => 0);
  const stride: number[] = x.dims.map(() => 1);
  const dims: Dim[] = [...x.dims];
  const indexed = parts.filter((p) => typeof p.step !== "number");
  for (const p of parts) {
    if (typeof p.step !== "number") continue;
    // An empty part starts anywhere; what it starts at must exist all the same.
    start[p.axis] = isValue(p.start) ? s.size(p.start, "start", 0, x.dims[p.axis] as Dim) : p.start;
    stride[p.axis] = p.step;
    dims[p.axis] = p.size;
  }
  const box = sliced(c, x, start, stride, dims);
  return indexed.reduce((v, p) => {
    const at = s.add(s.mul(s.positions([p.size], 0), p.step), p.start);
    return c.of(c.g.one("gather", [v.value, at], { axes: [p.axis], at: p.axis }));
  }, box);
}

function split(c: NodeContext): readonly Operand[] {
  const x = c.input(0);
  const axis = c.axis(c.int("axis", 0), x.rank);
  const n = x.dims[axis] as Dim;
  const count = c.node.outputs.length;
  const given = c.version < 13 ? null : c.optional(1);
  const fixed: readonly Dim[] | null = c.version < 13 ? c.ints("split") : (given?.known ?? null);
  const sizes = fixed ?? (given === null ? equalParts(c, n, c.int("num_outputs", count)) : partsByData(c, n, given, axis, count));
  if (sizes.length < count) return c.fail(`${sizes.length} parts for ${count} outputs`);
  c.sameDim(sizes.reduce(addDim, 0), n, `sum of the parts [${sizes.join(", ")}] along axis ${axis}`);
  let at: Dim = 0;
  return sizes.slice(0, count).map((size) => {
    const part = slicedAlong(c, x, axis, at, size);
    at = addDim(at, size);
    return part;
  });
}

function partsByData(c: NodeContext, n: Dim, given: Operand, axis: number, count: number): readonly Dim[] {
  const list = listOf(c, given);
  c.sizes.require(list.dims[0] as Dim, count);
  return Array.from({ length: count }, (_, i) => c.sizes.size(c.sizes.entry(list, i), "split", 0, n, c.declaredDim(i, axis)));
}

/** Equal parts; from opset 18 on the last ones are smaller when the count does not divide the size. */
function equalParts(c: NodeContext, n: Dim, parts: number): readonly Dim[] {
  if (parts < 1) return c.fail(`${parts} parts`);
  const exact = divideExactly(n, parts);
  if (exact !== null) return Array.from({ length: parts }, () => exact);
  if (c.version < 18 && (typeof n !== "number" || isDataDependent(n))) {
    const part = floorDivDim(n, parts);
    c.sizes.require(mulDim(part, parts), n);
    return [...Array.from({ length: parts - 1 }, () => part), subDim(n, mulDim(part, parts - 1))];
  }
  const part = ceilDivDim(n, parts);
  return Array.from({ length: parts }, (_, i) => maxDim(0, minDim(part, subDim(n, mulDim(part, i)))));
}

export const slicingOps: OpTable = {
  Slice: { since: 7, map: slice },
  Split: { since: 7, map: split },
};

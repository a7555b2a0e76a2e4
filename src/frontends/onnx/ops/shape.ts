import { type Dim, addDim, dimEquals, dimMin, divideExactly, mulDim, productOf, subDim } from "../../../base/dim.ts";
import { type DType, f32, i32, i64 } from "../../../base/dtype.ts";
import { stridesOf } from "../../../graph/host.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { maxKnown, stepsBetween } from "../known.ts";
import { type Operand, dimValue } from "../operand.ts";
import { clampDim, isNonNegative, shapeHint } from "../symbols.ts";
import { readConstantAttribute } from "../tensor.ts";
import { knownTogether, positions } from "./elementwise.ts";

/** Known elements picked by their flat positions, or null. */
function pick(o: Operand, positionsOf: readonly number[]): readonly Dim[] | null {
  const k = o.known;
  return k === null ? null : positionsOf.map((p) => k[p] as Dim);
}

/** Flat positions in `from` that a strided box reads, in the box's order. */
function boxPositions(from: readonly number[], start: readonly number[], stride: readonly number[], dims: readonly number[]): number[] {
  const strides = stridesOf(from);
  return dims.reduce<number[]>(
    (list, n, d) =>
      list.flatMap((base) => Array.from({ length: n }, (_, i) => base + ((start[d] as number) + i * (stride[d] as number)) * (strides[d] as number))),
    [0],
  );
}

/** The operand under other dims with as many elements. */
export function reshaped(c: NodeContext, x: Operand, dims: readonly Dim[]): Operand {
  if (x.known !== null) return c.knownOf(x.dtype, dims, x.known);
  const [got, wanted] = [productOf(x.dims), productOf(dims)];
  if (!dimEquals(got, wanted)) c.sameDim(got, wanted, `reshape of [${x.dims.join(", ")}] to [${dims.join(", ")}]`);
  return c.of(c.g.reshape(x.value, dims));
}

/** The dims that Reshape asks for: 0 keeps a dimension (unless `allowzero`), -1 takes what is left. */
function reshape(c: NodeContext): Operand {
  const x = c.input(0);
  const wanted = c.known(1, "the new shape");
  const keepZero = c.int("allowzero", 0) === 1;
  const dims = wanted.map((d, i) =>
    d === 0 && !keepZero ? (x.dims[i] ?? c.fail(`dimension ${i} of the new shape is 0, but the input has only rank ${x.rank}`)) : d,
  );
  const free = dims.indexOf(-1);
  if (free >= 0)
    dims[free] = remaining(
      c,
      x,
      dims.filter((_, i) => i !== free),
    );
  if (dims.some((d) => isNonNegative(d) !== true)) c.fail(`the new shape [${wanted.join(", ")}] has a negative dimension`);
  return reshaped(c, x, dims);
}

function remaining(c: NodeContext, x: Operand, others: readonly Dim[]): Dim {
  const [all, rest] = [productOf(x.dims), productOf(others)];
  if (all === 0 || rest === 0) return 0;
  const left = divideExactly(all, rest);
  if (left !== null) return left;
  if (typeof all === "number" && typeof rest === "number") return c.fail(`[${x.dims.join(", ")}] has ${all} elements, which ${rest} does not divide`);
  return c.unsupported(`a reshape of [${x.dims.join(", ")}] in which ${rest} is not certain to divide ${all}${shapeHint(all, rest)}`);
}

function flatten(c: NodeContext): Operand {
  const x = c.input(0);
  const given = c.int("axis", 1);
  const axis = given === x.rank ? given : c.axis(given, x.rank);
  return reshaped(c, x, [productOf(x.dims.slice(0, axis)), productOf(x.dims.slice(axis))]);
}

function squeeze(c: NodeContext): Operand {
  const x = c.input(0);
  const axes = c.axes(1, x.rank) ?? x.dims.flatMap((d, i) => (d === 1 ? [i] : []));
  for (const a of axes) c.sameDim(x.dims[a] as Dim, 1, `squeezed dimension ${a} of [${x.dims.join(", ")}]`);
  return reshaped(
    c,
    x,
    x.dims.filter((_, i) => !axes.includes(i)),
  );
}

function unsqueeze(c: NodeContext): Operand {
  const x = c.input(0);
  const count = c.ints("axes")?.length ?? c.knownNumbers(1, "'axes'").length;
  const axes = c.axes(1, x.rank + count) ?? c.fail("'axes' is missing");
  const left = [...x.dims];
  return reshaped(
    c,
    x,
    Array.from({ length: x.rank + count }, (_, i) => (axes.includes(i) ? 1 : (left.shift() as Dim))),
  );
}

function shape(c: NodeContext): Operand {
  const { dims } = c.input(0);
  const part = dims.slice(c.int("start", 0), c.attribute("end") === null ? dims.length : c.int("end", dims.length));
  return c.knownOf(i64, [part.length], part);
}

function transpose(c: NodeContext): Operand {
  const x = c.input(0);
  const perm = c.ints("perm") ?? x.dims.map((_, i) => x.rank - 1 - i);
  if (perm.length !== x.rank || new Set(perm).size !== x.rank || perm.some((p) => p < 0 || p >= x.rank))
    return c.fail(`perm [${perm.join(", ")}] is no permutation of ${x.rank} dimensions`);
  if (x.known !== null) {
    const from = x.dims.map(Number);
    const strides = stridesOf(from);
    const to = perm.map((p) => from[p] as number);
    const at = to.reduce<number[]>(
      (list, n, d) => list.flatMap((base) => Array.from({ length: n }, (_, i) => base + i * (strides[perm[d] as number] as number))),
      [0],
    );
    return c.knownOf(x.dtype, to, pick(x, at) ?? []);
  }
  return c.of(c.g.transpose(x.value, perm));
}

function concat(c: NodeContext): Operand {
  const parts = c.all();
  const [first] = parts;
  if (first === undefined) return c.fail("it has no inputs");
  const axis = c.axis(c.int("axis", 0), first.rank);
  for (const p of parts) {
    if (p.rank !== first.rank) c.fail(`inputs of ranks ${first.rank} and ${p.rank}`);
    p.dims.forEach((d, i) => i !== axis && c.sameDim(d, first.dims[i] as Dim, `dimension ${i} of the joined [${p.dims.join(", ")}]`));
  }
  const total = parts.reduce<Dim>((n, p) => addDim(n, p.dims[axis] as Dim), 0);
  if (first.rank === 1 && typeof total === "number" && total <= maxKnown && parts.every((p) => p.known !== null))
    return c.knownOf(
      first.dtype,
      [total],
      parts.flatMap((p) => p.known ?? []),
    );
  // Dims that only became equal under a bound are written alike.
  const used = parts.filter((p) => p.dims[axis] !== 0);
  return c.of(
    used.length === 1
      ? (used[0] as Operand).value
      : c.g.one(
          "concat",
          (used.length === 0 ? parts : used).map((p) => p.value),
          { axis },
        ),
  );
}

/** A box of x: `start + i·stride` for i below `dims`, in every dimension. */
function sliced(c: NodeContext, x: Operand, start: readonly Dim[], stride: readonly number[], dims: readonly Dim[]): Operand {
  if (x.known !== null && [...start, ...dims].every((d) => typeof d === "number"))
    return c.knownOf(x.dtype, dims, pick(x, boxPositions(x.dims.map(Number), start.map(Number), stride, dims.map(Number))) ?? []);
  if (start.every((s, i) => s === 0 && stride[i] === 1 && dimEquals(dims[i] as Dim, x.dims[i] as Dim))) return x;
  return c.of(c.g.one("slice", [x.value], { start: dims.some((d) => d === 0) ? start.map(() => 0) : start, stride, dims }));
}

/** `x[start : start + size]` along one axis. */
export function slicedAlong(c: NodeContext, x: Operand, axis: number, start: Dim, size: Dim): Operand {
  return sliced(
    c,
    x,
    x.dims.map((_, i) => (i === axis ? start : 0)),
    x.dims.map(() => 1),
    x.dims.with(axis, size),
  );
}

function slice(c: NodeContext): Operand {
  const x = c.input(0);
  const list = (name: string, i: number): readonly Dim[] | null =>
    c.version < 10 ? c.ints(name) : c.optional(i) === null ? null : c.known(i, `'${name}'`);
  const starts = list("starts", 1) ?? c.fail("'starts' is missing");
  const ends = list("ends", 2) ?? c.fail("'ends' is missing");
  const steps = list("steps", 4) ?? starts.map(() => 1);
  const given = list("axes", 3) ?? starts.map((_, i) => i);
  if ([ends, steps, given].some((l) => l.length !== starts.length))
    return c.fail(`${starts.length} starts, ${ends.length} ends, ${given.length} axes, ${steps.length} steps`);
  const axes = c.normalAxes(given.map(Number), x.rank);
  const start: Dim[] = x.dims.map(() => 0);
  const stride: number[] = x.dims.map(() => 1);
  const dims: Dim[] = [...x.dims];
  axes.forEach((axis, k) => {
    const step = steps[k];
    if (typeof step !== "number" || step === 0) return c.fail(`step ${step}, expected a number that is not 0`);
    const n = x.dims[axis] as Dim;
    const last = subDim(n, 1);
    const [low, high]: [Dim, Dim] = step > 0 ? [0, n] : [0, last];
    const from = clampDim(fromEnd(c, starts[k] as Dim, n), low, high);
    // Backwards, the end may lie one before the first element.
    const to = step > 0 ? clampDim(fromEnd(c, ends[k] as Dim, n), 0, n) : clampDim(fromEnd(c, ends[k] as Dim, n), -1, last);
    start[axis] = from;
    stride[axis] = Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, step));
    dims[axis] = stepsBetween(from, to, step);
  });
  return sliced(c, x, start, stride, dims);
}

/** An index that counts from the end when it is negative. */
function fromEnd(c: NodeContext, at: Dim, n: Dim): Dim {
  switch (isNonNegative(at)) {
    case true:
      return at;
    case false:
      return typeof at === "number" && at <= -(2 ** 31) ? at : addDim(at, n);
    case null:
      return c.unsupported(`a slice at ${at}, which may count from the start or from the end${shapeHint(at)}`);
  }
}

function split(c: NodeContext): readonly Operand[] {
  const x = c.input(0);
  const axis = c.axis(c.int("axis", 0), x.rank);
  const n = x.dims[axis] as Dim;
  const count = c.node.outputs.length;
  const given: readonly Dim[] | null = c.version < 13 ? c.ints("split") : c.optional(1) === null ? null : c.known(1, "'split'");
  const sizes = given ?? equalParts(c, n, c.int("num_outputs", count));
  if (sizes.length < count) return c.fail(`${sizes.length} parts for ${count} outputs`);
  c.sameDim(sizes.reduce(addDim, 0), n, `sum of the parts [${sizes.join(", ")}] along axis ${axis}`);
  let at: Dim = 0;
  return sizes.slice(0, count).map((size) => {
    const part = slicedAlong(c, x, axis, at, size);
    at = addDim(at, size);
    return part;
  });
}

/** Equal parts; the last one is smaller when the count does not divide the size. */
function equalParts(c: NodeContext, n: Dim, parts: number): readonly Dim[] {
  const exact = divideExactly(n, parts);
  if (exact !== null) return Array.from({ length: parts }, () => exact);
  if (typeof n !== "number") return c.unsupported(`a split of ${n} into ${parts} parts that may be unequal${shapeHint(n)}`);
  const part = Math.ceil(n / parts);
  return Array.from({ length: parts }, (_, i) => Math.max(0, Math.min(part, n - i * part)));
}

function expand(c: NodeContext): Operand {
  const x = c.input(0);
  const dims = c.broadcastDims([x.dims, c.known(1, "the new shape")]);
  const elements = knownTogether(dims, [x]);
  if (elements !== null)
    return c.knownOf(
      x.dtype,
      dims,
      elements.map(([v]) => v as Dim),
    );
  return c.of(c.stretch(x.value, dims));
}

/** Repeats as broadcast along new dimensions, which then join the old ones. */
function tile(c: NodeContext): Operand {
  const x = c.input(0);
  const repeats = c.known(1, "'repeats'");
  if (repeats.length !== x.rank) return c.fail(`${repeats.length} repeats for rank ${x.rank}`);
  const wide = x.dims.flatMap((d, i) => [repeats[i] as Dim, d]);
  const map = x.dims.map((_, i) => 2 * i + 1);
  return c.of(
    c.g.reshape(
      c.g.broadcast(x.value, wide, map),
      x.dims.map((d, i) => mulDim(d, repeats[i] as Dim)),
    ),
  );
}

/** DepthToSpace and SpaceToDepth move blocks between the channels and the plane. */
function depthToSpace(c: NodeContext): Operand {
  const x = c.input(0);
  const [n, channels, h, w] = x.dims as [Dim, Dim, Dim, Dim];
  const b = c.int("blocksize", 0);
  const depth = b > 0 && x.rank === 4 ? divideExactly(channels, b * b) : null;
  if (depth === null) return c.fail(`blocksize ${b} for [${x.dims.join(", ")}]`);
  const crd = c.text("mode", "DCR") === "CRD";
  const apart = c.g.reshape(x.value, crd ? [n, depth, b, b, h, w] : [n, b, b, depth, h, w]);
  const moved = c.g.transpose(apart, crd ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]);
  return c.of(c.g.reshape(moved, [n, depth, mulDim(h, b), mulDim(w, b)]));
}
function spaceToDepth(c: NodeContext): Operand {
  const x = c.input(0);
  const [n, channels, h, w] = x.dims as [Dim, Dim, Dim, Dim];
  const b = c.int("blocksize", 0);
  const [rows, columns] = b > 0 && x.rank === 4 ? [divideExactly(h, b), divideExactly(w, b)] : [null, null];
  if (rows === null || columns === null) return c.fail(`blocksize ${b} for [${x.dims.join(", ")}]`);
  const crd = c.text("mode", "DCR") === "CRD";
  const moved = c.g.transpose(c.g.reshape(x.value, [n, channels, rows, b, columns, b]), crd ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4]);
  return c.of(c.g.reshape(moved, [n, mulDim(channels, b * b), rows, columns]));
}

function range(c: NodeContext): Operand {
  const [start, limit, delta] = [0, 1, 2].map((i) => c.known(i, ["'start'", "'limit'", "'delta'"][i] as string)[0]) as [Dim, Dim, Dim];
  const { dtype } = c.input(0);
  if (typeof delta !== "number" || delta === 0) return c.unsupported(`a range with the step ${delta}, expected a number that is not 0`);
  if (dtype.isFloat && (typeof start !== "number" || typeof limit !== "number"))
    return c.unsupported("a range of floats whose ends depend on symbolic sizes");
  const n = dtype.isFloat ? Math.max(0, Math.ceil((Number(limit) - Number(start)) / delta)) : stepsBetween(start, limit, delta);
  if (typeof n === "number" && n <= maxKnown && typeof start === "number")
    return c.knownOf(
      dtype,
      [n],
      Array.from({ length: n }, (_, i) => start + i * delta),
    );
  const steps = c.g.one("iota", [], { dtype, dims: [n], axis: 0 });
  const scaled = delta === 1 ? steps : c.withScalar("mul", steps, delta);
  if (start === 0) return c.of(scaled);
  return c.of(
    c.g.one("add", [
      scaled,
      c.g.broadcast(
        c.input(0).value,
        [n],
        c.input(0).dims.map((_, i) => i),
      ),
    ]),
  );
}

function constantOfShape(c: NodeContext): Operand {
  const dims = c.known(0, "the shape");
  if (dims.some((d) => dimMin(d) < 0)) return c.fail(`shape [${dims.join(", ")}]`);
  const t = c.tensor("value");
  const fill = t === null ? c.knownOf(f32, [], [0]) : c.constantOf(t);
  const [v] = fill.known ?? [];
  const n = productOf(dims);
  if (v !== undefined && typeof n === "number" && n <= maxKnown && fill.dtype.isInteger)
    return c.knownOf(
      fill.dtype,
      dims,
      Array.from({ length: n }, () => v),
    );
  return c.of(c.g.broadcast(c.g.reshape(fill.value, []), dims, []));
}

function constant(c: NodeContext): Operand {
  const [a] = c.node.attributes.values();
  if (a === undefined) return c.fail("it has no value");
  const t = readConstantAttribute(a, c.externalData);
  return t === null ? c.unsupported(`a constant given by '${a.name}' (strings and sparse tensors are not supported)`) : c.constantOf(t);
}

/** `column - row` of the last two dimensions, as i32. */
function diagonal(c: NodeContext, dims: readonly Dim[]): Value {
  return c.g.one("sub", [positions(c, dims, dims.length - 1), positions(c, dims, dims.length - 2)]);
}

function trilu(c: NodeContext): Operand {
  const x = c.input(0);
  if (x.rank < 2) return c.fail(`rank ${x.rank}, expected at least 2`);
  const k = c.optional(1);
  const plane = x.dims.slice(-2);
  const offset = k === null ? c.g.scalar(i32, 0) : c.g.convert(c.g.reshape(k.value, []), i32);
  const keep = c.g.one(c.int("upper", 1) === 1 ? "ge" : "le", [diagonal(c, plane), c.g.broadcast(offset, plane, [])]);
  return c.of(c.g.one("select", [c.stretch(keep, x.dims), x.value, c.g.splat(x.dtype, x.dims, 0)]));
}

function eyeLike(c: NodeContext): Operand {
  const x = c.input(0);
  const dtype: DType = c.dtype("dtype", x.dtype);
  if (x.rank !== 2) return c.fail(`rank ${x.rank}, expected 2`);
  return c.of(c.g.convert(c.withScalar("eq", diagonal(c, x.dims), c.int("k", 0)), dtype));
}

/** Edge, reflect and wrap read x at folded positions, axis by axis. */
function padByIndex(c: NodeContext, x: Value, axis: number, low: Dim, high: Dim, mode: string): Value {
  const n = x.dims[axis] as Dim;
  const size = addDim(addDim(n, low), high);
  if (mode !== "edge" && typeof n === "number" && n === 0) return c.fail(`mode ${mode} on an empty dimension`);
  const value = (d: Dim): Value => c.g.broadcast(dimValue(c.g, d), [size], []);
  const at = c.g.one("sub", [positions(c, [size], 0), value(low)]);
  return c.g.one("gather", [x, folded(c, at, value, n, mode)], { axes: [axis], at: axis });
}
function folded(c: NodeContext, at: Value, value: (d: Dim) => Value, n: Dim, mode: string): Value {
  // A read outside of x is moved to its edge by gather itself.
  if (mode === "edge") return at;
  if (mode === "wrap") return c.g.one("mod", [at, value(n)]);
  if (mode !== "reflect") return c.fail(`mode '${mode}', expected constant, edge, reflect or wrap`);
  if (n === 1) return at;
  // A zigzag of period 2(n - 1), which also folds pads longer than x.
  const period = mulDim(subDim(n, 1), 2);
  const within = c.g.one("mod", [at, value(period)]);
  return c.g.one("min", [within, c.g.one("sub", [value(period), within])]);
}

function pad(c: NodeContext): Operand {
  const x = c.input(0);
  const mode = c.text("mode", "constant");
  const given = c.version < 11 ? (c.ints("pads") ?? c.fail("'pads' is missing")) : c.known(1, "'pads'");
  const axes = c.version >= 18 && c.optional(3) !== null ? c.normalAxes(c.knownNumbers(3, "'axes'"), x.rank) : x.dims.map((_, i) => i);
  if (given.length !== 2 * axes.length) return c.fail(`${given.length} pads for ${axes.length} dimensions`);
  const of = (i: number, side: number): Dim => (axes.includes(i) ? (given[axes.indexOf(i) + side * axes.length] as Dim) : 0);
  const [low, high] = [0, 1].map((side) => x.dims.map((_, i) => of(i, side))) as [Dim[], Dim[]];
  if ([...low, ...high].every((d) => d === 0)) return x;
  if (mode !== "constant")
    return c.of(
      axes.reduce(
        (v, axis) => (low[axis] === 0 && high[axis] === 0 ? v : padByIndex(c, v, axis, low[axis] as Dim, high[axis] as Dim, mode)),
        x.value,
      ),
    );
  const fill = c.version < 11 ? c.knownOf(x.dtype, [], [c.float("value", 0)]) : c.optional(2);
  return c.of(c.g.one("pad", [x.value, fill === null ? c.g.scalar(x.dtype, 0) : c.g.reshape(fill.value, [])], { low, high }));
}

function size(c: NodeContext): Operand {
  return c.knownOf(i64, [], [productOf(c.input(0).dims)]);
}

/** How many of `n` channels each of the groups has. */
export function dividedBy(c: NodeContext, n: Dim, groups: number): Dim {
  return divideExactly(n, groups) ?? c.fail(`${n} channels in ${groups} groups`);
}

export const shapeOps: OpTable = {
  Shape: { since: 7, map: shape },
  Size: { since: 7, map: size },
  Reshape: { since: 7, map: reshape },
  Flatten: { since: 7, map: flatten },
  Squeeze: { since: 7, map: squeeze },
  Unsqueeze: { since: 7, map: unsqueeze },
  Transpose: { since: 7, map: transpose },
  Concat: { since: 7, map: concat },
  Slice: { since: 7, map: slice },
  Split: { since: 7, map: split },
  Expand: { since: 8, map: expand },
  Tile: { since: 7, map: tile },
  DepthToSpace: { since: 7, map: depthToSpace },
  SpaceToDepth: { since: 7, map: spaceToDepth },
  Range: { since: 11, map: range },
  Constant: { since: 7, map: constant },
  ConstantOfShape: { since: 9, map: constantOfShape },
  Trilu: { since: 14, map: trilu },
  EyeLike: { since: 9, map: eyeLike },
  Pad: { since: 7, map: pad },
};

import { type Dim, addDim, dimEquals, dimMin, divideExactly, floorDivDim, isDataDependent, maxDim, mulDim, productOf } from "../../../base/dim.ts";
import { i64 } from "../../../base/dtype.ts";
import { stridesOf } from "../../../graph/host.ts";
import type { Value } from "../../../graph/ir.ts";
import { axisMask, lengthOf, listOf, withOnes, withoutMasked } from "../axes.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { maxKnown } from "../known.ts";
import type { Operand } from "../operand.ts";
import { isNonNegative } from "../symbols.ts";
import { readConstantAttribute } from "../tensor.ts";
import { knownTogether } from "./elementwise.ts";

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
  if (x.known !== null && dims.every((d) => typeof d === "number")) return c.knownOf(x.dtype, dims, x.known);
  const [got, wanted] = [productOf(x.dims), productOf(dims)];
  if (!dimEquals(got, wanted)) c.sameDim(got, wanted, `reshape of [${x.dims.join(", ")}] to [${dims.join(", ")}]`);
  return c.of(c.sizes.reshape(x.value, dims), x.partial);
}

/** The dims that Reshape asks for: 0 keeps a dimension (unless `allowzero`), -1 takes what is left. */
function reshape(c: NodeContext): Operand {
  const x = c.input(0);
  const keepZero = c.int("allowzero", 0) === 1;
  const wanted = c.input(1).known;
  // Whether a computed size is one of 0 and -1, only a run can tell.
  if (wanted === null || wanted.some((d) => dimMin(d) < 0 && d !== -1 && typeof d !== "number")) return reshapeByData(c, x, c.input(1), keepZero);
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
  if (dims.some((d) => isNonNegative(d) === false)) c.fail(`the new shape [${wanted.join(", ")}] has a negative dimension`);
  return reshaped(c, x, dims);
}

function reshapeByData(c: NodeContext, x: Operand, shape: Operand, keepZero: boolean): Operand {
  const s = c.sizes;
  const rank = lengthOf(c, shape, c.declaredRank(0), "the new shape");
  const given = s.refine(listOf(c, shape), [rank]);
  const own = s.vector(Array.from({ length: rank }, (_, i) => x.dims[i] ?? 0));
  const kept = keepZero ? given : s.select(s.eq(given, 0), own, given);
  const total = productOf(x.dims);
  const others = s.combine("mul", s.select(s.lt(kept, 0), 1, kept));
  const free = s.div(total, s.max(others, 1));
  // Elements that are known to be no signs are the sizes themselves.
  const sure = shape.partial?.map((d, i) => (d === 0 && !keepZero ? (x.dims[i] ?? null) : d !== null && dimMin(d) >= 0 ? d : null));
  return reshaped(c, x, sizesOf(c, s.select(s.eq(kept, -1), free, kept), rank, total, sure));
}

/**
 * The elements of a vector as the dims of output 0, of `total` elements altogether (null: of any number). Some may be
 * known; those that the model declares are what it declares, and the last one follows from the others.
 */
export function sizesOf(c: NodeContext, vector: Value, rank: number, total: Dim | null, known: readonly (Dim | null)[] = []): Dim[] {
  const dims = Array.from({ length: rank }, (_, i): Dim | null => known[i] ?? c.declaredDim(0, i));
  const open = dims.flatMap((d, i) => (d === null ? [i] : []));
  const [only] = open;
  const rest = productOf(dims.filter((d) => d !== null));
  const sole = open.length === 1 && total !== null && rest !== 0;
  if (sole && only !== undefined) dims[only] = divideExactly(total, rest);
  const bound = sole ? floorDivDim(total, rest) : null;
  return dims.map((d, i) => known[i] ?? c.sizes.size(c.sizes.entry(vector, i), "size", 0, bound, d));
}

function remaining(c: NodeContext, x: Operand, others: readonly Dim[]): Dim {
  const [all, rest] = [productOf(x.dims), productOf(others)];
  if (all === 0 || rest === 0) return 0;
  const left = divideExactly(all, rest);
  if (left !== null) return left;
  if (typeof all === "number" && typeof rest === "number") return c.fail(`[${x.dims.join(", ")}] has ${all} elements, which ${rest} does not divide`);
  return floorDivDim(all, dimMin(rest) > 0 ? rest : maxDim(rest, 1));
}

function flatten(c: NodeContext): Operand {
  const x = c.input(0);
  const given = c.int("axis", 1);
  const axis = given === x.rank ? given : c.axis(given, x.rank);
  return reshaped(c, x, [productOf(x.dims.slice(0, axis)), productOf(x.dims.slice(axis))]);
}

function squeeze(c: NodeContext): Operand {
  const x = c.input(0);
  const given = c.ints("axes") === null ? c.optional(1) : null;
  if (given !== null && given.numbers === null) {
    const left = x.rank - lengthOf(c, given, leftOf(x.rank, c.declaredRank(0)), "'axes'");
    if (left < 0) return c.fail(`${x.rank - left} axes of a tensor of rank ${x.rank}`);
    return reshaped(c, x, sizesOf(c, withoutMasked(c, x.dims, axisMask(c, given, x.rank), left), left, productOf(x.dims)));
  }
  const axes = c.axes(1, x.rank) ?? x.dims.flatMap((d, i) => (d === 1 ? [i] : []));
  for (const a of axes) c.sameDim(x.dims[a] as Dim, 1, `squeezed dimension ${a} of [${x.dims.join(", ")}]`);
  return reshaped(
    c,
    x,
    x.dims.filter((_, i) => !axes.includes(i)),
  );
}

const leftOf = (rank: number, declared: number | null): number | null => (declared === null ? null : rank - declared);

function unsqueeze(c: NodeContext): Operand {
  const x = c.input(0);
  const given = c.ints("axes") === null ? c.input(1) : null;
  if (given !== null && given.numbers === null) {
    const declared = c.declaredRank(0);
    const rank = x.rank + lengthOf(c, given, declared === null ? null : declared - x.rank, "'axes'");
    return reshaped(c, x, sizesOf(c, withOnes(c, x.dims, axisMask(c, given, rank), rank), rank, productOf(x.dims)));
  }
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
  }
  const common = parts.reduce<readonly Dim[]>(
    (dims, p) => dims.map((d, i) => (i === axis ? d : c.sameDim(d, p.dims[i] as Dim, `dimension ${i} of the joined [${p.dims.join(", ")}]`))),
    first.dims,
  );
  const total = parts.reduce<Dim>((n, p) => addDim(n, p.dims[axis] as Dim), 0);
  if (first.rank === 1 && typeof total === "number" && total <= maxKnown && parts.every((p) => p.known !== null))
    return c.knownOf(
      first.dtype,
      [total],
      parts.flatMap((p) => p.known ?? []),
    );
  const some =
    first.rank === 1 && typeof total === "number" && total <= maxKnown && parts.some((p) => p.partial !== null)
      ? parts.flatMap((p) => p.partial ?? Array.from({ length: Number(p.dims[0]) }, () => null))
      : null;
  // Dims that only became equal under a bound are written alike.
  const used = parts.filter((p) => p.dims[axis] !== 0);
  return c.of(
    used.length === 1
      ? c.sizes.refine((used[0] as Operand).value, common.with(axis, total))
      : c.g.one(
          "concat",
          (used.length === 0 ? parts : used).map((p) => c.sizes.refine(p.value, common.with(axis, p.dims[axis] as Dim))),
          { axis },
        ),
    some,
  );
}

/** A box of x: `start + i·stride` for i below `dims`, in every dimension. */
export function sliced(c: NodeContext, x: Operand, start: readonly Dim[], stride: readonly number[], dims: readonly Dim[]): Operand {
  if (x.known !== null && [...start, ...dims].every((d) => typeof d === "number"))
    return c.knownOf(x.dtype, dims, pick(x, boxPositions(x.dims.map(Number), start.map(Number), stride, dims.map(Number))) ?? []);
  if (start.every((s, i) => s === 0 && stride[i] === 1 && dimEquals(dims[i] as Dim, x.dims[i] as Dim))) return x;
  const from = dims.some((d) => d === 0) ? start.map(() => 0) : start;
  const whole = [...start, ...dims, ...x.dims].every((d) => typeof d === "number");
  const some =
    whole && x.partial !== null
      ? boxPositions(x.dims.map(Number), start.map(Number), stride, dims.map(Number)).map((p) => x.partial?.[p] ?? null)
      : null;
  if (some?.every((d) => d !== null)) return c.knownOf(x.dtype, dims, some);
  return c.of(c.g.one("slice", [x.value], { start: from, stride, dims }), some);
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

function expand(c: NodeContext): Operand {
  const x = c.input(0);
  const wanted = c.input(1).known;
  const dims = wanted === null ? expandedByData(c, x, c.input(1)) : c.broadcastDims([x.dims, wanted]);
  const elements = knownTogether(dims, [x]);
  if (elements !== null)
    return c.knownOf(
      x.dtype,
      dims,
      elements.map(([v]) => v as Dim),
    );
  return c.of(c.stretch(x.value, dims));
}

/** Where x is larger than 1, the shape has to be its size or 1; elsewhere it decides. */
function expandedByData(c: NodeContext, x: Operand, shape: Operand): Dim[] {
  const s = c.sizes;
  const count = lengthOf(c, shape, c.declaredRank(0), "the new shape");
  const given = s.refine(listOf(c, shape), [count]);
  const rank = Math.max(count, x.rank);
  return Array.from({ length: rank }, (_, i): Dim => {
    const own = x.dims[i - rank + x.rank] ?? 1;
    if (i < rank - count) return own;
    const sure = shape.partial?.[i - rank + count] ?? null;
    if (sure !== null) return c.broadcastDims([[own], [sure]])[0] ?? 1;
    const wanted = s.entry(given, i - rank + count);
    const declared = c.declaredDim(0, i);
    if (own === 1) return s.size(wanted, "size", 0, null, declared);
    const size = s.select(s.eq(wanted, 1), own, wanted);
    return isDataDependent(own) ? (c.broadcastDims([[own], [s.size(size, "size", 0, null, declared)]])[0] ?? 1) : s.size(size, "size", 0, null, own);
  });
}

/** Repeats as broadcast along new dimensions, which then join the old ones. */
function tile(c: NodeContext): Operand {
  const x = c.input(0);
  const known = c.input(1).known;
  const list = known === null ? listOf(c, c.input(1)) : null;
  const count = known?.length ?? list?.dims[0] ?? 0;
  if (typeof count === "number" && count !== x.rank) return c.fail(`${count} repeats for rank ${x.rank}`);
  c.sizes.require(count, x.rank);
  const repeats = x.dims.map((d, i): Dim => {
    if (list === null) return known?.[i] as Dim;
    const sure = c.input(1).partial?.[i] ?? null;
    if (sure !== null) return sure;
    const declared = c.declaredDim(0, i);
    const times = declared === null || typeof d !== "number" || d === 0 ? null : divideExactly(declared, d);
    return c.sizes.size(c.sizes.entry(list, i), "repeats", 0, null, times);
  });
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

function constant(c: NodeContext): Operand {
  const [a] = c.node.attributes.values();
  if (a === undefined) return c.fail("it has no value");
  const t = readConstantAttribute(a, c.externalData);
  return t === null ? c.unsupported(`a constant given by '${a.name}' (strings and sparse tensors are not supported)`) : c.constantOf(t);
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
  Expand: { since: 8, map: expand },
  Tile: { since: 7, map: tile },
  DepthToSpace: { since: 7, map: depthToSpace },
  SpaceToDepth: { since: 7, map: spaceToDepth },
  Constant: { since: 7, map: constant },
};

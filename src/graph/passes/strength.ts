import { type Dim, dimEquals, dimMin } from "../../base/dim.ts";
import { opNames } from "../../scalar/ops/table.ts";
import { identityOf } from "../../scalar/scalars.ts";
import type { Monoid } from "../../tensor/builder.ts";
import type { Op, Value } from "../ir.ts";
import { type GraphRule, type Matcher, dimList, ints, pairList } from "./rules.ts";

/** Indices as a progression `first, first + step, …` inside a dimension, or null. Indices outside of it move to its edge, as gather has it. */
function progression(m: Matcher, index: Value, extent: Dim): { first: number; step: number; count: number } | null {
  const values = [...(m.host(index)?.data ?? [])].map(Number);
  const top = typeof extent === "number" ? extent - 1 : dimMin(extent) - 1;
  if (values.length === 0 || top < 0) return null;
  if (typeof extent !== "number" && values.some((v) => v < 0 || v > top)) return null;
  const inside = values.map((v) => Math.max(0, Math.min(top, v)));
  const [first, second] = [inside[0] as number, inside[1]];
  const step = second === undefined ? 1 : second - first;
  return step !== 0 && inside.every((v, i) => v === first + i * step) ? { first, step, count: values.length } : null;
}

const gatherProgression: GraphRule = {
  name: "gather-to-slice",
  doc: "A gather by known indices in even steps is a slice.",
  roots: ["gather"],
  exactness: "exact",
  examples: [
    "input %x: f32[n, 5] %i: i64[] = constant() {dtype = i64, dims = [], data = values(3)} %y: f32[n] = gather(%x, %i) {axes = [1], at = 1} output %y",
    "input %x: f32[6, 2] %i: i64[3] = constant() {dtype = i64, dims = [3], data = values(4, 2, 0)} %y: f32[3, 2] = gather(%x, %i) {axes = [0], at = 0} output %y",
    "input %x: f32[6, 2] %i: i32[2] = iota() {dtype = i32, dims = [2], axis = 0} %y: f32[2, 2] = gather(%x, %i) {axes = [0], at = 1} output %y",
    "input %x: f32[6, 4] %i: i32[] = constant() {dtype = i32, dims = [], data = values(4)} %j: i32[] = constant() {dtype = i32, dims = [], data = values(9)} %y: f32[] = gather(%x, %i, %j) {axes = [0, 1], at = 0} output %y",
  ],
  rewrite(op, m) {
    const [x, ...index] = op.operands as [Value, ...Value[]];
    const [axes, at] = [ints(op.attrs, "axes"), op.attrs.at as number];
    const found = axes.map((a, k) => progression(m, index[k] as Value, x.dims[a] as Dim));
    if (found.some((p) => p === null || (axes.length > 1 && p.count !== 1))) return null;
    const at1 = (d: number) => found[axes.indexOf(d)] ?? null;
    const cut = m.g.one("slice", [x], {
      start: x.dims.map((_, d) => at1(d)?.first ?? 0),
      stride: x.dims.map((_, d) => at1(d)?.step ?? 1),
      dims: x.dims.map((n, d) => at1(d)?.count ?? n),
    });
    const [axis] = axes as [number];
    const rest = x.dims.map((_, d) => d).filter((d) => d !== axis);
    const moved = axes.length > 1 || found[0]?.count === 1 ? cut : m.g.transpose(cut, rest.toSpliced(at, 0, axis));
    return [m.g.reshape(moved, (op.results[0] as Value).dims)];
  },
};

const wholeWindow: GraphRule = {
  name: "whole-window",
  doc: "A window that covers whole dimensions once is a reduction over them (global pooling).",
  roots: ["reduce_window"],
  exactness: "exact",
  examples: [
    "input %x: f32[n, 3, 4, 5] %y: f32[n, 3, 1, 1] = reduce_window(%x) {monoid = max, window = [1, 1, 4, 5], strides = [1, 1, 1, 1], dilation = [1, 1, 1, 1], pads = [(0, 0), (0, 0), (0, 0), (0, 0)]} output %y",
  ],
  rewrite(op, m) {
    const [x, y] = [op.operands[0] as Value, op.results[0] as Value];
    const [window, strides, dilation] = [ints(op.attrs, "window"), ints(op.attrs, "strides"), ints(op.attrs, "dilation")];
    const pads = pairList(op.attrs, "pads");
    const axes = window.map((_, d) => d).filter((d) => window[d] !== 1);
    const plain = window.every(
      (w, d) => pads[d]?.[0] === 0 && pads[d]?.[1] === 0 && (w === 1 ? strides[d] === 1 : dilation[d] === 1 && x.dims[d] === w),
    );
    if (!plain || axes.length === 0) return null;
    return [m.g.reshape(m.g.one("reduce", [x], { monoid: op.attrs.monoid as string, axes }), y.dims)];
  },
};

/** Pads of every dimension as integers, none negative; null otherwise. */
function fixedPads(pad: Op): readonly (readonly [number, number])[] | null {
  const [low, high] = [dimList(pad.attrs, "low"), dimList(pad.attrs, "high")];
  if (![...low, ...high].every((p) => typeof p === "number" && p >= 0)) return null;
  return low.map((l, i) => [Number(l), Number(high[i])] as const);
}

const padIntoWindow: GraphRule = {
  name: "pad-into-window",
  doc: "A window pads by itself: with 0 for a convolution, with the monoid's identity for a pooling.",
  roots: ["convolution", "reduce_window"],
  exactness: "exact",
  examples: [
    `input %x: f32[1, 2, 5, n] input %w: f32[3, 2, 3, 3]
     %z: f32[] = constant() {dtype = f32, dims = [], data = values(0.0)} %p: f32[1, 2, 7, n + 1] = pad(%x, %z) {low = [0, 0, 1, 0], high = [0, 0, 1, 1]}
     %y: f32[1, 3, 5, n] = convolution(%p, %w) {strides = [1, 1], pads = [(0, 0), (0, 1)], dilation = [1, 1], inputDilation = [1, 1], groups = 1, xDims = [0, 1, 2, 3], wDims = [0, 1, 2, 3], resultDims = [0, 1, 2, 3]}
     output %y`,
    `input %x: f32[2, 5]
     %z: f32[] = constant() {dtype = f32, dims = [], data = values(-inf)} %p: f32[2, 7] = pad(%x, %z) {low = [0, 1], high = [0, 1]}
     %y: f32[2, 3] = reduce_window(%p) {monoid = max, window = [1, 3], strides = [1, 2], dilation = [1, 1], pads = [(0, 0), (0, 0)]} output %y`,
  ],
  rewrite(op, m) {
    const pad = m.is(op.operands[0], "pad");
    const more = pad === undefined ? null : fixedPads(pad);
    if (pad === undefined || more === null) return null;
    const [x, v] = pad.operands as [Value, Value];
    const own = pairList(op.attrs, "pads");
    const sum = (dims: readonly number[]) =>
      own.map(([l, h], i) => [l + (more[dims[i] as number]?.[0] ?? 0), h + (more[dims[i] as number]?.[1] ?? 0)] as const);
    if (own.some(([l, h]) => l < 0 || h < 0)) return null;
    m.absorb(pad);
    if (op.def.name === "reduce_window") {
      const identity = Number(identityOf(op.attrs.monoid as Monoid, x.dtype));
      return m.isSplat(v, identity) ? [m.g.one("reduce_window", [x], { ...op.attrs, pads: sum(own.map((_, i) => i)) })] : null;
    }
    const xDims = ints(op.attrs, "xDims");
    const [n, c, ...spatial] = xDims as [number, number, ...number[]];
    if ([n, c].some((d) => more[d]?.[0] !== 0 || more[d]?.[1] !== 0) || ints(op.attrs, "inputDilation").some((d) => d !== 1) || !m.isSplat(v, 0))
      return null;
    return [m.g.one("convolution", [x, op.operands[1] as Value], { ...op.attrs, pads: sum(spatial) })];
  },
};

const wholeConvolution: GraphRule = {
  name: "convolution-to-dot",
  doc: "A convolution whose window covers all of the input once is a product of matrices (fully connected layers written as convolutions, squeeze-and-excitation).",
  roots: ["convolution"],
  exactness: "exact",
  examples: [
    `input %x: f32[n, 4, 2, 3] input %w: f32[5, 4, 2, 3]
     %y: f32[n, 5, 1, 1] = convolution(%x, %w) {strides = [1, 1], pads = [(0, 0), (0, 0)], dilation = [1, 1], inputDilation = [1, 1], groups = 1, xDims = [0, 1, 2, 3], wDims = [0, 1, 2, 3], resultDims = [0, 1, 2, 3]}
     output %y`,
  ],
  rewrite(op, m) {
    const [x, w] = op.operands as [Value, Value];
    const [xDims, wDims, resultDims] = [ints(op.attrs, "xDims"), ints(op.attrs, "wDims"), ints(op.attrs, "resultDims")];
    const covers = xDims.slice(2).every((d, s) => dimEquals(x.dims[d] as Dim, w.dims[wDims[s + 2] as number] as Dim));
    const plain =
      pairList(op.attrs, "pads").every(([l, h]) => l === 0 && h === 0) &&
      ["dilation", "inputDilation"].every((k) => ints(op.attrs, k).every((d) => d === 1));
    if (!covers || !plain || op.attrs.groups !== 1) return null;
    const [ofX, ofW] = [xDims.slice(1), wDims.slice(1)];
    const swapped = (resultDims[0] as number) > (resultDims[1] as number);
    const attrs = { batchA: [], batchB: [], contractA: swapped ? ofW : ofX, contractB: swapped ? ofX : ofW };
    return [m.g.reshape(m.g.one("dot", swapped ? [w, x] : [x, w], attrs), (op.results[0] as Value).dims)];
  },
};

const dotOfBroadcast: GraphRule = {
  name: "dot-of-broadcast",
  doc: "Matrices that are one matrix repeated over the batch are multiplied with that matrix: no batch is left.",
  roots: ["dot"],
  exactness: "exact",
  examples: [
    `input %x: f32[n, 2, 3] input %w: f32[3, 4] %b: f32[n, 3, 4] = broadcast(%w) {dims = [n, 3, 4], map = [1, 2]}
     %y: f32[n, 2, 4] = dot(%x, %b) {batchA = [0], batchB = [0], contractA = [2], contractB = [1]} output %y`,
  ],
  rewrite(op, m) {
    const [x, y] = op.operands as [Value, Value];
    const spread = m.is(y, "broadcast");
    const w = spread?.operands[0];
    const [batchA, batchB] = [ints(op.attrs, "batchA"), ints(op.attrs, "batchB")];
    if (spread === undefined || w === undefined || batchA.length === 0 || batchA.some((d, i) => d !== i)) return null;
    const map = ints(spread.attrs, "map");
    const rest = y.dims.map((_, d) => d).filter((d) => !batchB.includes(d));
    // The matrix itself must be there whole: all of the other dimensions, none stretched.
    if (map.length !== rest.length || map.some((d, i) => d !== rest[i] || !dimEquals(w.dims[i] as Dim, y.dims[d] as Dim))) return null;
    const contractB = ints(op.attrs, "contractB").map((d) => map.indexOf(d));
    return [m.g.one("dot", [x, w], { batchA: [], batchB: [], contractA: ints(op.attrs, "contractA"), contractB })];
  },
};

const divideOnce: GraphRule = {
  name: "divide-before-broadcast",
  doc: "Dividing by a repeated value is multiplying by its repeated reciprocal: fewer divisions.",
  roots: ["div"],
  exactness: { ulp: 2 },
  examples: ["input %x: f32[3, n] input %s: f32[3] %b: f32[3, n] = broadcast(%s) {dims = [3, n], map = [0]} %y: f32[3, n] = div(%x, %b) output %y"],
  rewrite(op, m) {
    const [x, y] = op.operands as [Value, Value];
    const spread = m.is(y, "broadcast");
    const s = spread?.operands[0];
    // A division by a constant number keeps its exact rounding.
    if (spread === undefined || s === undefined || !x.dtype.isFloat || m.splat(s) !== null || m.splat(x) !== null) return null;
    const reciprocal = m.g.one("div", [m.g.splat(s.dtype, s.dims, 1), s]);
    return [m.g.one("mul", [x, m.g.broadcast(reciprocal, y.dims, ints(spread.attrs, "map"))])];
  },
};

const broadcastLater: GraphRule = {
  name: "compute-before-broadcast",
  doc: "An elementwise op whose operands are all repeated alike is computed once and then repeated.",
  roots: "any",
  exactness: "exact",
  examples: [
    `input %a: f32[n] input %b: f32[n] %x: f32[n, 4] = broadcast(%a) {dims = [n, 4], map = [0]} %y: f32[n, 4] = broadcast(%b) {dims = [n, 4], map = [0]}
     %z: f32[n, 4] = add(%x, %y) output %z`,
    `input %a: f32[n] %x: f32[n, 4] = broadcast(%a) {dims = [n, 4], map = [0]} %y: f32[n, 4] = exp(%x) output %y`,
  ],
  rewrite(op, m) {
    if (!isElementwise(op)) return null;
    const spreads = op.operands.map((o) => (m.splat(o) === null ? m.is(o, "broadcast") : null));
    const lead = spreads.find((s) => s !== null && s !== undefined);
    const like = lead?.operands[0];
    if (lead === undefined || lead === null || like === undefined) return null;
    const map = ints(lead.attrs, "map");
    const same = (s: Op): boolean => {
      const [other, by] = [s.operands[0] as Value, ints(s.attrs, "map")];
      return by.length === map.length && by.every((d, i) => d === map[i] && dimEquals(other.dims[i] as Dim, like.dims[i] as Dim));
    };
    if (spreads.some((s) => s === undefined || (s !== null && !same(s)))) return null;
    const operands = op.operands.map((o, i) => spreads[i]?.operands[0] ?? m.g.splat(o.dtype, like.dims, m.splat(o) ?? 0));
    return [m.g.broadcast(m.g.one(op.def.name, operands, op.attrs), (op.results[0] as Value).dims, map)];
  },
};

/** Does the op work on each element by itself? */
function isElementwise(op: Op): boolean {
  return op.def.name === "convert" || elementwiseNames.has(op.def.name);
}
const elementwiseNames: ReadonlySet<string> = new Set(opNames.filter((n) => n !== "cast" && n !== "bitcast"));

/** Strength reduction: the same result by cheaper ops. */
export const strengthRules: readonly GraphRule[] = [
  gatherProgression,
  wholeWindow,
  padIntoWindow,
  wholeConvolution,
  dotOfBroadcast,
  divideOnce,
  broadcastLater,
];

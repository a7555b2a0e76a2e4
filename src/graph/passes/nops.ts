import { type Dim, dimEquals, dimsEqual } from "../../base/dim.ts";
import type { Op, Value } from "../ir.ts";
import { type GraphRule, dimList, ints, pairList } from "./rules.ts";

/** Does the op give its first operand back? Types are equal only if the result's dims and dtype are. */
const identities: Readonly<Record<string, (op: Op, x: Value, y: Value) => boolean>> = {
  reshape: (_, x, y) => dimsEqual(x.dims, y.dims),
  transpose: (op) => ints(op.attrs, "perm").every((p, i) => p === i),
  broadcast: (_, x, y) => dimsEqual(x.dims, y.dims),
  convert: (_, x, y) => x.dtype === y.dtype,
  slice: (op, x, y) =>
    dimsEqual(x.dims, y.dims) &&
    dimList(op.attrs, "start").every((s) => s === 0) &&
    ints(op.attrs, "stride").every((s, i) => s === 1 || x.dims[i] === 1),
  pad: (op) => [...dimList(op.attrs, "low"), ...dimList(op.attrs, "high")].every((p) => p === 0),
  concat: (op) => op.operands.length === 1,
  reverse: (op, x) => ints(op.attrs, "axes").every((a) => x.dims[a] === 1),
  reduce: (op) => ints(op.attrs, "axes").length === 0,
  reduce_window: (op) =>
    ints(op.attrs, "window").every((w) => w === 1) &&
    ints(op.attrs, "strides").every((s) => s === 1) &&
    pairList(op.attrs, "pads").every(([l, h]) => l === 0 && h === 0),
};

const identity: GraphRule = {
  name: "nop",
  doc: "An op that changes nothing gives way to its operand: a reshape to the same dims, a transpose in order, a slice of all, a pad by nothing, …",
  roots: Object.keys(identities),
  exactness: "exact",
  examples: [
    "input %x: f32[2, n] %y: f32[2, n] = reshape(%x) {dims = [2, n]} %z: f32[2, n] = exp(%y) output %z",
    "input %x: f32[2, 3] %y: f32[2, 3] = transpose(%x) {perm = [0, 1]} %z: f32[2, 3] = exp(%y) output %z",
    "input %x: f32[2, 3] %y: f32[2, 3] = broadcast(%x) {dims = [2, 3], map = [0, 1]} %z: f32[2, 3] = exp(%y) output %z",
    "input %x: i64[2, 3] %y: i64[2, 3] = convert(%x) {dtype = i64} %z: i64[2, 3] = neg(%y) output %z",
    "input %x: f32[2, n] %y: f32[2, n] = slice(%x) {start = [0, 0], stride = [1, 1], dims = [2, n]} %z: f32[2, n] = exp(%y) output %z",
    "input %x: f32[2] input %v: f32[] %y: f32[2] = pad(%x, %v) {low = [0], high = [0]} %z: f32[2] = exp(%y) output %z",
    "input %x: f32[2] %y: f32[2] = concat(%x) {axis = 0} %z: f32[2] = exp(%y) output %z",
    "input %x: f32[2, 1] %y: f32[2, 1] = reverse(%x) {axes = [1]} %z: f32[2, 1] = exp(%y) output %z",
    "input %x: f32[2] %y: f32[2] = reduce(%x) {monoid = max, axes = []} %z: f32[2] = exp(%y) output %z",
    "input %x: f32[2] %y: f32[2] = reduce_window(%x) {monoid = max, window = [1], strides = [1], dilation = [3], pads = [(0, 0)]} %z: f32[2] = exp(%y) output %z",
  ],
  rewrite(op) {
    const [x, y] = [op.operands[0], op.results[0]];
    return x !== undefined && y !== undefined && identities[op.def.name]?.(op, x, y) === true ? [x] : null;
  },
};

const reduceUnits: GraphRule = {
  name: "reduce-of-units",
  doc: "Axes of size 1 need no reduction: dropping them is a reshape.",
  roots: ["reduce"],
  exactness: "exact",
  examples: [
    "input %x: f32[n, 1, 3] %y: f32[3] = reduce(%x) {monoid = max, axes = [0, 1]} output %y",
    "input %x: f32[n, 1] %y: f32[n] = reduce(%x) {monoid = add, axes = [1]} output %y",
  ],
  rewrite(op, m) {
    const x = op.operands[0] as Value;
    const axes = ints(op.attrs, "axes");
    const units = axes.filter((a) => x.dims[a] === 1);
    if (units.length === 0) return null;
    const kept = x.dims.map((_, i) => i).filter((i) => !units.includes(i));
    const y = m.g.reshape(
      x,
      kept.map((i) => x.dims[i] as Dim),
    );
    const rest = axes.filter((a) => !units.includes(a)).map((a) => kept.indexOf(a));
    return [rest.length === 0 ? y : m.g.one("reduce", [y], { ...op.attrs, axes: rest })];
  },
};

const transposeUnits: GraphRule = {
  name: "transpose-of-units",
  doc: "A transpose that moves only dimensions of size 1 past others is a reshape.",
  roots: ["transpose"],
  exactness: "exact",
  examples: ["input %x: f32[2, 1, n] %y: f32[1, 2, n] = transpose(%x) {perm = [1, 0, 2]} output %y"],
  rewrite(op, m) {
    const x = op.operands[0] as Value;
    const real = ints(op.attrs, "perm").filter((p) => x.dims[p] !== 1);
    return real.every((p, i) => i === 0 || p > (real[i - 1] as number)) ? [m.g.reshape(x, (op.results[0] as Value).dims)] : null;
  },
};

const broadcastUnits: GraphRule = {
  name: "broadcast-of-units",
  doc: "A broadcast that only puts in dimensions of size 1 is a reshape.",
  roots: ["broadcast"],
  exactness: "exact",
  examples: ["input %x: f32[2, n] %y: f32[1, 2, n, 1] = broadcast(%x) {dims = [1, 2, n, 1], map = [1, 2]} output %y"],
  rewrite(op, m) {
    const [x, y] = [op.operands[0] as Value, op.results[0] as Value];
    const map = ints(op.attrs, "map");
    // Of a constant scalar it stays a broadcast: that is how one number in many places is written.
    if (x.dims.length === 0 || !y.dims.every((d, i) => (map.includes(i) ? dimEquals(d, x.dims[map.indexOf(i)] as Dim) : d === 1))) return null;
    return [m.g.reshape(x, y.dims)];
  },
};

/** Nop elimination: ops that change nothing, or nothing but the dims. */
export const nopRules: readonly GraphRule[] = [identity, reduceUnits, transposeUnits, broadcastUnits];

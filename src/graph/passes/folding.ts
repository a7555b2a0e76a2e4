import type { ConstantData } from "../../base/constant.ts";
import { productOf } from "../../base/dim.ts";
import { findScalarOp } from "../../scalar/ops/table.ts";
import type { HostTensor } from "../host.ts";
import type { Value } from "../ir.ts";
import { type GraphRule, type Matcher, dimList, evaluate, foldLimit } from "./rules.ts";

/** A known tensor: one number in many places is a broadcast scalar, all else a constant. */
function known(m: Matcher, t: HostTensor): Value {
  const [first] = t.data;
  if (first !== undefined && t.data.length > 1 && (t.data as Float64Array).every((v) => Object.is(v, first)))
    return m.g.splat(t.dtype, t.dims, first);
  return m.g.host(t);
}

const fits = (v: Value): boolean => v.dims.every((d) => typeof d === "number") && v.dtype.bytes(productOf(v.dims) as number) <= foldLimit;

const fold: GraphRule = {
  name: "constant-folding",
  doc: "An op on known operands is computed with its own `evaluate`, where operands and result take at most 4 kB each.",
  roots: "any",
  exactness: "exact",
  examples: [
    "%c: i64[3] = constant() {dtype = i64, dims = [3], data = values(1, 2, 3)} %i: i64[3] = iota() {dtype = i64, dims = [3], axis = 0} %y: i64[3] = add(%c, %i) output %y",
    "%c: f32[2, 2] = constant() {dtype = f32, dims = [2, 2], data = values(1.0, 2.0, 3.0, 4.0)} %y: f32[2] = reduce(%c) {monoid = add, axes = [1]} output %y",
    "%n: i32[] = iota_size() {dims = [3, 4]} output %n",
  ],
  rewrite(op, m) {
    const { name, evaluate: semantics } = op.def;
    // Broadcasts and iotas are how repeated and counting elements are written: cheaper than their elements.
    if (semantics === undefined || op.regions.length > 0 || name === "constant" || name === "broadcast" || name === "iota" || !op.results.every(fits))
      return null;
    if (name === "iota_size" ? dimList(op.attrs, "dims").some((d) => typeof d !== "number") : op.operands.length === 0) return null;
    const operands: HostTensor[] = [];
    for (const o of op.operands) {
      const t = m.isConstant(o) ? m.host(o) : null;
      if (t === null) return null;
      operands.push(t);
    }
    return evaluate(op, operands).map((t) => known(m, t));
  },
};

const foldSplats: GraphRule = {
  name: "fold-splats",
  doc: "An elementwise op on operands that are one number throughout is that op on the numbers, whatever the dims.",
  roots: "any",
  exactness: "exact",
  examples: [
    `%a: f32[] = constant() {dtype = f32, dims = [], data = values(2.5)} %b: f32[n, 3] = broadcast(%a) {dims = [n, 3], map = []}
     %c: f32[n, 3] = exp(%b) input %x: f32[n, 3] %y: f32[n, 3] = mul(%x, %c) output %y`,
  ],
  rewrite(op, m) {
    if (op.operands.length === 0 || (findScalarOp(op.def.name) === null && op.def.name !== "convert")) return null;
    const [y] = op.results;
    if (y === undefined || y.dims.length === 0) return null;
    const scalars: Value[] = [];
    for (const o of op.operands) {
      const v = m.splat(o);
      if (v === null) return null;
      scalars.push(m.g.scalar(o.dtype, v));
    }
    return [m.g.broadcast(m.g.one(op.def.name, scalars, op.attrs), y.dims, [])];
  },
};

const uniform: GraphRule = {
  name: "uniform-constant",
  doc: "A constant whose elements are all the same is a broadcast scalar.",
  roots: ["constant"],
  exactness: "exact",
  examples: ["%c: f32[3] = constant() {dtype = f32, dims = [3], data = values(2.0, 2.0, 2.0)} input %x: f32[3] %y: f32[3] = add(%x, %c) output %y"],
  rewrite(op, m) {
    const c = op.results[0] as Value;
    const v = c.dims.length === 0 ? null : m.splat(c);
    return v === null ? null : [m.g.splat(c.dtype, c.dims, v)];
  },
};

const splatShape: GraphRule = {
  name: "shape-of-splat",
  doc: "Moving elements of a broadcast scalar around gives a broadcast scalar.",
  roots: ["reshape", "transpose", "slice", "reverse", "broadcast"],
  exactness: "exact",
  examples: [
    "input %u: f32[n] input %s: f32[] %x: f32[n, 4] = broadcast(%s) {dims = [n, 4], map = []} %y: f32[2 * n, 2] = reshape(%x) {dims = [2 * n, 2]} output %y",
    "input %s: f32[] %x: f32[2, 4] = broadcast(%s) {dims = [2, 4], map = []} %y: f32[4, 2] = transpose(%x) {perm = [1, 0]} output %y",
    "input %s: f32[] %x: f32[2, 4] = broadcast(%s) {dims = [2, 4], map = []} %y: f32[2, 2] = slice(%x) {start = [0, 1], stride = [1, 1], dims = [2, 2]} output %y",
  ],
  rewrite(op, m) {
    const x = op.operands[0] as Value;
    const from = m.is(x, "broadcast");
    if (from?.operands[0]?.dims.length !== 0) return null;
    return [m.g.broadcast(from.operands[0], (op.results[0] as Value).dims, [])];
  },
};

const reshapeConstant: GraphRule = {
  name: "reshape-constant",
  doc: "A reshaped constant is the same bytes under other dims, however large.",
  roots: ["reshape"],
  exactness: "exact",
  examples: [
    "%c: f32[4] = constant() {dtype = f32, dims = [4], data = values(1.0, 2.0, 3.0, 4.0)} %d: f32[2, 2] = reshape(%c) {dims = [2, 2]} input %x: f32[2, 2] %y: f32[2, 2] = add(%x, %d) output %y",
  ],
  rewrite(op, m) {
    const from = m.is(op.operands[0], "constant");
    const y = op.results[0] as Value;
    return from === undefined || y.dims.some((d) => typeof d !== "number")
      ? null
      : [m.g.constant(y.dtype, y.dims, from.attrs.data as ConstantData, from.results[0]?.name)];
  },
};

/** Constant folding. */
export const foldingRules: readonly GraphRule[] = [reshapeConstant, fold, foldSplats, uniform, splatShape];

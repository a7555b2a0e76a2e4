import { inlineConstant } from "../../base/constant.ts";
import type { Dim } from "../../base/dim.ts";
import type { Num } from "../../base/numeric.ts";
import { identityOf } from "../../scalar/scalars.ts";
import type { Monoid } from "../../tensor/builder.ts";
import type { Value } from "../ir.ts";
import { type GraphRule, type Matcher, dimList, ints, isEmpty } from "./rules.ts";

function filled(m: Matcher, like: Value, v: Num): Value {
  return m.g.splat(like.dtype, like.dims, v);
}

const emptyResult: GraphRule = {
  name: "empty-result",
  doc: "An op whose results have no elements is not computed: they are empty constants.",
  roots: "any",
  exactness: "exact",
  examples: ["input %x: f32[2, 0] %y: f32[2, 0] = exp(%x) output %y", "input %x: f32[n, 0] %y: f32[n, 0] = exp(%x) output %y"],
  rewrite(op, m) {
    if (op.def.name === "constant" || !op.results.every((r) => isEmpty(r.dims))) return null;
    const fixed = op.results.every((r) => r.dims.every((d) => typeof d === "number"));
    // Constants have no symbolic dims; a broadcast scalar is the normal form there, and must not be rewritten into itself.
    if (!fixed && op.def.name === "broadcast") return null;
    return op.results.map((r) => (fixed ? m.g.constant(r.dtype, r.dims, inlineConstant(new Uint8Array(0))) : filled(m, r, 0)));
  },
};

const emptyOperands: GraphRule = {
  name: "concat-of-empty",
  doc: "Concatenation leaves out operands without elements.",
  roots: ["concat"],
  exactness: "exact",
  examples: ["input %x: f32[2, n] input %e: f32[2, 0] %y: f32[2, n] = concat(%e, %x) {axis = 1} output %y"],
  rewrite(op, m) {
    const axis = op.attrs.axis as number;
    const rest = op.operands.filter((o) => o.dims[axis] !== 0);
    return rest.length === op.operands.length || rest.length === 0 ? null : [m.g.one("concat", rest, op.attrs)];
  },
};

/** Axes that a sum runs over, as dims of the operands. */
function summed(name: string, operands: readonly Value[], attrs: Readonly<Record<string, unknown>>): readonly Dim[] {
  const [x, w] = operands as [Value, Value];
  switch (name) {
    case "reduce":
      return ints(attrs as never, "axes").map((a) => x.dims[a] as Dim);
    case "dot":
      return ints(attrs as never, "contractA").map((a) => x.dims[a] as Dim);
    default:
      return ints(attrs as never, "wDims")
        .slice(1)
        .map((d) => w.dims[d] as Dim);
  }
}

const emptySum: GraphRule = {
  name: "empty-sum",
  doc: "A reduction over no elements gives the monoid's identity; a sum of no products gives 0.",
  roots: ["reduce", "dot", "convolution"],
  exactness: "exact",
  examples: [
    "input %x: f32[2, 0] %y: f32[2] = reduce(%x) {monoid = max, axes = [1]} output %y",
    "input %x: f32[n, 0] input %w: f32[0, 3] %y: f32[n, 3] = dot(%x, %w) {batchA = [], batchB = [], contractA = [1], contractB = [0]} output %y",
  ],
  rewrite(op, m) {
    if (!isEmpty(summed(op.def.name, op.operands, op.attrs))) return null;
    const y = op.results[0] as Value;
    return [filled(m, y, op.def.name === "reduce" ? identityOf(op.attrs.monoid as Monoid, y.dtype) : 0)];
  },
};

const padOfEmpty: GraphRule = {
  name: "pad-of-empty",
  doc: "Padding around no elements is nothing but the padding.",
  roots: ["pad"],
  exactness: "exact",
  examples: ["input %x: f32[2, 0] input %v: f32[] %y: f32[2, 3] = pad(%x, %v) {low = [0, 1], high = [0, 2]} output %y"],
  rewrite(op, m) {
    const [x, v] = op.operands as [Value, Value];
    return isEmpty(x.dims) ? [m.g.broadcast(v, (op.results[0] as Value).dims, [])] : null;
  },
};

const scatterOfEmpty: GraphRule = {
  name: "scatter-of-empty",
  doc: "A scatter without updates is its operand.",
  roots: ["scatter"],
  exactness: "exact",
  examples: [
    "input %x: f32[4] input %u: f32[0] input %i: i64[0] %y: f32[4] = scatter(%x, %u, %i) {axes = [0], at = 0, combiner = add} %z: f32[4] = exp(%y) output %z",
  ],
  rewrite: (op) => (isEmpty((op.operands[1] as Value).dims) ? [op.operands[0] as Value] : null),
};

const scanOfNothing: GraphRule = {
  name: "scan-of-nothing",
  doc: "A scan of no steps gives its initial states, and stacks without elements.",
  roots: ["scan"],
  exactness: "exact",
  examples: [
    `input %s: f32[3] input %x: f32[0, 3]
     %t: f32[3], %y: f32[0, 3] = scan(%s, %x) {states = 1, length = [0]}
     region (%a: f32[3], %b: f32[3]) { %c: f32[3] = add(%a, %b) yield %c, %a }
     %u: f32[3] = exp(%t)
     output %u, %y`,
  ],
  rewrite(op, m) {
    if (dimList(op.attrs, "length")[0] !== 0) return null;
    const states = op.attrs.states as number;
    return op.results.map((r, i) => (i < states ? (op.operands[i] as Value) : filled(m, r, 0)));
  },
};

/** Zero-size-tensor elimination. */
export const emptyRules: readonly GraphRule[] = [emptyResult, emptyOperands, emptySum, padOfEmpty, scatterOfEmpty, scanOfNothing];

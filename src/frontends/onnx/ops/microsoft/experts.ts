import { type Dim, ceilDivDim, divideExactly, mulDim, productOf } from "../../../../base/dim.ts";
import { i32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { activation } from "../activation.ts";
import { wideFloat } from "../elementwise.ts";
import { Formula } from "../formula.ts";
import { unpacked } from "./bits.ts";
import { part } from "./heads.ts";
import { reduced, spread } from "../reduction.ts";

/** What is done with a gate and what it lets through: limits that are infinite have no effect. */
interface Gating {
  readonly alpha: number;
  readonly beta: number;
  readonly limit: number;
}

/** G · sigmoid(alpha · G) · (L + beta), both held within the limit, the gate from above only. */
function gated(f: Formula, gate: Value, up: Value, { alpha, beta, limit }: Gating): Value {
  const [g, l] = Number.isFinite(limit) ? [f.min(gate, limit), f.clamp(up, -limit, limit)] : [gate, up];
  const open = f.mul(g, f.op("sigmoid", alpha === 1 ? g : f.mul(g, alpha)));
  return f.mul(open, beta === 0 ? l : f.add(l, beta));
}

/** Both halves of the last dimension. */
function halves(c: NodeContext, x: Value): readonly [Value, Value] {
  const last = x.dims.length - 1;
  const half = last < 0 ? null : divideExactly(x.dims[last] as Dim, 2);
  if (half === null) return c.fail(`[${x.dims.join(", ")}], expected an even number of features`);
  return [part(c, x, last, 0, half), part(c, x, last, half, half)];
}

/** Elements of the last dimension by turns. */
function alternating(c: NodeContext, x: Value): readonly [Value, Value] {
  const half = divideExactly(x.dims[x.dims.length - 1] as Dim, 2);
  if (half === null) return c.fail(`[${x.dims.join(", ")}], expected an even number of features`);
  const pairs = c.g.reshape(x, [...x.dims.slice(0, -1), half, 2]);
  const of = (i: number): Value => c.g.reshape(part(c, pairs, pairs.dims.length - 1, i, 1), [...x.dims.slice(0, -1), half]);
  return [of(0), of(1)];
}

function swiGlu(c: NodeContext): Operand {
  if (c.int("round_activation", 0) !== 0) return c.unsupported("round_activation");
  const x = c.value(0);
  const wide = wideFloat(x.dtype);
  const up = c.optional(1);
  const [g, l] = up === null ? halves(c, x) : [x, c.stretch(up.value, x.dims)];
  const limit = c.float("limit", 0);
  const how = { alpha: c.float("activation_alpha", 1), beta: c.float("activation_beta", 0), limit: limit > 0 ? limit : Number.POSITIVE_INFINITY };
  return c.of(c.g.convert(gated(new Formula(c.g), c.g.convert(g, wide), c.g.convert(l, wide), how), x.dtype));
}

/** How much of each expert each token gets, [tokens, experts]: the probabilities of the `k` largest, 0 for all others. */
function routing(c: NodeContext, logits: Value, k: number): Value {
  const f = new Formula(c.g);
  const [tokens, experts] = logits.dims as [Dim, Dim];
  const p = c.g.one("softmax", [logits], { axis: 1 });
  // An expert's place: how many others come before it, of equal ones those with smaller numbers.
  const dims = [tokens, experts, experts];
  const [own, other] = [c.g.broadcast(p, dims, [0, 1]), c.g.broadcast(p, dims, [0, 2])];
  const at = (axis: number): Value => c.g.one("iota", [], { dtype: i32, dims, axis });
  const isBefore = f.op("or", f.op("gt", other, own), f.and(f.op("eq", other, own), f.op("lt", at(2), at(1))));
  const place = reduced(c, c.g.convert(isBefore, i32), "add", [2]);
  const chosen = f.select(f.op("lt", place, k), p, 0);
  if (c.int("normalize_routing_weights", 0) === 0) return chosen;
  return f.div(chosen, spread(c, reduced(c, chosen, "add", [1]), chosen.dims, [1]));
}

/** Products of all tokens with the rows of each expert's matrix, [tokens, experts, rows], plus the expert's bias. */
function forEach(c: NodeContext, x: Value, weights: Operand, bias: Operand | null): Value {
  if (weights.rank !== 3) return c.fail(`weights of experts [${weights.dims.join(", ")}], expected [experts, rows, features]`);
  const [a, w] = c.paired(x, 1, c.g.convert(weights.value, x.dtype), 2, "features of tokens and experts");
  const y = c.g.one("dot", [a, w], { batchA: [], batchB: [], contractA: [1], contractB: [2] });
  return bias === null ? y : c.g.one("add", [y, c.stretch(c.g.convert(bias.value, x.dtype), y.dims)]);
}

/** The hidden features of each expert, activated: [tokens, experts, features]. */
function hidden(c: NodeContext, x: Value): Value {
  const f = new Formula(c.g);
  const first = forEach(c, x, c.input(2), c.optional(3));
  const kind = c.text("activation_type", "relu");
  const third = c.optional(6);
  if (kind !== "swiglu") {
    if (third !== null) return c.unsupported(`a third product beside activation_type '${kind}'`);
    if (kind === "identity") return first;
    if (kind === "silu") return f.mul(first, f.op("sigmoid", first));
    if (kind === "gelu") return c.g.one("gelu", [first], { approximate: false });
    const made = kind === "relu" ? activation("Relu", undefined, undefined) : null;
    return made === null ? c.unsupported(`activation_type '${kind}', expected relu, gelu, silu, swiglu or identity`) : made(f, first);
  }
  const fusion = c.int("swiglu_fusion", 0);
  if (fusion < 0 || fusion > 2) return c.fail(`swiglu_fusion ${fusion}, expected 0, 1 or 2`);
  if (fusion === 0 && third === null) return c.fail("swiglu_fusion 0 needs the third experts' weights");
  const [gate, up] =
    fusion === 0 && third !== null ? [first, forEach(c, x, third, c.optional(7))] : fusion === 1 ? alternating(c, first) : halves(c, first);
  const limit = c.attribute("swiglu_limit")?.f ?? Number.POSITIVE_INFINITY;
  return gated(f, gate, up, { alpha: c.float("activation_alpha", 1), beta: c.float("activation_beta", 0), limit });
}

/**
 * A mixture of experts (Shazeer et al., 2017): each token's sum of what its `k` experts give. All experts compute for all tokens,
 * and the routing weighs those that were not chosen with 0, so that there is one product whatever the routing.
 */
function mixture(c: NodeContext): Operand {
  for (const name of ["use_sparse_mixer", "swiglu_limit_after_activation"]) if (c.int(name, 0) !== 0) return c.unsupported(name);
  const given = c.value(0);
  const last = given.dims.length - 1;
  if (last < 1 || last > 2) return c.fail(`tokens of rank ${last + 1}, expected [tokens, features] or [batch, rows, features]`);
  const [wide, tokens, features] = [wideFloat(given.dtype), productOf(given.dims.slice(0, -1)), given.dims[last] as Dim];
  const x = c.g.reshape(c.g.convert(given, wide), [tokens, features]);
  const router = c.value(1);
  if (router.dims.length !== 2) return c.fail(`router_probs of rank ${router.dims.length}, expected [tokens, experts]`);
  const experts = c.sameDim(router.dims[1] as Dim, c.input(2).dims[0] ?? 0, "number of experts");
  const logits = c.sizes.refine(c.g.convert(router, wide), [c.sameDim(router.dims[0] as Dim, tokens, "rows of router_probs"), experts]);
  const k = c.int("k", 1);
  if (k < 1 || (typeof experts === "number" && k > experts)) return c.fail(`k ${k}, expected 1 to ${experts}`);
  const share = routing(c, logits, k);
  const f = new Formula(c.g);
  const h = hidden(c, x);
  const weighed = f.mul(h, c.g.broadcast(share, h.dims, [0, 1]));
  const second = c.input(4);
  if (second.rank !== 3) return c.fail(`weights of experts [${second.dims.join(", ")}], expected [experts, features, rows]`);
  const [a, w] = c.paired(weighed, 2, c.g.convert(second.value, wide), 2, "hidden features of experts");
  const y = c.g.one("dot", [a, w], { batchA: [], batchB: [], contractA: [1, 2], contractB: [0, 2] });
  const bias = c.optional(5);
  const product = (b: Operand): Value =>
    c.g.one("dot", [share, c.g.convert(b.value, wide)], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
  const sum = bias === null ? y : f.add(y, product(bias));
  return c.of(c.g.convert(c.g.reshape(sum, given.dims), given.dtype));
}

/** Weights of experts in few bits, [experts, rows, features], with a scale for each row, or for each block of its features. */
function dequantized(c: NodeContext, weights: number, zeros: number, bits: number, block: number): Operand | null {
  const [w, s, z] = [c.optional(weights), c.optional(weights + 1), c.optional(zeros)];
  if (w === null) return null;
  if (s === null || w.rank !== 3)
    return c.fail(`weights of experts [${w.dims.join(", ")}] ${s === null ? "without" : "with"} scales, expected rank 3, and scales`);
  const whole = unpacked(c, w, bits);
  const [experts, rows, features] = whole.dims as [Dim, Dim, Dim];
  const count = block > 0 ? ceilDivDim(features, block) : 1;
  const size = block > 0 ? block : features;
  const over = (v: Value): Value => {
    const apart = c.g.broadcast(c.sizes.reshape(v, [experts, rows, count]), [experts, rows, count, size], [0, 1, 2]);
    return part(c, c.g.reshape(apart, [experts, rows, mulDim(count, size)]), 2, 0, features);
  };
  const f = new Formula(c.g);
  const scales = c.g.convert(s.value, wideFloat(s.dtype));
  const middle =
    z === null ? 2 ** (bits - 1) : over(c.g.convert(part(c, unpacked(c, z, bits), z.rank - 1, 0, z.rank === 3 ? count : rows), scales.dtype));
  return c.of(f.mul(f.sub(c.g.convert(whole, scales.dtype), middle), over(scales)));
}

/** The same of quantised experts. */
function quantizedMixture(c: NodeContext): Operand {
  const kind = c.text("quant_type", "int");
  if (kind !== "int") return c.unsupported(`quant_type '${kind}', expected int`);
  for (let i = 14; i < c.inputs.length; i++)
    if (c.optional(i) !== null) return c.unsupported(`input ${i} (routing weights or scales of activations)`);
  const bits = c.int("expert_weight_bits", 4);
  if (bits !== 4 && bits !== 8) return c.fail(`expert_weight_bits ${bits}, expected 4 or 8`);
  for (const name of ["fc1", "fc2", "fc3"]) {
    const own = c.int(`${name}_expert_weight_bits`, bits);
    if (own !== bits && own > 0) return c.unsupported(`${name}_expert_weight_bits ${own} beside expert_weight_bits ${bits}`);
  }
  if (c.int("weights_prepacked", 0) > 0) return c.unsupported("weights_prepacked (a layout of one execution provider)");
  const block = c.int("block_size", 0);
  if (block < 0) return c.fail(`block_size ${block}`);
  const of = (i: number, zeros: number): Operand | null => dequantized(c, i, zeros, bits, block);
  return mixture(c.readAs(1, [c.input(0), c.input(1), of(2, 11), c.optional(4), of(5, 12), c.optional(7), of(8, 13), c.optional(10)]));
}

export const expertOps: OpTable = {
  SwiGLU: { since: 1, map: swiGlu },
  MoE: { since: 1, map: mixture },
  QMoE: { since: 1, map: quantizedMixture },
};

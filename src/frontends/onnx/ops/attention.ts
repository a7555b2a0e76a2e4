import { type Dim, dimEquals, dimMin, divideExactly, isDataDependent, mulDim, subDim } from "../../../base/dim.ts";
import { type DType, bf16, bool, f16, f32, f64, i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { Operand, dimValue } from "../operand.ts";
import { positions, wideFloat } from "./elementwise.ts";
import { reduced, spread } from "./reduction.ts";

/** Queries, keys or values: batch first, a head's features last, and heads and rows (positions) in either order between. */
export interface Heads {
  readonly value: Value;
  readonly head: 1 | 2;
  readonly row: 1 | 2;
}
export const headsOf = (h: Heads): Dim => h.value.dims[h.head] as Dim;
export const rowsOf = (h: Heads): Dim => h.value.dims[h.row] as Dim;

/** Rank 4 is [batch, heads, rows, features]; of rank 3, [batch, rows, heads · features], the node says how many heads there are. */
function heads(c: NodeContext, x: Value, count: string): Heads {
  if (x.dims.length === 4) return { value: x, head: 1, row: 2 };
  if (x.dims.length !== 3) return c.fail(`a tensor of rank ${x.dims.length}, expected 3 or 4`);
  const n = c.int(count, 0);
  const [batch, rows, hidden] = x.dims as [Dim, Dim, Dim];
  const each = n > 0 ? divideExactly(hidden, n) : null;
  if (each === null) return c.fail(`'${count}' is ${n}, expected a divisor of the ${hidden} features`);
  return { value: c.g.reshape(x, [batch, rows, n, each]), head: 2, row: 1 };
}
/** In the order [batch, heads, rows, features]. */
export function headsFirst(c: NodeContext, h: Heads): Heads {
  return h.head === 1 ? h : { value: c.g.transpose(h.value, [0, 2, 1, 3]), head: 1, row: 2 };
}

/**
 * How the heads of queries share those of keys: each of `shared` serves `each` queries' heads. With more than one, scores
 * are [batch, shared, each, rows, keys], so that nothing is repeated; else [batch, heads, rows, keys].
 */
export interface Groups {
  readonly shared: Dim;
  readonly each: Dim;
}
export function groupsOf(c: NodeContext, q: Heads, k: Heads): Groups {
  const [all, shared] = [headsOf(q), headsOf(k)];
  if (dimEquals(all, shared)) return { shared, each: 1 };
  if (isDataDependent(all) || isDataDependent(shared))
    return c.unsupported(`${all} heads of queries for ${shared} of keys: numbers that only a run tells`);
  const each = typeof shared === "number" && shared > 0 ? divideExactly(all, shared) : null;
  return each === null ? c.fail(`${all} heads of queries for ${shared} of keys, expected a multiple`) : { shared, each };
}

/** Products of all queries with all keys of their heads. */
function scoresOf(c: NodeContext, q: Heads, k: Heads, groups: Groups): Value {
  const [a, b] = c.paired(q.value, 3, k.value, 3, "features of queries and keys");
  const [queries, keys] = c.paired(a, 0, b, 0, "batches of queries and keys");
  if (groups.each === 1) return c.g.one("dot", [queries, keys], { batchA: [0, q.head], batchB: [0, k.head], contractA: [3], contractB: [3] });
  const first = headsFirst(c, { ...q, value: queries }).value;
  const apart = c.g.reshape(first, [first.dims[0] as Dim, groups.shared, groups.each, ...first.dims.slice(2)]);
  return c.g.one("dot", [apart, keys], { batchA: [0, 1], batchB: [0, k.head], contractA: [4], contractB: [3] });
}
/** Sums of the values under the probabilities: [batch, heads, rows, features]. */
export function weighted(c: NodeContext, probabilities: Value, v: Heads): Value {
  const rank = probabilities.dims.length;
  const [x, y] = c.paired(probabilities, rank - 1, v.value, v.row, "numbers of keys and values");
  const [p, values] = c.paired(x, 0, y, 0, "batches of keys and values");
  const sum = c.g.one("dot", [p, values], { batchA: [0, 1], batchB: [0, v.head], contractA: [rank - 1], contractB: [v.row] });
  return perHead(c, sum);
}
/** Groups of heads put together: rank 4. */
export function perHead(c: NodeContext, x: Value): Value {
  if (x.dims.length === 4) return x;
  const [batch, shared, each, ...rest] = x.dims as [Dim, Dim, Dim, ...Dim[]];
  return c.g.reshape(x, [batch, mulDim(shared, each), ...rest]);
}
/** A tensor that broadcasts to [batch, heads, rows, keys], stretched to the scores. */
export function overScores(c: NodeContext, x: Value, scores: Value, groups: Groups): Value {
  if (x.dims.length > 4) c.fail(`a mask of rank ${x.dims.length}, expected at most 4`);
  const full = [...[1, 1, 1, 1].slice(x.dims.length), ...x.dims] as [Dim, Dim, Dim, Dim];
  const [batch, h, rows, keys] = full;
  const apart = scores.dims.length === 4 ? full : h === 1 ? [batch, 1, 1, rows, keys] : [batch, groups.shared, groups.each, rows, keys];
  const v = c.g.reshape(x, apart);
  v.dims.forEach(
    (d, i) => d !== 1 && c.sameDim(d, scores.dims[i] as Dim, `a mask of dims [${x.dims.join(", ")}] for scores [${scores.dims.join(", ")}]`),
  );
  return c.stretch(v, scores.dims);
}

const lowest: ReadonlyMap<DType, number> = new Map([
  [f16, -65504],
  [bf16, -3.3895313892515355e38],
  [f32, -3.4028234663852886e38],
  [f64, -Number.MAX_VALUE],
]);

/** Softmax along the last dimension; a row of nothing but -infinity gives zeros. */
function maskedSoftmax(c: NodeContext, x: Value): Value {
  const axis = x.dims.length - 1;
  const top = c.withScalar("max", reduced(c, x, "max", [axis]), lowest.get(x.dtype) ?? c.unsupported(`a softmax of ${x.dtype}`));
  const e = c.g.one("exp", [c.g.one("sub", [x, spread(c, top, x.dims, [axis])])]);
  const sum = reduced(c, e, "add", [axis]);
  const safe = c.g.one("select", [c.withScalar("eq", sum, 0), c.g.splat(x.dtype, sum.dims, 1), sum]);
  return c.g.one("div", [e, spread(c, safe, x.dims, [axis])]);
}

/** The dtype that `softmax_precision` names, or f32 for narrower ones. */
function softmaxDType(c: NodeContext, of: DType): DType {
  const d = c.dtype("softmax_precision", wideFloat(of));
  return d.isFloat ? d : c.fail(`softmax_precision is ${d}, expected a float dtype`);
}

/** Scores under a scale, the node's. Narrow floats are scaled before the product, by its root on both sides, lest it overflow. */
export function scaledScores(c: NodeContext, q: Heads, k: Heads, groups: Groups, given: number | null = c.attribute("scale")?.f ?? null): Value {
  const features = q.value.dims[3] as Dim;
  if (given === null && typeof features !== "number") return c.unsupported(`the default scale of a symbolic number of features, ${features}`);
  const scale = given ?? 1 / Math.sqrt(Number(features));
  if (q.value.dtype.bits >= 32) return c.withScalar("mul", scoresOf(c, q, k, groups), scale);
  const root = (h: Heads): Heads => ({ ...h, value: c.withScalar("mul", h.value, Math.sqrt(scale)) });
  return scoresOf(c, root(q), root(k), groups);
}

/** The mask's last dimension may be shorter than the number of keys: those left over are masked. */
function paddedMask(c: NodeContext, mask: Value, keys: Dim): Value {
  const last = mask.dims.length - 1;
  const n = mask.dims[last];
  if (n === undefined || dimEquals(n, keys)) return mask;
  const missing = subDim(keys, n);
  if (dimMin(missing) < 0) return c.fail(`a mask for ${n} keys, of which there are ${keys}`);
  const fill = mask.dtype === bool ? c.g.scalar(bool, 0) : c.g.scalar(mask.dtype, Number.NEGATIVE_INFINITY);
  const none: Dim[] = mask.dims.map(() => 0);
  return c.g.one("pad", [mask, fill], { low: none, high: none.with(last, missing) });
}

/** What keeps queries from keys: places that are allowed (all must say so), and what is added to scores. */
interface Mask {
  readonly allowed: readonly Value[];
  readonly bias: Value | null;
}

/** The mask that the node's inputs and attributes describe, for `rows` queries of which `past` came before. */
function maskOf(c: NodeContext, rows: Dim, keys: Dim, past: Dim | null): Mask {
  const given = c.optional(3);
  const mask = given === null ? null : paddedMask(c, given.value, keys);
  const allowed = mask?.dtype === bool ? [mask] : [];
  const valid = c.optional(6);
  if (valid !== null && past !== null) return c.fail("'nonpad_kv_seqlen' together with past keys");
  const counts = valid === null ? null : c.g.reshape(c.g.convert(valid.value, i32), [...valid.dims, 1, 1, 1]);
  const ahead = distances(c, rows, keys, past, counts);
  if (c.int("is_causal", 0) === 1) allowed.push(c.withScalar("ge", ahead, 0));
  const [left, right] = [c.int("left_window_size", -1), c.int("right_window_size", -1)];
  if (left >= 0) allowed.push(c.withScalar("le", ahead, left));
  if (right >= 0) allowed.push(c.withScalar("ge", ahead, -right));
  if (counts !== null) {
    const [at, n] = c.together(positions(c, [keys], 0), counts) as [Value, Value];
    allowed.push(c.g.one("lt", [at, n]));
  }
  return { allowed, bias: mask === null || mask.dtype === bool ? null : mask };
}

/** How far each query is ahead of each key; the first query comes after the past ones, or ends the valid keys. */
export function distances(c: NodeContext, rows: Dim, keys: Dim, past: Dim | null, counts: Value | null): Value {
  const ahead = c.g.one("sub", [positions(c, [rows, keys], 0), positions(c, [rows, keys], 1)]);
  if (past === null && counts === null) return ahead;
  const before = counts === null ? dimValue(c.g, past ?? 0) : c.g.one("sub", [counts, c.stretch(dimValue(c.g, rows), counts.dims)]);
  const [a, b] = c.together(ahead, before) as [Value, Value];
  return c.g.one("add", [a, b]);
}

/** Scores under a mask: what is not allowed, or has a bias of -infinity, is -infinity whatever the score. */
function masked(c: NodeContext, scores: Value, { allowed, bias }: Mask, groups: Groups): Value {
  const never = c.g.splat(scores.dtype, scores.dims, Number.NEGATIVE_INFINITY);
  const over = (v: Value) => overScores(c, v, scores, groups);
  let out = scores;
  if (bias !== null) {
    const b = over(c.g.convert(bias, scores.dtype));
    out = c.g.one("select", [c.g.one("eq", [b, never]), never, c.g.one("add", [scores, b])]);
  }
  const all = allowed.map(over).reduce<Value | null>((a, b) => (a === null ? b : c.g.one("and", [a, b])), null);
  return all === null ? out : c.g.one("select", [all, out, never]);
}

/** Past keys or values, if there are any, before the node's own. */
function withPast(c: NodeContext, past: Operand | null, now: Heads): Heads {
  if (past === null) return now;
  const first = headsFirst(c, now);
  return { ...first, value: c.g.one("concat", [past.value, first.value], { axis: 2 }) };
}

/** softmax(scale · Q Kᵀ + mask) · V (Vaswani et al., Attention Is All You Need, 2017) */
function attention(c: NodeContext): readonly (Operand | null)[] {
  const { dtype } = c.input(0);
  const q = heads(c, c.value(0), "q_num_heads");
  const [pastKeys, pastValues] = [c.optional(4), c.optional(5)];
  if ((pastKeys === null) !== (pastValues === null)) return c.fail("past keys and past values have to be given together");
  const k = withPast(c, pastKeys, heads(c, c.value(1), "kv_num_heads"));
  const v = withPast(c, pastValues, heads(c, c.value(2), "kv_num_heads"));
  const groups = groupsOf(c, q, k);
  const past = pastKeys === null ? null : (pastKeys.dims[2] as Dim);
  const mask = maskOf(c, rowsOf(q), rowsOf(k), past);

  const raw = scaledScores(c, q, k, groups);
  const cap = c.float("softcap", 0);
  // Statistics of narrow floats are wide, so the chain from the scores on is.
  const wide = c.g.convert(raw, wideFloat(dtype));
  const capped = cap > 0 ? c.withScalar("mul", c.g.one("tanh", [c.withScalar("div", wide, cap)]), cap) : wide;
  const biased = masked(c, capped, mask, groups);
  const logits = c.g.convert(biased, softmaxDType(c, dtype));
  const plain = mask.bias === null && mask.allowed.length === 0;
  const p = c.g.convert(plain ? c.g.one("softmax", [logits], { axis: logits.dims.length - 1 }) : maskedSoftmax(c, logits), dtype);
  const sum = weighted(c, p, { ...v, value: c.g.convert(v.value, dtype) });

  const y = c.input(0).rank === 4 ? sum : joined(c, sum);
  const present = (i: number, h: Heads) => (c.wants(i) ? c.of(headsFirst(c, h).value) : null);
  const stages = [raw, capped, biased, p];
  const stage = stages[c.int("qk_matmul_output_mode", 0)] ?? c.fail(`qk_matmul_output_mode ${c.int("qk_matmul_output_mode", 0)}, expected 0 to 3`);
  return [c.of(y), present(1, k), present(2, v), c.wants(3) ? c.of(perHead(c, c.g.convert(stage, dtype))) : null];
}

/** [batch, heads, rows, features] as [batch, rows, heads · features]. */
export function joined(c: NodeContext, x: Value): Value {
  const [batch, h, rows, features] = x.dims as [Dim, Dim, Dim, Dim];
  return c.g.reshape(c.g.transpose(x, [0, 2, 1, 3]), [batch, rows, mulDim(h, features)]);
}

/** What a graph of the node makes of scores or probabilities; they stay as they are where there is none. */
function modified(c: NodeContext, name: string, x: Value, groups: Groups): Value {
  if (c.attribute(name) === null) return x;
  const given = perHead(c, x);
  const [y] = c.inlineGraph(c.graph(name), [c.of(given)]);
  if (!(y instanceof Operand) || y.dtype !== x.dtype) return c.fail(`'${name}' gives no tensor of ${x.dtype}`);
  given.dims.forEach((d, i) => c.sameDim(y.dims[i] ?? 1, d, `dimension ${i} of what '${name}' gives`));
  return overScores(c, y.value, x, groups);
}

/** Attention with graphs that modify scores and probabilities; all of it after the products in the softmax's precision. */
function flexAttention(c: NodeContext): Operand {
  const { dtype } = c.input(0);
  const [q, k, v] = [0, 1, 2].map((i): Heads => {
    const x = c.value(i);
    return x.dims.length === 4 ? { value: x, head: 1, row: 2 } : c.fail(`input ${i} has rank ${x.dims.length}, expected 4`);
  }) as [Heads, Heads, Heads];
  const groups = groupsOf(c, q, k);
  const compute = softmaxDType(c, dtype);
  const scores = modified(c, "score_mod", c.g.convert(scaledScores(c, q, k, groups), compute), groups);
  // A graph may mask scores, whole rows of them too.
  const plain = c.attribute("score_mod") === null;
  const p = plain ? c.g.one("softmax", [scores], { axis: scores.dims.length - 1 }) : maskedSoftmax(c, scores);
  const sum = weighted(c, modified(c, "prob_mod", p, groups), { ...v, value: c.g.convert(v.value, compute) });
  return c.of(c.g.convert(sum, c.input(2).dtype));
}

export const attentionOps: OpTable = { Attention: { since: 23, map: attention } };
export const previewAttentionOps: OpTable = { FlexAttention: { since: 1, map: flexAttention } };

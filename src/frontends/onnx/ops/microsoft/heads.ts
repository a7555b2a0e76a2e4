import { type Dim, addDim, dimEquals, mulDim, subDim } from "../../../../base/dim.ts";
import { f32, i32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext } from "../../context.ts";
import { type Operand, dimValue } from "../../operand.ts";
import {
  type Groups,
  type Heads,
  distances,
  groupsOf,
  headsFirst,
  joined,
  overScores,
  perHead,
  rowsOf,
  scaledScores,
  weighted,
} from "../attention.ts";
import { wideFloat } from "../elementwise.ts";
import { reduced, spread } from "../reduction.ts";

/** Queries, keys and values, and all that has a say in how much of each key a query takes. */
export interface Attending {
  readonly q: Heads;
  readonly k: Heads;
  readonly v: Heads;
  /** Added to scores, broadcast to [batch, heads, rows, keys]. */
  readonly bias: readonly Value[];
  /** Where a key may be seen, broadcast to the same. */
  readonly allowed: readonly Value[];
  /** What scores are held within by tanh, 0 for none. */
  readonly softcap: number;
  /** Further logits that take their share of the probabilities, one for each head; null for none. */
  readonly sink: Value | null;
}

/** What comes out: [batch, rows, heads · features]; and scores and probabilities, [batch, heads, rows, keys]. */
export interface Attended {
  readonly y: Value;
  readonly scores: Value;
  readonly probabilities: Value;
}

/** softmax(scale · Q Kᵀ + bias, over what is allowed) · V. A `scale` of 0 stands for the usual one. */
export function attend(c: NodeContext, a: Attending): Attended {
  const { dtype } = a.q.value;
  const groups = groupsOf(c, a.q, a.k);
  const scale = c.float("scale", 0);
  const raw = c.g.convert(scaledScores(c, a.q, a.k, groups, scale === 0 ? null : scale), wideFloat(dtype));
  const capped = a.softcap > 0 ? c.withScalar("mul", c.g.one("tanh", [c.withScalar("div", raw, a.softcap)]), a.softcap) : raw;
  const biased = a.bias.reduce((s, b) => c.g.one("add", [s, overScores(c, c.g.convert(b, s.dtype), s, groups)]), capped);
  const seen = a.allowed.map((v) => overScores(c, v, biased, groups)).reduce<Value | null>((p, q) => (p === null ? q : c.g.one("and", [p, q])), null);
  // A finite least: a row without any key that is allowed takes the same of each, and no NaN arises.
  const scores = seen === null ? biased : c.g.one("select", [seen, biased, c.g.splat(biased.dtype, biased.dims, hidden)]);
  const p = c.g.convert(shares(c, scores, a.sink, groups), dtype);
  return { y: joined(c, weighted(c, p, a.v)), scores: c.g.convert(perHead(c, scores), dtype), probabilities: perHead(c, p) };
}
/** The score of a key that must not be seen: the largest of the negative numbers that f32 holds. */
const hidden = -3.4028234663852886e38;

/** Softmax along the last dimension, with a further logit of each head in its denominator where there is one. */
function shares(c: NodeContext, x: Value, sink: Value | null, groups: Groups): Value {
  const axis = x.dims.length - 1;
  if (sink === null) return c.g.one("softmax", [x], { axis });
  const rows = x.dims.slice(0, -1);
  const each = x.dims.length === 5 ? c.g.reshape(sink, [groups.shared, groups.each]) : sink;
  const extra = c.g.broadcast(c.g.convert(each, x.dtype), rows, x.dims.length === 5 ? [1, 2] : [1]);
  const top = c.g.one("max", [reduced(c, x, "max", [axis]), extra]);
  const e = c.g.one("exp", [c.g.one("sub", [x, spread(c, top, x.dims, [axis])])]);
  const sum = c.g.one("add", [reduced(c, e, "add", [axis]), c.g.one("exp", [c.g.one("sub", [extra, top])])]);
  return c.g.one("div", [e, spread(c, sum, x.dims, [axis])]);
}

/** A part of x along one axis. */
export function part(c: NodeContext, x: Value, axis: number, from: Dim, size: Dim): Value {
  const whole = x.dims[axis] ?? c.fail(`a tensor of rank ${x.dims.length}, expected at least ${axis + 1}`);
  if (from === 0 && dimEquals(whole, size)) return x;
  const start = x.dims.map<Dim>(() => 0).with(axis, from);
  return c.g.one("slice", [x], { start, stride: x.dims.map(() => 1), dims: x.dims.with(axis, size) });
}

/** [batch, rows, heads · features] with its heads apart. */
export function apart(c: NodeContext, x: Value, count: number): Heads {
  if (x.dims.length !== 3) return c.fail(`a tensor of rank ${x.dims.length}, expected [batch, rows, features]`);
  const [batch, rows, features] = x.dims as [Dim, Dim, Dim];
  const each = typeof features === "number" ? features / count : 0;
  if (count < 1 || !Number.isInteger(each) || each < 1) return c.fail(`${features} features in ${count} heads, expected a multiple`);
  return { value: c.g.reshape(x, [batch, rows, count, each]), head: 2, row: 1 };
}

/** The node's number of heads. */
export function headCount(c: NodeContext, name = "num_heads"): number {
  const n = c.int(name, 0);
  return n > 0 ? n : c.fail(`'${name}' is ${n}, expected at least 1`);
}

/** Keys or values of before, [batch, heads, rows, features], and then the node's own. */
export function afterPast(c: NodeContext, past: Value | null, now: Heads): Heads {
  if (past === null) return now;
  const first = headsFirst(c, now).value;
  if (past.dims.length !== 4) return c.fail(`past of rank ${past.dims.length}, expected [batch, heads, rows, features]`);
  const common = past.dims.map((d, i) => (i === 2 ? d : c.sameDim(first.dims[i] as Dim, d, `dimension ${i} of past and present`)));
  const parts = [past, first].map((v) => c.sizes.refine(v, common.with(2, v.dims[2] as Dim)));
  return { value: c.g.one("concat", parts, { axis: 2 }), head: 1, row: 2 };
}

/** How rows of queries and keys lie: `past` keys came before the first query. */
export interface Layout {
  readonly batch: Dim;
  readonly rows: Dim;
  readonly keys: Dim;
  readonly past: Dim;
}

/**
 * What a mask of one of the forms of `mask_index` adds to scores: the node's filter value where it hides a key. It is a list of
 * lengths, one for each batch; of ends and then starts; or says 1 for what is seen, [batch, keys], [batch, rows, keys] or
 * [batch, 1, most, most].
 */
export function maskBias(c: NodeContext, mask: Operand, at: Layout): Value {
  const filter = c.float("mask_filter_value", -10000);
  const seen = mask.rank === 1 ? within(c, mask, at) : c.g.one("ne", [raw(c, mask, at), zeros(c, raw(c, mask, at))]);
  return c.g.one("select", [seen, c.g.splat(f32, seen.dims, 0), c.g.splat(f32, seen.dims, filter)]);
}
const zeros = (c: NodeContext, v: Value): Value => c.g.splat(v.dtype, v.dims, 0);

/** A mask of an element for each key, as rank 4. */
function raw(c: NodeContext, mask: Operand, { rows, keys, past }: Layout): Value {
  const v = mask.value;
  const [batch, second, third] = v.dims as [Dim, Dim, Dim];
  if (v.dims.length === 2) return c.g.reshape(v, [batch, 1, 1, second]);
  if (v.dims.length === 3) return c.g.reshape(v, [batch, 1, second, third]);
  if (v.dims.length !== 4) return c.fail(`a mask of rank ${v.dims.length}, expected at most 4`);
  if (dimEquals(third, rows) && dimEquals(v.dims[3] as Dim, keys)) return v;
  return part(c, part(c, v, 2, past, rows), 3, 0, keys);
}

/** Is a key within the range that a list gives for its batch? [batch, 1, 1, keys] */
function within(c: NodeContext, mask: Operand, { batch, keys }: Layout): Value {
  const list = c.g.convert(mask.value, i32);
  const n = list.dims[0] as Dim;
  const both = dimEquals(n, mulDim(batch, 2)) && !dimEquals(n, batch);
  // Of packed sequences: lengths, and then where queries and keys start in the packed rows, which are not packed here.
  const isPacked = !both && dimEquals(n, addDim(mulDim(batch, 3), 2));
  if (!both && !isPacked) c.sameDim(n, batch, "number of lengths in the mask");
  const dims = [batch, 1, 1, keys];
  const position = c.g.one("iota", [], { dtype: i32, dims, axis: 3 });
  const bound = (from: Dim): Value => c.g.broadcast(part(c, list, 0, from, batch), dims, [0]);
  const before = c.g.one("lt", [position, bound(0)]);
  return both ? c.g.one("and", [before, c.g.one("ge", [position, bound(batch)])]) : before;
}

/** Where a query sees no keys after itself: [rows, keys]. */
export function causal(c: NodeContext, { rows, keys, past }: Layout): Value {
  return c.withScalar("ge", distances(c, rows, keys, past, null), 0);
}

/** The layout of queries and all keys, the node's own and those before. */
export function layoutOf(q: Heads, k: Heads, own: Dim): Layout {
  const keys = rowsOf(k);
  return { batch: q.value.dims[0] as Dim, rows: rowsOf(q), keys, past: subDim(keys, own) };
}

/** The number of a size, as data that stretches to dims. */
export function sizeOver(c: NodeContext, d: Dim, dims: readonly Dim[]): Value {
  return c.g.broadcast(dimValue(c.g, d), dims, []);
}

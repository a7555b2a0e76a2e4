import { type Dim, addDim, dimEquals, dimMin, maxDim, subDim } from "../../../../base/dim.ts";
import { f32, i32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { type Heads, headsFirst, rowsOf } from "../attention.ts";
import { Formula } from "../formula.ts";
import { afterPast, apart, attend, headCount, part, sizeOver } from "./heads.ts";
import { rmsNorm } from "./normalization.ts";
import { type Angles, turnedHeads } from "./rotary.ts";

/** Attributes and inputs that this version does not know, each with its meaning. */
function refuse(c: NodeContext): void {
  if (c.int("sliding_window_cache", 0) !== 0) c.unsupported("sliding_window_cache (caches of the window's size)");
  for (const name of ["k_quant_type", "v_quant_type"]) if (c.text(name, "NONE") !== "NONE") c.unsupported(`${name} ${c.text(name, "NONE")}`);
  if (c.optional(12) !== null || c.optional(13) !== null) c.unsupported("scales of quantised caches");
  if (c.optional(16) !== null) c.unsupported("query_seqlens (padded chunks)");
}

/** Queries, keys and values: three tensors, or side by side in the first. */
function operands(c: NodeContext): readonly [Heads, Heads, Heads] {
  const [count, shared] = [headCount(c), headCount(c, "kv_num_heads")];
  const [query, key, value] = [c.value(0), c.optional(1), c.optional(2)];
  if ((key === null) !== (value === null)) return c.fail("keys and values have to be given together");
  if (key !== null && value !== null) return [apart(c, query, count), apart(c, key.value, shared), apart(c, value.value, shared)];
  const each = Number(query.dims[2]) / (count + 2 * shared);
  if (query.dims.length !== 3 || !Number.isInteger(each)) return c.fail(`packed operands [${query.dims.join(", ")}] of ${count + 2 * shared} heads`);
  const of = (from: number, n: number): Heads => apart(c, part(c, query, 2, from * each, n * each), n);
  return [of(0, count), of(count, shared), of(count + shared, shared)];
}

/** Where a run stands: how many keys there are at most with the node's own, and what each batch had before. */
interface Progress {
  /** The longest batch's keys, the node's own among them. */
  readonly total: Dim;
  /** Rows that present keys and values have: as many, or those of the buffer that they are kept in. */
  readonly room: Dim;
  /** Keys of before: the same number for each batch, or one for each, [batch]. */
  readonly past: Dim | Value;
}

/** @returns what `seqlens_k` (each batch's number of keys less 1) and `total_sequence_length` say */
function progressOf(c: NodeContext, q: Heads, buffer: Dim): Progress {
  const { sizes } = c;
  const [batch, rows] = [q.value.dims[0] as Dim, rowsOf(q)];
  const given = c.input(6);
  const bound = c.declaredDim(1, 2) !== null && c.declaredDim(1, 2) === buffer ? buffer : null;
  const total = given.known?.[0] ?? sizes.size(c.g.reshape(sizes.of(given), []), "total", 0, bound);
  const grown = addDim(buffer, rows);
  const room = dimEquals(total, grown) ? grown : bound !== null ? bound : maxDim(buffer, total);
  // Nothing came before a first prompt, whose shorter batches are padded. A single batch is the longest.
  if (dimEquals(total, rows)) return { total, room, past: 0 };
  if (batch === 1 && dimEquals(total, grown)) return { total, room, past: buffer };
  const lengths = c.g.reshape(c.g.convert(c.value(5), i32), [batch]);
  const before = c.withScalar("max", c.g.one("sub", [c.withScalar("add", lengths, 1), sizeOver(c, rows, [batch])]), 0);
  if (dimMin(subDim(total, rows)) > 0) return { total, room, past: before };
  const isFirst = c.g.one("eq", [sizeOver(c, total, [batch]), sizeOver(c, rows, [batch])]);
  return { total, room, past: c.g.one("select", [isFirst, c.g.splat(i32, [batch], 0), before]) };
}

/** A number for each batch, or one for all, over dims that start with the batch. */
function perBatch(c: NodeContext, n: Dim | Value, dims: readonly Dim[]): Value {
  return typeof n === "object" && "dtype" in n ? c.g.broadcast(n, dims, [0]) : sizeOver(c, n, dims);
}

/** The cache with the node's own rows behind those of before, each batch's at its own place: [batch, heads, room, features]. */
function present(c: NodeContext, past: Value | null, own: Heads, at: Progress): Value {
  const f = new Formula(c.g);
  const [rows, now] = [rowsOf(own), headsFirst(c, own)];
  const [batch, heads, , features] = now.value.dims as [Dim, Dim, Dim, Dim];
  const wide = (v: Value): Value => {
    const missing = subDim(at.room, v.dims[2] as Dim);
    return missing === 0 ? v : c.g.one("pad", [v, c.g.scalar(v.dtype, 0)], { low: [0, 0, 0, 0], high: [0, 0, missing, 0] });
  };
  if (past === null || past.dims[2] === 0) return wide(now.value);
  if (!(typeof at.past === "object" && "dtype" in at.past) && dimEquals(at.past, past.dims[2] as Dim)) return wide(afterPast(c, past, now).value);
  const places = [batch, at.room];
  const from = f.sub(c.g.one("iota", [], { dtype: i32, dims: places, axis: 1 }), perBatch(c, at.past, places));
  const isNew = f.and(f.op("ge", from, 0), f.op("lt", from, sizeOver(c, rows, places)));
  const byBatch = c.g.one("iota", [], { dtype: i32, dims: places, axis: 0 });
  const moved = c.g.one("gather", [now.value, byBatch, from], { axes: [0, 2], at: 0 });
  const whole: readonly Dim[] = [batch, heads, at.room, features];
  return f.select(c.g.broadcast(isNew, whole, [0, 2]), c.g.transpose(moved, [0, 2, 1, 3]), wide(past));
}

/** Places where a query sees a key, [batch, 1, rows, keys]: causal, within a window, and not behind a batch's last key. */
function allowed(c: NodeContext, q: Heads, at: Progress): Value[] {
  const f = new Formula(c.g);
  const rows = rowsOf(q);
  const dims = [q.value.dims[0] as Dim, 1, rows, at.total];
  const iota = (axis: number): Value => c.g.one("iota", [], { dtype: i32, dims, axis });
  const key = iota(3);
  const query = f.add(iota(2), perBatch(c, at.past, dims));
  const window = c.int("local_window_size", -1);
  if (c.int("causal", 1) === 0) {
    if (window >= 0) return c.fail(`local_window_size ${window} without causal`);
    return [f.op("lt", key, f.add(perBatch(c, at.past, dims), sizeOver(c, rows, dims)))];
  }
  const seen = f.op("le", key, query);
  return window < 0 ? [seen] : [seen, f.op("lt", f.sub(query, key), window)];
}

/** Queries or keys, normalised for each head and then turned, where the node says so. */
function prepared(c: NodeContext, h: Heads, weight: number, name: string, angles: Angles | null, at: Value): Heads {
  const scale = c.optional(weight);
  const epsilon = c.float(name, c.float("qk_norm_epsilon", 1e-6));
  const normal = scale === null ? h : { ...h, value: rmsNorm(c, h.value, 3, scale, epsilon) };
  return angles === null ? normal : turnedHeads(c, normal, at, angles, c.int("rotary_interleaved", 0) === 1);
}

/** Logits that take their share beside the keys': one for each head, or 0 for all; null for none. */
function sinkOf(c: NodeContext, heads: Dim): Value | null {
  const given = c.optional(11);
  if (given !== null) return c.g.reshape(given.value, [c.sameDim(given.dims[0] ?? 1, heads, "number of head_sink's logits")]);
  return c.int("smooth_softmax", -1) === 1 ? c.g.splat(f32, [heads], 0) : null;
}

/**
 * Attention whose heads of queries share those of keys, with a cache of keys and values (Ainslie et al., GQA, 2023). The caches
 * grow by the node's own rows, or are buffers with room for them.
 */
function groupQueryAttention(c: NodeContext): readonly (Operand | null)[] {
  refuse(c);
  const [q, k, v] = operands(c);
  const [pastK, pastV] = [c.optional(3), c.optional(4)];
  if ((pastK === null) !== (pastV === null)) return c.fail("past keys and past values have to be given together");
  for (const past of [pastK, pastV])
    if (past !== null && past.rank !== 4) return c.fail(`past of rank ${past.rank}, expected [batch, heads, rows, features]`);
  const at = progressOf(c, q, pastK?.dims[2] ?? 0);
  const places: readonly Dim[] = [q.value.dims[0] as Dim, rowsOf(q)];
  const given = c.optional(9);
  const count = new Formula(c.g).add(c.g.one("iota", [], { dtype: i32, dims: places, axis: 1 }), perBatch(c, at.past, places));
  const place = given === null ? count : c.stretch(c.g.convert(given.value, i32), places);
  const angles = c.int("do_rotary", 0) === 0 ? null : { cos: c.value(7), sin: c.value(8) };
  const query = prepared(c, q, 14, "q_norm_epsilon", angles, place);
  const [keys, values] = [
    present(c, pastK?.value ?? null, prepared(c, k, 15, "k_norm_epsilon", angles, place), at),
    present(c, pastV?.value ?? null, v, at),
  ];
  const used = (x: Value): Heads => ({ value: part(c, x, 2, 0, at.total), head: 1, row: 2 });
  const bias = c.optional(10);
  const { y, scores, probabilities } = attend(c, {
    q: query,
    k: used(keys),
    v: used(values),
    bias: bias === null ? [] : [bias.value],
    allowed: allowed(c, q, at),
    softcap: c.float("softcap", 0),
    sink: sinkOf(c, q.value.dims[2] as Dim),
  });
  return [c.of(y), c.of(keys), c.of(values), c.wants(3) ? c.of(c.int("qk_output", 0) === 2 ? probabilities : scores) : null];
}

export const groupedOps: OpTable = { GroupQueryAttention: { since: 1, map: groupQueryAttention } };

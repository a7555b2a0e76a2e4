import type { Dim } from "../../../../base/dim.ts";
import { f32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { type Heads, headsFirst, rowsOf } from "../attention.ts";
import { matrixProduct } from "../matmul.ts";
import { integerProduct } from "../quantization.ts";
import { afterPast, apart, attend, causal, headCount, layoutOf, maskBias, part } from "./heads.ts";
import { scaleOfProduct } from "./products.ts";

/** A vector added to the features of x. */
function withBias(c: NodeContext, x: Value, bias: Value | null): Value {
  return bias === null ? x : c.g.one("add", [x, c.stretch(bias, x.dims)]);
}

/** Keys and values of before, [2, batch, heads, rows, features], apart. */
function pastOf(c: NodeContext, past: Operand | null): readonly [Value | null, Value | null] {
  if (past === null) return [null, null];
  if (past.rank !== 5 || past.dims[0] !== 2) return c.fail(`past [${past.dims.join(", ")}], expected [2, batch, heads, rows, features]`);
  const of = (i: number): Value => c.g.reshape(part(c, past.value, 0, i, 1), past.dims.slice(1));
  return [of(0), of(1)];
}

/** Keys and values as one tensor. */
function presentOf(c: NodeContext, k: Heads, v: Heads): Value {
  const parts = [k, v].map((h) => headsFirst(c, h).value).map((x) => c.g.reshape(x, [1, ...x.dims]));
  return c.g.one("concat", parts, { axis: 0 });
}

/** Attention of a sequence to itself, from the projections of queries, keys and values side by side: [batch, rows, features]. */
function selfAttention(
  c: NodeContext,
  projected: Value,
  given: { readonly mask: Operand | null; readonly past: Operand | null; readonly bias: Operand | null },
): readonly (Operand | null)[] {
  if (c.int("do_rotary", 0) !== 0) return c.unsupported("do_rotary");
  if (c.int("past_present_share_buffer", 0) !== 0) return c.unsupported("past_present_share_buffer");
  const count = headCount(c);
  const all = projected.dims[2] as Dim;
  const sizes = c.ints("qkv_hidden_sizes") ?? [0, 1, 2].map(() => Number(all) / 3);
  const [ofQ, ofK, ofV] = sizes as [number, number, number];
  if (sizes.length !== 3 || ofQ + ofK + ofV !== all || sizes.some((s) => !Number.isInteger(s)))
    return c.fail(`weights for ${all} features, expected queries, keys and values of [${sizes.join(", ")}]`);
  const [q, ownK, ownV] = [[0, ofQ] as const, [ofQ, ofK] as const, [ofQ + ofK, ofV] as const].map(([from, size]) =>
    apart(c, part(c, projected, 2, from, size), count),
  ) as [Heads, Heads, Heads];
  const [pastK, pastV] = pastOf(c, given.past);
  const [k, v] = [afterPast(c, pastK, ownK), afterPast(c, pastV, ownV)];
  const at = layoutOf(q, k, rowsOf(ownK));
  const bias = [...(given.bias === null ? [] : [given.bias.value]), ...(given.mask === null ? [] : [maskBias(c, given.mask, at)])];
  const allowed = c.int("unidirectional", 0) === 1 ? [causal(c, at)] : [];
  const { y } = attend(c, { q, k, v, bias, allowed, softcap: 0, sink: null });
  return [c.of(y), c.wants(1) ? c.of(presentOf(c, k, v)) : null];
}

function sequence(c: NodeContext, i: number): Value {
  const x = c.value(i);
  return x.dims.length === 3 ? x : c.fail(`input ${i} of rank ${x.dims.length}, expected [batch, rows, features]`);
}

/** Attention of a sequence to itself, with the projections of its queries, keys and values. */
function attention(c: NodeContext): readonly (Operand | null)[] {
  const projected = withBias(c, matrixProduct(c, sequence(c, 0), c.value(1)), c.optional(2)?.value ?? null);
  return selfAttention(c, projected, { mask: c.optional(3), past: c.optional(4), bias: c.optional(5) });
}

/** The same with a quantised sequence and quantised weights of the projections. */
function quantizedAttention(c: NodeContext): readonly (Operand | null)[] {
  sequence(c, 0);
  const product = integerProduct(c, c.input(0), c.optional(6), c.input(1), c.optional(7));
  const scales = scaleOfProduct(c, c.g.convert(c.value(3), f32), c.g.convert(c.value(4), f32), product);
  const real = c.g.convert(c.g.one("mul", [c.g.convert(product, f32), scales]), c.input(2).dtype);
  return selfAttention(c, withBias(c, real, c.value(2)), { mask: c.optional(5), past: c.optional(8), bias: null });
}

/** One of several tensors that lie side by side along dimension 3 of [batch, rows, heads, count, features]. */
function packed(c: NodeContext, x: Value, i: number, count: number): Value {
  const [batch, rows, heads, n, features] = x.dims as [Dim, Dim, Dim, Dim, Dim];
  if (x.dims.length !== 5 || n !== count) return c.fail(`packed operands [${x.dims.join(", ")}], expected [batch, rows, heads, ${count}, features]`);
  return c.g.reshape(part(c, x, 3, i, 1), [batch, rows, heads, features]);
}

/** Queries, keys and values, in whichever form the node has them, with the parts of its bias. */
function operands(c: NodeContext): readonly [Heads, Heads, Heads] {
  const count = headCount(c);
  const [key, value, bias] = [c.optional(1), c.optional(2), c.optional(3)];
  const merged = (x: Value): Value => c.g.reshape(x, [...x.dims.slice(0, 2), Number(x.dims[2]) * Number(x.dims[3])]);
  const query = c.value(0);
  const three: readonly Value[] =
    key === null
      ? [0, 1, 2].map((i) => merged(packed(c, query, i, 3)))
      : value === null
        ? [query, ...[0, 1].map((i) => merged(packed(c, key.value, i, 2)))]
        : [query, key.value, value.value];
  let from = 0;
  return three.map((x): Heads => {
    // Keys and values of before, for which all is done.
    if (x.dims.length === 4) return { value: x, head: 1, row: 2 };
    const size = Number(x.dims[2]);
    const of = bias === null ? null : part(c, bias.value, 0, from, size);
    from += size;
    return apart(c, withBias(c, x, of), count);
  }) as [Heads, Heads, Heads];
}

/** Attention of projected queries to keys and values, of another sequence maybe, and of before. */
function multiHeadAttention(c: NodeContext): readonly (Operand | null)[] {
  if (c.optional(8) !== null || c.optional(9) !== null) return c.unsupported("past_sequence_length and cache_indirection (shared buffers)");
  const [q, ownK, ownV] = operands(c);
  const [pastK, pastV] = [c.optional(6), c.optional(7)];
  if ((pastK === null) !== (pastV === null)) return c.fail("past keys and past values have to be given together");
  const [k, v] = [afterPast(c, pastK?.value ?? null, ownK), afterPast(c, pastV?.value ?? null, ownV)];
  const at = layoutOf(q, k, rowsOf(ownK));
  const [mask, given] = [c.optional(4), c.optional(5)];
  const bias = [...(given === null ? [] : [given.value]), ...(mask === null ? [] : [maskBias(c, mask, at)])];
  const allowed = c.int("unidirectional", 0) === 1 ? [causal(c, at)] : [];
  const { y, scores } = attend(c, { q, k, v, bias, allowed, softcap: 0, sink: null });
  const present = (i: number, h: Heads) => (c.wants(i) ? c.of(headsFirst(c, h).value) : null);
  return [c.of(y), present(1, k), present(2, v), c.wants(3) ? c.of(scores) : null];
}

export const attentionOps: OpTable = {
  Attention: { since: 1, map: attention },
  QAttention: { since: 1, map: quantizedAttention },
  MultiHeadAttention: { since: 1, map: multiHeadAttention },
};

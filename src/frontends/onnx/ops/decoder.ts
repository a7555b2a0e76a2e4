import { type Dim, dimEquals, divideExactly, mulDim, subDim, symbolDim } from "../../../base/dim.ts";
import { type DType, i32 } from "../../../base/dtype.ts";
import type { GraphBuilder } from "../../../graph/builder.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { positions, wideFloat } from "./elementwise.ts";

/** `size` of every `stride` elements from `start` on, along the last dimension. */
function lastPart(c: NodeContext, x: Value, start: Dim, size: Dim, stride = 1): Value {
  const last = x.dims.length - 1;
  return c.g.one("slice", [x], {
    start: x.dims.map((_, i) => (i === last ? start : 0)),
    stride: x.dims.map((_, i) => (i === last ? stride : 1)),
    dims: x.dims.with(last, size),
  });
}

/**
 * Pairs of features turned by angles that grow with the position (Su et al., RoFormer, 2021). Pairs are the two halves of a
 * head's features, or neighbours; features beyond the rotary ones stay.
 */
function rotaryEmbedding(c: NodeContext): Operand {
  const given = c.value(0);
  const { g } = c;
  const packed = given.dims.length === 3;
  if (!packed && given.dims.length !== 4) return c.fail(`rank ${given.dims.length}, expected 3 or 4`);
  const heads = c.int("num_heads", 0);
  const each = packed && heads > 0 ? divideExactly(given.dims[2] as Dim, heads) : null;
  if (packed && each === null) return c.fail(`num_heads ${heads}, expected a divisor of ${given.dims[2]}`);
  const x = packed ? g.reshape(given, [...given.dims.slice(0, 2), heads, each as Dim]) : given;
  const [features, asked] = [x.dims[3] as Dim, c.int("rotary_embedding_dim", 0)];
  const rotary = asked === 0 ? features : asked;
  const half = divideExactly(rotary, 2);
  if (half === null) return c.fail(`${rotary} rotary features, expected an even number`);
  const table = (i: number): Value => {
    const t = c.optional(3) === null ? c.value(i) : g.one("gather", [c.value(i), c.value(3)], { axes: [0], at: 0 });
    c.sameDim(t.dims[2] as Dim, half, "angles and pairs of features");
    return g.broadcast(g.convert(t, x.dtype), x.dims.with(3, half), packed ? [0, 1, 3] : [0, 2, 3]);
  };
  const [cos, sin] = [table(1), table(2)];
  return c.of(g.reshape(turnedPairs(c, x, [cos, sin], c.int("interleaved", 0) === 1), given.dims));
}

/** The leading features of x, [.., .., .., features], turned by angles for each of its pairs; features beyond these stay. */
export function turnedPairs(c: NodeContext, x: Value, [cos, sin]: readonly [Value, Value], near: boolean): Value {
  const { g } = c;
  const [features, half] = [x.dims[3] as Dim, cos.dims[3] as Dim];
  const rotary = mulDim(half, 2);
  const [a, b] = near ? [lastPart(c, x, 0, half, 2), lastPart(c, x, 1, half, 2)] : [lastPart(c, x, 0, half), lastPart(c, x, half, half)];
  const mul = (p: Value, q: Value) => g.one("mul", [p, q]);
  const turned = [g.one("sub", [mul(cos, a), mul(sin, b)]), g.one("add", [mul(sin, a), mul(cos, b)])];
  const rest = dimEquals(rotary, features) ? [] : [lastPart(c, x, rotary, subDim(features, rotary))];
  const pairs = turned.map((v) => g.reshape(v, [...v.dims, 1]));
  const parts = near ? [g.reshape(g.one("concat", pairs, { axis: 4 }), x.dims.with(3, rotary)), ...rest] : [...turned, ...rest];
  return parts.length === 1 ? (parts[0] as Value) : g.one("concat", parts, { axis: 3 });
}

/** A cache with new rows at each batch's own place, which goes around in circles if the mode says so. */
function tensorScatter(c: NodeContext): Operand {
  const [cache, update] = [c.value(0), c.value(1)];
  const { g } = c;
  const rank = cache.dims.length;
  const axis = c.axis(c.int("axis", -2), rank);
  if (axis === 0) return c.fail("axis 0 is the batch");
  const mode = c.text("mode", "linear");
  if (mode !== "linear" && mode !== "circular") return c.fail(`mode '${mode}', expected linear or circular`);
  cache.dims.forEach((d, i) => i !== axis && c.sameDim(update.dims[i] as Dim, d, `dimension ${i} of the update`));
  const dims: readonly Dim[] = [cache.dims[0] as Dim, update.dims[axis] as Dim];
  const start = c.optional(2);
  const step = positions(c, dims, 1);
  const linear = start === null ? step : g.one("add", [g.broadcast(g.convert(start.value, i32), dims, [0]), step]);
  const size = g.broadcast(dimValue(g, cache.dims[axis] as Dim), dims, []);
  const at = mode === "circular" ? g.one("mod", [linear, size]) : linear;
  const others = cache.dims.map((_, i) => i).filter((i) => i !== 0 && i !== axis);
  const moved = g.transpose(update, [0, axis, ...others]);
  return c.of(g.one("scatter", [cache, moved, positions(c, dims, 0), at], { axes: [0, axis], at: 0, combiner: "none" }));
}

/** A convolution of each channel over its own past, which a state carries from call to call. */
function causalConvolution(c: NodeContext): readonly (Operand | null)[] {
  const [x, w] = [c.value(0), c.value(1)];
  const { g } = c;
  if (x.dims.length !== 3 || w.dims.length !== 3)
    return c.fail(`ranks ${x.dims.length} and ${w.dims.length}, expected [batch, channels, length] and [channels, 1, taps]`);
  const [channels, taps] = [x.dims[1] as Dim, w.dims[2] as Dim];
  if (typeof channels !== "number" || typeof taps !== "number") return c.unsupported(`${channels} channels and ${taps} taps, expected numbers`);
  const past = c.optional(3);
  const state = past === null ? g.splat(x.dtype, x.dims.with(2, taps - 1), 0) : past.value;
  // Without a past, zeros before the start are the convolution's own; an output of the state needs them as data.
  const long = taps === 1 ? x : g.one("concat", [state, x], { axis: 2 });
  const sum = g.one("convolution", [past === null ? x : long, w], {
    strides: [1],
    pads: [[past === null ? taps - 1 : 0, 0]],
    dilation: [1],
    inputDilation: [1],
    groups: channels,
    xDims: [0, 1, 2],
    wDims: [0, 1, 2],
    resultDims: [0, 1, 2],
  });
  const bias = c.optional(2);
  const biased = bias === null ? sum : g.one("add", [sum, g.broadcast(bias.value, sum.dims, [1])]);
  return [c.of(activated(c, biased)), c.wants(1) ? c.of(lastPart(c, long, x.dims[2] as Dim, taps - 1)) : null];
}
function activated(c: NodeContext, x: Value): Value {
  const name = c.text("activation", "none");
  if (name === "none") return x;
  if (name !== "silu" && name !== "swish") return c.fail(`activation '${name}', expected none, silu or swish`);
  return c.g.one("mul", [x, c.g.one("sigmoid", [x])]);
}

function swiglu(c: NodeContext): Operand {
  const [a, b] = [c.value(0), c.value(1)];
  a.dims.forEach((d, i) => c.sameDim(d, b.dims[i] ?? 1, `dimension ${i} of the two inputs`));
  const alpha = c.float("alpha", 1);
  const gate = c.g.one("sigmoid", [alpha === 1 ? a : c.withScalar("mul", a, alpha)]);
  return c.of(c.g.one("mul", [c.g.one("mul", [a, gate]), b]));
}

/** What one step of linear attention reads: keys and queries [batch, heads, (each,) features], values, decay and rate. */
interface Step {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  /** The factor of the state, [batch, heads, features or 1]. */
  readonly decay: Value | null;
  /** The rate of the correction, [batch, heads or 1, 1]. */
  readonly rate: Value | null;
}

/**
 * The state after a step, and what queries read of it: S ← d·S + k ⊗ v, with the delta rule's v = β·(v - Sᵀk) (Yang et al.,
 * Gated Delta Networks, 2024).
 */
function linearStep(g: GraphBuilder, state: Value, { q, k, v, decay, rate }: Step): { readonly state: Value; readonly read: Value } {
  const over = (x: Value, dims: readonly Dim[], map: readonly number[]) => g.broadcast(x, dims, map);
  const kept = decay === null ? state : g.one("mul", [state, over(decay, state.dims, [0, 1, 2])]);
  const told =
    rate === null
      ? v
      : g.one("mul", [
          over(rate, v.dims, [0, 1, 2]),
          g.one("sub", [v, g.one("dot", [kept, k], { batchA: [0, 1], batchB: [0, 1], contractA: [2], contractB: [2] })]),
        ]);
  const written = g.one("add", [kept, g.one("mul", [over(k, state.dims, [0, 1, 2]), over(told, state.dims, [0, 1, 3])])]);
  return { state: written, read: g.one("dot", [q, written], { batchA: [0, 1], batchB: [0, 1], contractA: [3], contractB: [2] }) };
}

/** Inputs of linear attention, unpacked: [batch, rows, heads, features], wide. */
interface Unpacked extends Step {
  readonly rows: Dim;
}

function unpack(c: NodeContext, wide: DType): Unpacked {
  const { g } = c;
  const [all, shared] = [c.int("q_num_heads", 0), c.int("kv_num_heads", 0)];
  const each = shared > 0 ? all / shared : 0;
  if (!Number.isInteger(each) || each < 1) return c.fail(`${all} heads of queries for ${shared} of keys, expected a multiple`);
  const apart = (i: number, heads: number): Value => {
    const x = g.convert(c.value(i), wide);
    const features = x.dims.length === 3 ? divideExactly(x.dims[2] as Dim, heads) : null;
    if (features === null) return c.fail(`input ${i}: [${x.dims.join(", ")}], expected [batch, length, ${heads} heads]`);
    return g.reshape(x, [...x.dims.slice(0, 2), heads, features]);
  };
  const [q, k, v] = [apart(0, all), apart(1, shared), apart(2, shared)];
  const [batch, rows, , features] = q.dims as [Dim, Dim, Dim, Dim];
  const rule = c.text("update_rule", "gated_delta");
  if (!["linear", "gated", "delta", "gated_delta"].includes(rule))
    return c.fail(`update_rule '${rule}', expected linear, gated, delta or gated_delta`);
  const given = c.float("scale", 0);
  if (given === 0 && typeof features !== "number") return c.unsupported(`the default scale of a symbolic number of features, ${features}`);
  const scaled = c.withScalar("mul", g.reshape(q, [batch, rows, shared, each, features]), given === 0 ? 1 / Math.sqrt(Number(features)) : given);
  const decay = rule.startsWith("gated") ? g.one("exp", [apart(4, shared)]) : null;
  const beta = rule.endsWith("delta") ? g.convert(c.value(5), wide) : null;
  return { rows, q: scaled, k, v, decay, rate: beta === null ? null : g.reshape(beta, [...beta.dims, 1]) };
}

/** Attention whose past is a matrix of fixed size (Katharopoulos et al., Transformers are RNNs, 2020): a loop over the rows. */
function linearAttention(c: NodeContext): readonly (Operand | null)[] {
  const { g } = c;
  const dtype = c.input(0).dtype;
  const wide = wideFloat(dtype);
  const x = unpack(c, wide);
  const [batch, , shared, each, features] = x.q.dims as [Dim, Dim, Dim, Dim, Dim];
  const depth = x.v.dims[3] as Dim;
  const past = c.optional(3);
  const start = past === null ? g.splat(wide, [batch, shared, features, depth], 0) : g.convert(past.value, wide);
  const at = (b: GraphBuilder, v: Value, t: Dim): Value =>
    b.reshape(
      b.one("slice", [v], { start: v.dims.map((_, i) => (i === 1 ? t : 0)), stride: v.dims.map(() => 1), dims: v.dims.with(1, 1) }),
      v.dims.toSpliced(1, 1),
    );
  const stepAt = (b: GraphBuilder, t: Dim): Step => {
    const [decay, rate] = [x.decay, x.rate].map((v) => (v === null ? null : at(b, v, t))) as [Value | null, Value | null];
    return { q: at(b, x.q, t), k: at(b, x.k, t), v: at(b, x.v, t), decay, rate };
  };
  let [state, read]: Value[] = [start, start];
  if (x.rows === 1) {
    const done = linearStep(g, start, stepAt(g, 0));
    [state, read] = [done.state, g.reshape(done.read, [1, ...done.read.dims])];
  } else {
    const t = symbolDim(g.dataSymbol("t", 0, subDim(x.rows, 1)));
    const body = g.nested();
    const carried = body.value("state", { dtype: wide, dims: start.dims });
    const done = linearStep(body, carried, stepAt(body, t));
    const region = body.region([carried], [done.state, done.read]);
    [, state, read] = g.op("loop", [start], { index: [t], length: [x.rows], states: 1, conditional: false }, { regions: [region] }) as [
      Value,
      Value,
      Value,
    ];
  }
  const y = g.reshape(g.transpose(read as Value, [1, 0, 2, 3, 4]), [batch, x.rows, mulDim(mulDim(shared, each), depth)]);
  return [c.of(g.convert(y, dtype)), c.of(g.convert(state as Value, past?.dtype ?? dtype))];
}

export const decoderOps: OpTable = {
  RotaryEmbedding: { since: 23, map: rotaryEmbedding },
  TensorScatter: { since: 24, map: tensorScatter },
  CausalConvWithState: { since: 27, map: causalConvolution },
  LinearAttention: { since: 27, map: linearAttention },
  SwiGLU: { since: 28, map: swiglu },
};

import type { Dim } from "../../../../base/dim.ts";
import { i32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { wideFloat } from "../elementwise.ts";
import { affine, over, rowStatistics, standardised } from "../normalization.ts";
import { along, centred } from "../quantization.ts";
import { mean } from "../reduction.ts";
import { dividedBy } from "../shape.ts";
import { biased, swish } from "./activation.ts";
import { inLayout } from "./layout.ts";

/** A layer norm in f32 or wider, in the dtype of x again. */
function layerNorm(c: NodeContext, x: Value, axis: number, scale: Operand, bias: Operand | null, epsilon: number): Value {
  const [wide, inner] = [wideFloat(x.dtype), x.dims.slice(axis)];
  const parameters = [over(c, scale, inner, wide, 1), over(c, bias, inner, wide, 0)];
  return c.g.convert(c.g.one("layer_norm", [c.g.convert(x, wide), ...parameters], { axis, epsilon }), x.dtype);
}

/** x over the root of its mean square, times a scale of the dimensions from the axis on; in f32 or wider. */
export function rmsNorm(c: NodeContext, x: Value, axis: number, scale: Operand, epsilon: number): Value {
  const wide = wideFloat(x.dtype);
  const parameter = over(c, scale, x.dims.slice(axis), wide, 1);
  return c.g.convert(c.g.one("rms_norm", [c.g.convert(x, wide), parameter], { axis, epsilon }), x.dtype);
}

/** The inverse of the root mean square of each row, its dimensions kept as 1. */
function inverseRms(c: NodeContext, x: Value, axis: number, epsilon: number): Operand {
  const v = c.g.convert(x, wideFloat(x.dtype));
  const axes = x.dims.map((_, i) => i).slice(axis);
  const inverse = c.g.one("rsqrt", [c.withScalar("add", mean(c, c.g.one("mul", [v, v]), axes), epsilon)]);
  return c.of(
    c.g.reshape(
      inverse,
      x.dims.map((d, i) => (i < axis ? d : 1)),
    ),
  );
}

/** x + skip + bias, which is a result of its own. Skip may serve all batches. */
function withSkip(c: NodeContext, bias: Operand | null): Value {
  const x = c.value(0);
  if (x.dims.length < 2) return c.fail(`rank ${x.dims.length}, expected [batch, rows, features]`);
  return biased(c, biased(c, x, c.input(1)), bias);
}
const skipEpsilon = 1e-12;

/** Layer norm of x + skip + bias. */
function skipLayerNormalization(c: NodeContext): readonly (Operand | null)[] {
  const sum = withSkip(c, c.optional(4));
  const axis = sum.dims.length - 1;
  const epsilon = c.float("epsilon", skipEpsilon);
  const y = layerNorm(c, sum, axis, c.input(2), c.optional(3), epsilon);
  const [mu, inverse] = c.wants(1) || c.wants(2) ? rowStatistics(c, c.g.convert(sum, wideFloat(sum.dtype)), axis, epsilon) : [null, null];
  return [c.of(y), mu ?? null, inverse ?? null, c.of(sum)];
}

/** The same with the root mean square's norm. */
function skipSimplified(c: NodeContext): readonly (Operand | null)[] {
  const sum = withSkip(c, c.optional(3));
  const axis = sum.dims.length - 1;
  const epsilon = c.float("epsilon", skipEpsilon);
  const y = rmsNorm(c, sum, axis, c.input(2), epsilon);
  return [c.of(y), null, c.wants(2) ? inverseRms(c, sum, axis, epsilon) : null, c.of(sum)];
}

function simplified(c: NodeContext): readonly (Operand | null)[] {
  const x = c.value(0);
  const axis = c.axis(c.int("axis", -1), x.dims.length);
  const epsilon = c.float("epsilon", 1e-5);
  const y = c.g.convert(rmsNorm(c, x, axis, c.input(1), epsilon), c.input(1).dtype);
  return [c.of(y), c.wants(1) ? inverseRms(c, x, axis, epsilon) : null];
}

/** Rows of a table; an index outside of it is moved to its edge. */
function rows(c: NodeContext, table: Value, index: Value): Value {
  if (table.dims.length !== 2) return c.fail(`a table of rank ${table.dims.length}, expected [entries, features]`);
  return c.g.one("gather", [table, index], { axes: [0], at: 0 });
}

/** What the tables and vectors of an embedding are made of. */
interface Embedding {
  /** Rows of the table in an input: entries that are given by number. */
  readonly rows: (input: number, index: Value) => Value;
  /** Scale and bias of the layer norm. */
  readonly vector: (input: number) => Operand;
  readonly positions: Operand | null;
}

/** Layer norm of the sum of a word's, a position's and a segment's embedding; and how many places of each batch the mask keeps. */
function embedding(c: NodeContext, e: Embedding): readonly (Operand | null)[] {
  const { g } = c;
  const ids = c.value(0);
  if (ids.dims.length !== 2) return c.fail(`input ids of rank ${ids.dims.length}, expected [batch, rows]`);
  const [batch, length] = ids.dims as [Dim, Dim];
  const at = e.positions === null ? g.one("iota", [], { dtype: i32, dims: [length], axis: 0 }) : e.positions.value;
  const words = e.rows(2, ids);
  let sum = g.one("add", [words, c.stretch(e.rows(3, at), words.dims)]);
  const segments = c.optional(1);
  if (segments !== null) sum = g.one("add", [sum, e.rows(4, segments.value)]);
  const y = layerNorm(c, sum, 2, e.vector(5), e.vector(6), c.float("epsilon", skipEpsilon));
  const mask = c.optional(7);
  const kept = (m: Value): Value => g.one("reduce", [g.convert(c.withScalar("eq", m, 1), i32)], { monoid: "add", axes: [1] });
  return [c.of(y), c.of(mask === null ? g.splat(i32, [batch], 0) : kept(mask.value)), c.wants(2) ? c.of(sum) : null];
}

function embedLayerNormalization(c: NodeContext): readonly (Operand | null)[] {
  return embedding(c, { rows: (i, index) => rows(c, c.value(i), index), vector: (i) => c.input(i), positions: c.optional(8) });
}

/** Tables and vectors of integers, each with one scale (inputs 8 to 12) and zero point (13 to 17). Only the rows that are read become numbers. */
function quantizedEmbedding(c: NodeContext): readonly (Operand | null)[] {
  const real = (x: Value, i: number): Value => {
    const [scale, zero] = [along(c, c.value(i + 6), 0, x.dims), along(c, c.value(i + 11), 0, x.dims)];
    return c.g.one("mul", [c.g.convert(centred(c, x, zero), scale.dtype), scale]);
  };
  return embedding(c, { rows: (i, index) => real(rows(c, c.value(i), index), i), vector: (i) => c.of(real(c.value(i), i)), positions: null });
}

/** Statistics over groups of channels, scale and bias for each channel, then SiLU where the node asks for it. */
function groupNorm(c: NodeContext, x: Value): Value {
  const groups = c.int("groups", 0);
  if (groups < 1) return c.fail(`groups ${groups}, expected at least 1`);
  return inLayout(c, c.int("channels_last", 1) !== 0, x, (first) => {
    const [n, channels, ...spatial] = first.dims as [Dim, Dim, ...Dim[]];
    const apart = c.g.convert(c.g.reshape(first, [n, groups, dividedBy(c, channels, groups), ...spatial]), wideFloat(x.dtype));
    const axes = apart.dims.map((_, i) => i).slice(2);
    const normal = c.g.reshape(standardised(c, apart, axes, c.float("epsilon", 1e-5)), first.dims);
    const parameter = (i: number): Value => over(c, c.input(i), [channels], normal.dtype, 1);
    const y = affine(c, normal, parameter(1), parameter(2));
    const activation = c.int("activation", 0);
    if (activation !== 0 && activation !== 1) return c.fail(`activation ${activation}, expected 0 (none) or 1 (SiLU)`);
    return c.g.convert(activation === 1 ? swish(c, y, 1) : y, x.dtype);
  });
}

/** Group norm of x + skip + bias, which is a result of its own; skip may be one for each channel of each batch. */
function skipGroupNorm(c: NodeContext): readonly Operand[] {
  const [x, skip] = [c.value(0), c.value(3)];
  const [batch, channels] = [x.dims[0], x.dims[x.dims.length - 1]];
  if (batch === undefined || channels === undefined) return c.fail("rank 0, expected batch, spatial dimensions and channels");
  if (c.int("channels_last", 1) === 0) return c.unsupported("channels that are not last");
  const flat = skip.dims.length === 2 ? c.g.reshape(skip, [batch, ...x.dims.slice(1, -1).map(() => 1), channels]) : skip;
  const sum = biased(c, biased(c, x, c.of(flat)), c.optional(4));
  return [c.of(groupNorm(c, sum)), c.of(sum)];
}

export const normalizationOps: OpTable = {
  SkipLayerNormalization: { since: 1, map: skipLayerNormalization },
  SkipSimplifiedLayerNormalization: { since: 1, map: skipSimplified },
  SimplifiedLayerNormalization: { since: 1, map: simplified },
  EmbedLayerNormalization: { since: 1, map: embedLayerNormalization },
  QEmbedLayerNormalization: { since: 1, map: quantizedEmbedding },
  GroupNorm: { since: 1, map: (c) => c.of(groupNorm(c, c.value(0))) },
  SkipGroupNorm: { since: 1, map: skipGroupNorm },
};
/** ONNX Runtime puts this one in ONNX's own domain. */
export const ownDomainOps: OpTable = { SimplifiedLayerNormalization: { since: 1, map: simplified } };

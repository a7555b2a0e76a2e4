import { type Dim, productOf } from "../../../base/dim.ts";
import { type DType, f32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";
import { positions, wideFloat } from "./elementwise.ts";
import { mean, reduced, spread } from "./reduction.ts";
import { dividedBy } from "./shape.ts";

/** From opset 13 on along one axis; before, over everything from the axis on, as one row. */
function overRows(c: NodeContext, f: (x: Value, axis: number) => Value): Operand {
  const x = c.value(0);
  const rank = x.dims.length;
  const axis = c.axis(c.int("axis", c.version >= 13 ? -1 : 1), rank);
  if (c.version >= 13 || axis === rank - 1) return c.of(f(x, axis));
  const rows = c.g.reshape(x, [productOf(x.dims.slice(0, axis)), productOf(x.dims.slice(axis))]);
  return c.of(c.g.reshape(f(rows, 1), x.dims));
}

/** What `f` makes of x, computed in f32 where x is narrower. */
function widely(c: NodeContext, x: Value, f: (wide: Value) => Value): Value {
  return c.g.convert(f(c.g.convert(x, wideFloat(x.dtype))), x.dtype);
}

export function softmax(c: NodeContext): Operand {
  return overRows(c, (x, axis) => widely(c, x, (v) => c.g.one("softmax", [v], { axis })));
}

/** x - max - log Σ exp(x - max) */
function logSoftmax(c: NodeContext): Operand {
  return overRows(c, (given, axis) =>
    widely(c, given, (x) => {
      const centred = c.g.one("sub", [x, spread(c, reduced(c, x, "max", [axis]), x.dims, [axis])]);
      const total = reduced(c, c.g.one("exp", [centred]), "add", [axis]);
      return c.g.one("sub", [centred, spread(c, c.g.one("log", [total]), x.dims, [axis])]);
    }),
  );
}

/** One at the first of the largest elements, 0 elsewhere. */
function hardmax(c: NodeContext): Operand {
  return overRows(c, (x, axis) => {
    const { g } = c;
    const best = g.one("eq", [x, spread(c, reduced(c, x, "max", [axis]), x.dims, [axis])]);
    const at = positions(c, x.dims, axis);
    const far = g.splat(at.dtype, x.dims, 2 ** 31 - 1);
    const first = reduced(c, g.one("select", [best, at, far]), "min", [axis]);
    return g.convert(g.one("eq", [at, spread(c, first, x.dims, [axis])]), x.dtype);
  });
}

function batchNormalization(c: NodeContext): readonly (Operand | null)[] {
  if (c.version < 14 ? [1, 2, 3, 4].some((i) => c.wants(i)) : c.int("training_mode", 0) !== 0) return trainedNormalization(c);
  const x = c.value(0);
  // One dimension is the batch, of one channel.
  if (x.dims.length === 1) {
    const [y] = batchNormalization(c.readAs(c.version, [c.of(c.g.reshape(x, [...x.dims, 1])), ...c.inputs.slice(1)]));
    return [c.of(c.g.reshape((y as Operand).value, x.dims))];
  }
  const epsilon = c.float("epsilon", 1e-5);
  // Parameters may be of another float dtype than x.
  const parameters = [1, 2, 3, 4].map((i) => c.g.convert(c.value(i), x.dtype));
  if (c.version >= 9 || c.int("spatial", 1) === 1) return [c.of(c.g.one("batch_norm", perChannel(c, x, parameters), { epsilon }))];
  // Before opset 9 each element might have its own.
  const [scale, bias, mu, variance] = parameters.map((p) => c.stretch(p, x.dims)) as [Value, Value, Value, Value];
  const normal = c.g.one("mul", [c.g.one("sub", [x, mu]), inverseRoot(c, variance, epsilon)]);
  return [c.of(c.g.one("add", [c.g.one("mul", [normal, scale]), bias]))];
}

/** x and vectors with an element for each of its channels. */
function perChannel(c: NodeContext, x: Value, vectors: readonly Value[]): Value[] {
  let all = x;
  const each = vectors.map((v) => {
    const [whole, own] = c.paired(all, 1, v, 0, "channels, and elements of their parameters");
    all = whole;
    return own;
  });
  return [all, ...each.map((v) => c.sizes.refine(v, [all.dims[1] as Dim]))];
}

/** Normalised by the batch's own statistics; the running ones move towards these. */
function trainedNormalization(c: NodeContext): readonly (Operand | null)[] {
  const given = c.value(0);
  const { g } = c;
  if (given.dims.length < 2) return c.fail(`rank ${given.dims.length}, expected [batch, channels, …]`);
  const x = g.convert(given, wideFloat(given.dtype));
  const axes = x.dims.map((_, i) => i).filter((i) => i !== 1);
  const mu = mean(c, x, axes);
  const centred = g.one("sub", [x, spread(c, mu, x.dims, axes)]);
  const variance = mean(c, g.one("mul", [centred, centred]), axes);
  const inverse = inverseRoot(c, variance, c.float("epsilon", 1e-5));
  const normal = g.one("mul", [centred, spread(c, inverse, x.dims, axes)]);
  const y = affine(c, normal, g.convert(c.value(1), x.dtype), g.convert(c.value(2), x.dtype));
  const momentum = c.float("momentum", 0.9);
  const moved = (i: number, now: Value): Operand => {
    const running = c.value(i);
    const old = c.withScalar("mul", g.convert(running, now.dtype), momentum);
    return c.of(g.convert(g.one("add", [old, c.withScalar("mul", now, 1 - momentum)]), running.dtype));
  };
  const saved = [mu, variance].map((v) => c.of(g.convert(v, given.dtype)));
  return [c.of(g.convert(y, given.dtype)), moved(3, mu), moved(4, variance), ...(c.version < 14 ? saved : [])];
}

/** 1 / sqrt(v + epsilon) */
function inverseRoot(c: NodeContext, v: Value, epsilon: number): Value {
  return c.g.one("rsqrt", [c.withScalar("add", v, epsilon)]);
}

/** Parameters over the dims from `axis` on, stretched to exactly those. */
export function over(c: NodeContext, parameter: Operand | null, dims: readonly Dim[], dtype: DType, otherwise: number): Value {
  return parameter === null ? c.g.splat(dtype, dims, otherwise) : c.stretch(c.g.convert(parameter.value, dtype), dims);
}

function layerNormalization(c: NodeContext): readonly (Operand | null)[] {
  const x = c.value(0);
  const rank = x.dims.length;
  const axis = c.axis(c.int("axis", -1), rank);
  const [inner, epsilon] = [x.dims.slice(axis), c.float("epsilon", 1e-5)];
  const wide = c.int("stash_type", 1) === 1 ? wideFloat(x.dtype) : x.dtype;
  const v = c.g.convert(x, wide);
  const y = c.g.one("layer_norm", [v, over(c, c.input(1), inner, wide, 1), over(c, c.optional(2), inner, wide, 0)], { axis, epsilon });
  const statistics = c.wants(1) || c.wants(2) ? rowStatistics(c, v, axis, epsilon) : [null, null];
  return [c.of(c.g.convert(y, x.dtype)), ...statistics];
}

/** Mean and inverse deviation of each row, with the reduced dimensions kept as 1. */
export function rowStatistics(c: NodeContext, x: Value, axis: number, epsilon: number): Operand[] {
  const axes = x.dims.map((_, i) => i).slice(axis);
  const mu = mean(c, x, axes);
  const centred = c.g.one("sub", [x, spread(c, mu, x.dims, axes)]);
  const inverse = inverseRoot(c, mean(c, c.g.one("mul", [centred, centred]), axes), epsilon);
  return [mu, inverse].map((v) =>
    c.of(
      c.g.reshape(
        c.g.convert(v, c.dtype("stash_type", f32)),
        x.dims.map((d, i) => (i < axis ? d : 1)),
      ),
    ),
  );
}

/** x / sqrt(mean x² + epsilon) · scale (Zhang & Sennrich, Root Mean Square Layer Normalization, 2019) */
function rmsNormalization(c: NodeContext): Operand {
  const x = c.value(0);
  const axis = c.axis(c.int("axis", -1), x.dims.length);
  const axes = x.dims.map((_, i) => i).slice(axis);
  const v = c.g.convert(x, c.int("stash_type", 1) === 1 ? wideFloat(x.dtype) : x.dtype);
  const inverse = inverseRoot(c, mean(c, c.g.one("mul", [v, v]), axes), c.float("epsilon", 1e-5));
  const normal = c.g.convert(c.g.one("mul", [v, spread(c, inverse, x.dims, axes)]), x.dtype);
  return c.of(c.g.one("mul", [normal, c.stretch(c.g.convert(c.value(1), x.dtype), x.dims)]));
}

/** (x - mean) / sqrt(variance + epsilon) along axes */
export function standardised(c: NodeContext, x: Value, axes: readonly number[], epsilon: number): Value {
  const centred = c.g.one("sub", [x, spread(c, mean(c, x, axes), x.dims, axes)]);
  const inverse = inverseRoot(c, mean(c, c.g.one("mul", [centred, centred]), axes), epsilon);
  return c.g.one("mul", [centred, spread(c, inverse, x.dims, axes)]);
}

/** scale and bias for each channel (dimension 1) */
export function affine(c: NodeContext, x: Value, scale: Value, bias: Value): Value {
  const scaled = c.g.one("mul", [x, c.g.broadcast(scale, x.dims, [1])]);
  return c.g.one("add", [scaled, c.g.broadcast(bias, x.dims, [1])]);
}

function instanceNormalization(c: NodeContext): Operand {
  const x = c.value(0);
  if (x.dims.length < 3) return c.fail(`rank ${x.dims.length}, expected [batch, channels, size, …]`);
  const axes = x.dims.map((_, i) => i).slice(2);
  return c.of(
    affine(
      c,
      widely(c, x, (v) => standardised(c, v, axes, c.float("epsilon", 1e-5))),
      c.value(1),
      c.value(2),
    ),
  );
}

/** Statistics over groups of channels; scale and bias belong to groups before opset 21, to channels from then on. */
function groupNormalization(c: NodeContext): Operand {
  const x = c.value(0);
  const groups = c.int("num_groups", 1);
  const [n, channels, ...spatial] = x.dims as [Dim, Dim, ...Dim[]];
  const each = dividedBy(c, channels, groups);
  const apart = c.g.convert(c.g.reshape(x, [n, groups, each, ...spatial]), c.int("stash_type", 1) === 1 ? wideFloat(x.dtype) : x.dtype);
  const axes = apart.dims.map((_, i) => i).slice(2);
  const normal = c.g.convert(standardised(c, apart, axes, c.float("epsilon", 1e-5)), x.dtype);
  const [scale, bias] = [c.value(1), c.value(2)];
  if (c.version < 21) return c.of(c.g.reshape(affine(c, normal, scale, bias), x.dims));
  return c.of(affine(c, c.g.reshape(normal, x.dims), scale, bias));
}

/** x over the p-norm along one axis */
function lpNormalization(c: NodeContext): Operand {
  const p = c.int("p", 2);
  if (p !== 1 && p !== 2) return c.fail(`p ${p}, expected 1 or 2`);
  return c.of(
    widely(c, c.value(0), (x) => {
      const axis = c.axis(c.int("axis", -1), x.dims.length);
      const total = reduced(c, p === 1 ? c.g.one("abs", [x]) : c.g.one("mul", [x, x]), "add", [axis]);
      const norm = p === 1 ? total : c.g.one("sqrt", [total]);
      // A row of zeros stays one.
      const safe = c.g.one("select", [c.withScalar("eq", norm, 0), c.g.splat(x.dtype, norm.dims, 1), norm]);
      return c.g.one("div", [x, spread(c, safe, x.dims, [axis])]);
    }),
  );
}

function meanVarianceNormalization(c: NodeContext): Operand {
  return c.of(
    widely(c, c.value(0), (x) => {
      const axes = c.normalAxes(c.ints("axes") ?? [0, 2, 3], x.dims.length);
      const centred = c.g.one("sub", [x, spread(c, mean(c, x, axes), x.dims, axes)]);
      const deviation = c.g.one("sqrt", [mean(c, c.g.one("mul", [centred, centred]), axes)]);
      return c.g.one("div", [centred, spread(c, c.withScalar("add", deviation, 1e-9), x.dims, axes)]);
    }),
  );
}

export const normalizationOps: OpTable = {
  Softmax: { since: 7, map: softmax },
  LogSoftmax: { since: 7, map: logSoftmax },
  Hardmax: { since: 7, map: hardmax },
  BatchNormalization: { since: 7, map: batchNormalization },
  LayerNormalization: { since: 17, map: layerNormalization },
  RMSNormalization: { since: 23, map: rmsNormalization },
  InstanceNormalization: { since: 7, map: instanceNormalization },
  GroupNormalization: { since: 18, map: groupNormalization },
  LpNormalization: { since: 7, map: lpNormalization },
  MeanVarianceNormalization: { since: 9, map: meanVarianceNormalization },
};

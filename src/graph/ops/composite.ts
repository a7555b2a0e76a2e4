import { type Dim, dimsEqual, productOf } from "../../base/dim.ts";
import type { GraphBuilder } from "../builder.ts";
import type { Value } from "../ir.ts";
import { type TensorType, defineOp } from "../op.ts";

/** Reduces along an axis and stretches the result back over x's dims. */
function alongAxes(g: GraphBuilder, monoid: string, x: Value, axes: readonly number[]): { kept: readonly number[]; reduced: Value } {
  return { reduced: g.one("reduce", [x], { monoid, axes }), kept: x.dims.map((_, d) => d).filter((d) => !axes.includes(d)) };
}

/** Mean along axes, as a value of x's dims without them. */
function mean(g: GraphBuilder, x: Value, axes: readonly number[]): Value {
  const { reduced } = alongAxes(g, "add", x, axes);
  const n = productOf(axes.map((a) => x.dims[a] as Dim));
  if (typeof n === "number") return g.one("mul", [reduced, g.splat(x.dtype, reduced.dims, 1 / n)]);
  return g.one("div", [reduced, g.broadcast(g.convert(g.one("iota_size", [], { dims: [n] }), x.dtype), reduced.dims, [])]);
}

const softmax = defineOp({
  name: "softmax",
  doc: "exp(x - max) / sum of it, along one axis.",
  operands: ["x"],
  attrs: { axis: "int" },
  constraints: ["C1: x is of a float dtype.", "C2: axis is a dimension."],
  infer({ operands: [x], attrs, fail }) {
    const t = x as TensorType;
    if (!t.dtype.isFloat) fail("C1", `got ${t.dtype}`);
    if (attrs.axis < 0 || attrs.axis >= t.dims.length) fail("C2", `axis ${attrs.axis} of rank ${t.dims.length}`);
    return [t];
  },
  decompose(g, [x], attrs) {
    const v = x as Value;
    const { reduced: max, kept } = alongAxes(g, "max", v, [attrs.axis]);
    const e = g.one("exp", [g.one("sub", [v, g.broadcast(max, v.dims, kept)])]);
    const { reduced: sum } = alongAxes(g, "add", e, [attrs.axis]);
    return [g.one("div", [e, g.broadcast(sum, v.dims, kept)])];
  },
  examples: [
    { operands: [{ type: "f32[3, 10]" }], attrs: { axis: 1 } },
    { operands: [{ type: "f32[2, 5, 4]" }], attrs: { axis: 1 } },
  ],
});

const layerNorm = defineOp({
  name: "layer_norm",
  doc: "(x - mean) / sqrt(variance + epsilon) · scale + bias over the dimensions from `axis` on (Ba et al., Layer Normalization, 2016).",
  operands: ["x", "scale", "bias"],
  attrs: { axis: "int", epsilon: "float" },
  constraints: ["C1: x is of a float dtype.", "C2: scale and bias have x's dims from axis on."],
  infer({ operands: [x, s, b], attrs, fail }) {
    const t = x as TensorType;
    if (!t.dtype.isFloat) fail("C1", `got ${t.dtype}`);
    const inner = t.dims.slice(attrs.axis);
    if (!dimsEqual((s as TensorType).dims, inner) || !dimsEqual((b as TensorType).dims, inner)) fail("C2", `expected [${inner.join(", ")}]`);
    return [t];
  },
  decompose(g, [x, scale, bias], attrs) {
    const v = x as Value;
    const axes = v.dims.map((_, d) => d).filter((d) => d >= attrs.axis);
    const kept = v.dims.map((_, d) => d).filter((d) => d < attrs.axis);
    const centred = g.one("sub", [v, g.broadcast(mean(g, v, axes), v.dims, kept)]);
    const variance = mean(g, g.one("mul", [centred, centred]), axes);
    const inverse = g.one("rsqrt", [g.one("add", [variance, g.splat(v.dtype, variance.dims, attrs.epsilon)])]);
    const normal = g.one("mul", [centred, g.broadcast(inverse, v.dims, kept)]);
    const scaled = g.one("mul", [normal, g.broadcast(scale as Value, v.dims, axes)]);
    return [g.one("add", [scaled, g.broadcast(bias as Value, v.dims, axes)])];
  },
  examples: [{ operands: [{ type: "f32[4, 12]" }, { type: "f32[12]" }, { type: "f32[12]" }], attrs: { axis: 1, epsilon: 1e-5 } }],
});

const rmsNorm = defineOp({
  name: "rms_norm",
  doc: "x / sqrt(mean(x²) + epsilon) · scale over the dimensions from `axis` on (Zhang & Sennrich, Root Mean Square Layer Normalization, 2019).",
  operands: ["x", "scale"],
  attrs: { axis: "int", epsilon: "float" },
  constraints: ["C1: x is of a float dtype.", "C2: scale has x's dims from axis on."],
  infer({ operands: [x, s], attrs, fail }) {
    const t = x as TensorType;
    if (!t.dtype.isFloat) fail("C1", `got ${t.dtype}`);
    const inner = t.dims.slice(attrs.axis);
    if (!dimsEqual((s as TensorType).dims, inner)) fail("C2", `expected [${inner.join(", ")}]`);
    return [t];
  },
  decompose(g, [x, scale], attrs) {
    const v = x as Value;
    const axes = v.dims.map((_, d) => d).filter((d) => d >= attrs.axis);
    const kept = v.dims.map((_, d) => d).filter((d) => d < attrs.axis);
    const square = mean(g, g.one("mul", [v, v]), axes);
    const inverse = g.one("rsqrt", [g.one("add", [square, g.splat(v.dtype, square.dims, attrs.epsilon)])]);
    const normal = g.one("mul", [v, g.broadcast(inverse, v.dims, kept)]);
    return [g.one("mul", [normal, g.broadcast(scale as Value, v.dims, axes)])];
  },
  examples: [{ operands: [{ type: "f32[4, 12]" }, { type: "f32[12]" }], attrs: { axis: 1, epsilon: 1e-5 } }],
});

const batchNorm = defineOp({
  name: "batch_norm",
  doc: "(x - mean) / sqrt(variance + epsilon) · scale + bias with given statistics for each feature (dimension 1).",
  operands: ["x", "scale", "bias", "mean", "variance"],
  attrs: { epsilon: "float" },
  constraints: ["C1: x is of a float dtype and has a dimension 1.", "C2: the others have the dims [features]."],
  infer({ operands: [x, ...rest], fail }) {
    const t = x as TensorType;
    if (!t.dtype.isFloat || t.dims.length < 2) fail("C1", `got ${t.dtype} of rank ${t.dims.length}`);
    if (rest.some((r) => !dimsEqual(r.dims, [t.dims[1] as Dim]))) fail("C2", `expected [${t.dims[1]}]`);
    return [t];
  },
  decompose(g, [x, scale, bias, mu, variance], attrs) {
    const [v, m] = [x as Value, mu as Value];
    const inverse = g.one("rsqrt", [g.one("add", [variance as Value, g.splat(v.dtype, m.dims, attrs.epsilon)])]);
    const factor = g.one("mul", [scale as Value, inverse]);
    const shift = g.one("sub", [bias as Value, g.one("mul", [m, factor])]);
    const scaled = g.one("mul", [v, g.broadcast(factor, v.dims, [1])]);
    return [g.one("add", [scaled, g.broadcast(shift, v.dims, [1])])];
  },
  examples: [
    {
      operands: [{ type: "f32[2, 3, 4]" }, { type: "f32[3]" }, { type: "f32[3]" }, { type: "f32[3]" }, { type: "f32[3]", range: [0.1, 2] }],
      attrs: { epsilon: 1e-5 },
    },
  ],
});

const gelu = defineOp({
  name: "gelu",
  doc: "x · Φ(x), by erf, or by tanh when `approximate` (Hendrycks & Gimpel, Gaussian Error Linear Units, 2016).",
  operands: ["x"],
  attrs: { approximate: "bool" },
  constraints: ["C1: x is of a float dtype."],
  infer({ operands: [x], fail }) {
    const t = x as TensorType;
    if (!t.dtype.isFloat) fail("C1", `got ${t.dtype}`);
    return [t];
  },
  decompose(g, [x], attrs) {
    const v = x as Value;
    const c = (n: number) => g.splat(v.dtype, v.dims, n);
    const inner = attrs.approximate
      ? g.one("tanh", [
          g.one("mul", [g.one("add", [v, g.one("mul", [g.one("mul", [g.one("mul", [v, v]), v]), c(0.044715)])]), c(Math.sqrt(2 / Math.PI))]),
        ])
      : g.one("erf", [g.one("mul", [v, c(Math.SQRT1_2)])]);
    return [g.one("mul", [g.one("mul", [v, c(0.5)]), g.one("add", [inner, c(1)])])];
  },
  examples: [
    { operands: [{ type: "f32[3, 7]" }], attrs: { approximate: false } },
    { operands: [{ type: "f32[3, 7]" }], attrs: { approximate: true } },
  ],
});

export const compositeOps = [softmax, layerNorm, rmsNorm, batchNorm, gelu] as const;

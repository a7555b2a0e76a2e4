import { type Dim, addDim, ceilDivDim, dimEquals, dimMin, divideExactly, floorDivDim, mulDim } from "../../../base/dim.ts";
import { f32, f64, i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { Formula, type Term } from "./formula.ts";
import { backTo, samplingType } from "./sampling.ts";
import { slicedAlong } from "./shape.ts";

/** A number of the node: known while importing, or an f64 scalar of the graph. */
type Quantity = Term;

/** How one axis is resized. */
interface Axis {
  readonly axis: number;
  readonly from: Dim;
  readonly to: Dim;
  readonly scale: Quantity;
  /** The length that coordinates refer to: scale · from, which `to` is the whole part of. */
  readonly length: Quantity;
  /** Start and end of the region of interest, as shares of the axis. */
  readonly roi: readonly [Quantity, Quantity];
}

interface Mode {
  readonly interpolation: "nearest" | "linear" | "cubic";
  readonly coordinates: string;
  readonly nearest: string;
  readonly cubicA: number;
  readonly antialias: boolean;
  readonly excludeOutside: boolean;
}

/** More terms than this are summed by a reduction instead of one by one. */
const mostTerms = 16;

/** The i-th element of an operand, as a number where it is known. */
function element(c: NodeContext, o: Operand, i: number): Quantity {
  const known = o.numbers?.[i];
  return known ?? c.g.convert(c.g.reshape(slicedAlong(c, o, 0, i, 1).value, []), f64);
}

const quantityOf = (c: NodeContext, d: Dim): Quantity => (typeof d === "number" ? d : c.g.convert(dimValue(c.g, d), f64));

/** Arithmetic on quantities: in numbers as long as all of them are known. */
function calculate(f: Formula, op: "mul" | "div" | "min" | "max" | "add", a: Quantity, b: Quantity): Quantity {
  if (typeof a !== "number" || typeof b !== "number") return f.op(op, a, b);
  switch (op) {
    case "add":
      return a + b;
    case "mul":
      return a * b;
    case "div":
      return a / b;
    case "min":
      return Math.min(a, b);
    case "max":
      return Math.max(a, b);
    default:
      throw op satisfies never;
  }
}

/** ⌊q⌋ as the size of an axis of the result; `bound` limits it where it comes from data. */
function wholeSize(c: NodeContext, axis: number, q: Quantity, bound: Dim | null): Dim {
  if (typeof q === "number") return Math.floor(q);
  return c.sizes.size(c.g.convert(c.g.one("floor", [q]), i32), "resized", 0, bound, c.declaredDim(0, axis));
}

/** ⌊n · scale⌋: exact for a symbolic n where the scale is a fraction of small powers of two, computed by the model elsewhere. */
function scaledSize(c: NodeContext, f: Formula, axis: number, n: Dim, scale: Quantity): Dim {
  const fine = 256;
  if (typeof scale === "number" && (typeof n === "number" || Number.isInteger(scale * fine)))
    return typeof n === "number" ? Math.floor(n * scale) : floorDivDim(mulDim(n, scale * fine), fine);
  const bound = typeof scale === "number" ? ceilDivDim(mulDim(n, Math.ceil(scale * fine)), fine) : null;
  return wholeSize(c, axis, calculate(f, "mul", scale, quantityOf(c, n)), bound);
}

/** The axes that the node resizes, with their new sizes. */
function axesOf(c: NodeContext, f: Formula, x: Operand, scales: Operand | null, sizes: Operand | null, roi: Operand | null): Axis[] {
  const axes = c.normalAxes(c.ints("axes") ?? x.dims.map((_, i) => i), x.rank);
  const given = sizes ?? scales ?? c.fail("neither scales nor sizes");
  if (given.rank !== 1 || given.dims[0] !== axes.length) c.fail(`${given.dims.join(" × ")} scales or sizes for ${axes.length} axes`);
  const region = (k: number): readonly [Quantity, Quantity] =>
    roi === null || roi.dims[0] === 0 ? [0, 1] : [element(c, roi, k), element(c, roi, k + axes.length)];
  const stretch = sizes === null ? null : stretchedTo(c, f, x, axes, sizes);
  return axes.map((axis, k) => {
    const from = x.dims[axis] as Dim;
    const scale = stretch?.[k]?.scale ?? element(c, given, k);
    if (typeof scale === "number" && !(scale > 0)) c.fail(`scale ${scale} of axis ${axis}, expected more than 0`);
    const to = stretch?.[k]?.to ?? scaledSize(c, f, axis, from, scale);
    const length = stretch?.[k]?.length ?? calculate(f, "mul", scale, quantityOf(c, from));
    return { axis, from, to, scale, length, roi: region(k) };
  });
}

/** Scales and sizes from wanted sizes, which with another policy than `stretch` are only limits for one common scale. */
function stretchedTo(
  c: NodeContext,
  f: Formula,
  x: Operand,
  axes: readonly number[],
  sizes: Operand,
): { readonly scale: Quantity; readonly to: Dim; readonly length: Quantity }[] {
  const policy = c.text("keep_aspect_ratio_policy", "stretch");
  const from = axes.map((a) => x.dims[a] as Dim);
  const wanted = (k: number): Quantity => (sizes.known === null ? element(c, sizes, k) : quantityOf(c, sizes.known[k] as Dim));
  const ratio = from.map((n, k) => calculate(f, "div", wanted(k), quantityOf(c, n)));
  if (policy === "stretch")
    return from.map((n, k) => {
      const to = sizes.known?.[k] ?? wholeSize(c, axes[k] as number, wanted(k), null);
      // The same size: no coordinates to compute, whatever the symbols are.
      return { scale: dimEquals(to, n) ? 1 : (ratio[k] as Quantity), to, length: quantityOf(c, to) };
    });
  if (policy !== "not_larger" && policy !== "not_smaller") return c.fail(`keep_aspect_ratio_policy '${policy}'`);
  const scale = ratio.reduce((a, b) => calculate(f, policy === "not_larger" ? "min" : "max", a, b));
  return from.map((n, k) => {
    const length = calculate(f, "mul", scale, quantityOf(c, n));
    return { scale, to: wholeSize(c, axes[k] as number, calculate(f, "add", length, 0.5), null), length };
  });
}

/** Where the points of the resized axis lie on the old one, as f64 of dims [to]. */
function coordinates(c: NodeContext, f: Formula, a: Axis, mode: string): Value {
  const o = c.g.one("iota", [], { dtype: f64, dims: [a.to], axis: 0 });
  const n = quantityOf(c, a.from);
  const half = (): Value => f.sub(f.div(f.add(o, 0.5), a.scale), 0.5);
  /** `many` for an axis of more than one point, `one` otherwise. */
  const unlessOne = (one: Quantity, many: Value): Value => {
    if (typeof a.length === "number") return a.length === 1 ? f.add(f.mul(o, 0), one) : many;
    return f.select(f.op("eq", c.g.broadcast(a.length, [a.to], []), 1), one, many);
  };
  const last = calculate(f, "add", n, -1);
  const lastNew = calculate(f, "add", a.length, -1);
  switch (mode) {
    case "half_pixel":
      return half();
    case "pytorch_half_pixel":
      return unlessOne(-0.5, half());
    case "half_pixel_symmetric": {
      const adjustment = calculate(f, "div", quantityOf(c, a.to), a.length);
      const center = calculate(f, "mul", n, 0.5);
      return f.add(half(), calculate(f, "add", center, calculate(f, "mul", calculate(f, "mul", center, adjustment), -1)));
    }
    case "asymmetric":
      return f.div(o, a.scale);
    case "tf_half_pixel_for_nn":
      return f.div(f.add(o, 0.5), a.scale);
    case "align_corners":
      return unlessOne(0, f.div(f.mul(o, last), lastNew));
    case "tf_crop_and_resize": {
      const [start, end] = a.roi;
      const span = calculate(f, "mul", calculate(f, "add", end, calculate(f, "mul", start, -1)), last);
      const within = unlessOne(calculate(f, "mul", span, 0.5), f.div(f.mul(o, span), lastNew));
      return f.add(within, calculate(f, "mul", start, last));
    }
    default:
      return c.fail(`coordinate_transformation_mode '${mode}'`);
  }
}

/** The nearest element of each coordinate. */
function nearest(c: NodeContext, f: Formula, at: Value, mode: string): Value {
  switch (mode) {
    case "round_prefer_floor":
      return f.op("ceil", f.sub(at, 0.5));
    case "round_prefer_ceil":
      return f.op("floor", f.add(at, 0.5));
    case "floor":
    case "ceil":
      return f.op(mode, at);
    default:
      return c.fail(`nearest_mode '${mode}'`);
  }
}

/** Reads x at a position for each point of the axis; one outside is moved to the edge. */
function pick(c: NodeContext, x: Value, axis: number, at: Value): Value {
  return c.g.one("gather", [x, c.g.convert(at, i32)], { axes: [axis], at: axis });
}

/** Nearest by whole factors, as repetition or as a slice; null where it is something else. */
function nearestByFactor(c: NodeContext, x: Value, a: Axis, m: Mode): Value | null {
  const { scale } = a;
  if (typeof scale !== "number" || (m.coordinates !== "half_pixel" && m.coordinates !== "asymmetric")) return null;
  const shift = m.coordinates === "half_pixel" ? 0.5 : 0;
  const rounded = (o: number): number => {
    const v = (o + shift) / scale - shift;
    return m.nearest === "floor"
      ? Math.floor(v)
      : m.nearest === "ceil"
        ? Math.ceil(v)
        : m.nearest === "round_prefer_ceil"
          ? Math.floor(v + 0.5)
          : Math.ceil(v - 0.5);
  };
  if (Number.isInteger(scale) && dimEquals(a.to, mulDim(a.from, scale))) {
    for (let o = 0; o < scale; o++) if (rounded(o) !== 0) return null;
    const spread = x.dims.toSpliced(a.axis + 1, 0, scale);
    const map = x.dims.map((_, i) => (i <= a.axis ? i : i + 1));
    return c.g.reshape(c.g.broadcast(x, spread, map), x.dims.with(a.axis, a.to));
  }
  const stride = 1 / scale;
  const first = rounded(0);
  if (!Number.isInteger(stride) || first < 0 || first >= stride || divideExactly(a.from, stride) === null) return null;
  if (!dimEquals(a.to, floorDivDim(a.from, stride))) return null;
  const none = x.dims.map(() => 0);
  return c.g.one("slice", [x], {
    start: none.with(a.axis, first),
    stride: none.map((_, i) => (i === a.axis ? stride : 1)),
    dims: x.dims.with(a.axis, a.to),
  });
}

/** The kernel of an interpolation at a distance: the triangle, or Keys' cubic convolution (Keys, 1981). */
function kernel(f: Formula, distance: Value, m: Mode): Value {
  const d = f.op("abs", distance);
  if (m.interpolation === "linear") return f.max(f.sub(1, d), 0);
  const a = m.cubicA;
  const near = f.add(f.mul(f.mul(f.sub(f.mul(d, a + 2), a + 3), d), d), 1);
  const far = f.sub(f.mul(f.add(f.mul(f.sub(f.mul(d, a), 5 * a), d), 8 * a), d), 4 * a);
  return f.select(f.op("le", d, 1), near, f.select(f.op("lt", d, 2), far, 0));
}

/** Elements and weights of each point: positions and weights of dims [to, terms]. */
function terms(c: NodeContext, f: Formula, a: Axis, m: Mode, at: Value): { readonly index: Value; readonly weight: Value; readonly count: Dim } {
  const radius = m.interpolation === "linear" ? 1 : 2;
  // Antialiasing widens the kernel when the axis shrinks.
  const shrink = m.antialias ? calculate(f, "min", a.scale, 1) : 1;
  const reach = typeof shrink === "number" ? Math.ceil(radius / shrink) : c.g.convert(f.op("ceil", f.div(radius, shrink)), i32);
  const half: Dim = typeof reach === "number" ? reach : c.g.bindSize(reach, "reach", 1, null);
  const count = mulDim(half, 2);
  const dims = [a.to, count];
  // The last position that is not beyond the point; a point on an element counts as beyond the one before.
  const base = f.sub(f.op("ceil", at), 1);
  const spread = (v: Value): Value => c.g.broadcast(v, dims, [0]);
  const offset = f.add(c.g.one("iota", [], { dtype: f64, dims, axis: 1 }), calculate(f, "add", calculate(f, "mul", quantityOf(c, half), -1), 1));
  let weight = kernel(f, f.mul(f.sub(offset, spread(f.sub(at, base))), shrink), m);
  const index = f.add(offset, spread(base));
  if (m.excludeOutside) weight = f.select(f.and(f.op("ge", index, 0), f.op("lt", index, quantityOf(c, a.from))), weight, 0);
  if (m.excludeOutside || m.antialias) {
    const sum = c.g.one("reduce", [weight], { monoid: "add", axes: [1] });
    weight = f.div(weight, spread(f.select(f.op("eq", sum, 0), 1, sum)));
  }
  return { index: c.g.convert(index, i32), weight, count };
}

/** One axis resized by a weighted sum of neighbours. */
function interpolated(c: NodeContext, f: Formula, x: Value, a: Axis, m: Mode, at: Value): Value {
  const { index, weight, count } = terms(c, f, a, m, at);
  const weights = c.g.convert(weight, x.dtype);
  if (typeof count !== "number" || count > mostTerms) {
    const near = c.g.one("gather", [x, index], { axes: [a.axis], at: a.axis });
    const product = f.mul(near, c.g.broadcast(weights, near.dims, [a.axis, a.axis + 1]));
    return c.g.one("reduce", [product], { monoid: "add", axes: [a.axis + 1] });
  }
  const column = (v: Value, k: number): Value => c.g.reshape(c.g.one("slice", [v], { start: [0, k], stride: [1, 1], dims: [a.to, 1] }), [a.to]);
  const dims = x.dims.with(a.axis, a.to);
  return f.weighted(
    Array.from({ length: count }, (_, k) => [c.g.broadcast(column(weights, k), dims, [a.axis]), pick(c, x, a.axis, column(index, k))] as const),
  );
}

/** Must nothing be done along an axis? */
function unchanged(a: Axis, coordinates: string): boolean {
  if (a.scale !== 1 || !dimEquals(a.from, a.to)) return false;
  return coordinates !== "tf_crop_and_resize" || (a.roi[0] === 0 && a.roi[1] === 1);
}

/** Shrinking axes first, outer ones before inner; growing ones last, inner ones before outer: the fewest elements go through a gather along a row. */
function inOrder(axes: readonly Axis[]): Axis[] {
  const grows = (a: Axis): boolean => (typeof a.scale === "number" ? a.scale > 1 : dimMin(addDim(a.to, mulDim(a.from, -1))) > 0);
  return [...axes].sort((a, b) => Number(grows(a)) - Number(grows(b)) || (grows(a) ? b.axis - a.axis : a.axis - b.axis));
}

function resizeBy(c: NodeContext, x: Operand, axes: readonly Axis[], m: Mode): Operand {
  const f = new Formula(c.g);
  const moved = axes.filter((a) => !unchanged(a, m.coordinates));
  if (moved.length === 0) return x;
  let v = m.interpolation === "nearest" ? x.value : c.g.convert(x.value, samplingType(x.dtype));
  const outside: { axis: number; mask: Value }[] = [];
  for (const a of inOrder(moved)) {
    if (a.from === 0 && a.to !== 0) c.fail(`axis ${a.axis} has no elements to make ${a.to} of`);
    const byFactor = m.interpolation === "nearest" ? nearestByFactor(c, v, a, m) : null;
    if (byFactor !== null) {
      v = byFactor;
      continue;
    }
    const at = coordinates(c, f, a, m.coordinates);
    if (m.coordinates === "tf_crop_and_resize")
      outside.push({ axis: a.axis, mask: f.op("not", f.between(at, 0, calculate(f, "add", quantityOf(c, a.from), -1))) });
    v = m.interpolation === "nearest" ? pick(c, v, a.axis, nearest(c, f, at, m.nearest)) : interpolated(c, f, v, a, m, at);
  }
  for (const { axis, mask } of outside) v = f.select(c.g.broadcast(mask, v.dims, [axis]), c.float("extrapolation_value", 0), v);
  return c.of(backTo(f, v, x.dtype));
}

function interpolation(c: NodeContext): Mode["interpolation"] {
  const mode = c.text("mode", "nearest");
  if (mode === "nearest" || mode === "linear" || mode === "cubic") return mode;
  // As Upsample called it before opset 9.
  return mode === "bilinear" ? "linear" : c.fail(`mode '${mode}'`);
}

function resize(c: NodeContext): Operand {
  const x = c.input(0);
  if (c.version < 11) return upsampled(c, x, c.input(1));
  const given = (i: number): Operand | null => {
    const o = c.optional(i);
    return o === null || o.dims[0] === 0 ? null : o;
  };
  const coordinateMode = c.text("coordinate_transformation_mode", "half_pixel");
  const roi = coordinateMode === "tf_crop_and_resize" ? (given(1) ?? c.fail("tf_crop_and_resize without a region of interest")) : null;
  return resizeBy(c, x, axesOf(c, new Formula(c.g), x, given(2), given(3), roi), {
    interpolation: interpolation(c),
    coordinates: coordinateMode,
    nearest: c.text("nearest_mode", "round_prefer_floor"),
    cubicA: c.float("cubic_coeff_a", -0.75),
    antialias: c.int("antialias", 0) === 1,
    excludeOutside: c.int("exclude_outside", 0) === 1,
  });
}

/** Upsample, and Resize as it was in opset 10: the corners of all elements at multiples of the scale. */
function upsampled(c: NodeContext, x: Operand, scales: Operand): Operand {
  const mode = { interpolation: interpolation(c), coordinates: "asymmetric", cubicA: -0.75, antialias: false, excludeOutside: false };
  const axes = axesOf(c, new Formula(c.g), x, scales, null, null);
  // An element that shrinking skips is the one before, not the one after.
  const shrinks = axes.some((a) => typeof a.scale === "number" && a.scale < 1);
  return resizeBy(c, x, axes, { ...mode, nearest: shrinks ? "ceil" : "floor" });
}

function upsample(c: NodeContext): Operand {
  const x = c.input(0);
  if (c.version >= 9) return upsampled(c, x, c.input(1));
  const scales = c.attribute("scales")?.floats ?? c.fail("'scales' is missing");
  return upsampled(c, x, c.knownOf(f32, [scales.length], scales));
}

export const resizeOps: OpTable = {
  Resize: { since: 10, map: resize },
  Upsample: { since: 7, map: upsample },
};

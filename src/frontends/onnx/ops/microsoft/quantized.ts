import { type Dim, dimEquals, productOf } from "../../../../base/dim.ts";
import { type DType, f32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { Formula } from "../formula.ts";
import { softmax } from "../normalization.ts";
import { averagePool } from "../pooling.ts";
import { along, centred, dequantize, isSingle, qlinearConv, quantize, toInteger } from "../quantization.ts";
import { inLayout } from "./layout.ts";

/** A tensor of integers of at most 8 bits with what makes them numbers: (x - zero) · scale. */
interface Quantized {
  readonly x: Operand;
  /** Rank 0, f32. */
  readonly scale: Value;
  readonly zero: Operand | null;
}

/** The single scale in an input. */
function scaleOf(c: NodeContext, i: number): Value {
  const v = c.value(i);
  if (!isSingle(v)) return c.unsupported(`a scale [${v.dims.join(", ")}] in input ${i}, expected a single one`);
  return c.g.convert(c.g.reshape(v, []), f32);
}
function zeroOf(c: NodeContext, i: number): Operand | null {
  const o = c.optional(i);
  if (o !== null && productOf(o.dims) !== 1) return c.unsupported(`a zero point [${o.dims.join(", ")}] in input ${i}, expected a single one`);
  return o;
}
/** The quantised tensor in three inputs from `i` on. */
function quantized(c: NodeContext, i: number): Quantized {
  const x = c.input(i);
  if (!x.dtype.isInteger || x.dtype.bits > 16) return c.fail(`input ${i} is ${x.dtype}, expected integers of 8 or 16 bits`);
  return { x, scale: scaleOf(c, i + 1), zero: zeroOf(c, i + 2) };
}

/** Integers less the zero point, in f32. */
function integers(c: NodeContext, q: Quantized): Value {
  return c.g.convert(centred(c, q.x.value, q.zero === null ? null : along(c, q.zero.value, 0, q.x.dims)), f32);
}
/** The numbers that are meant. */
function real(c: NodeContext, q: Quantized): Value {
  return new Formula(c.g).mul(integers(c, q), q.scale);
}

/** How a result is quantised: scale and zero point in two inputs from `i` on, of the operands' dtype where there is no zero point. */
interface Target {
  readonly scale: Value;
  readonly zero: Operand | null;
  readonly dtype: DType;
}
function target(c: NodeContext, i: number, otherwise: DType): Target {
  const zero = zeroOf(c, i + 1);
  return { scale: scaleOf(c, i), zero, dtype: zero?.dtype ?? otherwise };
}
/** Numbers in units of the target's scale as its integers. */
function rounded(c: NodeContext, v: Value, to: Target): Operand {
  return c.of(toInteger(c, v, to.zero === null ? null : along(c, to.zero.value, 0, v.dims), to.dtype));
}
function quantizedTo(c: NodeContext, v: Value, to: Target): Operand {
  return rounded(c, new Formula(c.g).div(v, to.scale), to);
}

/** The sum of the operands, each of them times the ratio of its scale to the result's. */
function add(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const [a, b] = [quantized(c, 0), quantized(c, 3)];
  const to = target(c, 6, a.x.dtype);
  const part = (q: Quantized) => f.mul(integers(c, q), f.div(q.scale, to.scale));
  const [x, y] = c.together(part(a), part(b)) as [Value, Value];
  return rounded(c, f.add(x, y), to);
}

function mul(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const [a, b] = [quantized(c, 0), quantized(c, 3)];
  const to = target(c, 6, a.x.dtype);
  const [x, y] = c.together(integers(c, a), integers(c, b)) as [Value, Value];
  return rounded(c, f.mul(f.mul(x, y), f.div(f.mul(a.scale, b.scale), to.scale)), to);
}

/** Each operand in the scale of the result. */
function concat(c: NodeContext): Operand {
  const count = (c.inputs.length - 2) / 3;
  if (!Number.isInteger(count) || count < 1) return c.fail(`${c.inputs.length} inputs, expected a scale, a zero point and three for each operand`);
  const parts = Array.from({ length: count }, (_, k) => quantized(c, 2 + 3 * k));
  const to = target(c, 0, (parts[0] as Quantized).x.dtype);
  const { dims } = (parts[0] as Quantized).x;
  const axis = c.axis(c.int("axis", 0), dims.length);
  const values = parts.map((q) => {
    if (q.x.rank !== dims.length) return c.fail(`operands of ranks ${dims.length} and ${q.x.rank}`);
    const common = dims.map((d, i) => (i === axis ? (q.x.dims[i] as Dim) : c.sameDim(q.x.dims[i] as Dim, d, `dimension ${i} of the operands`)));
    return c.sizes.refine(quantizedTo(c, real(c, q), to).value, common);
  });
  return c.of(values.length === 1 ? (values[0] as Value) : c.g.one("concat", values, { axis }));
}

/** An elementwise function of the numbers that are meant. */
function pointwise(make: (f: Formula, x: Value, c: NodeContext) => Value): (c: NodeContext) => Operand {
  return (c) => {
    const q = quantized(c, 0);
    return quantizedTo(c, make(new Formula(c.g), real(c, q), c), target(c, 3, q.x.dtype));
  };
}
const sigmoid = pointwise((f, x) => f.op("sigmoid", x));
const leakyRelu = pointwise((f, x, c) => f.select(f.op("lt", x, 0), f.mul(x, c.float("alpha", 0.01)), x));

const isLast = (c: NodeContext): boolean => c.int("channels_last", 0) !== 0;

/** Means of integers along axes in units of the result's scale: their sum is exact, and divided once. */
function meanOf(c: NodeContext, q: Quantized, axes: readonly number[], to: Target): Value {
  const f = new Formula(c.g);
  const zero = q.zero === null ? null : along(c, q.zero.value, 0, q.x.dims);
  const sum = c.g.convert(c.g.one("reduce", [centred(c, q.x.value, zero)], { monoid: "add", axes }), f32);
  const n = productOf(axes.map((a) => q.x.dims[a] as Dim));
  const count = typeof n === "number" ? c.g.scalar(f32, n) : c.g.convert(c.g.one("iota_size", [], { dims: [n] }), f32);
  return f.mul(sum, f.div(q.scale, f.mul(to.scale, count)));
}

function globalAveragePool(c: NodeContext): Operand {
  const q = quantized(c, 0);
  if (q.x.rank < 3) return c.fail(`rank ${q.x.rank}, expected batch, channels and spatial dimensions`);
  const to = target(c, 3, q.x.dtype);
  const first = isLast(c) ? 1 : 2;
  const axes = q.x.dims.map((_, i) => i).slice(first, first + q.x.rank - 2);
  const y = rounded(c, meanOf(c, q, axes, to), to);
  return c.of(
    c.g.reshape(
      y.value,
      q.x.dims.map((d, i) => (axes.includes(i) ? 1 : d)),
    ),
  );
}

function reduceMean(c: NodeContext): Operand {
  const q = quantized(c, 0);
  const to = target(c, 3, q.x.dtype);
  const axes = c.normalAxes(c.ints("axes") ?? q.x.dims.map((_, i) => i), q.x.rank);
  const y = rounded(c, meanOf(c, q, axes, to), to).value;
  if (c.int("keepdims", 1) === 0) return c.of(y);
  return c.of(
    c.g.reshape(
      y,
      q.x.dims.map((d, i) => (axes.includes(i) ? 1 : d)),
    ),
  );
}

/** Sums of integers are exact in f32, so that results do not depend on the order of additions. */
function averagePooled(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const q = quantized(c, 0);
  const to = target(c, 3, q.x.dtype);
  const y = inLayout(c, isLast(c), integers(c, q), (x) => averagePool(c.readAs(19, [c.of(x)])).value);
  return rounded(c, f.mul(y, f.div(q.scale, to.scale)), to);
}

/** `opset` says by which version's rule softmax reads its axis. */
function softmaxOf(c: NodeContext): Operand {
  const q = quantized(c, 0);
  const to = target(c, 3, q.x.dtype);
  return quantizedTo(c, softmax(c.readAs(c.int("opset", 13), [c.of(real(c, q))])).value, to);
}

function where(c: NodeContext): Operand {
  const [a, b] = [quantized(c, 1), quantized(c, 4)];
  const to = target(c, 7, a.x.dtype);
  const [condition, x, y] = c.together(c.value(0), real(c, a), real(c, b)) as [Value, Value, Value];
  return quantizedTo(c, c.g.one("select", [condition, x, y]), to);
}

/** As ONNX's own, with channels first or last in x and the result; in the weights they are always first. */
function conv(c: NodeContext): Operand {
  return c.of(inLayout(c, isLast(c), c.value(0), (x) => qlinearConv(c.readAs(21, c.inputs.with(0, c.of(x)))).value));
}

/** ONNX's op, in the form that the inputs have. */
const newest = 25;
/** Zero points of other dtypes than the elements' are not ONNX's; elsewhere the ops are the same. */
function dequantizeLinear(c: NodeContext): Operand {
  const [x, zero] = [c.input(0), c.optional(2)];
  if (zero !== null && zero.dtype !== x.dtype) return c.fail(`a zero point of ${zero.dtype} for elements of ${x.dtype}`);
  const { dims } = c.input(1);
  if (dims.length === 1 && x.rank > 0 && !dimEquals(dims[0] as Dim, 1)) c.axis(c.int("axis", 1), x.rank);
  return dequantize(c.readAs(newest));
}

export const quantizedOps: OpTable = {
  QLinearAdd: { since: 1, map: add },
  QLinearMul: { since: 1, map: mul },
  QLinearConcat: { since: 1, map: concat },
  QLinearSigmoid: { since: 1, map: sigmoid },
  QLinearLeakyRelu: { since: 1, map: leakyRelu },
  QLinearGlobalAveragePool: { since: 1, map: globalAveragePool },
  QLinearAveragePool: { since: 1, map: averagePooled },
  QLinearReduceMean: { since: 1, map: reduceMean },
  QLinearSoftmax: { since: 1, map: softmaxOf },
  QLinearWhere: { since: 1, map: where },
  QLinearConv: { since: 1, map: conv },
  QuantizeLinear: { since: 1, map: (c) => quantize(c.readAs(newest)) },
  DequantizeLinear: { since: 1, map: dequantizeLinear },
};

import type { Dim } from "../../../../base/dim.ts";
import { f32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { Formula } from "../formula.ts";
import { type Matrix, entry, lstmOf } from "../recurrent.ts";
import { centred, dynamicQuantize, integerProduct, isSingle, matrixParameter, toInteger } from "../quantization.ts";

/** Both scales together, stretched to a product: the left one is single, the right one may have one for each column. */
export function scaleOfProduct(c: NodeContext, left: Value, right: Value, product: Value): Value {
  if (!isSingle(left)) return c.unsupported(`a scale [${left.dims.join(", ")}] of the left operand, expected a single one`);
  const f = new Formula(c.g);
  const [a, b] = [c.g.reshape(left, []), isSingle(right) ? c.g.reshape(right, []) : right];
  const both = f.mul(b, a);
  return matrixParameter(c, both, product, "columns");
}

/** The product of integers as the numbers that are meant, plus a bias where there is one. */
function scaledProduct(c: NodeContext, product: Value, left: Value, right: Value, bias: Operand | null): Value {
  const wide = [left, right].map((v) => c.g.convert(v, f32)) as [Value, Value];
  const y = c.g.convert(c.g.one("mul", [c.g.convert(product, f32), scaleOfProduct(c, ...wide, product)]), right.dtype);
  return bias === null ? y : c.g.one("add", [y, c.stretch(bias.value, y.dims)]);
}

function matMulIntegerToFloat(c: NodeContext): Operand {
  const product = integerProduct(c, c.input(0), c.optional(4), c.input(1), c.optional(5));
  return c.of(scaledProduct(c, product, c.value(2), c.value(3), c.optional(6)));
}

/** A is quantised by its own range in the run. */
function dynamicQuantizeMatMul(c: NodeContext): Operand {
  const [a, scale, zero] = dynamicQuantize(c) as [Operand, Operand, Operand];
  const product = integerProduct(c, a, zero, c.input(1), c.optional(3));
  return c.of(scaledProduct(c, product, scale.value, c.value(2), c.optional(4)));
}

/** alpha · A' B' + C, where C is in units of the product's scale; in f32 unless the result has a scale. */
function qgemm(c: NodeContext): Operand {
  const turned = (i: number, name: string): Operand => {
    const x = c.input(i);
    if (x.rank !== 2) return c.fail(`input ${i} of rank ${x.rank}, expected 2`);
    return c.int(name, 0) === 0 ? x : c.of(c.g.transpose(x.value, [1, 0]));
  };
  const f = new Formula(c.g);
  const [a, b, bias] = [turned(0, "transA"), turned(3, "transB"), c.optional(6)];
  let sum = integerProduct(c, a, c.optional(2), b, c.optional(5));
  if (bias !== null) sum = c.g.one("add", [sum, c.stretch(bias.value, sum.dims)]);
  const scales = scaleOfProduct(c, c.g.convert(c.value(1), f32), c.g.convert(c.value(4), f32), sum);
  const alpha = c.float("alpha", 1);
  const factor = alpha === 1 ? scales : f.mul(scales, alpha);
  const [scale, zero] = [c.optional(7), c.optional(8)];
  if (scale === null) return c.of(f.mul(c.g.convert(sum, f32), factor));
  const to = (v: Value) => matrixParameter(c, v, sum, "columns");
  const units = f.div(factor, to(scale.value));
  return c.of(toInteger(c, f.mul(c.g.convert(sum, f32), units), zero === null ? null : to(zero.value), zero?.dtype ?? a.dtype));
}

/** Input `i` holds integers [directions, columns, 4 · hidden], those at `parameters` their scales and zero points: for each direction, or for each column. */
function quantizedMatrix(c: NodeContext, i: number, direction: number): Matrix {
  const parameters = i === 1 ? 8 : 10;
  const w = c.g.transpose(entry(c, c.input(i), direction) as Value, [1, 0]);
  const ofRows = (k: number): Value => {
    const v = entry(c, c.input(k), direction) as Value;
    if (v.dims.length > 1) return c.fail(`input ${k} of rank ${v.dims.length + 1}, expected 1 or 2`);
    if (v.dims.length > 0) c.sameDim(v.dims[0] as Dim, w.dims[0] as Dim, `elements of input ${k}, and columns of input ${i}`);
    return c.g.broadcast(v, [w.dims[0] as Dim], v.dims.length === 0 ? [] : [0]);
  };
  return { elements: centred(c, w, c.g.broadcast(ofRows(parameters + 1), w.dims, [0])), scales: ofRows(parameters) };
}

export const productOps: OpTable = {
  MatMulIntegerToFloat: { since: 1, map: matMulIntegerToFloat },
  DynamicQuantizeMatMul: { since: 1, map: dynamicQuantizeMatMul },
  DynamicQuantizeLSTM: { since: 1, map: lstmOf(quantizedMatrix) },
  QGemm: { since: 1, map: qgemm },
};

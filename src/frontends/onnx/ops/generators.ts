import { type Dim, dimMin, productOf } from "../../../base/dim.ts";
import { type DType, f32, f64, i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import { lengthOf, listOf } from "../axes.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { maxKnown, stepsBetween } from "../known.ts";
import type { Operand } from "../operand.ts";
import { positions } from "./elementwise.ts";
import { sizesOf } from "./shape.ts";

/** Tensors that are made of their position alone. */

export function range(c: NodeContext): Operand {
  const { dtype } = c.input(0);
  const [start, limit, delta] = [0, 1, 2].map((i) => c.input(i).known?.[0]);
  if (delta === 0) return c.fail("a step of 0");
  if (start === undefined || limit === undefined || typeof delta !== "number") return rangeByData(c, dtype);
  if (dtype.isFloat && (typeof start !== "number" || typeof limit !== "number")) return rangeByData(c, dtype);
  const n = dtype.isFloat ? Math.max(0, Math.ceil((Number(limit) - Number(start)) / delta)) : stepsBetween(start, limit, delta);
  if (typeof n === "number" && n <= maxKnown && typeof start === "number")
    return c.knownOf(
      dtype,
      [n],
      Array.from({ length: n }, (_, i) => start + i * delta),
    );
  return c.of(progression(c, dtype, n, start === 0, delta === 1));
}

/** start + i · delta for i below n */
function progression(c: NodeContext, dtype: DType, n: Dim, fromZero: boolean, byOne: boolean): Value {
  const scalar = (i: number): Value => c.g.broadcast(c.g.reshape(c.value(i), []), [n], []);
  const steps = c.g.one("iota", [], { dtype, dims: [n], axis: 0 });
  const scaled = byOne ? steps : c.g.one("mul", [steps, scalar(2)]);
  return fromZero ? scaled : c.g.one("add", [scaled, scalar(0)]);
}

/** The number of elements, ⌈(limit - start) / delta⌉, is computed when the model runs. */
function rangeByData(c: NodeContext, dtype: DType): Operand {
  const [start, limit, delta] = [0, 1, 2].map((i) => c.g.reshape(c.value(i), [])) as [Value, Value, Value];
  const declared = c.declaredDim(0, 0);
  // In doubles the quotient of integers below 2^53 is exact where it is whole.
  const wide = (v: Value): Value => c.g.convert(v, f64);
  const span = dtype.isFloat ? wide(c.g.one("sub", [limit, start])) : c.g.one("sub", [wide(limit), wide(start)]);
  const steps = c.g.one("ceil", [c.g.one("div", [span, wide(delta)])]);
  const most = c.withScalar("min", c.withScalar("max", steps, 0), 2 ** 31 - 1);
  const n = c.sizes.size(c.g.convert(most, i32), "range", 0, null, declared);
  return c.of(progression(c, dtype, n, false, false));
}

function shapeByData(c: NodeContext, shape: Operand): Dim[] {
  const rank = lengthOf(c, shape, c.declaredRank(0), "the shape");
  return sizesOf(c, c.sizes.refine(listOf(c, shape), [rank]), rank, null, shape.partial ?? []);
}

function constantOfShape(c: NodeContext): Operand {
  const shape = c.input(0);
  const dims = shape.known ?? shapeByData(c, shape);
  if (dims.some((d) => dimMin(d) < 0)) return c.fail(`shape [${dims.join(", ")}]`);
  const t = c.tensor("value");
  const fill = t === null ? c.knownOf(f32, [], [0]) : c.constantOf(t);
  const [v] = fill.known ?? [];
  const n = productOf(dims);
  if (v !== undefined && typeof n === "number" && n <= maxKnown && fill.dtype.isInteger)
    return c.knownOf(
      fill.dtype,
      dims,
      Array.from({ length: n }, () => v),
    );
  return c.of(c.g.broadcast(c.g.reshape(fill.value, []), dims, []));
}

/** `column - row` of the last two dimensions, as i32. */
function diagonal(c: NodeContext, dims: readonly Dim[]): Value {
  return c.g.one("sub", [positions(c, dims, dims.length - 1), positions(c, dims, dims.length - 2)]);
}

export function trilu(c: NodeContext): Operand {
  const x = c.input(0);
  if (x.rank < 2) return c.fail(`rank ${x.rank}, expected at least 2`);
  const k = c.optional(1);
  const plane = x.dims.slice(-2);
  const offset = k === null ? c.g.scalar(i32, 0) : c.g.convert(c.g.reshape(k.value, []), i32);
  const keep = c.g.one(c.int("upper", 1) === 1 ? "ge" : "le", [diagonal(c, plane), c.g.broadcast(offset, plane, [])]);
  return c.of(c.g.one("select", [c.stretch(keep, x.dims), x.value, c.g.splat(x.dtype, x.dims, 0)]));
}

function eyeLike(c: NodeContext): Operand {
  const x = c.input(0);
  const dtype: DType = c.dtype("dtype", x.dtype);
  if (x.rank !== 2) return c.fail(`rank ${x.rank}, expected 2`);
  return c.of(c.g.convert(c.withScalar("eq", diagonal(c, x.dims), c.int("k", 0)), dtype));
}

export const generatorOps: OpTable = {
  Range: { since: 11, map: range },
  ConstantOfShape: { since: 9, map: constantOfShape },
  Trilu: { since: 14, map: trilu },
  EyeLike: { since: 9, map: eyeLike },
};

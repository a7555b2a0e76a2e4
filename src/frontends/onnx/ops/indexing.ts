import { type Dim, productOf } from "../../../base/dim.ts";
import { i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";
import { dimValue } from "../operand.ts";
import { positions } from "./elementwise.ts";
import { reshaped, slicedAlong } from "./shape.ts";

/** Index data whose negative entries count from the end. Indices that are known not to be negative stay as they are. */
function fromStart(c: NodeContext, index: Operand, n: Dim): Value {
  const v = index.value;
  if (v.dtype.kind === "uint" || index.numbers?.every((i) => i >= 0)) return v;
  const size = c.g.broadcast(c.g.convert(dimValue(c.g, n), v.dtype), v.dims, []);
  return c.g.one("select", [c.withScalar("lt", v, 0), c.g.one("add", [v, size]), v]);
}

/** One constant index picks a slice; everything else is a gather. */
function gather(c: NodeContext): Operand {
  const [x, index] = [c.input(0), c.input(1)];
  const axis = c.axis(c.int("axis", 0), x.rank);
  const n = x.dims[axis] as Dim;
  const dims = x.dims.toSpliced(axis, 1, ...index.dims);
  const picks = index.numbers;
  if (picks !== null && x.known !== null && x.rank === 1) {
    const elements = picks.map((i) => x.known?.[c.axis(i, Number(n))] as Dim);
    return c.knownOf(x.dtype, dims, elements);
  }
  if (picks !== null && x.rank === 1 && x.partial !== null && typeof n === "number") {
    const some = picks.map((i) => x.partial?.[c.axis(i, n)] ?? null);
    if (some.every((d) => d !== null)) return c.knownOf(x.dtype, dims, some);
  }
  const [only] = picks ?? [];
  if (picks?.length === 1 && only !== undefined && (only >= 0 || typeof n === "number")) {
    const at = typeof n === "number" ? c.axis(only, n) : only;
    return reshaped(c, slicedAlong(c, x, axis, at, 1), dims);
  }
  return c.of(c.g.one("gather", [x.value, fromStart(c, index, n)], { axes: [axis], at: axis }));
}

/** Index tensors that walk every axis but one in step with the index's own position. */
function alongAxis(c: NodeContext, x: Operand, index: Operand, axis: number): Value[] {
  if (index.rank !== x.rank) return c.fail(`indices of rank ${index.rank} into rank ${x.rank}`);
  return x.dims.map((d, i) => (i === axis ? fromStart(c, index, d) : positions(c, index.dims, i)));
}

function gatherElements(c: NodeContext): Operand {
  const [x, index] = [c.input(0), c.input(1)];
  const axis = c.axis(c.int("axis", 0), x.rank);
  return c.of(c.g.one("gather", [x.value, ...alongAxis(c, x, index, axis)], { axes: x.dims.map((_, i) => i), at: 0 }));
}

/** Index tuples in the last dimension, taken apart: one index tensor for each entry, after one for each batch dimension. */
function tuples(c: NodeContext, x: Operand, index: Operand, batch: number): Value[] {
  const width = index.dims[index.rank - 1];
  if (typeof width !== "number" || batch + width > x.rank)
    return c.fail(`index tuples of ${width} entries (and ${batch} batch dimensions) into rank ${x.rank}`);
  const dims = index.dims.slice(0, -1);
  const entries = Array.from({ length: width }, (_, k) =>
    fromStart(c, reshaped(c, slicedAlong(c, index, index.rank - 1, k, 1), dims), x.dims[batch + k] as Dim),
  );
  return [...Array.from({ length: batch }, (_, i) => positions(c, dims, i)), ...entries];
}

export function gatherNd(c: NodeContext): Operand {
  const [x, index] = [c.input(0), c.input(1)];
  const batch = c.int("batch_dims", 0);
  if (batch < 0 || batch >= Math.min(x.rank, index.rank)) return c.fail(`batch_dims ${batch} for ranks ${x.rank} and ${index.rank}`);
  for (let i = 0; i < batch; i++) c.sameDim(index.dims[i] as Dim, x.dims[i] as Dim, `batch dimension ${i}`);
  const by = tuples(c, x, index, batch);
  return c.of(c.g.one("gather", [x.value, ...by], { axes: by.map((_, i) => i), at: 0 }));
}

function combiner(c: NodeContext): string {
  const word = c.text("reduction", "none");
  return ["none", "add", "mul", "min", "max"].includes(word) ? word : c.fail(`reduction '${word}', expected none, add, mul, min or max`);
}

function scatterElements(c: NodeContext): Operand {
  const [x, index, updates] = [c.input(0), c.input(1), c.input(2)];
  const axis = c.axis(c.int("axis", 0), x.rank);
  return c.of(
    c.g.one("scatter", [x.value, updates.value, ...alongAxis(c, x, index, axis)], { axes: x.dims.map((_, i) => i), at: 0, combiner: combiner(c) }),
  );
}

function scatterNd(c: NodeContext): Operand {
  const [x, index, updates] = [c.input(0), c.input(1), c.input(2)];
  const by = tuples(c, x, index, 0);
  return c.of(c.g.one("scatter", [x.value, updates.value, ...by], { axes: by.map((_, i) => i), at: 0, combiner: combiner(c) }));
}

/** on where the position along the new axis is the index, off elsewhere; an index out of range gives off everywhere. */
function oneHot(c: NodeContext): Operand {
  const [index, values] = [c.input(0), c.input(2)];
  const axis = c.axis(c.int("axis", -1), index.rank + 1);
  const { sizes } = c;
  const given = c.input(1);
  const depth = given.known === null ? sizes.size(sizes.entry(sizes.of(given), 0), "depth", 0, null, c.declaredDim(0, axis)) : given.known[0];
  if (depth === undefined || productOf(values.dims) !== 2) return c.fail("needs a depth and two values");
  const dims = index.dims.toSpliced(axis, 0, depth);
  const map = index.dims.map((_, i) => (i < axis ? i : i + 1));
  const whole = index.dtype.isFloat ? c.of(c.g.convert(index.value, i32)) : index;
  const at = c.g.convert(fromStart(c, whole, depth), i32);
  const hit = c.g.one("eq", [c.g.broadcast(at, dims, map), positions(c, dims, axis)]);
  const [off, on] = [0, 1].map((i) => c.g.broadcast(c.g.reshape(slicedAlong(c, values, 0, i, 1).value, []), dims, [])) as [Value, Value];
  return c.of(c.g.one("select", [hit, on, off]));
}

export const indexingOps: OpTable = {
  Gather: { since: 7, map: gather },
  GatherElements: { since: 11, map: gatherElements },
  GatherND: { since: 11, map: gatherNd },
  Scatter: { since: 9, map: scatterElements },
  ScatterElements: { since: 11, map: scatterElements },
  ScatterND: { since: 11, map: scatterNd },
  OneHot: { since: 9, map: oneHot },
};

import { type Dim, productOf, subDim, symbolDim } from "../../../../base/dim.ts";
import { i32 } from "../../../../base/dtype.ts";
import type { GraphBuilder } from "../../../../graph/builder.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { wideFloat } from "../elementwise.ts";
import { Formula } from "../formula.ts";
import { matrixProduct } from "../matmul.ts";
import { spread } from "../reduction.ts";

/**
 * One turn of Gauss and Jordan's elimination with partial pivoting on [batch, n, 2n], matrices beside what becomes their inverses:
 * the row with column k's largest entry changes places with row k, is divided by that entry, and clears the column in all others.
 */
function turn(g: GraphBuilder, x: Value, k: Dim): Value {
  const f = new Formula(g);
  const [batch, n, width] = x.dims as [Dim, Dim, Dim];
  const rows: readonly Dim[] = [batch, n];
  const over = (v: Value, map: readonly number[], dims: readonly Dim[] = x.dims) => g.broadcast(v, dims, map);
  const size = (d: Dim, dims: readonly Dim[]) => over(g.one("iota_size", [], { dims: [d] }), [], dims);
  const at = g.one("iota", [], { dtype: i32, dims: rows, axis: 1 });
  const row = (v: Value, index: readonly Dim[], dims: readonly Dim[]) => g.one("slice", [v], { start: index, stride: index.map(() => 1), dims });
  const column = g.reshape(row(x, [0, 0, k], [batch, n, 1]), rows);
  // Rows above are done: they are no candidates.
  const candidates = f.select(f.op("ge", at, size(k, rows)), f.op("abs", column), -1);
  const isLargest = f.op("eq", candidates, over(g.one("reduce", [candidates], { monoid: "max", axes: [1] }), [0], rows));
  const place = g.one("reduce", [f.select(isLargest, at, size(subDim(n, 1), rows))], { monoid: "min", axes: [1] });
  const each = g.one("iota", [], { dtype: i32, dims: [batch], axis: 0 });
  const [pivots, pivot] = [x, column].map((v) => g.one("gather", [v, each, place], { axes: [0, 1], at: 0 })) as [Value, Value];
  const normal = f.div(pivots, over(pivot, [0], [batch, width]));
  const above = g.reshape(row(x, [0, k, 0], [batch, 1, width]), [batch, width]);
  const moved = f.op("eq", at, over(place, [0], rows));
  const swapped = f.select(over(moved, [0, 1]), over(above, [0, 2]), x);
  const factor = f.select(moved, over(g.reshape(row(column, [0, k], [batch, 1]), [batch]), [0], rows), column);
  const cleared = f.sub(swapped, f.mul(over(factor, [0, 1]), over(normal, [0, 2])));
  return f.select(over(f.op("eq", at, size(k, rows)), [0, 1]), over(normal, [0, 2]), cleared);
}

/** The inverses of square matrices. Of one that has none, elements are infinite or no numbers. */
function inverse(c: NodeContext): Operand {
  const { g } = c;
  const x = c.value(0);
  const rank = x.dims.length;
  if (rank < 2) return c.fail(`rank ${rank}, expected at least 2`);
  const n = c.sameDim(x.dims[rank - 1] as Dim, x.dims[rank - 2] as Dim, "sides of a matrix");
  const batch = productOf(x.dims.slice(0, -2));
  const flat = g.reshape(g.convert(x, wideFloat(x.dtype)), [batch, n, n]);
  if (n === 0) return c.of(x);
  const places = (axis: number) => g.one("iota", [], { dtype: i32, dims: flat.dims, axis });
  const identity = g.convert(g.one("eq", [places(1), places(2)]), flat.dtype);
  const both = g.one("concat", [flat, identity], { axis: 2 });
  const body = g.nested();
  const state = body.value("matrices", { dtype: both.dtype, dims: both.dims });
  const k = symbolDim(g.dataSymbol("k", 0, subDim(n, 1)));
  const region = body.region([state], [turn(body, state, k)]);
  const last = g.op("loop", [both], { index: [k], length: [n], states: 1, conditional: false }, { regions: [region] })[1] as Value;
  const right = g.one("slice", [last], { start: [0, 0, n], stride: [1, 1, 1], dims: [batch, n, n] });
  return c.of(g.convert(g.reshape(right, x.dims), x.dtype));
}

/** Distances of all rows of A from all rows of B: |a|² + |b|² - 2 a·b, so that a product does the work, held at 0 from below. */
function cdist(c: NodeContext): Operand {
  const metric = c.text("metric", "sqeuclidean");
  if (metric !== "euclidean" && metric !== "sqeuclidean") return c.unsupported(`metric '${metric}', expected euclidean or sqeuclidean`);
  const f = new Formula(c.g);
  const [a, b] = [c.value(0), c.value(1)];
  if (a.dims.length !== 2 || b.dims.length !== 2) return c.fail(`ranks ${a.dims.length} and ${b.dims.length}, expected 2 and 2`);
  const product = matrixProduct(c, a, c.g.transpose(b, [1, 0]));
  const square = (v: Value) => c.g.one("reduce", [f.mul(v, v)], { monoid: "add", axes: [1] });
  const sum = f.add(spread(c, square(a), product.dims, [1]), spread(c, square(b), product.dims, [0]));
  const distance = f.max(f.sub(sum, f.mul(product, 2)), 0);
  return c.of(metric === "euclidean" ? f.op("sqrt", distance) : distance);
}

export const matrixOps: OpTable = {
  Inverse: { since: 1, map: inverse },
  CDist: { since: 1, map: cdist },
};

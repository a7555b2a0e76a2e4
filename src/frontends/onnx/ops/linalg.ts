import { type Dim, productOf, subDim, symbolDim } from "../../../base/dim.ts";
import { bool, i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";
import { positions, wideFloat } from "./elementwise.ts";

/** Up to this size determinants are written out by minors. */
const byMinors = 3;

/** The determinants of [batch, n, n]: by minors, or by elimination. */
function determinants(c: NodeContext, x: Value): Value {
  const n = x.dims[1] as Dim;
  return typeof n === "number" && n <= byMinors ? minors(c, x, n) : eliminated(c, x, n);
}

/** Laplace's expansion along the first row that is left. */
function minors(c: NodeContext, x: Value, n: number): Value {
  const { g } = c;
  const batch = x.dims[0] as Dim;
  const entry = (row: number, column: number) =>
    g.reshape(g.one("slice", [x], { start: [0, row, column], stride: [1, 1, 1], dims: [batch, 1, 1] }), [batch]);
  const minor = (row: number, columns: readonly number[]): Value => {
    const [first, ...rest] = columns;
    if (first === undefined) return g.splat(x.dtype, [batch], 1);
    if (rest.length === 0) return entry(row, first);
    return columns
      .map((column, i) => ({
        term: g.one("mul", [entry(row, column), minor(row + 1, columns.toSpliced(i, 1))]),
        op: i % 2 === 0 ? "add" : "sub",
      }))
      .reduce((sum, { term, op }) => ({ term: g.one(op, [sum.term, term]), op })).term;
  };
  return minor(
    0,
    Array.from({ length: n }, (_, i) => i),
  );
}

/** Gaussian elimination with partial pivoting: turn k makes zeros below the pivot of column k and multiplies it to the product. */
function eliminated(c: NodeContext, x: Value, n: Dim): Value {
  const { g } = c;
  const batch = x.dims[0] as Dim;
  const body = g.nested();
  const state = body.value("matrix", { dtype: x.dtype, dims: x.dims });
  const product = body.value("product", { dtype: x.dtype, dims: [batch] });
  const k = symbolDim(g.dataSymbol("k", 0, subDim(n, 1)));
  const next = elimination(body, state, product, k);
  const region = body.region([state, product], next);
  const one = g.splat(x.dtype, [batch], 1);
  return g.op("loop", [x, one], { index: [k], length: [n], states: 2, conditional: false }, { regions: [region] })[2] as Value;
}

function elimination(g: NodeContext["g"], x: Value, product: Value, k: Dim): [Value, Value] {
  const [batch, n] = x.dims as [Dim, Dim, Dim];
  const rows: readonly Dim[] = [batch, n];
  const over = (v: Value, map: readonly number[], dims: readonly Dim[] = rows) => g.broadcast(v, dims, map);
  const at = g.one("iota", [], { dtype: i32, dims: rows, axis: 1 });
  const kAt = over(g.one("iota_size", [], { dims: [k] }), []);
  const column = g.reshape(g.one("slice", [x], { start: [0, 0, k], stride: [1, 1, 1], dims: [batch, n, 1] }), rows);
  // Rows above are done: they are no candidates.
  const size = g.one("select", [g.one("ge", [at, kAt]), g.one("abs", [column]), g.splat(x.dtype, rows, -1)]);
  const largest = g.one("reduce", [size], { monoid: "max", axes: [1] });
  const isLargest = g.one("eq", [size, over(largest, [0])]);
  const pivotRow = g.one("reduce", [g.one("select", [isLargest, at, over(g.one("iota_size", [], { dims: [n] }), [])])], { monoid: "min", axes: [1] });
  const pivotAt = g.one("min", [pivotRow, over(g.one("iota_size", [], { dims: [subDim(n, 1)] }), [], [batch])]);
  const each = g.one("iota", [], { dtype: i32, dims: [batch], axis: 0 });
  const pivots = g.one("gather", [x, each, pivotAt], { axes: [0, 1], at: 0 });
  const pivot = g.one("gather", [column, each, pivotAt], { axes: [0, 1], at: 0 });
  // The pivot's row goes to row k, and row k to where that was.
  const above = g.reshape(g.one("slice", [x], { start: [0, k, 0], stride: [1, 1, 1], dims: [batch, 1, n] }), rows);
  const aboveFirst = g.reshape(g.one("slice", [column], { start: [0, k], stride: [1, 1], dims: [batch, 1] }), [batch]);
  const moved = g.one("eq", [at, over(pivotAt, [0])]);
  const swapped = g.one("select", [over(moved, [0, 1], x.dims), over(above, [0, 2], x.dims), x]);
  const first = g.one("select", [moved, over(aboveFirst, [0]), column]);
  const zero = g.splat(x.dtype, rows, 0);
  const below = g.one("and", [g.one("gt", [at, kAt]), g.one("ne", [over(pivot, [0]), zero])]);
  const factor = g.one("select", [below, g.one("div", [first, over(pivot, [0])]), zero]);
  const cleared = g.one("sub", [swapped, g.one("mul", [over(factor, [0, 1], x.dims), over(pivots, [0, 2], x.dims)])]);
  const stays = g.one("eq", [pivotAt, over(g.one("iota_size", [], { dims: [k] }), [], [batch])]);
  const signed = g.one("select", [stays, pivot, g.one("neg", [pivot])]);
  return [cleared, g.one("mul", [product, signed])];
}

function det(c: NodeContext): Operand {
  const x = c.value(0);
  const rank = x.dims.length;
  if (rank < 2) return c.fail(`rank ${rank}, expected at least 2`);
  const n = c.sameDim(x.dims[rank - 1] as Dim, x.dims[rank - 2] as Dim, "sides of a matrix");
  const outer = x.dims.slice(0, -2);
  const wide = c.g.convert(x, wideFloat(x.dtype));
  const flat = c.g.reshape(wide, [productOf(outer), n, n]);
  return c.of(c.g.convert(c.g.reshape(determinants(c, flat), outer), x.dtype));
}

/** Same bits, other dtype. A bool is a byte of 0 or 1. */
function bitCast(c: NodeContext): Operand {
  const x = c.input(0);
  const to = c.dtype("to", null);
  if (x.dtype.bits !== to.bits) return c.fail(`${x.dtype} as ${to}, expected dtypes of equal width`);
  if (x.dtype === to) return x;
  // Conversions between integers wrap, which keeps bits.
  const same = x.dtype === bool || to === bool || (x.dtype.isInteger && to.isInteger);
  return c.of(same ? c.g.convert(x.value, to) : c.g.one("bitcast", [x.value], { dtype: to }));
}

/** The first `length` elements along the time axis, turned around; the others stay. */
function reverseSequence(c: NodeContext): Operand {
  const x = c.value(0);
  const { g } = c;
  const [time, batch] = [c.int("time_axis", 0), c.int("batch_axis", 1)];
  if (x.dims.length < 2 || time + batch !== 1 || time * batch !== 0)
    return c.fail(`time axis ${time} and batch axis ${batch}, expected 0 and 1 or 1 and 0`);
  const plane = x.dims.slice(0, 2);
  const lengths = g.broadcast(g.convert(c.value(1), i32), plane, [batch]);
  const at = positions(c, plane, time);
  const back = g.one("sub", [c.withScalar("sub", lengths, 1), at]);
  const from = g.one("select", [g.one("lt", [at, lengths]), back, at]);
  const index = time === 0 ? [from, positions(c, plane, 1)] : [positions(c, plane, 0), from];
  return c.of(g.one("gather", [x, ...index], { axes: [0, 1], at: 0 }));
}

export const linalgOps: OpTable = {
  Det: { since: 11, map: det },
  BitCast: { since: 26, map: bitCast },
  ReverseSequence: { since: 10, map: reverseSequence },
};

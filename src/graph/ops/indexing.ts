import { type Dim, dimsEqual, subDim } from "../../base/dim.ts";
import { i32 } from "../../base/dtype.ts";
import { roundTo } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import { scalarOps } from "../../scalar/ops/table.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import type { WriteCombiner } from "../../tensor/ir.ts";
import { at, forEachIndex, hostTensor, stridesOf } from "../host.ts";
import { type TensorType, defineOp } from "../op.ts";

/** Data-dependent index, converted to i32 and moved into `[0, extent)`. */
function safeIndex(sc: Scalars, e: Expr, extent: Dim): Expr {
  const top = sc.dim(subDim(extent, 1));
  if (e.dtype === i32) return sc.max(sc.min(e, top), sc.int(0));
  // Clamp before narrowing: a 64-bit index must not wrap.
  const wide = sc.max(sc.min(e, sc.cast(e.dtype, top)), sc.const(0, e.dtype));
  return sc.cast(i32, wide);
}
const clamp = (v: number, extent: number) => Math.max(0, Math.min(extent - 1, v));

const gather = defineOp({
  name: "gather",
  doc: "Picks elements by index tensors: axis axes[k] of x is indexed by the k-th index tensor. The result has x's other axes, with the index tensors' dims put in at position `at`. An index outside of x is moved to its edge.",
  operands: ["x", "index..."],
  attrs: { axes: "ints", at: "int" },
  constraints: [
    "C1: one index tensor for each of axes, all of the same dims and integer dtype.",
    "C2: axes are increasing dimensions of x.",
    "C3: `at` lies within the remaining dims.",
  ],
  infer({ operands: [x, ...index], attrs, fail }) {
    const t = x as TensorType;
    const [i0] = index;
    if (i0 === undefined || index.length !== attrs.axes.length || index.some((i) => !dimsEqual(i.dims, i0.dims) || !i.dtype.isInteger))
      return fail("C1", `${index.length} index tensors for axes [${attrs.axes.join(", ")}]`);
    if (attrs.axes.some((a, k) => a >= t.dims.length || (k > 0 && a <= (attrs.axes[k - 1] as number))))
      fail("C2", `axes [${attrs.axes.join(", ")}] of rank ${t.dims.length}`);
    const rest = t.dims.filter((_, d) => !attrs.axes.includes(d));
    if (attrs.at < 0 || attrs.at > rest.length) fail("C3", `at ${attrs.at}`);
    return [{ dtype: t.dtype, dims: rest.toSpliced(attrs.at, 0, ...i0.dims) }];
  },
  evaluate({ operands: [x, ...index], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const t = hostTensor(x.dtype, out.dims);
    const rank = index[0]?.dims.length ?? 0;
    forEachIndex(out.dims, (i, flat) => {
      const where = i.slice(attrs.at, attrs.at + rank);
      const rest = i.toSpliced(attrs.at, rank);
      const from = x.dims.map((d, axis) => {
        const k = attrs.axes.indexOf(axis);
        return k < 0 ? (rest.shift() as number) : clamp(Number(at(index[k] as (typeof index)[0], where)), d);
      });
      t.data[flat] = at(x, from) as never;
    });
    return [t];
  },
  lower({ b, sc, operands: [x, i0], results: [result], read, attrs }) {
    if (result === undefined || x === undefined || i0 === undefined) return;
    b.map(result, (i) => {
      const where = i.slice(attrs.at, attrs.at + i0.dims.length);
      const rest = i.toSpliced(attrs.at, i0.dims.length);
      const from = x.dims.map((d, axis) => {
        const k = attrs.axes.indexOf(axis);
        return k < 0 ? (rest.shift() as Expr) : safeIndex(sc, read(k + 1, where), d);
      });
      return read(0, from);
    });
  },
  examples: [
    { operands: [{ type: "f32[5, 3]" }, { type: "i64[2, 4]", range: [0, 5] }], attrs: { axes: [0], at: 0 } },
    { operands: [{ type: "f32[4, 6]" }, { type: "i32[3]", range: [-2, 5] }, { type: "i32[3]", range: [0, 9] }], attrs: { axes: [0, 1], at: 0 } },
  ],
});

const combiners = ["none", "add", "mul", "min", "max"] as const;

const scatter = defineOp({
  name: "scatter",
  doc: "A copy of x in which the updates are combined at the indexed places: the inverse of gather, with the same axes and `at`. `combiner` is none (the last update stays; places must then be distinct for a defined result), add, mul, min or max.",
  operands: ["x", "updates", "index..."],
  attrs: { axes: "ints", at: "int", combiner: "word" },
  constraints: [
    "C1: one index tensor for each of axes, all of the same dims and integer dtype.",
    "C2: updates has the dims that gather would give, and x's dtype.",
    "C3: combiner is none, add, mul, min or max.",
  ],
  infer({ operands: [x, u, ...index], attrs, fail }) {
    const [t, v] = [x as TensorType, u as TensorType];
    const [i0] = index;
    if (i0 === undefined || index.length !== attrs.axes.length || index.some((i) => !dimsEqual(i.dims, i0.dims) || !i.dtype.isInteger))
      return fail("C1", `${index.length} index tensors for axes [${attrs.axes.join(", ")}]`);
    const expected = t.dims.filter((_, d) => !attrs.axes.includes(d)).toSpliced(attrs.at, 0, ...i0.dims);
    if (!dimsEqual(v.dims, expected) || v.dtype !== t.dtype) fail("C2", `expected ${t.dtype}[${expected.join(", ")}]`);
    if (!combiners.some((c) => c === attrs.combiner)) fail("C3", `got '${attrs.combiner}'`);
    return [{ dtype: t.dtype, dims: t.dims }];
  },
  evaluate({ operands: [x, u, ...index], attrs }) {
    if (x === undefined || u === undefined) return [];
    const t = hostTensor(x.dtype, x.dims);
    t.data.set(x.data as never);
    const strides = stridesOf(x.dims);
    const rank = index[0]?.dims.length ?? 0;
    forEachIndex(u.dims, (i, flat) => {
      const where = i.slice(attrs.at, attrs.at + rank);
      const rest = i.toSpliced(attrs.at, rank);
      let to = 0;
      x.dims.forEach((d, axis) => {
        const k = attrs.axes.indexOf(axis);
        to += (strides[axis] as number) * (k < 0 ? (rest.shift() as number) : clamp(Number(at(index[k] as (typeof index)[0], where)), d));
      });
      const v = u.data[flat] as number;
      t.data[to] = (
        attrs.combiner === "none"
          ? v
          : roundTo(x.dtype, scalarOps[attrs.combiner as WriteCombiner].evaluate([t.data[to] as number, v], x.dtype, [x.dtype, x.dtype]))
      ) as never;
    });
    return [t];
  },
  lower({ b, sc, operands: [x, u, i0], results: [result], read, attrs }) {
    if (result === undefined || x === undefined || u === undefined || i0 === undefined) return;
    b.map(result, (i) => read(0, i));
    b.scatter(result, u.dims, attrs.combiner === "none" ? null : (attrs.combiner as WriteCombiner), (i) => {
      const where = i.slice(attrs.at, attrs.at + i0.dims.length);
      const rest = i.toSpliced(attrs.at, i0.dims.length);
      const index = x.dims.map((d, axis) => {
        const k = attrs.axes.indexOf(axis);
        return k < 0 ? (rest.shift() as Expr) : safeIndex(sc, read(k + 2, where), d);
      });
      return { index, value: read(1, i) };
    });
  },
  examples: [
    { operands: [{ type: "f32[5, 3]" }, { type: "f32[4, 3]" }, { type: "i64[4]", range: [0, 5] }], attrs: { axes: [0], at: 0, combiner: "add" } },
  ],
});

export const indexingOps = [gather, scatter] as const;

import { type Dim, addDim, dimEquals, dimMin, dimsEqual, divideExactly, isDataDependent, minDim, mulDim, productOf, subDim } from "../../base/dim.ts";
import type { Expr } from "../../scalar/expr.ts";
import { simplifyIndex } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { at, forEachIndex, hostFrom, hostFromBytes, hostTensor } from "../host.ts";
import { type TensorType, defineOp } from "../op.ts";

const first = (operands: readonly TensorType[]): TensorType => operands[0] as TensorType;

const constant = defineOp({
  name: "constant",
  doc: "A tensor known at compile time; `data` holds its bytes in row-major order.",
  operands: [],
  attrs: { dtype: "dtype", dims: "dims", data: "data" },
  constraints: ["C1: dims are integers.", "C2: data has as many bytes as dims and dtype need."],
  infer({ attrs, fail }) {
    const n = productOf(attrs.dims);
    if (typeof n !== "number") return fail("C1", `dims are symbolic: ${attrs.dims.join(", ")}`);
    if (attrs.dtype.bytes(n) !== attrs.data.byteLength) fail("C2", `needs ${attrs.dtype.bytes(n)} bytes, got ${attrs.data.byteLength}`);
    return [{ dtype: attrs.dtype, dims: attrs.dims }];
  },
  evaluate: ({ attrs, types: [out] }) => [hostFromBytes(attrs.dtype, out?.dims ?? [], attrs.data.read(0, attrs.data.byteLength))],
  // Constants become tensors with data; there is nothing to compute.
  lower() {},
  examples: [],
});

const iota = defineOp({
  name: "iota",
  doc: "Each element is its index along `axis`.",
  operands: [],
  attrs: { dtype: "dtype", dims: "dims", axis: "int" },
  constraints: ["C1: axis is a dimension."],
  infer({ attrs, fail }) {
    if (attrs.axis < 0 || attrs.axis >= attrs.dims.length) fail("C1", `axis ${attrs.axis} of rank ${attrs.dims.length}`);
    return [{ dtype: attrs.dtype, dims: attrs.dims }];
  },
  evaluate({ attrs, types: [out] }) {
    const t = hostTensor(attrs.dtype, out?.dims ?? []);
    forEachIndex(t.dims, (index, flat) => {
      t.data[flat] = (typeof t.data[flat] === "bigint" ? BigInt(index[attrs.axis] as number) : index[attrs.axis]) as never;
    });
    return [t];
  },
  lower({ b, sc, results: [result], attrs }) {
    if (result !== undefined) b.map(result, (i) => sc.cast(attrs.dtype, i[attrs.axis] as Expr));
  },
  examples: [],
});

const broadcast = defineOp({
  name: "broadcast",
  doc: "Repeats the operand: its dimension i becomes dimension map[i] of the result.",
  operands: ["x"],
  attrs: { dims: "dims", map: "ints" },
  constraints: [
    "C1: map has one increasing entry for each operand dimension.",
    "C2: an operand dimension is 1 or equals the result's; where a size decides that, or what the model computes, it has to be so when it runs.",
  ],
  infer({ operands, attrs, fail }) {
    const x = first(operands);
    if (attrs.map.length !== x.dims.length || attrs.map.some((m, i) => m >= attrs.dims.length || (i > 0 && m <= (attrs.map[i - 1] as number))))
      fail("C1", `map [${attrs.map.join(", ")}]`);
    attrs.map.forEach((m, i) => {
      const d = x.dims[i] as Dim;
      if (d !== 1 && !mayEqual(d, attrs.dims[m] as Dim) && (typeof d === "number" || dimMin(d) > 1))
        fail("C2", `dimension ${i} is ${d}, the result's ${m} is ${attrs.dims[m]}`);
    });
    return [{ dtype: x.dtype, dims: attrs.dims }];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const t = hostTensor(x.dtype, out.dims);
    forEachIndex(out.dims, (index, flat) => {
      t.data[flat] = at(
        x,
        attrs.map.map((m, i) => (x.dims[i] === 1 ? 0 : (index[m] as number))),
      ) as never;
    });
    return [t];
  },
  lower({ b, sc, operands: [x], results: [result], read, attrs }) {
    if (result !== undefined && x !== undefined)
      b.map(result, (i) =>
        read(
          0,
          attrs.map.map((m, k) => stretchedIndex(sc, i[m] as Expr, x.dims[k] as Dim, result.dims[m] as Dim)),
        ),
      );
  },
  examples: [{ operands: [{ type: "f32[3, 1]" }], attrs: { dims: [2, 3, 4], map: [1, 2] } }],
});

/** The index into a dimension that is repeated up to `to`. Whether it is, may show only when the model runs: then it moves in steps of 0 or 1. */
function stretchedIndex(sc: Scalars, index: Expr, from: Dim, to: Dim): Expr {
  if (from === 1) return sc.int(0);
  return dimEquals(from, to) || dimMin(from) > 1 ? index : sc.mul(index, sc.dim(minDim(subDim(from, 1), 1)));
}

/** Are the dims equal, or can that only be seen when the model runs? */
function mayEqual(a: Dim, b: Dim): boolean {
  return dimEquals(a, b) || isDataDependent(a) || isDataDependent(b);
}

/** Row-major position of an index, and back. */
function linearize(sc: Scalars, index: readonly Expr[], dims: readonly Dim[]): Expr {
  return index.reduce((sum, e, k) => sc.add(sc.mul(sum, sc.dim(dims[k] as Dim)), e), sc.int(0));
}
function delinearize(sc: Scalars, flat: Expr, dims: readonly Dim[]): Expr[] {
  const out: Expr[] = [];
  let below: Dim = 1;
  for (let k = dims.length - 1; k >= 0; k--) {
    const d = dims[k] as Dim;
    const q = dimEquals(below, 1) ? flat : sc.floordiv(flat, sc.dim(below));
    out[k] = d === 1 ? sc.int(0) : simplifyIndex(sc, k === 0 ? q : sc.mod(q, sc.dim(d)));
    below = mulDim(below, d);
  }
  return out;
}

/** The index in `from` of the element that a reshape to `to` puts at `index`; equal leading and trailing runs stay apart. */
function reshapeIndex(sc: Scalars, index: readonly Expr[], to: readonly Dim[], from: readonly Dim[]): Expr[] {
  const out: Expr[] = [];
  let [i, j] = [0, 0];
  while (i < to.length || j < from.length) {
    // The shortest runs of both sides with equal products, so that each division stays small.
    let [a, b]: [Dim, Dim] = [1, 1];
    const [i0, j0] = [i, j];
    do {
      if (i < to.length && (i === i0 || j >= from.length || !covers(a, b))) a = mulDim(a, to[i++] as Dim);
      else if (j < from.length) b = mulDim(b, from[j++] as Dim);
      else break;
    } while (!dimEquals(a, b) || (i === i0 && i < to.length) || (j === j0 && j < from.length));
    // Sizes that the model computes may be equal without looking so: only what is after them is told apart.
    let same = 0;
    if (!dimEquals(a, b)) while (same < Math.min(i - i0, j - j0) && dimEquals(to[i - 1 - same] as Dim, from[j - 1 - same] as Dim)) same++;
    const [inner, outer] = [to.slice(i0, i - same), from.slice(j0, j - same)];
    out.push(...delinearize(sc, linearize(sc, index.slice(i0, i - same), inner), outer), ...index.slice(i - same, i));
  }
  return out;
}
/** Must the other side grow next? When `a` is already a multiple of `b` (and larger), b has to catch up. */
function covers(a: Dim, b: Dim): boolean {
  return !dimEquals(a, b) && divideExactly(a, b) !== null;
}

const reshape = defineOp({
  name: "reshape",
  doc: "The same elements in row-major order under other dims.",
  operands: ["x"],
  attrs: { dims: "dims" },
  constraints: ["C1: the number of elements stays the same; where the model computes it, this has to be so when it runs."],
  infer({ operands, attrs, fail }) {
    const x = first(operands);
    if (!mayEqual(productOf(x.dims), productOf(attrs.dims)))
      fail("C1", `[${x.dims.join(", ")}] has ${productOf(x.dims)} elements, [${attrs.dims.join(", ")}] has ${productOf(attrs.dims)}`);
    return [{ dtype: x.dtype, dims: attrs.dims }];
  },
  evaluate: ({ operands: [x], types: [out] }) => (x === undefined || out === undefined ? [] : [{ dtype: x.dtype, dims: out.dims, data: x.data }]),
  lower({ b, sc, operands: [x], results: [result], read }) {
    if (result !== undefined && x !== undefined) b.map(result, (i) => read(0, reshapeIndex(sc, i, result.dims, x.dims)));
  },
  examples: [{ operands: [{ type: "f32[4, 6, 5]" }], attrs: { dims: [2, 12, 5] } }],
});

const refine = defineOp({
  name: "refine",
  doc: "The same elements under dims that are equal to the operand's when the model runs: sizes that the model computes, where something better is known of them.",
  operands: ["x"],
  attrs: { dims: "dims" },
  constraints: ["C1: the rank stays the same.", "C2: dims are equal, or one of the two is computed by the model."],
  infer({ operands, attrs, fail }) {
    const x = first(operands);
    if (x.dims.length !== attrs.dims.length) fail("C1", `rank ${x.dims.length}, got ${attrs.dims.length} dims`);
    x.dims.forEach((d, i) => {
      if (!mayEqual(d, attrs.dims[i] as Dim)) fail("C2", `dimension ${i} is ${d}, the result's ${attrs.dims[i]}`);
    });
    return [{ dtype: x.dtype, dims: attrs.dims }];
  },
  evaluate: ({ operands: [x] }) => (x === undefined ? [] : [x]),
  lower({ b, results: [result], read }) {
    if (result !== undefined) b.map(result, (i) => read(0, i));
  },
  examples: [{ operands: [{ type: "f32[4, 3]" }], attrs: { dims: [4, 3] } }],
});

const transpose = defineOp({
  name: "transpose",
  doc: "Dimension i of the result is dimension perm[i] of the operand.",
  operands: ["x"],
  attrs: { perm: "ints" },
  constraints: ["C1: perm is a permutation of the dimensions."],
  infer({ operands, attrs, fail }) {
    const x = first(operands);
    if ([...attrs.perm].sort((p, q) => p - q).some((p, i) => p !== i) || attrs.perm.length !== x.dims.length)
      fail("C1", `perm [${attrs.perm.join(", ")}] for rank ${x.dims.length}`);
    return [{ dtype: x.dtype, dims: attrs.perm.map((p) => x.dims[p] as Dim) }];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const t = hostTensor(x.dtype, out.dims);
    const from = new Array<number>(x.dims.length);
    forEachIndex(out.dims, (index, flat) => {
      attrs.perm.forEach((p, i) => {
        from[p] = index[i] as number;
      });
      t.data[flat] = at(x, from) as never;
    });
    return [t];
  },
  lower({ b, results: [result], read, attrs }) {
    if (result === undefined) return;
    b.map(result, (i) => {
      const from: Expr[] = [];
      attrs.perm.forEach((p, k) => {
        from[p] = i[k] as Expr;
      });
      return read(0, from);
    });
  },
  examples: [{ operands: [{ type: "f32[2, 3, 4]" }], attrs: { perm: [2, 0, 1] } }],
});

const slice = defineOp({
  name: "slice",
  doc: "`result[i] = x[start + i·stride]` in every dimension; a negative stride walks backwards.",
  operands: ["x"],
  attrs: { start: "dims", stride: "ints", dims: "dims" },
  constraints: ["C1: start, stride and dims have one entry for each dimension.", "C2: where sizes are known, every element read exists."],
  infer({ operands, attrs, fail }) {
    const x = first(operands);
    if ([attrs.start, attrs.stride, attrs.dims].some((a) => a.length !== x.dims.length)) fail("C1", `rank ${x.dims.length}`);
    x.dims.forEach((d, i) => {
      const n = attrs.dims[i] as Dim;
      const last = addDim(attrs.start[i] as Dim, mulDim(subDim(n, 1), attrs.stride[i] as number));
      if (
        typeof last === "number" &&
        typeof d === "number" &&
        n !== 0 &&
        (last < 0 || last >= d || Number(attrs.start[i]) < 0 || Number(attrs.start[i]) >= d)
      )
        fail("C2", `dimension ${i} of size ${d}: reads ${attrs.start[i]} to ${last}`);
    });
    return [{ dtype: x.dtype, dims: attrs.dims }];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const t = hostTensor(x.dtype, out.dims);
    forEachIndex(out.dims, (index, flat) => {
      t.data[flat] = at(
        x,
        index.map((v, k) => Number(attrs.start[k]) + v * (attrs.stride[k] as number)),
      ) as never;
    });
    return [t];
  },
  lower({ b, sc, results: [result], read, attrs }) {
    if (result !== undefined)
      b.map(result, (i) =>
        read(
          0,
          i.map((v, k) => sc.add(sc.mul(v, sc.int(attrs.stride[k] as number)), sc.dim(attrs.start[k] as Dim))),
        ),
      );
  },
  examples: [{ operands: [{ type: "f32[5, 7]" }], attrs: { start: [1, 6], stride: [2, -1], dims: [2, 4] } }],
});

const pad = defineOp({
  name: "pad",
  doc: "Puts `value` around the operand: `low` elements before and `high` after in each dimension.",
  operands: ["x", "value"],
  attrs: { low: "dims", high: "dims" },
  constraints: ["C1: low and high have one entry for each dimension.", "C2: value is a scalar of x's dtype."],
  infer({ operands, attrs, fail }) {
    const [x, v] = operands as [TensorType, TensorType];
    if (attrs.low.length !== x.dims.length || attrs.high.length !== x.dims.length) fail("C1", `rank ${x.dims.length}`);
    if (v.dims.length !== 0 || v.dtype !== x.dtype) fail("C2", `got ${v.dtype}[${v.dims.join(", ")}]`);
    return [{ dtype: x.dtype, dims: x.dims.map((d, i) => addDim(addDim(d, attrs.low[i] as Dim), attrs.high[i] as Dim)) }];
  },
  evaluate({ operands: [x, v], attrs, types: [out] }) {
    if (x === undefined || v === undefined || out === undefined) return [];
    const t = hostTensor(x.dtype, out.dims);
    forEachIndex(out.dims, (index, flat) => {
      const from = index.map((i, k) => i - Number(attrs.low[k]));
      t.data[flat] = (from.every((i, k) => i >= 0 && i < (x.dims[k] as number)) ? at(x, from) : v.data[0]) as never;
    });
    return [t];
  },
  lower({ b, sc, operands: [x], results: [result], read, attrs }) {
    if (result === undefined || x === undefined) return;
    b.map(result, (i) => {
      const from = i.map((v, k) => sc.sub(v, sc.dim(attrs.low[k] as Dim)));
      return sc.select(inBounds(sc, from, x.dims), read(0, from), read(1, []));
    });
  },
  examples: [{ operands: [{ type: "f32[3, 4]" }, { type: "f32[]" }], attrs: { low: [1, 0], high: [0, 2] } }],
});

/**
 * True where every index lies inside the dims. `select(inBounds(i), x[i], v)` is how padding is said: the cases of a
 * select are evaluated only where they are chosen, so that such a read is never out of bounds.
 */
export function inBounds(sc: Scalars, index: readonly Expr[], dims: readonly Dim[]): Expr {
  let all = sc.bool(true);
  index.forEach((e, k) => {
    all = sc.and(sc.and(all, sc.op("ge", [e, sc.int(0)])), sc.op("lt", [e, sc.dim(dims[k] as Dim)]));
  });
  return all;
}
const concat = defineOp({
  name: "concat",
  doc: "Joins the operands along an axis.",
  operands: ["x..."],
  attrs: { axis: "int" },
  constraints: ["C1: at least one operand, all of one dtype.", "C2: all other dims are equal."],
  infer({ operands, attrs, fail }) {
    const x = first(operands);
    if (operands.length === 0 || operands.some((o) => o.dtype !== x.dtype)) fail("C1", `got ${operands.map((o) => o.dtype).join(", ")}`);
    for (const o of operands)
      if (!dimsEqual(o.dims.toSpliced(attrs.axis, 1), x.dims.toSpliced(attrs.axis, 1)))
        fail("C2", `[${o.dims.join(", ")}] beside [${x.dims.join(", ")}] along ${attrs.axis}`);
    return [
      {
        dtype: x.dtype,
        dims: x.dims.with(
          attrs.axis,
          operands.reduce<Dim>((n, o) => addDim(n, o.dims[attrs.axis] as Dim), 0),
        ),
      },
    ];
  },
  evaluate({ operands, attrs, types: [out] }) {
    const dtype = operands[0]?.dtype;
    if (dtype === undefined || out === undefined) return [];
    const t = hostTensor(dtype, out.dims);
    forEachIndex(out.dims, (index, flat) => {
      let i = index[attrs.axis] as number;
      let k = 0;
      while (i >= (operands[k]?.dims[attrs.axis] as number)) i -= operands[k++]?.dims[attrs.axis] as number;
      t.data[flat] = at(operands[k] as (typeof operands)[0], (index as number[]).with(attrs.axis, i)) as never;
    });
    return [t];
  },
  lower({ b, sc, operands, results: [result], read, attrs }) {
    if (result === undefined) return;
    // One stage for each operand, each writing its part: so that a part can later be the operand's own place.
    let offset: Dim = 0;
    operands.forEach((x, k) => {
      const shift = sc.dim(offset);
      b.scatter(result, x.dims, null, (i) => ({ index: i.with(attrs.axis, sc.add(i[attrs.axis] as Expr, shift)), value: read(k, i) }));
      offset = addDim(offset, x.dims[attrs.axis] as Dim);
    });
  },
  examples: [{ operands: [{ type: "f32[2, 3]" }, { type: "f32[2, 1]" }, { type: "f32[2, 4]" }], attrs: { axis: 1 } }],
});

const reverse = defineOp({
  name: "reverse",
  doc: "Reverses the order along the given axes.",
  operands: ["x"],
  attrs: { axes: "ints" },
  constraints: ["C1: axes are dimensions."],
  infer({ operands, attrs, fail }) {
    const x = first(operands);
    if (attrs.axes.some((a) => a < 0 || a >= x.dims.length)) fail("C1", `axes [${attrs.axes.join(", ")}]`);
    return [{ dtype: x.dtype, dims: x.dims }];
  },
  evaluate({ operands: [x], attrs }) {
    if (x === undefined) return [];
    const t = hostFrom(x.dtype, x.dims, () => 0);
    forEachIndex(x.dims, (index, flat) => {
      t.data[flat] = at(
        x,
        index.map((v, k) => (attrs.axes.includes(k) ? (x.dims[k] as number) - 1 - v : v)),
      ) as never;
    });
    return [t];
  },
  lower({ b, sc, operands: [x], results: [result], read, attrs }) {
    if (result !== undefined && x !== undefined)
      b.map(result, (i) =>
        read(
          0,
          i.map((v, k) => (attrs.axes.includes(k) ? sc.sub(sc.dim(subDim(x.dims[k] as Dim, 1)), v) : v)),
        ),
      );
  },
  examples: [{ operands: [{ type: "f32[3, 4]" }], attrs: { axes: [1] } }],
});

export const shapeOps = [constant, iota, broadcast, reshape, refine, transpose, slice, pad, concat, reverse] as const;

import { type Dim, addDim, dimEquals, divideExactly, floorDivDim, mulDim, productOf, subDim } from "../../base/dim.ts";
import type { Expr } from "../../scalar/expr.ts";
import { roundTo } from "../../base/numeric.ts";
import { type HostTensor, forEachIndex, hostTensor, stridesOf } from "../host.ts";
import { type TensorType, defineOp } from "../op.ts";
import { inBounds } from "./shape.ts";

type Elements = HostTensor["data"];

/** The elements at some offsets from a start, side by side. */
function gather(x: Elements, from: number, offsets: Int32Array): Elements {
  const out =
    x instanceof Float64Array
      ? new Float64Array(offsets.length)
      : x instanceof BigInt64Array
        ? new BigInt64Array(offsets.length)
        : new BigUint64Array(offsets.length);
  for (let k = 0; k < offsets.length; k++) out[k] = x[from + (offsets[k] as number)] as never;
  return out;
}

/** Sum of products in double precision, or in exact integers for 64-bit ones: `x[k] * y[from + offsets[k]]` over k. */
function sumProducts(x: Elements, y: Elements, from: number, offsets: Int32Array): number | bigint {
  if (x instanceof Float64Array && y instanceof Float64Array) {
    let sum = 0;
    for (let k = 0; k < x.length; k++) sum += (x[k] as number) * (y[from + (offsets[k] as number)] as number);
    return sum;
  }
  let sum = 0n;
  for (let k = 0; k < x.length; k++) sum += BigInt(x[k] as number) * BigInt(y[from + (offsets[k] as number)] as number);
  return sum;
}

/** Offsets in a tensor's data of every index over some of its dims, the last of them running fastest. */
function offsetsOver(t: HostTensor, dims: readonly number[]): Int32Array {
  const strides = stridesOf(t.dims);
  let out = [0];
  for (const d of dims) out = out.flatMap((o) => Array.from({ length: t.dims[d] as number }, (_, i) => o + i * (strides[d] as number)));
  return Int32Array.from(out);
}

const dot = defineOp({
  name: "dot",
  doc: "Sum of products (StableHLO's dot_general): batch dimensions run together, contracted ones are summed. The result has the batch dims, a's free dims and b's free dims.",
  operands: ["a", "b"],
  attrs: { batchA: "ints", batchB: "ints", contractA: "ints", contractB: "ints" },
  constraints: ["C1: both operands have one numeric dtype.", "C2: paired dimensions have equal sizes."],
  infer({ operands: [a, b], attrs, fail }) {
    const [x, y] = [a as TensorType, b as TensorType];
    if (x.dtype !== y.dtype || x.dtype.kind === "bool") fail("C1", `got ${x.dtype} and ${y.dtype}`);
    for (const [p, q] of [[attrs.batchA, attrs.batchB] as const, [attrs.contractA, attrs.contractB] as const]) {
      if (p.length !== q.length) fail("C2", "lists of different lengths");
      p.forEach((d, i) => {
        if (!dimEquals(x.dims[d] as Dim, y.dims[q[i] as number] as Dim))
          fail("C2", `a's dimension ${d} is ${x.dims[d]}, b's ${q[i]} is ${y.dims[q[i] as number]}`);
      });
    }
    const free = (t: TensorType, used: readonly number[]) => t.dims.filter((_, i) => !used.includes(i));
    return [
      {
        dtype: x.dtype,
        dims: [
          ...attrs.batchA.map((d) => x.dims[d] as Dim),
          ...free(x, [...attrs.batchA, ...attrs.contractA]),
          ...free(y, [...attrs.batchB, ...attrs.contractB]),
        ],
      },
    ];
  },
  evaluate({ operands: [a, b], attrs, types: [out] }) {
    if (a === undefined || b === undefined || out === undefined) return [];
    const t = hostTensor(a.dtype, out.dims);
    const free = (x: HostTensor, used: readonly number[]) => x.dims.map((_, i) => i).filter((i) => !used.includes(i));
    const [batchA, batchB] = [offsetsOver(a, attrs.batchA), offsetsOver(b, attrs.batchB)];
    const [rows, columns] = [
      offsetsOver(a, free(a, [...attrs.batchA, ...attrs.contractA])),
      offsetsOver(b, free(b, [...attrs.batchB, ...attrs.contractB])),
    ];
    const [ka, kb] = [offsetsOver(a, attrs.contractA), offsetsOver(b, attrs.contractB)];
    let flat = 0;
    batchA.forEach((x, i) => {
      for (const row of rows) {
        const left = gather(a.data, x + row, ka);
        for (const column of columns) t.data[flat++] = roundTo(a.dtype, sumProducts(left, b.data, (batchB[i] as number) + column, kb)) as never;
      }
    });
    return [t];
  },
  lower({ b, sc, operands: [x, y], results: [result], read, attrs }) {
    if (result === undefined || x === undefined || y === undefined) return;
    const place = (
      rank: number,
      batch: readonly number[],
      contract: readonly number[],
      free: readonly Expr[],
      o: readonly Expr[],
      r: readonly Expr[],
    ) => {
      const left = [...free];
      return Array.from({ length: rank }, (_, d) => {
        if (batch.includes(d)) return o[batch.indexOf(d)] as Expr;
        if (contract.includes(d)) return r[contract.indexOf(d)] as Expr;
        return left.shift() as Expr;
      });
    };
    const nb = attrs.batchA.length;
    const na = x.dims.length - nb - attrs.contractA.length;
    b.reduce(
      result,
      attrs.contractA.map((d) => x.dims[d] as Dim),
      "add",
      (o, r) =>
        sc.mul(
          read(0, place(x.dims.length, attrs.batchA, attrs.contractA, o.slice(nb, nb + na), o, r)),
          read(1, place(y.dims.length, attrs.batchB, attrs.contractB, o.slice(nb + na), o, r)),
        ),
    );
  },
  examples: [
    { operands: [{ type: "f32[7, 10]" }, { type: "f32[10, 9]" }], attrs: { batchA: [], batchB: [], contractA: [1], contractB: [0] } },
    { operands: [{ type: "f32[2, 5, 6]" }, { type: "f32[2, 4, 6]" }], attrs: { batchA: [0], batchB: [0], contractA: [2], contractB: [2] } },
    {
      operands: [
        { type: "i32[3, 4]", range: [-9, 9] },
        { type: "i32[4, 5]", range: [-9, 9] },
      ],
      attrs: { batchA: [], batchB: [], contractA: [1], contractB: [0] },
    },
  ],
  flops: ([a], [r], attrs) => 2 * Number(productOf(r?.dims ?? [])) * Number(productOf(attrs.contractA.map((d) => a?.dims[d] ?? 1))),
});

/** Size of a dimension after holes are put in or a window's reach. */
const dilated = (n: Dim, by: number): Dim => addDim(mulDim(subDim(n, 1), by), 1);

const convolution = defineOp({
  name: "convolution",
  doc: "Convolution (StableHLO's): `x` and `w` are read by their dimension numbers (batch or output feature, input feature, spatial…), as is the result. `pads` are low and high per spatial dimension and may be negative; `dilation` spreads the window, `inputDilation` the input; features fall into `groups`.",
  operands: ["x", "w"],
  attrs: { strides: "ints", pads: "pairs", dilation: "ints", inputDilation: "ints", groups: "int", xDims: "ints", wDims: "ints", resultDims: "ints" },
  constraints: [
    "C1: both operands have one numeric dtype and the same rank.",
    "C2: w's input features times groups are x's features.",
    "C3: groups divides the output features.",
    "C4: one stride, pad and dilation for each spatial dimension.",
    "C5: the window fits into the padded input.",
  ],
  infer({ operands: [a, b], attrs, fail }) {
    const [x, w] = [a as TensorType, b as TensorType];
    const rank = x.dims.length - 2;
    if (x.dtype !== w.dtype || x.dtype.kind === "bool" || w.dims.length !== x.dims.length)
      fail("C1", `got ${x.dtype} rank ${x.dims.length} and ${w.dtype} rank ${w.dims.length}`);
    const xd = attrs.xDims.map((d) => x.dims[d] as Dim);
    const wd = attrs.wDims.map((d) => w.dims[d] as Dim);
    if (!dimEquals(mulDim(wd[1] as Dim, attrs.groups), xd[1] as Dim)) fail("C2", `${wd[1]} × ${attrs.groups} groups against ${xd[1]}`);
    if (divideExactly(wd[0] as Dim, attrs.groups) === null) fail("C3", `${wd[0]} features in ${attrs.groups} groups`);
    if ([attrs.strides, attrs.pads, attrs.dilation, attrs.inputDilation].some((l) => l.length !== rank)) fail("C4", `${rank} spatial dimensions`);
    const spatial = Array.from({ length: rank }, (_, s) => {
      const [low, high] = attrs.pads[s] as readonly [number, number];
      const room = subDim(
        addDim(dilated(xd[s + 2] as Dim, attrs.inputDilation[s] as number), low + high),
        dilated(wd[s + 2] as Dim, attrs.dilation[s] as number),
      );
      if (typeof room === "number" && room < 0) fail("C5", `spatial dimension ${s}: window ${wd[s + 2]} in ${xd[s + 2]}`);
      return addDim(floorDivDim(room, attrs.strides[s] as number), 1);
    });
    const dims: Dim[] = [];
    [xd[0] as Dim, wd[0] as Dim, ...spatial].forEach((d, i) => {
      dims[attrs.resultDims[i] as number] = d;
    });
    return [{ dtype: x.dtype, dims }];
  },
  evaluate({ operands: [x, w], attrs, types: [out] }) {
    if (x === undefined || w === undefined || out === undefined) return [];
    const t = hostTensor(x.dtype, out.dims);
    const [ws, xs, os] = [stridesOf(w.dims), stridesOf(x.dims), stridesOf(out.dims)];
    const by = (strides: readonly number[], numbers: readonly number[]) => numbers.map((d) => strides[d] as number);
    const [wStride, xStride, oStride] = [by(ws, attrs.wDims), by(xs, attrs.xDims), by(os, attrs.resultDims)];
    const [wd, xd, od] = [by(w.dims, attrs.wDims), by(x.dims, attrs.xDims), by(out.dims, attrs.resultDims)];
    const channels = wd[1] as number;
    const perGroup = (wd[0] as number) / attrs.groups;
    forEachIndex(od.slice(2), (position) => {
      // Where the window, at this position, meets the input: offsets into both.
      const [inX, inW]: [number[], number[]] = [[], []];
      forEachIndex(wd.slice(2), (k) => {
        let [fromX, fromW] = [0, 0];
        for (let s = 0; s < k.length; s++) {
          const p =
            (position[s] as number) * (attrs.strides[s] as number) +
            (k[s] as number) * (attrs.dilation[s] as number) -
            (attrs.pads[s]?.[0] as number);
          const hole = attrs.inputDilation[s] as number;
          if (p < 0 || p % hole !== 0 || p / hole >= (xd[s + 2] as number)) return;
          fromX += (p / hole) * (xStride[s + 2] as number);
          fromW += (k[s] as number) * (wStride[s + 2] as number);
        }
        inX.push(fromX);
        inW.push(fromW);
      });
      const spread = (list: readonly number[], stride: number) =>
        Int32Array.from({ length: channels * list.length }, (_, i) => Math.floor(i / list.length) * stride + (list[i % list.length] as number));
      const [offX, offW] = [spread(inX, xStride[1] as number), spread(inW, wStride[1] as number)];
      const at = position.reduce((n, p, s) => n + p * (oStride[s + 2] as number), 0);
      for (let n = 0; n < (od[0] as number); n++) {
        for (let group = 0; group < attrs.groups; group++) {
          const patch = gather(x.data, n * (xStride[0] as number) + group * channels * (xStride[1] as number), offX);
          for (let f = group * perGroup; f < (group + 1) * perGroup; f++) {
            t.data[at + n * (oStride[0] as number) + f * (oStride[1] as number)] = roundTo(
              x.dtype,
              sumProducts(patch, w.data, f * (wStride[0] as number), offW),
            ) as never;
          }
        }
      }
    });
    return [t];
  },
  lower({ b, sc, operands: [x, w], results: [result], read, attrs }) {
    if (result === undefined || x === undefined || w === undefined) return;
    const wd = attrs.wDims.map((d) => w.dims[d] as Dim);
    const xd = attrs.xDims.map((d) => x.dims[d] as Dim);
    const perGroup = floorDivDim(wd[0] as Dim, attrs.groups);
    b.reduce(result, wd.slice(1), "add", (o, r) => {
      const logical = attrs.resultDims.map((d) => o[d] as Expr);
      const feature = logical[1] as Expr;
      const group = attrs.groups === 1 ? sc.int(0) : sc.floordiv(feature, sc.dim(perGroup));
      const spatial = r
        .slice(1)
        .map((k, s) =>
          sc.add(
            sc.add(sc.mul(logical[s + 2] as Expr, sc.int(attrs.strides[s] as number)), sc.mul(k, sc.int(attrs.dilation[s] as number))),
            sc.int(-(attrs.pads[s]?.[0] as number)),
          ),
        );
      let guard = sc.bool(true);
      const position = spatial.map((p, s) => {
        const hole = attrs.inputDilation[s] as number;
        if (hole === 1) return p;
        guard = sc.and(guard, sc.op("eq", [sc.mod(p, sc.int(hole)), sc.int(0)]));
        return sc.floordiv(p, sc.int(hole));
      });
      position.forEach((p, s) => {
        const [low, high] = attrs.pads[s] as readonly [number, number];
        if (low > 0 || high > 0 || attrs.inputDilation[s] !== 1) guard = sc.and(guard, inBounds(sc, [p], [xd[s + 2] as Dim]));
      });
      const xi = [logical[0] as Expr, sc.add(sc.mul(group, sc.dim(wd[1] as Dim)), r[0] as Expr), ...position];
      const wi = [feature, ...r];
      const [from, by]: [Expr[], Expr[]] = [[], []];
      attrs.xDims.forEach((d, i) => {
        from[d] = xi[i] as Expr;
      });
      attrs.wDims.forEach((d, i) => {
        by[d] = wi[i] as Expr;
      });
      return sc.mul(sc.select(guard, read(0, from), sc.const(0, x.dtype)), read(1, by));
    });
  },
  examples: [
    {
      operands: [{ type: "f32[1, 3, 9, 7]" }, { type: "f32[8, 3, 3, 3]" }],
      attrs: {
        strides: [2, 1],
        pads: [
          [1, 1],
          [1, 1],
        ],
        dilation: [1, 1],
        inputDilation: [1, 1],
        groups: 1,
        xDims: [0, 1, 2, 3],
        wDims: [0, 1, 2, 3],
        resultDims: [0, 1, 2, 3],
      },
    },
    {
      operands: [{ type: "f32[2, 6, 5, 8]" }, { type: "f32[6, 1, 3, 3]" }],
      attrs: {
        strides: [1, 1],
        pads: [
          [1, 1],
          [1, 1],
        ],
        dilation: [1, 1],
        inputDilation: [1, 1],
        groups: 6,
        xDims: [0, 1, 2, 3],
        wDims: [0, 1, 2, 3],
        resultDims: [0, 1, 2, 3],
      },
    },
    {
      operands: [{ type: "f32[1, 6, 9, 10]" }, { type: "f32[8, 3, 3, 3]" }],
      attrs: {
        strides: [1, 1],
        pads: [
          [1, 1],
          [0, 0],
        ],
        dilation: [1, 1],
        inputDilation: [1, 1],
        groups: 2,
        xDims: [0, 1, 2, 3],
        wDims: [0, 1, 2, 3],
        resultDims: [0, 1, 2, 3],
      },
    },
    {
      operands: [{ type: "f32[2, 11, 4]" }, { type: "f32[3, 4, 5]" }],
      attrs: {
        strides: [1],
        pads: [[0, 0]],
        dilation: [1],
        inputDilation: [1],
        groups: 1,
        xDims: [0, 2, 1],
        wDims: [2, 1, 0],
        resultDims: [0, 2, 1],
      },
    },
    {
      operands: [{ type: "f32[1, 4, 6]" }, { type: "f32[6, 2, 2]" }],
      attrs: {
        strides: [1],
        pads: [[2, 0]],
        dilation: [2],
        inputDilation: [2],
        groups: 2,
        xDims: [0, 1, 2],
        wDims: [0, 1, 2],
        resultDims: [0, 1, 2],
      },
    },
  ],
  flops: ([, w], [r], attrs) => 2 * Number(productOf(r?.dims ?? [])) * Number(productOf(attrs.wDims.slice(1).map((d) => w?.dims[d] ?? 1))),
});

export const contractionOps = [dot, convolution] as const;

import { type Dim, addDim, dimEquals, divideExactly, floorDivDim, mulDim, productOf, subDim } from "../../base/dim.ts";
import type { Expr } from "../../scalar/expr.ts";
import { roundTo } from "../../base/numeric.ts";
import { at, forEachIndex, hostTensor } from "../host.ts";
import { type TensorType, defineOp } from "../op.ts";
import { inBounds } from "./shape.ts";

/** Sum of products of two tensors, in double precision or exact integers, over pairs of indices. */
function sumProducts(terms: Iterable<readonly [number | bigint, number | bigint]>): number | bigint {
  let [number, big, isBig] = [0, 0n, false];
  for (const [x, y] of terms) {
    if (typeof x === "bigint") {
      isBig = true;
      big += x * BigInt(y);
    } else number += x * Number(y);
  }
  return isBig ? big : number;
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
        if (!dimEquals(x.dims[d] as Dim, y.dims[q[i] as number] as Dim)) fail("C2", `a's dimension ${d} is ${x.dims[d]}, b's ${q[i]} is ${y.dims[q[i] as number]}`);
      });
    }
    const free = (t: TensorType, used: readonly number[]) => t.dims.filter((_, i) => !used.includes(i));
    return [{ dtype: x.dtype, dims: [...attrs.batchA.map((d) => x.dims[d] as Dim), ...free(x, [...attrs.batchA, ...attrs.contractA]), ...free(y, [...attrs.batchB, ...attrs.contractB])] }];
  },
  evaluate({ operands: [a, b], attrs, types: [out] }) {
    if (a === undefined || b === undefined || out === undefined) return [];
    const t = hostTensor(a.dtype, out.dims);
    const freeA = a.dims.map((_, i) => i).filter((i) => !attrs.batchA.includes(i) && !attrs.contractA.includes(i));
    const freeB = b.dims.map((_, i) => i).filter((i) => !attrs.batchB.includes(i) && !attrs.contractB.includes(i));
    const inner = attrs.contractA.map((d) => a.dims[d] as number);
    forEachIndex(out.dims, (o, flat) => {
      const [ia, ib] = [new Array<number>(a.dims.length), new Array<number>(b.dims.length)];
      attrs.batchA.forEach((d, i) => {
        ia[d] = o[i] as number;
      });
      attrs.batchB.forEach((d, i) => {
        ib[d] = o[i] as number;
      });
      freeA.forEach((d, i) => {
        ia[d] = o[attrs.batchA.length + i] as number;
      });
      freeB.forEach((d, i) => {
        ib[d] = o[attrs.batchA.length + freeA.length + i] as number;
      });
      const terms: (readonly [number | bigint, number | bigint])[] = [];
      forEachIndex(inner, (k) => {
        attrs.contractA.forEach((d, i) => {
          ia[d] = k[i] as number;
        });
        attrs.contractB.forEach((d, i) => {
          ib[d] = k[i] as number;
        });
        terms.push([at(a, ia), at(b, ib)]);
      });
      t.data[flat] = roundTo(a.dtype, sumProducts(terms)) as never;
    });
    return [t];
  },
  lower({ b, sc, operands: [x, y], results: [result], read, attrs }) {
    if (result === undefined || x === undefined || y === undefined) return;
    const place = (rank: number, batch: readonly number[], contract: readonly number[], free: readonly Expr[], o: readonly Expr[], r: readonly Expr[]) => {
      const left = [...free];
      return Array.from({ length: rank }, (_, d) => {
        if (batch.includes(d)) return o[batch.indexOf(d)] as Expr;
        if (contract.includes(d)) return r[contract.indexOf(d)] as Expr;
        return left.shift() as Expr;
      });
    };
    const nb = attrs.batchA.length;
    const na = x.dims.length - nb - attrs.contractA.length;
    b.reduce(result, attrs.contractA.map((d) => x.dims[d] as Dim), "add", (o, r) =>
      sc.mul(
        read(0, place(x.dims.length, attrs.batchA, attrs.contractA, o.slice(nb, nb + na), o, r)),
        read(1, place(y.dims.length, attrs.batchB, attrs.contractB, o.slice(nb + na), o, r)),
      ),
    );
  },
  examples: [
    { operands: [{ type: "f32[7, 10]" }, { type: "f32[10, 9]" }], attrs: { batchA: [], batchB: [], contractA: [1], contractB: [0] } },
    { operands: [{ type: "f32[2, 5, 6]" }, { type: "f32[2, 4, 6]" }], attrs: { batchA: [0], batchB: [0], contractA: [2], contractB: [2] } },
    { operands: [{ type: "i32[3, 4]", range: [-9, 9] }, { type: "i32[4, 5]", range: [-9, 9] }], attrs: { batchA: [], batchB: [], contractA: [1], contractB: [0] } },
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
  constraints: ["C1: both operands have one numeric dtype and the same rank.", "C2: w's input features times groups are x's features.", "C3: groups divides the output features.", "C4: one stride, pad and dilation for each spatial dimension.", "C5: the window fits into the padded input."],
  infer({ operands: [a, b], attrs, fail }) {
    const [x, w] = [a as TensorType, b as TensorType];
    const rank = x.dims.length - 2;
    if (x.dtype !== w.dtype || x.dtype.kind === "bool" || w.dims.length !== x.dims.length) fail("C1", `got ${x.dtype} rank ${x.dims.length} and ${w.dtype} rank ${w.dims.length}`);
    const xd = attrs.xDims.map((d) => x.dims[d] as Dim);
    const wd = attrs.wDims.map((d) => w.dims[d] as Dim);
    if (!dimEquals(mulDim(wd[1] as Dim, attrs.groups), xd[1] as Dim)) fail("C2", `${wd[1]} × ${attrs.groups} groups against ${xd[1]}`);
    if (divideExactly(wd[0] as Dim, attrs.groups) === null) fail("C3", `${wd[0]} features in ${attrs.groups} groups`);
    if ([attrs.strides, attrs.pads, attrs.dilation, attrs.inputDilation].some((l) => l.length !== rank)) fail("C4", `${rank} spatial dimensions`);
    const spatial = Array.from({ length: rank }, (_, s) => {
      const [low, high] = attrs.pads[s] as readonly [number, number];
      const room = subDim(addDim(dilated(xd[s + 2] as Dim, attrs.inputDilation[s] as number), low + high), dilated(wd[s + 2] as Dim, attrs.dilation[s] as number));
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
    const wd = attrs.wDims.map((d) => w.dims[d] as number);
    const xd = attrs.xDims.map((d) => x.dims[d] as number);
    const perGroup = (wd[0] as number) / attrs.groups;
    const window = wd.slice(1);
    forEachIndex(out.dims, (o, flat) => {
      const logical = attrs.resultDims.map((d) => o[d] as number);
      const group = Math.floor((logical[1] as number) / perGroup);
      const terms: (readonly [number | bigint, number | bigint])[] = [];
      forEachIndex(window, (k) => {
        const xi: number[] = [logical[0] as number, group * (wd[1] as number) + (k[0] as number)];
        for (let s = 0; s < k.length - 1; s++) {
          const p = (logical[s + 2] as number) * (attrs.strides[s] as number) + (k[s + 1] as number) * (attrs.dilation[s] as number) - (attrs.pads[s]?.[0] as number);
          const hole = attrs.inputDilation[s] as number;
          if (p < 0 || p % hole !== 0 || p / hole >= (xd[s + 2] as number)) return;
          xi.push(p / hole);
        }
        const [from, by] = [new Array<number>(xi.length), new Array<number>(xi.length)];
        attrs.xDims.forEach((d, i) => {
          from[d] = xi[i] as number;
        });
        attrs.wDims.forEach((d, i) => {
          by[d] = i === 0 ? (logical[1] as number) : (k[i - 1] as number);
        });
        terms.push([at(x, from), at(w, by)]);
      });
      t.data[flat] = roundTo(x.dtype, sumProducts(terms)) as never;
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
      const spatial = r.slice(1).map((k, s) => sc.add(sc.add(sc.mul(logical[s + 2] as Expr, sc.int(attrs.strides[s] as number)), sc.mul(k, sc.int(attrs.dilation[s] as number))), sc.int(-(attrs.pads[s]?.[0] as number))));
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
    { operands: [{ type: "f32[1, 3, 9, 7]" }, { type: "f32[8, 3, 3, 3]" }], attrs: { strides: [2, 1], pads: [[1, 1], [1, 1]], dilation: [1, 1], inputDilation: [1, 1], groups: 1, xDims: [0, 1, 2, 3], wDims: [0, 1, 2, 3], resultDims: [0, 1, 2, 3] } },
    { operands: [{ type: "f32[2, 6, 5, 8]" }, { type: "f32[6, 1, 3, 3]" }], attrs: { strides: [1, 1], pads: [[1, 1], [1, 1]], dilation: [1, 1], inputDilation: [1, 1], groups: 6, xDims: [0, 1, 2, 3], wDims: [0, 1, 2, 3], resultDims: [0, 1, 2, 3] } },
    { operands: [{ type: "f32[1, 4, 6]" }, { type: "f32[6, 2, 2]" }], attrs: { strides: [1], pads: [[2, 0]], dilation: [2], inputDilation: [2], groups: 2, xDims: [0, 1, 2], wDims: [0, 1, 2], resultDims: [0, 1, 2] } },
  ],
  flops: ([, w], [r], attrs) => 2 * Number(productOf(r?.dims ?? [])) * Number(productOf(attrs.wDims.slice(1).map((d) => w?.dims[d] ?? 1))),
});

export const contractionOps = [dot, convolution] as const;

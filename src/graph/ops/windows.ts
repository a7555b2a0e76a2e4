import type { Dim } from "../../base/dim.ts";
import { i32 } from "../../base/dtype.ts";
import type { Expr } from "../../scalar/expr.ts";
import { type Scalars, identityOf } from "../../scalar/scalars.ts";
import type { Accumulator, Axis } from "../../tensor/ir.ts";
import { forEachIndex, hostTensor, stridesOf } from "../host.ts";
import { type TensorType, defineOp } from "../op.ts";
import { windowDims } from "./reduction.ts";
import { inBounds } from "./shape.ts";

/**
 * The monoid that keeps the larger of two elements, and the smaller number of equal ones: pairs of value and number, where
 * a number below 0 is nobody's. NaN counts as larger than all else.
 */
function largest(sc: Scalars, axes: readonly Axis[], value: Expr, number: Expr): [Accumulator, Accumulator] {
  const parallel = axes.filter((a) => a.kind === "parallel").map((a) => a.variable);
  const [v, w] = [sc.variable("acc", value.dtype), sc.variable("acc'", value.dtype)];
  const [n, m] = [sc.variable("place", i32), sc.variable("place'", i32)];
  const [left, right, at, next] = [sc.var(v), sc.var(w), sc.var(n), sc.var(m)];
  const tie = value.dtype.isFloat
    ? sc.op("or", [sc.op("eq", [left, right]), sc.and(sc.op("ne", [left, left]), sc.op("ne", [right, right]))])
    : sc.op("eq", [left, right]);
  const above = value.dtype.isFloat
    ? sc.op("or", [sc.op("gt", [right, left]), sc.and(sc.op("ne", [right, right]), sc.op("eq", [left, left]))])
    : sc.op("gt", [right, left]);
  const better = sc.op("or", [above, sc.and(tie, sc.op("lt", [next, at]))]);
  const nobody = sc.op("lt", [at, sc.int(0)]);
  const taken = sc.and(sc.op("ge", [next, sc.int(0)]), sc.op("or", [nobody, better]));
  const choose = (a: Expr, b: Expr): Expr => sc.op("select", [taken, a, b]);
  return [
    { left: v, right: w, axes: parallel, identity: sc.const(identityOf("max", value.dtype), value.dtype), lift: value, combine: choose(right, left) },
    { left: n, right: m, axes: parallel, identity: sc.int(-1), lift: number, combine: choose(next, at) },
  ];
}

const argWindow = defineOp({
  name: "arg_window",
  doc: "The largest element in a window that slides over every dimension, and the row-major number of its place in the window as an i32: the first of equal ones, -1 where the window holds no element. NaN counts as larger than all else.",
  operands: ["x"],
  attrs: { window: "ints", strides: "ints", dilation: "ints", pads: "pairs" },
  constraints: [
    "C1: x is of a numeric dtype.",
    "C2: one window size, stride, dilation and pad for each dimension.",
    "C3: the window fits into the padded operand.",
  ],
  infer({ operands: [x], attrs, fail }) {
    const t = x as TensorType;
    if (t.dtype.kind === "bool") fail("C1", `got ${t.dtype}`);
    const dims = windowDims(t.dims, attrs, fail);
    return [
      { dtype: t.dtype, dims },
      { dtype: i32, dims },
    ];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const [values, places] = [hostTensor(x.dtype, out.dims), hostTensor(i32, out.dims)];
    const strides = stridesOf(x.dims);
    forEachIndex(out.dims, (o, flat) => {
      let [best, place] = [values.data[flat] as number | bigint, -1];
      forEachIndex(attrs.window, (k, number) => {
        let from = 0;
        for (let d = 0; d < k.length; d++) {
          const p =
            (o[d] as number) * (attrs.strides[d] as number) + (k[d] as number) * (attrs.dilation[d] as number) - (attrs.pads[d]?.[0] as number);
          if (p < 0 || p >= (x.dims[d] as number)) return;
          from += p * (strides[d] as number);
        }
        const v = x.data[from] as number | bigint;
        if (place < 0 || v > best || (Number.isNaN(v) && !Number.isNaN(best))) [best, place] = [v, number];
      });
      values.data[flat] = best as never;
      places.data[flat] = place as never;
    });
    return [values, places];
  },
  lower({ b, sc, operands: [x], results: [value, place], read, attrs }) {
    if (x === undefined || value === undefined || place === undefined) return;
    const slid = attrs.window.map((_, d) => d).filter((d) => attrs.window[d] !== 1);
    const axes = [...value.dims.map((d, i) => b.axis(`i${i}`, d)), ...slid.map((d, i) => b.axis(`r${i}`, attrs.window[d] as number, "reduction"))];
    const vars = axes.map((a) => sc.var(a.variable));
    const index = vars.slice(0, value.dims.length);
    const within = vars.slice(value.dims.length);
    let guard = sc.bool(true);
    const from = index.map((v, d) => {
      const k = slid.indexOf(d);
      const [low, high] = attrs.pads[d] as readonly [number, number];
      const step = k < 0 ? sc.int(0) : sc.mul(within[k] as Expr, sc.int(attrs.dilation[d] as number));
      const p = sc.add(sc.add(sc.mul(v, sc.int(attrs.strides[d] as number)), step), sc.int(-low));
      if (low > 0 || high > 0) guard = sc.and(guard, inBounds(sc, [p], [x.dims[d] as Dim]));
      return p;
    });
    const number = slid.reduce<Expr>((sum, d, k) => sc.add(sc.mul(sum, sc.int(attrs.window[d] as number)), within[k] as Expr), sc.int(0));
    const element = sc.select(guard, read(0, from), sc.const(identityOf("max", x.dtype), x.dtype));
    const [v, n] = largest(sc, axes, element, sc.select(guard, number, sc.int(-1)));
    const write = (tensor: typeof value, acc: Accumulator) => ({ tensor, index, value: sc.var(acc.left), combiner: null, guard: null });
    b.stage(
      value.name,
      axes,
      slid.length === 0 ? [] : [v, n],
      slid.length === 0
        ? [
            { tensor: value, index, value: element, combiner: null, guard: null },
            { tensor: place, index, value: sc.select(guard, sc.int(0), sc.int(-1)), combiner: null, guard: null },
          ]
        : [write(value, v), write(place, n)],
      value.origin,
    );
  },
  examples: [
    {
      operands: [{ type: "f32[2, 5, 9]" }],
      attrs: {
        window: [1, 3, 2],
        strides: [1, 2, 1],
        dilation: [1, 1, 2],
        pads: [
          [0, 0],
          [1, 1],
          [0, 1],
        ],
      },
    },
    // Many equal elements: the first of them counts.
    {
      operands: [{ type: "i32[3, 9]", range: [-2, 2] }],
      attrs: {
        window: [1, 4],
        strides: [1, 2],
        dilation: [1, 1],
        pads: [
          [0, 0],
          [1, 2],
        ],
      },
    },
  ],
});

export const windowOps = [argWindow] as const;

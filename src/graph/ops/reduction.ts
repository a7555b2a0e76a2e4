import { type Dim, addDim, floorDivDim, subDim } from "../../base/dim.ts";
import { type Num, roundTo } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import { scalarOps } from "../../scalar/ops/table.ts";
import { identityOf } from "../../scalar/scalars.ts";
import type { Monoid } from "../../tensor/builder.ts";
import { type HostTensor, forEachIndex, hostTensor, stridesOf } from "../host.ts";
import { type Fail, type TensorType, defineOp } from "../op.ts";
import { inBounds } from "./shape.ts";

const monoids: readonly string[] = ["add", "mul", "min", "max", "and", "or"] satisfies Monoid[];

/** Folds with a monoid in double precision or exact integers; rounded once at the end. */
function fold(monoid: Monoid, x: HostTensor, values: Iterable<Num>): Num {
  let acc = identityOf(monoid, x.dtype);
  // Sums run in double precision, whatever the dtype: the reference is the better value.
  for (const v of values)
    acc = monoid === "add" && typeof v === "number" ? (acc as number) + v : scalarOps[monoid].evaluate([acc, v], x.dtype, [x.dtype, x.dtype]);
  return roundTo(x.dtype, acc);
}

const reduce = defineOp({
  name: "reduce",
  doc: "Combines the elements along `axes` with the monoid add, mul, min, max, and, or; those axes go.",
  operands: ["x"],
  attrs: { monoid: "word", axes: "ints" },
  constraints: ["C1: the monoid is known and fits the dtype.", "C2: axes are distinct dimensions."],
  infer({ operands: [x], attrs, fail }) {
    const t = x as TensorType;
    if (!monoids.includes(attrs.monoid)) return fail("C1", `unknown monoid '${attrs.monoid}'`);
    const type = scalarOps[attrs.monoid as Monoid].type([t.dtype, t.dtype], null);
    if ("error" in type) fail("C1", type.error);
    if (new Set(attrs.axes).size !== attrs.axes.length || attrs.axes.some((a) => a < 0 || a >= t.dims.length))
      fail("C2", `axes [${attrs.axes.join(", ")}] of rank ${t.dims.length}`);
    return [{ dtype: t.dtype, dims: t.dims.filter((_, d) => !attrs.axes.includes(d)) }];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const t = hostTensor(x.dtype, out.dims);
    const strides = stridesOf(x.dims);
    const kept = x.dims.map((_, d) => d).filter((d) => !attrs.axes.includes(d));
    const inner = attrs.axes.map((a) => x.dims[a] as number);
    forEachIndex(out.dims, (o, flat) => {
      const base = kept.reduce((s, d, i) => s + (strides[d] as number) * (o[i] as number), 0);
      const values: Num[] = [];
      forEachIndex(inner, (k) => {
        values.push(x.data[base + attrs.axes.reduce((s, a, i) => s + (strides[a] as number) * (k[i] as number), 0)] as Num);
      });
      t.data[flat] = fold(attrs.monoid as Monoid, x, values) as never;
    });
    return [t];
  },
  lower({ b, operands: [x], results: [result], read, attrs }) {
    if (result === undefined || x === undefined) return;
    b.reduce(
      result,
      attrs.axes.map((a) => x.dims[a] as Dim),
      attrs.monoid as Monoid,
      (o, r) => {
        const left = [...o];
        return read(
          0,
          x.dims.map((_, d) => (attrs.axes.includes(d) ? (r[attrs.axes.indexOf(d)] as Expr) : (left.shift() as Expr))),
        );
      },
    );
  },
  examples: [
    { operands: [{ type: "f32[4, 9, 5]" }], attrs: { monoid: "add", axes: [1] } },
    { operands: [{ type: "f32[6, 11]" }], attrs: { monoid: "max", axes: [1] } },
    { operands: [{ type: "i64[3, 4]", range: [-9, 9] }], attrs: { monoid: "min", axes: [0, 1] } },
  ],
});

/** Attributes of a window that slides over every dimension. */
export interface WindowAttrs {
  readonly window: readonly number[];
  readonly strides: readonly number[];
  readonly dilation: readonly number[];
  readonly pads: readonly (readonly [number, number])[];
}

/** How many places a window has along each dim. Fails with C2 where an attribute is of another rank, with C3 where it does not fit. */
export function windowDims(dims: readonly Dim[], attrs: WindowAttrs, fail: Fail): Dim[] {
  if ([attrs.window, attrs.strides, attrs.dilation, attrs.pads].some((l) => l.length !== dims.length)) fail("C2", `rank ${dims.length}`);
  return dims.map((d, i) => {
    const [low, high] = attrs.pads[i] as readonly [number, number];
    const room = subDim(addDim(d, low + high), ((attrs.window[i] as number) - 1) * (attrs.dilation[i] as number) + 1);
    if (typeof room === "number" && room < 0) fail("C3", `dimension ${i}: window ${attrs.window[i]} in ${d}`);
    return addDim(floorDivDim(room, attrs.strides[i] as number), 1);
  });
}

const reduceWindow = defineOp({
  name: "reduce_window",
  doc: "Combines the elements in a window that slides over every dimension; outside of the operand lies the monoid's identity.",
  operands: ["x"],
  attrs: { monoid: "word", window: "ints", strides: "ints", dilation: "ints", pads: "pairs" },
  constraints: [
    "C1: the monoid is known and fits the dtype.",
    "C2: one window size, stride, dilation and pad for each dimension.",
    "C3: the window fits into the padded operand.",
  ],
  infer({ operands: [x], attrs, fail }) {
    const t = x as TensorType;
    if (!monoids.includes(attrs.monoid)) return fail("C1", `unknown monoid '${attrs.monoid}'`);
    const dims = windowDims(t.dims, attrs, fail);
    return [{ dtype: t.dtype, dims }];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const t = hostTensor(x.dtype, out.dims);
    const strides = stridesOf(x.dims);
    forEachIndex(out.dims, (o, flat) => {
      const values: Num[] = [];
      forEachIndex(attrs.window, (k) => {
        let from = 0;
        for (let d = 0; d < k.length; d++) {
          const p =
            (o[d] as number) * (attrs.strides[d] as number) + (k[d] as number) * (attrs.dilation[d] as number) - (attrs.pads[d]?.[0] as number);
          if (p < 0 || p >= (x.dims[d] as number)) return;
          from += p * (strides[d] as number);
        }
        values.push(x.data[from] as Num);
      });
      t.data[flat] = fold(attrs.monoid as Monoid, x, values) as never;
    });
    return [t];
  },
  lower({ b, sc, operands: [x], results: [result], read, attrs }) {
    if (result === undefined || x === undefined) return;
    const slid = attrs.window.map((_, d) => d).filter((d) => attrs.window[d] !== 1);
    b.reduce(
      result,
      slid.map((d) => attrs.window[d] as number),
      attrs.monoid as Monoid,
      (o, r) => {
        let guard = sc.bool(true);
        const from = o.map((v, d) => {
          const k = slid.indexOf(d);
          const [low, high] = attrs.pads[d] as readonly [number, number];
          const p = sc.add(
            sc.add(sc.mul(v, sc.int(attrs.strides[d] as number)), k < 0 ? sc.int(0) : sc.mul(r[k] as Expr, sc.int(attrs.dilation[d] as number))),
            sc.int(-low),
          );
          if (low > 0 || high > 0) guard = sc.and(guard, inBounds(sc, [p], [x.dims[d] as Dim]));
          return p;
        });
        return sc.select(guard, read(0, from), sc.const(identityOf(attrs.monoid as Monoid, x.dtype), x.dtype));
      },
    );
  },
  examples: [
    {
      operands: [{ type: "f32[1, 4, 7, 8]" }],
      attrs: {
        monoid: "max",
        window: [1, 1, 3, 3],
        strides: [1, 1, 2, 2],
        dilation: [1, 1, 1, 1],
        pads: [
          [0, 0],
          [0, 0],
          [1, 1],
          [1, 1],
        ],
      },
    },
    {
      operands: [{ type: "f32[2, 9]" }],
      attrs: {
        monoid: "add",
        window: [1, 3],
        strides: [1, 1],
        dilation: [1, 2],
        pads: [
          [0, 0],
          [2, 2],
        ],
      },
    },
  ],
});

export const reductionOps = [reduce, reduceWindow] as const;

import { type Dim, dimEquals, productOf, subDim } from "../../base/dim.ts";
import { type Num, roundTo } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import { scalarOps } from "../../scalar/ops/table.ts";
import { identityOf } from "../../scalar/scalars.ts";
import type { Monoid } from "../../tensor/builder.ts";
import type { Tensor } from "../../tensor/ir.ts";
import { hostTensor, sizeOf } from "../host.ts";
import { type LowerContext, type TensorType, defineOp } from "../op.ts";

const monoids: readonly string[] = ["add", "mul", "min", "max", "and", "or"] satisfies Monoid[];

interface Attributes {
  readonly monoid: string;
  readonly axis: number;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

/** Along the innermost axis: each row in order, with the value so far in a variable; rows beside each other. */
function lowerRows(c: LowerContext<Attributes>, x: Tensor, result: Tensor): void {
  const { b, sc, attrs } = c;
  const n = x.dims[attrs.axis] as Dim;
  const after = x.dims.slice(attrs.axis + 1);
  b.opaque(result.name, x.dims.slice(0, attrs.axis), productOf([4, n]), result.origin, (o, at) => {
    const total = o.cell("total", sc.const(identityOf(attrs.monoid as Monoid, x.dtype), x.dtype));
    o.for("step", sc.int(0), sc.dim(n), (step) => {
      const i = attrs.reverse ? sc.sub(sc.dim(subDim(n, 1)), step) : step;
      const place = [...at, i, ...after.map(() => sc.int(0))];
      const next = o.let("next", sc.op(attrs.monoid as Monoid, [total.value, o.read(x, ...place)]));
      o.write(result, place, attrs.exclusive ? total.value : next);
      total.set(next);
    });
  });
}

/** Along another axis: step by step, each over all that lies beside. */
function lowerSteps(c: LowerContext<Attributes>, x: Tensor, result: Tensor): void {
  const { b, sc, attrs } = c;
  const { axis, exclusive, reverse } = attrs;
  const n = x.dims[axis] as Dim;
  const others = x.dims.toSpliced(axis, 1);
  const identity = sc.const(identityOf(attrs.monoid as Monoid, x.dtype), x.dtype);
  b.scan(result.name, n, (step) => {
    const here = reverse ? sc.sub(sc.dim(subDim(n, 1)), step) : step;
    const before = reverse ? sc.add(here, sc.int(1)) : sc.sub(here, sc.int(1));
    b.scatter(result, others, null, (i) => {
      const at = (place: Expr): Expr[] => i.toSpliced(axis, 0, place);
      const so = (place: Expr): Expr => sc.op(attrs.monoid as Monoid, [sc.load(result, at(before)), sc.load(x, at(place))]);
      const value = sc.select(sc.op("gt", [step, sc.int(0)]), so(exclusive ? before : here), exclusive ? identity : sc.load(x, at(here)));
      return { index: at(here), value };
    });
  });
}

const cumulative = defineOp({
  name: "cumulative",
  doc: "Each element becomes what the monoid (add, mul, min, max, and, or) makes of all elements up to it along `axis`; `exclusive` leaves out itself, `reverse` starts at the end. Elements are combined in order, rounding at every step.",
  operands: ["x"],
  attrs: { monoid: "word", axis: "int", exclusive: "bool", reverse: "bool" },
  constraints: ["C1: the monoid is known and fits the dtype.", "C2: axis is a dimension."],
  infer({ operands: [x], attrs, fail }) {
    const t = x as TensorType;
    if (!monoids.includes(attrs.monoid)) return fail("C1", `unknown monoid '${attrs.monoid}'`);
    const type = scalarOps[attrs.monoid as Monoid].type([t.dtype, t.dtype], null);
    if ("error" in type) fail("C1", type.error);
    if (attrs.axis < 0 || attrs.axis >= t.dims.length) fail("C2", `axis ${attrs.axis} of rank ${t.dims.length}`);
    return [{ dtype: t.dtype, dims: t.dims }];
  },
  evaluate({ operands: [x], attrs }) {
    if (x === undefined) return [];
    const t = hostTensor(x.dtype, x.dims);
    const monoid = attrs.monoid as Monoid;
    const n = x.dims[attrs.axis] as number;
    const inner = sizeOf(x.dims.slice(attrs.axis + 1));
    for (let line = 0; line < (n === 0 ? 0 : t.data.length / n); line++) {
      const first = Math.floor(line / inner) * n * inner + (line % inner);
      let total = identityOf(monoid, x.dtype);
      for (let step = 0; step < n; step++) {
        const at = first + (attrs.reverse ? n - 1 - step : step) * inner;
        const next = roundTo(x.dtype, scalarOps[monoid].evaluate([total, x.data[at] as Num], x.dtype, [x.dtype, x.dtype]));
        t.data[at] = (attrs.exclusive ? total : next) as never;
        total = next;
      }
    }
    return [t];
  },
  lower(c) {
    const [x, result] = [c.operands[0], c.results[0]];
    if (x === undefined || result === undefined) return;
    const isInnermost = dimEquals(productOf(x.dims.slice(c.attrs.axis + 1)), 1);
    (isInnermost ? lowerRows : lowerSteps)(c, x, result);
  },
  examples: [
    { operands: [{ type: "f32[3, 17]" }], attrs: { monoid: "add", axis: 1, exclusive: false, reverse: false } },
    { operands: [{ type: "f32[2, 7, 21]" }], attrs: { monoid: "add", axis: 1, exclusive: true, reverse: true } },
    { operands: [{ type: "f32[9, 16]", range: [0.5, 1.5] }], attrs: { monoid: "mul", axis: 0, exclusive: false, reverse: true } },
    { operands: [{ type: "i64[3, 11, 1]", range: [-9, 9] }], attrs: { monoid: "max", axis: 1, exclusive: false, reverse: false } },
    { operands: [{ type: "f16[2, 9]" }], attrs: { monoid: "add", axis: 1, exclusive: true, reverse: false } },
  ],
});

export const cumulativeOps = [cumulative] as const;

import { dimsEqual, productOf } from "../../base/dim.ts";
import { roundTo } from "../../base/numeric.ts";
import { type OpName, opNames, scalarOps } from "../../scalar/ops/table.ts";
import { hostFrom } from "../host.ts";
import { type OpDef, defineOp } from "../op.ts";

const shapeConstraint = "C1: all operands have the same dims.";
const typeConstraint = "C2: the operand dtypes fit the scalar op's type rule.";

const anyWord = [-(2 ** 31), 2 ** 31 - 1] as const;
/** Where an op's examples draw their values from: where it is defined, and not too steep. */
const exampleRanges: Partial<Record<OpName, readonly [number, number]>> = {
  log: [0.1, 4],
  sqrt: [0.1, 4],
  rsqrt: [0.1, 4],
  pow: [0.1, 4],
  asin: [-0.95, 0.95],
  acos: [-0.95, 0.95],
  acosh: [1.1, 4],
  atanh: [-0.95, 0.95],
  dot16: anyWord,
  dot8: [0, 127],
  add16: anyWord,
};

/** Every scalar op, but conversions, as an op on whole tensors of equal dims. */
function elementwise(name: OpName): OpDef<Record<never, never>> {
  const entry = scalarOps[name];
  const isDiscrete = ["and", "or", "xor", "not", "shl", "shr", "floordiv", "mod", "dot16", "dot8", "add16"].includes(name);
  const type = isDiscrete ? "i32[3, 5]" : "f32[3, 5]";
  const range: readonly [number, number] = exampleRanges[name] ?? (isDiscrete ? [1, 9] : [-3, 3]);
  return defineOp({
    name,
    doc: entry.doc,
    operands: ["a", "b", "c"].slice(0, entry.arity),
    attrs: {},
    constraints: [shapeConstraint, typeConstraint],
    infer({ operands, fail }) {
      const [first] = operands;
      if (first === undefined || operands.some((o) => !dimsEqual(o.dims, first.dims))) fail("C1", "operand dims differ");
      const t = entry.type(
        operands.map((o) => o.dtype),
        null,
      );
      if ("error" in t) return fail("C2", t.error);
      return [{ dtype: t, dims: (first as (typeof operands)[0]).dims }];
    },
    evaluate({ operands, types: [out] }) {
      const { dtype, dims } = out as { dtype: (typeof operands)[0]["dtype"]; dims: readonly number[] };
      const from = operands.map((o) => o.dtype);
      return [
        hostFrom(dtype, dims, (i) =>
          roundTo(
            dtype,
            entry.evaluate(
              operands.map((o) => o.data[i] as number),
              dtype,
              from,
            ),
          ),
        ),
      ];
    },
    lower({ b, sc, operands, results: [result], read }) {
      if (result !== undefined)
        b.map(result, (i) =>
          sc.op(
            name,
            operands.map((_, k) => read(k, i)),
          ),
        );
    },
    examples: [
      {
        operands: Array.from({ length: entry.arity }, (_, i) => ({
          type: name === "select" && i === 0 ? "bool[3, 5]" : type,
          range: name === "select" && i === 0 ? ([0, 2] as const) : range,
        })),
        attrs: {},
      },
    ],
    flops: (_, [r]) => Number(productOf(r?.dims ?? [])),
  });
}

const convert = defineOp({
  name: "convert",
  doc: "Conversion to another dtype, with the scalar op `cast`'s semantics.",
  operands: ["x"],
  attrs: { dtype: "dtype" },
  constraints: [],
  infer: ({ operands: [x], attrs }) => [{ dtype: attrs.dtype, dims: x?.dims ?? [] }],
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    return [hostFrom(attrs.dtype, out.dims, (i) => scalarOps.cast.evaluate([x.data[i] as number], attrs.dtype, [x.dtype]))];
  },
  lower({ b, sc, results: [result], read, attrs }) {
    if (result !== undefined) b.map(result, (i) => sc.cast(attrs.dtype, read(0, i)));
  },
  examples: [],
});

export const elementwiseOps = [...opNames.filter((n) => n !== "cast" && n !== "bitcast").map(elementwise), convert] as const;

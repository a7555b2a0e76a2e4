import { type Dim, dimEquals, divideExactly, productOf } from "../../../../base/dim.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import { type Operand, dimValue } from "../../operand.ts";
import { wideFloat } from "../elementwise.ts";
import { Formula } from "../formula.ts";
import { matrixProduct } from "../matmul.ts";

/** x plus a bias that broadcasts to it; x as it is without one. */
export function biased(c: NodeContext, x: Value, bias: Operand | null): Value {
  return bias === null ? x : c.g.one("add", [x, c.stretch(bias.value, x.dims)]);
}

/** x plus a bias of any length: it starts again where it ends, all of x in a row. */
function biasedInOrder(c: NodeContext, x: Value, bias: Operand | null): Value {
  const [length, last] = [bias?.dims[0], x.dims[x.dims.length - 1]];
  if (bias?.rank !== 1 || length === undefined || last === undefined || dimEquals(length, last)) return biased(c, x, bias);
  if (length === 0) return c.fail("a bias of no elements");
  const at = c.sizes.positions([productOf(x.dims)], 0);
  const wrapped = c.g.one("mod", [at, c.g.broadcast(dimValue(c.g, length), at.dims, [])]);
  const whole = c.g.one("gather", [bias.value, wrapped], { axes: [0], at: 0 });
  return c.g.one("add", [x, c.g.reshape(whole, x.dims)]);
}

/** What `f` makes of x, computed in f32 where x is narrower. */
export function widely(c: NodeContext, x: Value, f: (wide: Value) => Value): Value {
  return c.g.convert(f(c.g.convert(x, wideFloat(x.dtype))), x.dtype);
}

const gelu = (c: NodeContext, x: Value, approximate: boolean): Value => widely(c, x, (v) => c.g.one("gelu", [v], { approximate }));

/** x · sigmoid(alpha · x); with alpha 1 it is SiLU. */
export function swish(c: NodeContext, x: Value, alpha: number): Value {
  const f = new Formula(c.g);
  return widely(c, x, (v) => f.mul(v, f.op("sigmoid", alpha === 1 ? v : f.mul(v, alpha))));
}

/** Of x and its bias the left half of the features times GELU of the right half. */
function biasSplitGelu(c: NodeContext): Operand {
  const x = c.value(0);
  const last = x.dims.length - 1;
  const half = last < 1 ? null : divideExactly(x.dims[last] as Dim, 2);
  if (half === null) return c.fail(`x [${x.dims.join(", ")}], expected an even number of features`);
  const sum = biased(c, x, c.input(1));
  const part = (from: Dim): Value => {
    const start = x.dims.map<Dim>(() => 0).with(last, from);
    return c.g.one("slice", [sum], { start, stride: x.dims.map(() => 1), dims: x.dims.with(last, half) });
  };
  return c.of(c.g.one("mul", [part(0), gelu(c, part(half), false)]));
}

/** x + bias (of the last dimension) + skip */
function biasAdd(c: NodeContext): Operand {
  return c.of(biased(c, biased(c, c.value(0), c.input(1)), c.input(2)));
}

/** Softmax of x + bias over everything from the axis on; the bias has 1 where it serves several of x's slices. */
function biasSoftmax(c: NodeContext): Operand {
  const x = c.value(0);
  const axis = c.axis(c.int("axis", 1), x.dims.length);
  const bias = c.value(1);
  const sum = biased(c, x, c.of(c.int("is_inner_broadcast", 0) === 0 ? bias : innerBias(c, bias, x, axis)));
  return c.of(widely(c, sum, (v) => overAll(c, v, axis)));
}

/** A bias [outer…, from the axis on…] for the dimensions of x between the two. */
function innerBias(c: NodeContext, bias: Value, x: Value, axis: number): Value {
  if (bias.dims.length === x.dims.length) return bias;
  const own = bias.dims.length - (x.dims.length - axis);
  if (own < 0) return c.fail(`a bias [${bias.dims.join(", ")}] for x [${x.dims.join(", ")}] with axis ${axis}`);
  return c.g.reshape(bias, [...bias.dims.slice(0, own), ...x.dims.slice(own, axis).map(() => 1), ...bias.dims.slice(own)]);
}

/** Softmax over the dimensions from the axis on as one. */
function overAll(c: NodeContext, v: Value, axis: number): Value {
  if (axis === v.dims.length - 1) return c.g.one("softmax", [v], { axis });
  const rows = c.g.reshape(v, [...v.dims.slice(0, axis), productOf(v.dims.slice(axis))]);
  return c.g.reshape(c.g.one("softmax", [rows], { axis }), v.dims);
}

/** FastGelu of a product, with a bias. */
function gemmFastGelu(c: NodeContext): Operand {
  return c.of(gelu(c, biased(c, matrixProduct(c, c.value(0), c.value(1)), c.optional(2)), true));
}

export const activationOps: OpTable = {
  Gelu: { since: 1, map: (c) => c.of(gelu(c, c.value(0), false)) },
  BiasGelu: { since: 1, map: (c) => c.of(gelu(c, biased(c, c.value(0), c.input(1)), false)) },
  FastGelu: { since: 1, map: (c) => c.of(gelu(c, biasedInOrder(c, c.value(0), c.optional(1)), true)) },
  GemmFastGelu: { since: 1, map: gemmFastGelu },
  QuickGelu: { since: 1, map: (c) => c.of(swish(c, c.value(0), c.float("alpha", 1.702))) },
  BiasSplitGelu: { since: 1, map: biasSplitGelu },
  BiasAdd: { since: 1, map: biasAdd },
  BiasSoftmax: { since: 1, map: biasSoftmax },
};

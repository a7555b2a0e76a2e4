import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { type Activation, activation } from "../activation.ts";
import { Formula } from "../formula.ts";
import { gemm, matrixProduct } from "../matmul.ts";
import { conv } from "../nn.ts";
import { widely } from "./activation.ts";
import { inLayout } from "./layout.ts";

/** The activation that the node names, with its parameters in order. */
function activated(c: NodeContext, x: Value, parameters: readonly (number | undefined)[]): Value {
  const name = c.text("activation", "");
  if (name === "") return x;
  const f = new Formula(c.g);
  const [a, b] = parameters;
  const clip: Activation = (_, v) => f.clamp(v, a ?? Number.NEGATIVE_INFINITY, b ?? Number.POSITIVE_INFINITY);
  const made = name === "Clip" ? clip : activation(name, a, b);
  return made === null ? c.unsupported(`activation '${name}'`) : widely(c, x, (v) => made(f, v));
}

/** A convolution, plus another tensor, then an activation. */
function fusedConv(c: NodeContext): Operand {
  const [y, z] = [conv(c).value, c.optional(3)];
  const sum = z === null ? y : c.g.one("add", [y, c.stretch(z.value, y.dims)]);
  return c.of(activated(c, sum, c.attribute("activation_params")?.floats ?? []));
}

function nhwcFusedConv(c: NodeContext): Operand {
  const z = c.optional(3);
  const y = nhwcConv(c).value;
  const sum = z === null ? y : c.g.one("add", [y, c.stretch(z.value, y.dims)]);
  return c.of(activated(c, sum, c.attribute("activation_params")?.floats ?? []));
}

/** Channels are last in x and the result, first in the weights. */
function nhwcConv(c: NodeContext): Operand {
  return c.of(inLayout(c, true, c.value(0), (x) => conv(c.readAs(22, [c.of(x), c.input(1), c.optional(2)])).value));
}

function fusedGemm(c: NodeContext): Operand {
  const parameter = (name: string) => c.attribute(`activation_${name}`)?.f;
  return c.of(activated(c, gemm(c).value, [parameter("alpha"), parameter("beta")]));
}

/** A matrix stack as the node's attributes turn it: rows from the first dimension to behind the batches, then rows and columns. */
function turned(c: NodeContext, i: number, side: "A" | "B"): Value {
  const x = c.value(i);
  const rank = x.dims.length;
  if (rank < 2) return x;
  const order = x.dims.map((_, k) => k);
  const [batches, last] = [order.slice(0, -2), rank - 1];
  const rows = c.int(`transBatch${side}`, 0) === 0 ? [...batches, rank - 2] : [...order.slice(1, -1), 0];
  const perm = [...rows, last];
  return c.g.transpose(x, c.int(`trans${side}`, 0) === 0 ? perm : [...perm.slice(0, -2), last, perm[rank - 2] as number]);
}

/** alpha · A' B' */
function fusedMatMul(c: NodeContext): Operand {
  const product = matrixProduct(c, turned(c, 0, "A"), turned(c, 1, "B"));
  const alpha = c.float("alpha", 1);
  return c.of(alpha === 1 ? product : c.withScalar("mul", product, alpha));
}

export const fusedOps: OpTable = {
  FusedConv: { since: 1, map: fusedConv },
  NhwcConv: { since: 1, map: nhwcConv },
  NhwcFusedConv: { since: 1, map: nhwcFusedConv },
  FusedGemm: { since: 1, map: fusedGemm },
  FusedMatMul: { since: 1, map: fusedMatMul },
  TransposeMatMul: { since: 1, map: fusedMatMul },
};

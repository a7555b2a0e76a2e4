import type { Dim } from "../../../base/dim.ts";
import { i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";
import { positions, wideFloat } from "./elementwise.ts";
import { mean, reduced, spread } from "./reduction.ts";

/** Classes along dimension 1 of x; the target has the other dimensions. */
interface Targets {
  /** The class at each place, as i32. */
  readonly at: Value;
  /** Where a place does not count; null when all do. */
  readonly ignored: Value | null;
}

function targetsOf(c: NodeContext, x: Value): Targets {
  const target = c.input(1);
  if (x.dims.length < 2) c.fail(`scores of rank ${x.dims.length}, expected [batch, classes, …]`);
  const dims = x.dims.toSpliced(1, 1);
  if (target.rank !== dims.length) c.fail(`targets of rank ${target.rank} for scores of rank ${x.dims.length}`);
  target.dims.forEach((d, i) => c.sameDim(d, dims[i] as Dim, `dimension ${i} of the targets`));
  const index = c.attribute("ignore_index");
  const ignored = index === null ? null : c.g.one("eq", [target.value, c.g.splat(target.dtype, target.dims, index.i)]);
  return { at: c.g.convert(target.value, i32), ignored };
}

/** x at the target's class, for each place. */
function atTarget(c: NodeContext, x: Value, at: Value): Value {
  const axes = x.dims.map((_, i) => i);
  const index = axes.map((a) => (a === 1 ? at : positions(c, at.dims, a === 0 ? 0 : a - 1)));
  return c.g.one("gather", [x, ...index], { axes, at: 0 });
}

/** The loss of log-probabilities: what the target's classes have, negated, weighted and reduced as the node says. */
function loss(c: NodeContext, logs: Value): Value {
  const { g } = c;
  const { at, ignored } = targetsOf(c, logs);
  const zero = g.splat(logs.dtype, at.dims, 0);
  const unless = (v: Value) => (ignored === null ? v : g.one("select", [ignored, zero, v]));
  const given = c.optional(2);
  const weight =
    given !== null
      ? unless(g.one("gather", [g.convert(given.value, logs.dtype), at], { axes: [0], at: 0 }))
      : ignored === null
        ? null
        : unless(g.splat(logs.dtype, at.dims, 1));
  const plain = unless(g.one("neg", [atTarget(c, logs, at)]));
  const each = given === null || weight === null ? plain : g.one("mul", [weight, plain]);
  const axes = at.dims.map((_, i) => i);
  const reduction = c.text("reduction", "mean");
  switch (reduction) {
    case "none":
      return each;
    case "sum":
      return reduced(c, each, "add", axes);
    case "mean":
      return weight === null ? mean(c, each, axes) : g.one("div", [reduced(c, each, "add", axes), reduced(c, weight, "add", axes)]);
    default:
      return c.fail(`reduction '${reduction}', expected none, sum or mean`);
  }
}

function negativeLogLikelihood(c: NodeContext): Operand {
  const x = c.value(0);
  return c.of(c.g.convert(loss(c, c.g.convert(x, wideFloat(x.dtype))), x.dtype));
}

/** The same of log softmax along the classes, which is the second result. */
function softmaxCrossEntropy(c: NodeContext): readonly (Operand | null)[] {
  const { g } = c;
  const x = c.value(0);
  if (x.dims.length < 2) c.fail(`scores of rank ${x.dims.length}, expected [batch, classes, …]`);
  const v = g.convert(x, wideFloat(x.dtype));
  const centred = g.one("sub", [v, spread(c, reduced(c, v, "max", [1]), v.dims, [1])]);
  const total = g.one("log", [reduced(c, g.one("exp", [centred]), "add", [1])]);
  const logs = g.one("sub", [centred, spread(c, total, v.dims, [1])]);
  return [c.of(g.convert(loss(c, logs), x.dtype)), c.wants(1) ? c.of(g.convert(logs, x.dtype)) : null];
}

export const lossOps: OpTable = {
  NegativeLogLikelihoodLoss: { since: 12, map: negativeLogLikelihood },
  SoftmaxCrossEntropyLoss: { since: 12, map: softmaxCrossEntropy },
};

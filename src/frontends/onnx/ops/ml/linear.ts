import { f32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { Mapped, NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { Formula } from "../formula.ts";
import {
  affine,
  bothScores,
  classCount,
  classLabels,
  decided,
  featureCount,
  floats,
  labelled,
  largestIn,
  matrixOf,
  singleRowsOf,
  transformOf,
  transformed,
  vector,
} from "./common.ts";

/** x · coefficients + intercepts, a column for each score. */
function linearScores(c: NodeContext, x: Value, count: number): Value {
  const [w, bias] = [floats(c, "coefficients"), floats(c, "intercepts")];
  const features = featureCount(c, x);
  // Models in the wild have more, which ONNX Runtime does not look at.
  if (w.length < count * features) return c.fail(`${w.length} coefficients, expected ${count} times ${features} features`);
  if (bias.length !== 0 && bias.length !== count) return c.fail(`${bias.length} intercepts, expected ${count}`);
  return affine(c, x, matrixOf(c, [count, features], w, "coefficients"), bias.length === 0 ? null : vector(c, f32, bias, "intercepts"));
}

function regressor(c: NodeContext): Operand {
  const count = c.int("targets", 1);
  if (count < 1) return c.fail(`${count} targets`);
  return c.of(transformed(c, linearScores(c, singleRowsOf(c), count), transformOf(c)));
}

function classifier(c: NodeContext): Mapped {
  const x = singleRowsOf(c);
  const labels = classLabels(c, "classlabels_ints");
  const features = featureCount(c, x);
  const count = Math.max(1, floats(c, "intercepts").length || Math.floor(floats(c, "coefficients").length / features));
  const scores = linearScores(c, x, count);
  const t = transformOf(c);
  const classes = classCount(c, "classlabels_ints");
  if (count === 1) {
    const both = classes === 2;
    const pair = labels === null || both ? labels : [0n, 1n];
    const label = labelled(c, pair, decided(c, scores, 0));
    // Two labels for one score: that of the other class is what is left of 1.
    const z = both ? complement(c, scores, t) : transformed(c, scores, t);
    return [label === null ? null : c.of(label), c.of(z)];
  }
  if (classes !== 0 && classes !== count) return c.fail(`${classes} class labels for ${count} scores`);
  const names = labels !== null && labels.length === 0 ? Array.from({ length: count }, (_, i) => BigInt(i)) : labels;
  const label = labelled(c, names, largestIn(c, scores));
  return [label === null ? null : c.of(label), c.of(transformed(c, scores, t))];
}

function complement(c: NodeContext, score: Value, t: ReturnType<typeof transformOf>): Value {
  const f = new Formula(c.g);
  return t === "LOGISTIC" ? bothScores(c, f.op("sigmoid", score), "complement", "NONE") : bothScores(c, score, "complement", t);
}

export const linearOps: OpTable = {
  LinearRegressor: { since: 1, map: regressor },
  LinearClassifier: { since: 1, map: classifier },
};

import { type Dim, subDim, symbolDim } from "../../../../base/dim.ts";
import { bool, f32, i32 } from "../../../../base/dtype.ts";
import type { GraphBuilder } from "../../../../graph/builder.ts";
import { hostFrom } from "../../../../graph/host.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { Mapped, NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { Formula } from "../formula.ts";
import {
  type Transform,
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

/** x to a power that is a small integer in most models: negative bases are fine then. */
function power(f: Formula, x: Value, degree: number): Value {
  if (!Number.isInteger(degree) || degree < 1 || degree > 16) return f.op("pow", x, degree);
  return Array.from({ length: degree - 1 }).reduce<Value>((p) => f.mul(p, x), x);
}

/** The kernel function of each row of x and each support vector, [rows, vectors]. */
function kernels(c: NodeContext, x: Value, vectors: number): Value {
  const f = new Formula(c.g);
  const features = featureCount(c, x);
  const elements = floats(c, "support_vectors");
  if (elements.length !== vectors * features) return c.fail(`${elements.length} support_vectors, expected ${vectors} times ${features} features`);
  const [gamma = 0, offset = 0, degree = 0] = floats(c, "kernel_params");
  const w = matrixOf(c, [vectors, features], elements, "support_vectors");
  const product = (): Value => affine(c, x, w, null);
  const kind = c.text("kernel_type", "LINEAR");
  switch (kind) {
    case "LINEAR":
      return product();
    case "POLY":
      return power(f, f.add(f.mul(product(), gamma), offset), degree);
    case "SIGMOID":
      return f.op("tanh", f.add(f.mul(product(), gamma), offset));
    case "RBF": {
      const dims = [x.dims[0] as Dim, vectors, features];
      const apart = f.sub(c.g.broadcast(x, dims, [0, 2]), c.g.broadcast(w, dims, [1, 2]));
      return f.op("exp", f.mul(c.g.one("reduce", [f.mul(apart, apart)], { monoid: "add", axes: [2] }), -gamma));
    }
    default:
      return c.fail(`kernel_type '${kind}', expected LINEAR, POLY, RBF or SIGMOID`);
  }
}

function regressor(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const x = singleRowsOf(c);
  const supports = c.int("n_supports", 0);
  const [w, rho] = [floats(c, "coefficients"), floats(c, "rho")];
  if (rho.length < 1) return c.fail("'rho' is missing");
  const inputs = supports > 0 ? kernels(c, x, supports) : x;
  const n = supports > 0 ? supports : featureCount(c, x);
  if (w.length !== n) return c.fail(`${w.length} coefficients, expected ${n}`);
  const scores = affine(c, inputs, matrixOf(c, [1, n], w, "coefficients"), vector(c, f32, rho.slice(0, 1), "rho"));
  if (c.int("one_class", 0) === 1) return c.of(f.select(f.op("gt", scores, 0), c.g.splat(f32, scores.dims, 1), -1));
  return c.of(transformed(c, scores, transformOf(c)));
}

/** Pairs of classes, the first below the second. */
function pairsOf(classes: number): [number, number][] {
  return Array.from({ length: classes }, (_, i) => Array.from({ length: classes - 1 - i }, (_, k): [number, number] => [i, i + 1 + k])).flat();
}

/** A score for each pair of classes, from the kernels of the support vectors of both: [rows, pairs]. */
function pairScores(c: NodeContext, x: Value, perClass: readonly number[]): Value {
  const vectors = perClass.reduce((a, b) => a + b, 0);
  const pairs = pairsOf(perClass.length);
  const [w, rho] = [floats(c, "coefficients"), floats(c, "rho")];
  if (w.length !== vectors * (perClass.length - 1))
    c.fail(`${w.length} coefficients, expected ${perClass.length - 1} for each of ${vectors} vectors`);
  if (rho.length !== pairs.length) c.fail(`${rho.length} entries in 'rho', expected one for each of ${pairs.length} pairs of classes`);
  const classOf = perClass.flatMap((n, k) => new Array<number>(n).fill(k));
  const coefficients = pairs.flatMap(([i, j]) =>
    classOf.map((k, v) => (k === i ? (w[(j - 1) * vectors + v] as number) : k === j ? (w[i * vectors + v] as number) : 0)),
  );
  return affine(c, kernels(c, x, vectors), matrixOf(c, [pairs.length, vectors], coefficients, "coefficients"), vector(c, f32, rho, "rho"));
}

/** How many pairs each class wins: [rows, classes]. */
function votesOf(c: NodeContext, scores: Value, classes: number): Value {
  const pairs = pairsOf(classes);
  const first = c.g.convert(c.withScalar("gt", scores, 0), f32);
  // A pair gives its vote to the first or else to the second: sum of first·(i) + (1 − first)·(j).
  const won = pairs.map(([i, j]) => Array.from({ length: classes }, (_, k) => Number(k === i) - Number(k === j)));
  const lost = Array.from({ length: classes }, (_, k) => pairs.filter(([, j]) => j === k).length);
  const weights = Array.from({ length: classes }, (_, k) => won.map((p) => p[k] as number)).flat();
  return affine(c, first, matrixOf(c, [classes, pairs.length], weights, "votes"), vector(c, f32, lost, "votes"));
}

/** The probability of the first class of each pair, by the sigmoid that was fitted to the pair's score. */
function pairProbabilities(c: NodeContext, scores: Value): Value {
  const f = new Formula(c.g);
  const n = scores.dims[1] as Dim;
  const [a, b] = [floats(c, "prob_a"), floats(c, "prob_b")];
  if (a.length !== n || b.length !== n) return c.fail(`${a.length} entries in 'prob_a', ${b.length} in 'prob_b', expected ${n}`);
  const all = (v: readonly number[]): Value => c.g.broadcast(vector(c, f32, v, "probability"), scores.dims, [1]);
  return f.clamp(f.op("sigmoid", f.op("neg", f.add(f.mul(scores, all(a)), all(b)))), 1e-7, 1 - 1e-7);
}

/** More classes than this have no probabilities: one step of the iteration goes through all. */
const mostClasses = 64;

/**
 * Probabilities of classes from those of pairs: the second approach of Wu, Lin and Weng ("Probability estimates for multi-class
 * classification by pairwise coupling", 2004), with the stopping rule that libsvm has. Each row stops on its own.
 */
function coupled(c: NodeContext, pairwise: Value, classes: number): Value {
  if (classes > mostClasses) return c.unsupported(`probabilities of ${classes} classes, expected at most ${mostClasses}`);
  const { g } = c;
  const f = new Formula(g);
  const rows = pairwise.dims[0] as Dim;
  const pairs = pairsOf(classes);
  // r[i][j] = P(i | i or j), as a matrix with zeros on the diagonal: the second of a pair has what is left of 1.
  const place = Array.from({ length: classes * classes }, () => 0);
  const side = Array.from({ length: classes * classes }, () => 0);
  pairs.forEach(([i, j], p) => {
    place[i * classes + j] = p;
    place[j * classes + i] = p;
    side[i * classes + j] = 1;
    side[j * classes + i] = -1;
  });
  const square = [rows, classes, classes];
  const constant = (elements: readonly number[]): Value =>
    g.broadcast(
      g.host(
        hostFrom(f32, [classes, classes], (i) => elements[i] ?? 0),
        "sides",
      ),
      square,
      [1, 2],
    );
  const picked = g.reshape(g.one("gather", [pairwise, vector(c, i32, place, "pairs")], { axes: [1], at: 1 }), square);
  const [sides, diagonal] = [constant(side), constant(Array.from({ length: classes * classes }, (_, i) => Number(i % (classes + 1) === 0)))];
  const r = f.select(f.op("gt", sides, 0), picked, f.select(f.op("lt", sides, 0), f.sub(1, picked), 0));
  const turned = g.transpose(r, [0, 2, 1]);
  const own = g.broadcast(g.one("reduce", [f.mul(r, r)], { monoid: "add", axes: [1] }), square, [0, 2]);
  const q = f.select(f.op("gt", diagonal, 0), own, f.op("neg", f.mul(r, turned)));
  const turns = Math.max(100, classes);
  const start = [g.splat(f32, [rows, classes], 1 / classes), g.splat(bool, [rows], 1)];
  const index = symbolDim(g.dataSymbol("turn", 0, subDim(turns, 1)));
  const body = g.nested();
  const params = [body.value("probabilities", start[0] as Value), body.value("open", start[1] as Value)];
  const [next, open] = couplingTurn(body, q, params[0] as Value, params[1] as Value, classes);
  const more = body.one("reduce", [open], { monoid: "or", axes: [0] });
  const region = body.region(params, [more, next, open]);
  const attrs = { index: [index], length: [turns], states: 2, conditional: true };
  return g.op("loop", [g.splat(bool, [], 1), ...start], attrs, { regions: [region] })[1] as Value;
}

/** One turn over all classes, for the rows that are still open. */
function couplingTurn(g: GraphBuilder, q: Value, p: Value, isOpen: Value, classes: number): readonly [next: Value, open: Value] {
  const f = new Formula(g);
  const all = (v: Value): Value => g.broadcast(v, p.dims, [0]);
  const sum = (v: Value): Value => g.one("reduce", [v], { monoid: "add", axes: [v.dims.length - 1] });
  const column = (v: Value, t: number): Value =>
    g.reshape(g.one("slice", [v], { start: [0, t], stride: [1, 1], dims: [v.dims[0] as Dim, 1] }), [v.dims[0] as Dim]);
  const rowOf = (t: number): Value =>
    g.reshape(g.one("slice", [q], { start: [0, t, 0], stride: [1, 1, 1], dims: [q.dims[0] as Dim, 1, classes] }), p.dims);
  let weighted = sum(f.mul(q, g.broadcast(p, q.dims, [0, 2])));
  let total = sum(f.mul(p, weighted));
  const error = g.one("reduce", [f.op("abs", f.sub(weighted, all(total)))], { monoid: "max", axes: [1] });
  const open = f.and(isOpen, f.op("ge", error, 0.005 / classes));
  let next = p;
  for (let t = 0; t < classes; t++) {
    const [row, here] = [rowOf(t), column(weighted, t)];
    const diagonal = column(row, t);
    const step = f.div(f.sub(total, here), diagonal);
    const scale = f.add(step, 1);
    total = f.div(f.add(total, f.mul(step, f.add(f.mul(step, diagonal), f.mul(here, 2)))), f.mul(scale, scale));
    const unit = g.broadcast(
      g.host(
        hostFrom(f32, [classes], (i) => Number(i === t)),
        "unit",
      ),
      p.dims,
      [1],
    );
    next = f.div(f.add(next, f.mul(unit, all(step))), all(scale));
    weighted = f.div(f.add(weighted, f.mul(row, all(step))), all(scale));
  }
  return [f.select(all(open), next, p), open];
}

function classifier(c: NodeContext): Mapped {
  const x = singleRowsOf(c);
  const t = transformOf(c);
  const labels = classLabels(c, "classlabels_ints");
  const perClass = c.ints("vectors_per_class") ?? [];
  const classes = Math.max(1, classCount(c, "classlabels_ints"));
  const result = (at: Value | null, z: Value): Mapped => {
    const names = labels !== null && labels.length === 0 ? [0n, 1n] : labels;
    const label = at === null ? null : labelled(c, names, at);
    return [label === null ? null : c.of(label), c.of(z)];
  };
  if (perClass.length === 0) return result(...linear(c, x, classes, t));
  if (perClass.length !== classes || classes < 2) return c.fail(`${perClass.length} vectors_per_class for ${classes} class labels`);
  const scores = pairScores(c, x, perClass);
  const winner = largestIn(c, votesOf(c, scores, classes));
  const hasProbabilities = floats(c, "prob_a").length > 0;
  if (hasProbabilities) return result(winner, transformed(c, coupled(c, pairProbabilities(c, scores), classes), t));
  if (classes > 2) return result(winner, transformed(c, scores, t));
  // What ONNX Runtime makes of the score of two classes: softmax is not taken.
  return result(winner, bothScores(c, scores, t === "SOFTMAX" || t === "SOFTMAX_ZERO" ? "complement" : "opposite", t));
}

/** Without support vectors: a linear score for each class. */
function linear(c: NodeContext, x: Value, classes: number, t: Transform): [Value | null, Value] {
  const features = featureCount(c, x);
  const [w, rho] = [floats(c, "coefficients"), floats(c, "rho")];
  if (w.length !== classes * features) return c.fail(`${w.length} coefficients, expected ${classes} times ${features} features`);
  if (rho.length < 1) return c.fail("'rho' is missing");
  const bias = vector(c, f32, new Array<number>(classes).fill(rho[0] as number), "rho");
  const scores = affine(c, x, matrixOf(c, [classes, features], w, "coefficients"), bias);
  if (classes === 1) return [decided(c, scores, 0), transformed(c, scores, t)];
  const largest = largestIn(c, scores);
  if (classes > 2) return [largest, transformed(c, scores, t)];
  // With one offset for two classes ONNX Runtime takes any positive score for the second one.
  const isPositive = c.withScalar("gt", c.g.one("reduce", [scores], { monoid: "max", axes: [1] }), 0);
  return [new Formula(c.g).select(isPositive, 1, largest), transformed(c, scores, t)];
}

export const svmOps: OpTable = {
  SVMRegressor: { since: 1, map: regressor },
  SVMClassifier: { since: 1, map: classifier },
};

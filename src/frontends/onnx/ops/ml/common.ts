import type { Dim } from "../../../../base/dim.ts";
import { type DType, f32, f64, i32, i64 } from "../../../../base/dtype.ts";
import { hostFrom } from "../../../../graph/host.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext } from "../../context.ts";
import { Formula } from "../formula.ts";
import { positions } from "../elementwise.ts";
import { reduced, spread } from "../reduction.ts";

/** Numbers of an attribute; empty when there are none. */
export function floats(c: NodeContext, name: string): readonly number[] {
  return c.attribute(name)?.floats ?? [];
}
/** A constant of one dimension. */
export function vector(c: NodeContext, dtype: DType, elements: readonly (number | bigint)[], name: string): Value {
  return c.g.host(
    hostFrom(dtype, [elements.length], (i) => {
      const v = elements[i] ?? 0;
      return dtype === i64 ? BigInt(v) : Number(v);
    }),
    name,
  );
}
/** A constant matrix, its elements row by row. */
export function matrixOf(c: NodeContext, dims: readonly [number, number], elements: readonly number[], name: string): Value {
  return c.g.host(
    hostFrom(f32, dims, (i) => elements[i] ?? 0),
    name,
  );
}

/** The first input as rows of features; a single row may lack its first dimension. f64 stays, all else becomes f32. */
export function rowsOf(c: NodeContext): Value {
  const x = c.input(0);
  if (x.rank < 1 || x.rank > 2) return c.fail(`X has ${x.rank} dimensions, expected [rows, features]`);
  const wide = c.g.convert(x.value, x.dtype === f64 ? f64 : f32);
  return x.rank === 2 ? wide : c.g.reshape(wide, [1, x.dims[0] as Dim]);
}
/** The same in f32. */
export function singleRowsOf(c: NodeContext): Value {
  return c.g.convert(rowsOf(c), f32);
}
/** How many features there are: the tables of the op decide about each. */
export function featureCount(c: NodeContext, x: Value): number {
  const n = x.dims[1] as Dim;
  return typeof n === "number" ? n : c.unsupported(`the number of features is symbolic (${n}): give the input a shape`);
}

/** The labels of classes, or null where they are strings. */
export function classLabels(c: NodeContext, integers: string): readonly bigint[] | null {
  const given = c.attribute(integers)?.ints ?? [];
  if (given.length > 0) return given;
  return (c.attribute("classlabels_strings")?.strings.length ?? 0) > 0 ? null : given;
}
/** How many classes have a label. */
export function classCount(c: NodeContext, integers: string): number {
  return classLabels(c, integers)?.length ?? c.attribute("classlabels_strings")?.strings.length ?? 0;
}
/** The label for each number of a class; null where labels are strings, which only fails where somebody wants them. */
export function labelled(c: NodeContext, labels: readonly bigint[] | null, at: Value): Value | null {
  if (labels === null) return null;
  // A sum of which one term is not 0: it runs in the same pass over the row that finds the number.
  const dims = [...at.dims, labels.length];
  const isIt = c.g.one("eq", [positions(c, dims, 1), c.g.broadcast(at, dims, [0])]);
  const terms = c.g.one("select", [isIt, c.g.broadcast(vector(c, i64, labels, "labels"), dims, [1]), c.g.splat(i64, dims, 0n)]);
  return reduced(c, terms, "add", [1]);
}

/** The number of the largest in each row, the first of equal ones. */
export function largestIn(c: NodeContext, x: Value): Value {
  const best = spread(c, reduced(c, x, "max", [1]), x.dims, [1]);
  const n = x.dims[1] as Dim;
  const last = c.g.splat(i32, x.dims, typeof n === "number" ? n - 1 : c.unsupported("a symbolic number of classes"));
  return reduced(c, c.g.one("select", [c.g.one("eq", [x, best]), positions(c, x.dims, 1), last]), "min", [1]);
}

const transforms = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"] as const;
/** What is done to scores at the end. */
export type Transform = (typeof transforms)[number];

/** The attribute `post_transform`: a name, or its number. */
export function transformOf(c: NodeContext): Transform {
  const a = c.attribute("post_transform");
  const name = a !== null && a.type === 2 ? (transforms[Number(a.i)] ?? String(a.i)) : c.text("post_transform", "NONE");
  return transforms.find((t) => t === name) ?? c.fail(`post_transform '${name}', expected one of ${transforms.join(", ")}`);
}

/** Scores [rows, n] after the transform; ONNX Runtime leaves a single one as it is, PROBIT apart. */
export function transformed(c: NodeContext, scores: Value, t: Transform): Value {
  const isSingle = scores.dims[1] === 1;
  if (isSingle && t !== "PROBIT") return scores;
  switch (t) {
    case "NONE":
      return scores;
    case "SOFTMAX":
      return c.g.one("softmax", [scores], { axis: 1 });
    case "LOGISTIC":
      return c.g.one("sigmoid", [scores]);
    case "SOFTMAX_ZERO":
      return softmaxZero(c, scores);
    case "PROBIT":
      return probit(c, scores);
    default:
      throw t satisfies never;
  }
}

/** Softmax where scores of about 0 stay what they are before the division, but for the shift by the largest. */
function softmaxZero(c: NodeContext, x: Value): Value {
  const f = new Formula(c.g);
  const most = reduced(c, x, "max", [1]);
  const e = f.op("exp", f.sub(x, spread(c, most, x.dims, [1])));
  const counts = f.op("gt", f.op("abs", x), 1e-7);
  const shifted = f.mul(x, spread(c, f.op("exp", f.op("neg", most)), x.dims, [1]));
  const sum = reduced(c, f.select(counts, e, 0), "add", [1]);
  return f.div(f.select(counts, e, shifted), spread(c, sum, x.dims, [1]));
}

/**
 * The quantile of the normal distribution, √2 · erf⁻¹(2p − 1), by Winitzki's formula ("A handy approximation for the error
 * function and its inverse", 2008) with a = 0.147, which is what runtimes compute.
 */
function probit(c: NodeContext, p: Value): Value {
  const f = new Formula(c.g);
  const x = f.sub(f.mul(p, 2), 1);
  const log = f.op("log", f.mul(f.sub(1, x), f.add(x, 1)));
  const v = f.add(f.mul(log, 0.5), 2 / (Math.PI * 0.147));
  const root = f.op("sqrt", f.sub(f.op("sqrt", f.sub(f.mul(v, v), f.mul(log, 1 / 0.147))), v));
  return f.mul(f.select(f.op("lt", x, 0), f.op("neg", root), root), Math.SQRT2);
}

/** How the score of one class of two gives that of the other. */
type Second = "complement" | "opposite";

/** Scores of both classes, [rows, 2], from that of one, [rows, 1]. */
export function bothScores(c: NodeContext, score: Value, second: Second, t: Transform): Value {
  if (t === "PROBIT") return probit(c, score);
  const f = new Formula(c.g);
  const both = (a: Value, b: Value): Value => c.g.one("concat", [a, b], { axis: 1 });
  if (second === "complement") return both(f.sub(1, score), score);
  const opposite = f.op("neg", score);
  return t === "LOGISTIC" ? both(f.op("sigmoid", opposite), f.op("sigmoid", score)) : both(opposite, score);
}

/** x · w + bias, [rows, n], for w [n, features]. */
export function affine(c: NodeContext, x: Value, w: Value, bias: Value | null): Value {
  const y = c.g.one("dot", [x, w], { batchA: [], batchB: [], contractA: [1], contractB: [1] });
  return bias === null ? y : c.g.one("add", [y, c.g.broadcast(bias, y.dims, [1])]);
}

/** The second of two classes where a score, [rows, 1], is above a threshold: 0 or 1 for each row. */
export function decided(c: NodeContext, score: Value, threshold: number): Value {
  return c.g.reshape(c.g.convert(c.withScalar("gt", score, threshold), i32), [score.dims[0] as Dim]);
}

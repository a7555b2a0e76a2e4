import { type Dim, productOf } from "../../../base/dim.ts";
import { f64, i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";

const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);

/** The product over the last two dimensions; leading ones are batches, broadcast as numpy does. */
function batchedDot(c: NodeContext, left: Value, right: Value): Value {
  const [ra, rb] = [left.dims.length, right.dims.length];
  const [a, b] = c.paired(left, ra - 1, right, rb - 2, `product of [${left.dims.join(", ")}] and [${right.dims.join(", ")}]`);
  // Without batches of its own, b serves all of a's rows at once.
  if (productOf(b.dims.slice(0, -2)) === 1) {
    const flat = c.g.reshape(b, b.dims.slice(-2));
    const rows = rb > ra ? c.g.reshape(a, [...range(rb - ra).map(() => 1), ...a.dims]) : a;
    return c.g.one("dot", [rows, flat], { batchA: [], batchB: [], contractA: [rows.dims.length - 1], contractB: [0] });
  }
  const batch = c.broadcastDims([a.dims.slice(0, -2), b.dims.slice(0, -2)]);
  const [x, y] = [a, b].map((v) => c.stretch(v, [...batch, ...v.dims.slice(-2)])) as [Value, Value];
  const n = batch.length;
  return c.g.one("dot", [x, y], { batchA: range(n), batchB: range(n), contractA: [n + 1], contractB: [n] });
}

/** numpy's matmul. Vectors count as a row on the left and as a column on the right; that dimension goes again. */
export function matrixProduct(c: NodeContext, a: Value, b: Value): Value {
  if (a.dims.length === 0 || b.dims.length === 0) return c.fail("a scalar has no matrix product");
  const left = a.dims.length === 1 ? c.g.reshape(a, [1, ...a.dims]) : a;
  const right = b.dims.length === 1 ? c.g.reshape(b, [...b.dims, 1]) : b;
  let product = batchedDot(c, left, right);
  if (b.dims.length === 1) product = c.g.reshape(product, product.dims.slice(0, -1));
  if (a.dims.length === 1) product = c.g.reshape(product, product.dims.toSpliced(product.dims.length - (b.dims.length === 1 ? 1 : 2), 1));
  return product;
}

/** alpha · A' B' + beta · C */
export function gemm(c: NodeContext): Operand {
  const [left, right] = [c.value(0), c.value(1)];
  if (left.dims.length !== 2 || right.dims.length !== 2) return c.fail(`ranks ${left.dims.length} and ${right.dims.length}, expected 2 and 2`);
  const [inA, inB] = [c.int("transA", 0) === 0 ? 1 : 0, c.int("transB", 0) === 0 ? 0 : 1];
  const [a, b] = c.paired(left, inA, right, inB, `product of [${left.dims.join(", ")}] and [${right.dims.join(", ")}]`);
  const dot = c.g.one("dot", [a, b], { batchA: [], batchB: [], contractA: [inA], contractB: [inB] });
  const [alpha, beta] = [c.float("alpha", 1), c.float("beta", 1)];
  const product = times(c, dot, alpha);
  const bias = c.optional(2);
  if (bias === null || beta === 0) return c.of(product);
  return c.of(c.g.one("add", [product, c.stretch(times(c, bias.value, beta), product.dims)]));
}
/** x times a number; of integers and a fraction, rounded towards zero. */
function times(c: NodeContext, x: Value, factor: number): Value {
  if (factor === 1) return x;
  if (x.dtype.isFloat || Number.isInteger(factor)) return c.withScalar("mul", x, x.dtype.bits === 64 && x.dtype.isInteger ? BigInt(factor) : factor);
  return c.g.convert(c.withScalar("mul", c.g.convert(x, f64), factor), x.dtype);
}

/** One operand of an einsum: a value and the letter of each of its dimensions. */
interface Labelled {
  readonly value: Value;
  readonly labels: readonly string[];
}

/** The letters of the operands and of the result; what `...` covers gets letters of its own, counted from the right. */
function einsumLabels(
  c: NodeContext,
  equation: string,
  ranks: readonly number[],
): { readonly inputs: readonly string[][]; readonly output: readonly string[] } {
  const [left = "", right] = equation.replace(/\s/g, "").split("->");
  const terms = left.split(",");
  if (terms.length !== ranks.length) c.fail(`equation '${equation}' for ${ranks.length} inputs`);
  let widest = 0;
  const inputs = terms.map((term, k) => {
    const letters = term.replace("...", "");
    if (!/^[A-Za-z]*$/.test(letters)) c.fail(`equation '${equation}'`);
    const covered = (ranks[k] as number) - letters.length;
    if (covered < 0 || (covered > 0 && !term.includes("..."))) c.fail(`'${term}' for an input of rank ${ranks[k]}`);
    widest = Math.max(widest, covered);
    const [before = "", after = ""] = term.split("...");
    return [...before, ...range(covered).map((i) => `.${covered - i}`), ...after];
  });
  const rest = range(widest).map((i) => `.${widest - i}`);
  const all = terms.join("").replaceAll(".", "");
  const implicit = [...rest, ...[...new Set(all)].filter((l) => all.indexOf(l) === all.lastIndexOf(l)).sort()];
  if (right === undefined) return { inputs, output: implicit };
  const [before = "", after = ""] = right.split("...");
  return { inputs, output: right.includes("...") ? [...before, ...rest, ...after] : [...before] };
}

/** A letter that stands twice in an operand walks along a diagonal: both dimensions become one. */
function diagonals(c: NodeContext, x: Labelled): Labelled {
  const second = x.labels.findIndex((l, i) => x.labels.indexOf(l) < i);
  if (second < 0) return x;
  const first = x.labels.indexOf(x.labels[second] as string);
  const size = c.sameDim(x.value.dims[first] as Dim, x.value.dims[second] as Dim, `einsum dimension '${x.labels[second]}' of one operand`);
  const at = c.g.one("iota", [], { dtype: i32, dims: [size], axis: 0 });
  const value = c.g.one("gather", [x.value, at, at], { axes: [first, second], at: first });
  return diagonals(c, { value, labels: x.labels.toSpliced(second, 1) });
}

/** Without the dimensions of one element that another operand stretches. */
function unstretched(c: NodeContext, x: Labelled, others: readonly Labelled[]): Labelled {
  const stretches = (l: string, i: number) =>
    x.value.dims[i] === 1 && others.some((o) => o.labels.includes(l) && o.value.dims[o.labels.indexOf(l)] !== 1);
  const kept = x.labels.map((_, i) => i).filter((i) => !stretches(x.labels[i] as string, i));
  if (kept.length === x.labels.length) return x;
  const value = c.g.reshape(
    x.value,
    kept.map((i) => x.value.dims[i] as Dim),
  );
  return { value, labels: kept.map((i) => x.labels[i] as string) };
}

/** Sums out letters that nobody else has. */
function summedOut(c: NodeContext, x: Labelled, keep: (label: string) => boolean): Labelled {
  const axes = x.labels.flatMap((l, i) => (keep(l) ? [] : [i]));
  if (axes.length === 0) return x;
  return { value: c.g.one("reduce", [x.value], { monoid: "add", axes }), labels: x.labels.filter(keep) };
}

/** Two operands: shared letters that stay are batches, shared ones that go are contracted. */
function contracted(c: NodeContext, a: Labelled, b: Labelled, keep: (label: string) => boolean): Labelled {
  const shared = a.labels.filter((l) => b.labels.includes(l));
  const [batch, gone] = [shared.filter(keep), shared.filter((l) => !keep(l))];
  const of = (x: Labelled, labels: readonly string[]) => labels.map((l) => x.labels.indexOf(l));
  const values = shared.reduce<[Value, Value]>(
    ([x, y], l) => c.paired(x, a.labels.indexOf(l), y, b.labels.indexOf(l), `einsum dimension '${l}'`),
    [a.value, b.value],
  );
  const value = c.g.one("dot", values, { batchA: of(a, batch), batchB: of(b, batch), contractA: of(a, gone), contractB: of(b, gone) });
  const free = (x: Labelled) => x.labels.filter((l) => !shared.includes(l));
  return { value, labels: [...batch, ...free(a), ...free(b)] };
}

function einsum(c: NodeContext): Operand {
  const operands = c.all();
  const equation = c.text("equation", "");
  const { inputs, output } = einsumLabels(
    c,
    equation,
    operands.map((o) => o.rank),
  );
  if (new Set(output).size !== output.length) return c.fail(`equation '${equation}' names a dimension of the result twice`);
  const whole = operands.map((o, i) => diagonals(c, { value: o.value, labels: inputs[i] as string[] }));
  const parts = whole.map((x, i) => unstretched(c, x, whole.toSpliced(i, 1)));
  const [first, ...rest] = parts;
  if (first === undefined || output.some((l) => !inputs.flat().includes(l))) return c.fail(`equation '${equation}'`);
  let sum = first;
  rest.forEach((next, k) => {
    const later = new Set([...output, ...rest.slice(k + 1).flatMap((p) => p.labels)]);
    const [a, b] = [
      summedOut(c, sum, (l) => later.has(l) || next.labels.includes(l)),
      summedOut(c, next, (l) => later.has(l) || sum.labels.includes(l)),
    ];
    sum = contracted(c, a, b, (l) => later.has(l));
  });
  sum = summedOut(c, sum, (l) => output.includes(l));
  return c.of(
    c.g.transpose(
      sum.value,
      output.map((l) => sum.labels.indexOf(l)),
    ),
  );
}

export const matmulOps: OpTable = {
  MatMul: { since: 7, map: (c) => c.of(matrixProduct(c, c.value(0), c.value(1))) },
  Gemm: { since: 7, map: gemm },
  Einsum: { since: 12, map: einsum },
};

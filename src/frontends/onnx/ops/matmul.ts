import { type Dim, dimEquals, productOf } from "../../../base/dim.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";

const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);

/** The product over the last two dimensions; leading ones are batches, broadcast as numpy does. */
function batchedDot(c: NodeContext, a: Value, b: Value): Value {
  const [ra, rb] = [a.dims.length, b.dims.length];
  c.sameDim(a.dims[ra - 1] as Dim, b.dims[rb - 2] as Dim, `product of [${a.dims.join(", ")}] and [${b.dims.join(", ")}]`);
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
function gemm(c: NodeContext): Operand {
  const [a, b] = [c.value(0), c.value(1)];
  if (a.dims.length !== 2 || b.dims.length !== 2) return c.fail(`ranks ${a.dims.length} and ${b.dims.length}, expected 2 and 2`);
  const [inA, inB] = [c.int("transA", 0) === 0 ? 1 : 0, c.int("transB", 0) === 0 ? 0 : 1];
  c.sameDim(a.dims[inA] as Dim, b.dims[inB] as Dim, `product of [${a.dims.join(", ")}] and [${b.dims.join(", ")}]`);
  const dot = c.g.one("dot", [a, b], { batchA: [], batchB: [], contractA: [inA], contractB: [inB] });
  const [alpha, beta] = [c.float("alpha", 1), c.float("beta", 1)];
  const product = alpha === 1 ? dot : c.withScalar("mul", dot, alpha);
  const bias = c.optional(2);
  if (bias === null || beta === 0) return c.of(product);
  const scaled = beta === 1 ? bias.value : c.withScalar("mul", bias.value, beta);
  return c.of(c.g.one("add", [product, c.stretch(scaled, product.dims)]));
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
  for (const l of shared) {
    const [m, n] = [a.value.dims[a.labels.indexOf(l)] as Dim, b.value.dims[b.labels.indexOf(l)] as Dim];
    if (!dimEquals(m, n) && (m === 1 || n === 1)) c.unsupported(`an einsum that stretches '${l}' from ${m} to ${n}`);
    c.sameDim(m, n, `einsum dimension '${l}'`);
  }
  const value = c.g.one("dot", [a.value, b.value], { batchA: of(a, batch), batchB: of(b, batch), contractA: of(a, gone), contractB: of(b, gone) });
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
  if (inputs.some((l) => new Set(l).size !== l.length)) return c.unsupported(`a diagonal ('${equation}' names a dimension twice in one input)`);
  const parts = operands.map((o, i): Labelled => ({ value: o.value, labels: inputs[i] as string[] }));
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

import { type Dim, maxDim, productOf, subDim } from "../../../base/dim.ts";
import { f32, i64 } from "../../../base/dtype.ts";
import { hostFrom } from "../../../graph/host.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";

/** N-grams of one length, with the column of the result that counts each. */
interface Grams {
  readonly length: number;
  readonly items: readonly (readonly bigint[])[];
  readonly columns: readonly number[];
}

/** The pool taken apart: `ngram_counts` says where the n-grams of each length begin. Of equal n-grams the last one counts. */
function gramsOf(c: NodeContext): Grams[] {
  const pool = c.attribute("pool_int64s")?.ints ?? [];
  if (pool.length === 0) return c.unsupported("a pool of strings");
  const starts = c.ints("ngram_counts") ?? c.fail("'ngram_counts' is missing");
  const columns = c.ints("ngram_indexes") ?? c.fail("'ngram_indexes' is missing");
  const [least, most] = [c.int("min_gram_length", 1), c.int("max_gram_length", 1)];
  let id = 0;
  const all = starts.map((start, i): Grams => {
    const length = i + 1;
    const end = starts[i + 1] ?? pool.length;
    if (start < 0 || end < start || end > pool.length) c.fail(`ngram_counts [${starts.join(", ")}] of a pool of ${pool.length}`);
    const last = new Map<string, { readonly item: readonly bigint[]; readonly column: number }>();
    for (let at = start; at + length <= end; at += length) {
      const item = pool.slice(at, at + length);
      last.set(item.join(), { item, column: columns[id++] ?? c.fail(`${columns.length} ngram_indexes, expected one for each n-gram`) });
    }
    return { length, items: [...last.values()].map((g) => g.item), columns: [...last.values()].map((g) => g.column) };
  });
  return all.filter((g) => g.length >= least && g.length <= most && g.items.length > 0);
}

/** How often each n-gram stands in each row of x, [rows, n-grams], its items `skip` apart. */
function counts(c: NodeContext, x: Value, { length, items }: Grams, skip: number): Value | null {
  const { g } = c;
  const [rows, n] = x.dims as [Dim, Dim];
  const reach = (length - 1) * skip;
  if (typeof n === "number" && n <= reach) return null;
  const places = typeof n === "number" ? n - reach : maxDim(subDim(n, reach), 0);
  const dims: readonly Dim[] = [rows, places, items.length];
  const matches = Array.from({ length }, (_, i): Value => {
    const here = g.one("slice", [x], { start: [0, i * skip], stride: [1, 1], dims: [rows, places] });
    const wanted = g.host(
      hostFrom(x.dtype, [items.length], (k) => items[k]?.[i] ?? 0n),
      "ngrams",
    );
    return g.one("eq", [g.broadcast(here, dims, [0, 1]), g.broadcast(wanted, dims, [2])]);
  });
  const all = matches.reduce((a, b) => g.one("and", [a, b]));
  return g.one("reduce", [g.convert(all, f32)], { monoid: "add", axes: [1] });
}

/** Counts of the n-grams of each length, under all distances of their items, in the columns that the node gives them. */
function tfIdfVectorizer(c: NodeContext): Operand {
  const given = c.value(0);
  const { g } = c;
  if (given.dims.length > 2) return c.fail(`rank ${given.dims.length}, expected [items] or [rows, items]`);
  const grams = gramsOf(c);
  const columns = Math.max(...(c.ints("ngram_indexes") ?? [])) + 1;
  const x = g.reshape(g.convert(given, i64), given.dims.length === 2 ? given.dims : [1, productOf(given.dims)]);
  const rows = x.dims[0] as Dim;
  let sum = g.splat(f32, [rows, columns], 0);
  for (const of of grams) {
    // Items of n-grams of one have no distance.
    const skips = of.length === 1 ? 1 : c.int("max_skip_count", 0) + 1;
    const found = Array.from({ length: skips }, (_, s) => counts(c, x, of, s + 1)).filter((v) => v !== null);
    if (found.length === 0) continue;
    const total = found.reduce((a, b) => g.one("add", [a, b]));
    const at = g.host(
      hostFrom(i64, [of.columns.length], (k) => BigInt(of.columns[k] as number)),
      "columns",
    );
    sum = g.one("scatter", [sum, total, at], { axes: [1], at: 1, combiner: "add" });
  }
  const y = weighted(c, sum, columns);
  return c.of(given.dims.length === 2 ? y : g.reshape(y, [columns]));
}

function weighted(c: NodeContext, counted: Value, columns: number): Value {
  const { g } = c;
  const weights = c.attribute("weights")?.floats ?? [];
  const factor = (): Value => {
    if (weights.length < columns) return c.fail(`${weights.length} weights for ${columns} columns`);
    return g.broadcast(
      g.host(
        hostFrom(f32, [columns], (k) => weights[k] as number),
        "weights",
      ),
      counted.dims,
      [1],
    );
  };
  const mode = c.text("mode", "");
  switch (mode) {
    case "TF":
      return counted;
    case "IDF": {
      const seen = g.convert(c.withScalar("gt", counted, 0), f32);
      return weights.length === 0 ? seen : g.one("mul", [seen, factor()]);
    }
    case "TFIDF":
      return weights.length === 0 ? counted : g.one("mul", [counted, factor()]);
    default:
      return c.fail(`mode '${mode}', expected TF, IDF or TFIDF`);
  }
}

export const tfidfOps: OpTable = { TfIdfVectorizer: { since: 9, map: tfIdfVectorizer } };

import { type Dim, dimEquals, productOf } from "../../../../base/dim.ts";
import { i32 } from "../../../../base/dtype.ts";
import { hostFrom } from "../../../../graph/host.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { wideFloat } from "../elementwise.ts";
import { Formula } from "../formula.ts";
import { matrixProduct } from "../matmul.ts";
import { part } from "./heads.ts";

/** The numbers that four bits stand for: a float of two bits of exponent and one of mantissa, and the quantiles of Dettmers et al., QLoRA (2023). */
const codebooks: readonly (readonly number[])[] = [
  [0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4, -0, -1 / 192, -2 / 3, -1, -1 / 3, -1 / 2, -1 / 6, -1 / 4],
  [
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
    1,
  ],
];

/** x · Wᵀ, where W is in four bits, the first of two elements in the high ones, each times the largest magnitude of its block. */
function matMulBnb4(c: NodeContext): Operand {
  const f = new Formula(c.g);
  if (c.int("training_mode", 0) !== 0 || c.int("transB", 1) !== 1) return c.unsupported("training_mode, or weights that are not transposed");
  const [n, k, size, kind] = ["N", "K", "block_size", "quant_type"].map((name) => c.int(name, 0)) as [number, number, number, number];
  const book = codebooks[kind] ?? c.fail(`quant_type ${kind}, expected 0 or 1`);
  if (n < 1 || k < 1 || size < 1) return c.fail(`N ${n}, K ${k}, block_size ${size}, expected at least 1`);
  const [x, packed, largest] = [c.value(0), c.value(1), c.value(2)];
  const [bytes, blocks] = [Math.ceil((n * k) / 2), Math.ceil((n * k) / size)];
  if (!dimEquals(productOf(packed.dims), bytes)) return c.fail(`weights [${packed.dims.join(", ")}], expected ${bytes} bytes`);
  if (!dimEquals(productOf(largest.dims), blocks)) return c.fail(`absmax [${largest.dims.join(", ")}], expected ${blocks} blocks`);
  const wide = wideFloat(x.dtype);
  const pairs = c.g.broadcast(c.g.convert(c.g.reshape(packed, [bytes]), i32), [bytes, 2], [0]);
  const shift = f.mul(f.sub(1, c.g.one("iota", [], { dtype: i32, dims: pairs.dims, axis: 1 })), 4);
  const codes = part(c, c.g.reshape(f.and(f.op("shr", pairs, shift), c.g.splat(i32, pairs.dims, 15)), [2 * bytes]), 0, 0, n * k);
  const table = c.g.host(
    hostFrom(wide, [16], (i) => book[i] ?? 0),
    "codebook",
  );
  const scales = c.g.convert(c.g.reshape(largest, [blocks]), wide);
  const scale = part(c, c.g.reshape(c.g.broadcast(scales, [blocks, size], [0]), [blocks * size]), 0, 0, n * k);
  const w = c.g.reshape(f.mul(c.g.one("gather", [table, codes], { axes: [0], at: 0 }), scale), [n, k]);
  c.sameDim(x.dims[x.dims.length - 1] ?? c.fail("an input of no dimensions"), k, "features of the input");
  return c.of(c.g.convert(matrixProduct(c, c.g.convert(x, wide), c.g.transpose(w, [1, 0])), x.dtype));
}

/** Distances beyond this have a table of that many entries. */
const mostDistance = 1 << 16;

/** The bucket of each distance up to the largest (Raffel et al., T5, 2020): exact for the first half, then by its logarithm. */
function bucketsOf(buckets: number, most: number): number[] {
  const exact = Math.floor(buckets / 2);
  return Array.from({ length: most + 1 }, (_, n) => {
    if (n < exact) return n;
    const share = Math.fround(Math.fround(Math.log(n / exact)) / Math.fround(Math.log(most / exact)));
    return Math.min(buckets - 1, exact + Math.trunc(Math.fround(share * (buckets - exact))));
  });
}

function lengthOf(c: NodeContext, i: number): Dim {
  const o = c.input(i);
  if (!dimEquals(productOf(o.dims), 1)) return c.fail(`input ${i} is [${o.dims.join(", ")}], expected one length`);
  return o.known?.[0] ?? c.sizes.size(c.g.reshape(c.sizes.of(o), []), "length", 0, null);
}

/** For each head and pair of positions the bias of the bucket that their distance is in: [1, heads, queries, keys]. */
function relativePositionBias(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const table = c.value(0);
  const [all, heads] = table.dims;
  if (table.dims.length !== 2 || typeof all !== "number" || heads === undefined)
    return c.fail(`a table [${table.dims.join(", ")}], expected [buckets, heads]`);
  const isBoth = c.int("is_bidirectional", 0) !== 0;
  const buckets = isBoth ? Math.floor(all / 2) : all;
  const most = c.int("max_distance", 0);
  if (buckets < 2 || most <= Math.floor(buckets / 2) || most > mostDistance)
    return c.fail(`max_distance ${most} for ${all} buckets, expected more than half of them and at most ${mostDistance}`);
  const dims = [lengthOf(c, 1), lengthOf(c, 2)];
  const at = (axis: number): Value => c.g.one("iota", [], { dtype: i32, dims, axis });
  const ahead = f.sub(at(1), at(0));
  const distance = f.min(isBoth ? f.op("abs", ahead) : f.max(f.op("neg", ahead), 0), most);
  const known = bucketsOf(buckets, most);
  const lookup = c.g.host(
    hostFrom(i32, [known.length], (i) => known[i] ?? 0),
    "buckets",
  );
  const near = c.g.one("gather", [lookup, distance], { axes: [0], at: 0 });
  const bucket = isBoth ? f.add(near, f.select(f.op("gt", ahead, 0), c.g.splat(i32, dims, buckets), 0)) : near;
  const bias = c.g.transpose(c.g.one("gather", [table, bucket], { axes: [0], at: 0 }), [2, 0, 1]);
  return c.of(c.g.reshape(bias, [1, ...bias.dims]));
}

export const codebookOps: OpTable = {
  MatMulBnb4: { since: 1, map: matMulBnb4 },
  RelativePositionBias: { since: 1, map: relativePositionBias },
};

import { type Dim, addDim, dimEquals, divideExactly, floorDivDim, minDim, mulDim, productOf, subDim } from "../../../base/dim.ts";
import { bool, i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { positions } from "./elementwise.ts";
import { Formula } from "./formula.ts";
import { deformConv } from "./deform.ts";
import { affineGrid, gridSample } from "./grid.ts";
import { maxRoiPool, roiAlign } from "./roi.ts";
import { sizesOf } from "./sampling.ts";
import { list, spatialRank } from "./window.ts";

/** Puts pooled elements back where they were; zeros elsewhere. */
function maxUnpool(c: NodeContext): Operand {
  const [x, index] = [c.input(0), c.input(1)];
  const rank = spatialRank(c, x);
  const size = c.ints("kernel_shape") ?? c.fail("'kernel_shape' is missing");
  if (size.length !== rank) c.fail(`kernel [${size.join(", ")}] for ${rank} spatial dimensions`);
  const strides = list(c, "strides", rank, 1);
  const pads = c.ints("pads") ?? new Array<number>(2 * rank).fill(0);
  x.dims.forEach((d, i) => c.sameDim(index.dims[i] as Dim, d, `dimension ${i} of the indices`));
  const spatial = size.map((k, s) =>
    addDim(mulDim(subDim(x.dims[s + 2] as Dim, 1), strides[s] as number), k - (pads[s] as number) - (pads[s + rank] as number)),
  );
  const dims = [...x.dims.slice(0, 2), ...spatial];
  const flat = (v: Value): Value => c.g.reshape(v, [productOf(v.dims)]);
  const zeros = c.g.splat(x.dtype, [productOf(dims)], 0);
  const placed = c.g.one("scatter", [zeros, flat(x.value), flat(index.value)], { axes: [0], at: 0, combiner: "none" });
  const whole = c.g.reshape(placed, dims);
  if (c.optional(2) === null) return c.of(whole);
  const wanted = sizesOf(c, 2, x.rank, (k) => c.declaredDim(0, k));
  const high = wanted.map((w, i) => subDim(w, dims[i] as Dim));
  if (high.every((d) => d === 0)) return c.of(whole);
  return c.of(c.g.one("pad", [whole, c.g.scalar(x.dtype, 0)], { low: wanted.map(() => 0), high }));
}

/** Columns of blocks added up in an image: the adjoint of cutting it into blocks. */
function col2im(c: NodeContext): Operand {
  const x = c.input(0);
  const rank = Number(c.input(1).dims[0]);
  if (x.rank !== 3) return c.fail(`input of rank ${x.rank}, expected 3`);
  const image = sizesOf(c, 1, rank, (k) => c.declaredDim(0, k + 2));
  const block = sizesOf(c, 2, rank, () => null);
  const [strides, dilations] = [list(c, "strides", rank, 1), list(c, "dilations", rank, 1)];
  const pads = c.ints("pads") ?? new Array<number>(2 * rank).fill(0);
  if (pads.length !== 2 * rank) c.fail(`${pads.length} pads for ${rank} image sizes`);
  const [batch, rows, count] = x.dims as [Dim, Dim, Dim];
  const taps = productOf(block);
  const channels = channelsOf(c, rows, taps);
  const around = image.map((n, s) => addDim(n, (pads[s] as number) + (pads[s + rank] as number)));
  const blocks = around.map((n, s) => {
    const span = addDim(mulDim(subDim(block[s] as Dim, 1), dilations[s] as number), 1);
    return addDim(floorDivDim(subDim(n, span), strides[s] as number), 1);
  });
  c.sizes.require(mulDim(channels, taps), rows);
  c.sizes.require(productOf(blocks), count);
  const columns = c.g.reshape(c.sizes.refine(x.value, [batch, mulDim(channels, taps), productOf(blocks)]), [batch, channels, ...block, ...blocks]);
  const f = new Formula(c.g);
  const over = [...block, ...blocks];
  const at = block.map((_, s) =>
    f.add(f.mul(positions(c, over, s), dilations[s] as number), f.mul(positions(c, over, rank + s), strides[s] as number)),
  );
  // The sum of truth values is whether one of them is true.
  const zeros = c.g.splat(x.dtype === bool ? i32 : x.dtype, [batch, channels, ...around], 0);
  const terms = c.g.convert(columns, zeros.dtype);
  const sum = c.g.one("scatter", [zeros, terms, ...at], { axes: image.map((_, s) => s + 2), at: 2, combiner: "add" });
  const dims = [batch, channels, ...image];
  return c.of(
    c.g.one("slice", [c.g.convert(sum, x.dtype)], { start: [0, 0, ...image.map((_, s) => pads[s] as number)], stride: dims.map(() => 1), dims }),
  );
}

/** How many channels `rows` rows of columns are, of which each has `taps`. */
function channelsOf(c: NodeContext, rows: Dim, taps: Dim): Dim {
  const exact = taps === 0 ? null : divideExactly(rows, taps);
  if (exact !== null) return exact;
  if (typeof rows === "number" && typeof taps === "number") return c.fail(`${rows} rows of columns for blocks of ${taps} elements`);
  return c.sizes.size(c.sizes.div(dimValue(c.g, rows), taps), "channels", 0, rows, c.declaredDim(0, 1));
}

/** The middle of x, or x in the middle of zeros, axis by axis. */
function centerCropPad(c: NodeContext): Operand {
  const x = c.input(0);
  const axes = c.normalAxes(c.ints("axes") ?? x.dims.map((_, i) => i), x.rank);
  const wanted = sizesOf(c, 1, axes.length, (k) => c.declaredDim(0, axes[k] as number));
  const to = x.dims.map((n, i) => (axes.includes(i) ? (wanted[axes.indexOf(i)] as Dim) : n));
  const kept = x.dims.map((n, i) => minDim(n, to[i] as Dim));
  const start = x.dims.map((n, i) => floorDivDim(subDim(n, kept[i] as Dim), 2));
  const middle = kept.every((n, i) => dimEquals(n, x.dims[i] as Dim))
    ? x.value
    : c.g.one("slice", [x.value], { start, stride: x.dims.map(() => 1), dims: kept });
  const low = to.map((n, i) => floorDivDim(subDim(n, kept[i] as Dim), 2));
  const high = to.map((n, i) => subDim(subDim(n, kept[i] as Dim), low[i] as Dim));
  if ([...low, ...high].every((d) => d === 0)) return c.of(middle);
  return c.of(c.g.one("pad", [middle, c.g.scalar(x.dtype, 0)], { low, high }));
}

export const visionOps: OpTable = {
  GridSample: { since: 16, map: gridSample },
  AffineGrid: { since: 20, map: affineGrid },
  DeformConv: { since: 19, map: deformConv },
  RoiAlign: { since: 10, map: roiAlign },
  MaxRoiPool: { since: 7, map: maxRoiPool },
  MaxUnpool: { since: 9, map: maxUnpool },
  Col2Im: { since: 18, map: col2im },
  CenterCropPad: { since: 18, map: centerCropPad },
};

import { type Dim, mulDim, subDim, symbolDim } from "../../../base/dim.ts";
import { i32 } from "../../../base/dtype.ts";
import type { GraphBuilder } from "../../../graph/builder.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { Formula, type Term } from "./formula.ts";
import { type Tap, floatSize, lastEntry, samplingType } from "./sampling.ts";

/** More samples of a bin than this are taken in a loop. */
const mostUnrolled = 4;
/** Samples of a bin along one axis: their product for two must not overflow. */
const mostSamples = 46_340;

/** What is done for each sample of a bin: from the sample's place along both axes (f32 scalars or numbers) and what was gathered before. */
type Visit = (f: Formula, iy: Term, ix: Term, sum: Value) => Value;

/** Runs `visit` over a grid of samples, in a loop where their number is only known when the model runs, or large. */
function overSamples(c: NodeContext, rows: Dim, columns: Dim, initial: Value, visit: Visit): Value {
  const count = mulDim(rows, columns);
  if (typeof count === "number" && count <= mostUnrolled) {
    let sum = initial;
    for (let k = 0; k < count; k++) sum = visit(new Formula(c.g), Math.floor(k / Number(columns)), k % Number(columns), sum);
    return sum;
  }
  const index = symbolDim(c.g.dataSymbol("sample", 0, subDim(count, 1)));
  const body: GraphBuilder = c.g.nested();
  const sum = body.value("sum", initial);
  const [at, width] = [dimValue(body, index), dimValue(body, columns)];
  const float = (op: string): Value => body.convert(body.one(op, [at, width]), initial.dtype);
  const next = visit(new Formula(body), float("floordiv"), float("mod"), sum);
  return c.g.op(
    "loop",
    [initial],
    { index: [index], length: [count], states: 1, conditional: false },
    { regions: [body.region([sum], [next])] },
  )[1] as Value;
}

/** Reads x [batch, channels, height, width] at places of a region's bins: [channels, rois, height, width]. */
function readBins(g: GraphBuilder, x: Value, batch: Value, y: Value, z: Value): Value {
  const dims = [batch.dims[0] as Dim, y.dims[1] as Dim, z.dims[1] as Dim];
  const index = [g.broadcast(batch, dims, [0]), g.broadcast(y, dims, [0, 1]), g.broadcast(z, dims, [0, 2])];
  return g.one("gather", [x, ...index.map((v) => g.convert(v, i32))], { axes: [0, 2, 3], at: 1 });
}

/** The largest of counts [rois] as a size. */
function largest(c: NodeContext, counts: Value, name: string, bound: Dim | null): Dim {
  const f = new Formula(c.g);
  const most = c.g.one("reduce", [counts], { monoid: "max", axes: [0] });
  return c.g.bindSize(c.g.convert(f.clamp(most, 0, mostSamples), i32), name, 0, bound);
}

/** One axis of RoiAlign's bins. */
interface BinAxis {
  readonly start: Value;
  readonly bin: Value;
  /** Samples in each bin: a number, or one for each region [rois]. */
  readonly samples: Term;
  readonly most: Dim;
  readonly bins: number;
  readonly size: Dim;
}

function binAxis(c: NodeContext, f: Formula, rois: Operand, from: number, bins: number, size: Dim): BinAxis {
  const half = c.version >= 16 && c.text("coordinate_transformation_mode", "half_pixel") === "half_pixel";
  const scale = c.float("spatial_scale", 1);
  const edge = (k: number): Value => f.sub(f.mul(lastEntry(c, rois, k), scale), half ? 0.5 : 0);
  const start = edge(from);
  const extent = f.sub(edge(from + 2), start);
  const bin = f.div(half ? extent : f.max(extent, 1), bins);
  const ratio = c.int("sampling_ratio", 0);
  if (ratio > 0) return { start, bin, samples: ratio, most: ratio, bins, size };
  const samples = f.clamp(f.op("ceil", bin), 0, mostSamples);
  return { start, bin, samples, most: largest(c, samples, "samples", null), bins, size };
}

/** The elements around sample `i` of every bin along an axis: weights and places [rois, bins]. What lies outside of x exists not. */
function binTaps(c: NodeContext, f: Formula, a: BinAxis, i: Term): Tap[] {
  const dims = [a.start.dims[0] as Dim, a.bins];
  const wide = (v: Value): Value => f.g.broadcast(v, dims, v.dims.length === 0 ? [] : [0]);
  const number = f.g.one("iota", [], { dtype: a.start.dtype, dims, axis: 1 });
  const step = typeof a.samples === "number" ? f.mul(a.bin, 1 / a.samples) : f.div(a.bin, f.max(a.samples, 1));
  const within: Term = typeof i === "number" ? i + 0.5 : f.add(i, 0.5);
  const place = f.add(f.add(wide(a.start), f.mul(number, wide(a.bin))), wide(f.mul(step, within)));
  const size = floatSize(c, a.size, place.dtype);
  let exists = f.between(place, -1, size);
  if (typeof a.samples !== "number") exists = f.and(exists, f.op("lt", typeof i === "number" ? f.add(f.mul(place, 0), i) : wide(i), wide(a.samples)));
  const inside = f.clamp(place, 0, typeof size === "number" ? size - 1 : f.sub(size, 1));
  const below = f.op("floor", inside);
  const rest = f.sub(inside, below);
  return [
    { at: below, weight: f.sub(1, rest), exists },
    { at: f.add(below, 1), weight: rest, exists },
  ];
}

/** Is there a sample with these numbers in each region's bins? [rois]; null for always. */
function counted(f: Formula, y: BinAxis, x: BinAxis, iy: Term, ix: Term): Value | null {
  if (typeof y.samples === "number" || typeof x.samples === "number") return null;
  const below = (i: Term, n: Value): Value => f.op("lt", typeof i === "number" ? f.add(f.mul(n, 0), i) : i, n);
  return f.and(below(iy, y.samples), below(ix, x.samples));
}

/** Bins of regions of interest, each pooled from samples between the elements (He et al., Mask R-CNN, 2017). */
export function roiAlign(c: NodeContext): Operand {
  const [x, given, batch] = [c.input(0), c.input(1), c.input(2)];
  if (x.rank !== 4 || given.rank !== 2 || given.dims[1] !== 4) return c.fail(`x [${x.dims.join(", ")}] and rois [${given.dims.join(", ")}]`);
  const mode = c.text("mode", "avg");
  if (mode !== "avg" && mode !== "max") return c.fail(`mode '${mode}'`);
  const f = new Formula(c.g);
  const dtype = samplingType(x.dtype);
  const rois = c.of(c.g.convert(given.value, dtype));
  const source = c.g.convert(x.value, dtype);
  const y = binAxis(c, f, rois, 1, c.int("output_height", 1), x.dims[2] as Dim);
  const z = binAxis(c, f, rois, 0, c.int("output_width", 1), x.dims[3] as Dim);
  const dims = [x.dims[1] as Dim, rois.dims[0] as Dim, y.bins, z.bins];
  const initial = c.g.splat(dtype, dims, mode === "avg" ? 0 : Number.NEGATIVE_INFINITY);
  const pooled = overSamples(c, y.most, z.most, initial, (h, iy, ix, sum) => {
    const spread = (v: Value, axis: number): Value => h.g.broadcast(v, dims, [1, axis]);
    const rows = binTaps(c, h, y, iy);
    const parts = rows.flatMap((a) =>
      binTaps(c, h, z, ix).map((b) => {
        const v = readBins(h.g, source, batch.value, a.at, b.at);
        const weight = h.mul(spread(a.weight as Value, 2), spread(b.weight as Value, 3));
        return h.select(h.and(spread(a.exists as Value, 2), spread(b.exists as Value, 3)), h.mul(v, weight), 0);
      }),
    );
    if (mode === "avg") return parts.reduce((a, b) => h.add(a, b), sum);
    const all = parts.reduce((a, b) => h.max(a, b));
    const there = counted(h, y, z, iy, ix);
    return there === null ? h.max(sum, all) : h.select(h.g.broadcast(there, dims, [1]), h.max(sum, all), sum);
  });
  const v = c.g.transpose(finished(c, f, pooled, y, z, mode), [1, 0, 2, 3]);
  return c.of(c.g.convert(v, x.dtype));
}

/** The mean of the samples, or their maximum; 0 of bins without any. */
function finished(c: NodeContext, f: Formula, pooled: Value, y: BinAxis, x: BinAxis, mode: string): Value {
  if (typeof y.samples === "number" || typeof x.samples === "number")
    return mode === "avg" ? f.div(pooled, Number(y.samples) * Number(x.samples)) : pooled;
  const count = c.g.broadcast(f.mul(y.samples, x.samples), pooled.dims, [1]);
  return mode === "avg" ? f.div(pooled, f.max(count, 1)) : f.select(f.op("gt", count, 0), pooled, 0);
}

/** To the nearest whole number, halves away from zero. */
function rounded(f: Formula, x: Value): Value {
  return f.op("trunc", f.add(x, f.select(f.op("lt", x, 0), f.add(f.mul(x, 0), -0.5), 0.5)));
}

/** First element and end of every bin along an axis: [rois, bins]. */
function wholeBins(c: NodeContext, f: Formula, rois: Operand, from: number, bins: number, size: Dim): { first: Value; end: Value } {
  const scale = c.float("spatial_scale", 1);
  const edge = (k: number): Value => rounded(f, f.mul(lastEntry(c, rois, k), scale));
  const start = edge(from);
  const bin = f.div(f.max(f.add(f.sub(edge(from + 2), start), 1), 1), bins);
  const dims = [start.dims[0] as Dim, bins];
  const number = c.g.one("iota", [], { dtype: start.dtype, dims, axis: 1 });
  const wide = (v: Value): Value => c.g.broadcast(v, dims, [0]);
  const at = (op: string, n: Value): Value => f.clamp(f.add(f.op(op, f.mul(n, wide(bin))), wide(start)), 0, floatSize(c, size, start.dtype));
  return { first: at("floor", number), end: at("ceil", f.add(number, 1)) };
}

/** The largest element of every bin of a region of interest (Girshick, Fast R-CNN, 2015); 0 of empty bins. */
export function maxRoiPool(c: NodeContext): Operand {
  const [x, rois] = [c.input(0), c.input(1)];
  const shape = c.ints("pooled_shape") ?? c.fail("'pooled_shape' is missing");
  if (x.rank !== 4 || rois.rank !== 2 || rois.dims[1] !== 5 || shape.length !== 2)
    return c.fail(`x [${x.dims.join(", ")}], rois [${rois.dims.join(", ")}] and ${shape.length} pooled sizes`);
  const f = new Formula(c.g);
  const dtype = samplingType(x.dtype);
  const regions = c.of(c.g.convert(rois.value, dtype));
  const [height, width] = shape as [number, number];
  const y = wholeBins(c, f, regions, 2, height, x.dims[2] as Dim);
  const z = wholeBins(c, f, regions, 1, width, x.dims[3] as Dim);
  const most = (bins: { first: Value; end: Value }, size: Dim): Dim => {
    const counts = f.sub(bins.end, bins.first);
    return largest(c, c.g.one("reduce", [counts], { monoid: "max", axes: [1] }), "bin", size);
  };
  const batch = lastEntry(c, regions, 0);
  const dims = [x.dims[1] as Dim, regions.dims[0] as Dim, height, width];
  const source = c.g.convert(x.value, dtype);
  const initial = c.g.splat(dtype, dims, Number.NEGATIVE_INFINITY);
  const pooled = overSamples(c, most(y, x.dims[2] as Dim), most(z, x.dims[3] as Dim), initial, (h, iy, ix, sum) => {
    const [row, column] = [h.add(y.first, iy), h.add(z.first, ix)];
    const inside = h.and(h.g.broadcast(h.op("lt", row, y.end), dims, [1, 2]), h.g.broadcast(h.op("lt", column, z.end), dims, [1, 3]));
    return h.select(inside, h.max(sum, readBins(h.g, source, batch, row, column)), sum);
  });
  const some = (b: { first: Value; end: Value }, axis: number): Value => c.g.broadcast(f.op("lt", b.first, b.end), dims, [1, axis]);
  const v = f.select(f.and(some(y, 2), some(z, 3)), pooled, 0);
  return c.of(c.g.convert(c.g.transpose(v, [1, 0, 2, 3]), x.dtype));
}

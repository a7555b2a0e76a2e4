import type { Dim } from "../../../base/dim.ts";
import { type DType, i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext } from "../context.ts";
import type { Operand } from "../operand.ts";
import { Formula, type Term } from "./formula.ts";
import { type Tap, backTo, cubicWeights, floatSize, lastEntry, sample, samplingType, sizesOf } from "./sampling.ts";
import { spatialRank } from "./window.ts";

/** How GridSample reads. */
interface Grid {
  readonly mode: "nearest" | "linear" | "cubic";
  readonly padding: string;
  readonly corners: boolean;
}

function gridOf(c: NodeContext): Grid {
  const modes: Readonly<Record<string, Grid["mode"]>> = {
    nearest: "nearest",
    linear: "linear",
    bilinear: "linear",
    cubic: "cubic",
    bicubic: "cubic",
  };
  const given = c.text("mode", "linear");
  const padding = c.text("padding_mode", "zeros");
  if (!["zeros", "border", "reflection"].includes(padding)) return c.fail(`padding_mode '${padding}'`);
  return { mode: modes[given] ?? c.fail(`mode '${given}'`), padding, corners: c.int("align_corners", 0) !== 0 };
}

/** A position folded back at both ends, as often as it takes: a zigzag between `low` and `high`. */
function reflected(f: Formula, x: Value, low: Term, span: Term): Value {
  const from = f.op("abs", f.sub(x, low));
  const period = typeof span === "number" ? 2 * span : f.mul(span, 2);
  const rest = f.sub(from, f.mul(f.op("floor", f.div(from, period)), period));
  const folded = f.add(f.min(rest, f.sub(period, rest)), low);
  // Of an axis of one element, whose corners coincide, only that element is left.
  return typeof span === "number" ? folded : f.select(f.op("gt", f.g.broadcast(span, x.dims, []), 0), folded, low);
}

/** The elements that a sample at coordinates in [-1, 1] takes along one axis of size n. */
function tapsAlong(c: NodeContext, f: Formula, coordinate: Value, n: Dim, grid: Grid, dtype: DType): Tap[] {
  const size = floatSize(c, n, dtype);
  const last: Term = typeof size === "number" ? size - 1 : f.sub(size, 1);
  const shifted = f.add(coordinate, 1);
  let at = grid.corners ? f.mul(f.mul(shifted, 0.5), last) : f.mul(f.sub(f.mul(shifted, size), 1), 0.5);
  if (grid.mode === "nearest") at = f.op("round", at);
  const [low, span] = grid.corners ? ([0, last] as const) : ([-0.5, size] as const);
  const single = span === 0;
  const reflect = (x: Value): Value => (single ? f.mul(x, 0) : reflected(f, x, low, span));
  // Cubic samples keep their place: only what they read is moved to the edge, as PyTorch does it.
  if (grid.padding === "border" && grid.mode !== "cubic") at = f.clamp(at, 0, last);
  if (grid.padding === "reflection") at = reflect(at);
  const tap = (place: Value, weight: Value | null): Tap => ({
    at: grid.padding === "reflection" ? f.op("trunc", reflect(place)) : place,
    weight,
    exists: grid.padding === "zeros" ? f.between(place, 0, last) : null,
  });
  if (grid.mode === "nearest") return [tap(at, null)];
  const below = f.op("floor", at);
  const rest = f.sub(at, below);
  if (grid.mode === "linear") return [tap(below, f.sub(1, rest)), tap(f.add(below, 1), rest)];
  return cubicWeights(f, rest).map((w, k) => tap(f.add(below, k - 1), w));
}

/** Samples x [batch, channels, …] at the points of a grid [batch, …, rank], whose coordinates run from -1 to 1, the last axis first. */
export function gridSample(c: NodeContext): Operand {
  const [x, grid] = [c.input(0), c.input(1)];
  const rank = spatialRank(c, x);
  if (grid.rank !== x.rank || grid.dims[grid.rank - 1] !== rank) return c.fail(`a grid [${grid.dims.join(", ")}] for x [${x.dims.join(", ")}]`);
  c.sameDim(grid.dims[0] as Dim, x.dims[0] as Dim, "batch of the grid");
  const f = new Formula(c.g);
  const how = gridOf(c);
  const dtype = samplingType(x.dtype);
  const points = c.of(c.g.convert(grid.value, dtype));
  const taps = Array.from({ length: rank }, (_, s) => tapsAlong(c, f, lastEntry(c, points, rank - 1 - s), x.dims[s + 2] as Dim, how, dtype));
  const batch = c.g.one("iota", [], { dtype: i32, dims: grid.dims.slice(0, -1), axis: 0 });
  const axes = [0, ...taps.map((_, s) => s + 2)];
  const source = how.mode === "nearest" ? x.value : c.g.convert(x.value, dtype);
  const v = sample(c, f, source, { axes, outer: [batch], at: 1 }, taps);
  // [channels, batch, …] as it was read
  const turned = c.g.transpose(v, [1, 0, ...v.dims.map((_, i) => i).slice(2)]);
  return c.of(backTo(f, turned, x.dtype));
}

/** Coordinates of the elements of an axis, from -1 to 1: of their centers, or so that the outermost lie at the ends. */
function centers(c: NodeContext, f: Formula, n: Dim, dtype: DType, corners: boolean): Value {
  const i = c.g.one("iota", [], { dtype, dims: [n], axis: 0 });
  const size = floatSize(c, n, dtype);
  if (!corners) return f.sub(f.div(f.add(f.mul(i, 2), 1), size), 1);
  const last: Term = typeof size === "number" ? Math.max(1, size - 1) : f.max(f.sub(size, 1), 1);
  return f.sub(f.div(f.mul(i, 2), last), 1);
}

/** The grid of points that affine maps theta [batch, rank, rank + 1] send the elements of an image to. */
export function affineGrid(c: NodeContext): Operand {
  const theta = c.input(0);
  const rank = Number(theta.dims[1]);
  if (theta.rank !== 3 || theta.dims[2] !== rank + 1) return c.fail(`theta [${theta.dims.join(", ")}], expected [batch, rank, rank + 1]`);
  const corners = c.int("align_corners", 0) !== 0;
  const declared = (k: number): number | null => (k === 0 ? c.declaredDim(0, 0) : k === 1 ? null : c.declaredDim(0, k - 1));
  const [batch, , ...spatial] = sizesOf(c, 1, rank + 2, declared) as [Dim, Dim, ...Dim[]];
  c.sizes.require(batch, theta.dims[0] as Dim);
  const f = new Formula(c.g);
  const dims = [theta.dims[0] as Dim, ...spatial, rank];
  const column = (k: number): Value => c.g.broadcast(lastEntry(c, theta, k), dims, [0, rank + 1]);
  return c.of(
    spatial.reduce<Value>((sum, n, s) => {
      const along = c.g.broadcast(centers(c, f, n, theta.dtype, corners), dims, [s + 1]);
      return f.add(sum, f.mul(column(rank - 1 - s), along));
    }, column(rank)),
  );
}

import { type Dim, mulDim, productOf } from "../../../base/dim.ts";
import { i32 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext } from "../context.ts";
import type { Operand } from "../operand.ts";
import { Formula } from "./formula.ts";
import { type Tap, floatSize, sample, samplingType } from "./sampling.ts";
import { dividedBy } from "./shape.ts";
import { spatialRank, window } from "./window.ts";

/** The two elements around a place, weighted by how near they are; those outside of x count as 0. */
function around(c: NodeContext, f: Formula, at: Value, n: Dim): Tap[] {
  const size = floatSize(c, n, at.dtype);
  const last = typeof size === "number" ? size - 1 : f.sub(size, 1);
  const below = f.op("floor", at);
  const rest = f.sub(at, below);
  const tap = (place: Value, weight: Value): Tap => ({ at: place, weight, exists: f.between(place, 0, last) });
  return [tap(below, f.sub(1, rest)), tap(f.add(below, 1), rest)];
}

/**
 * A convolution whose window is torn apart by offsets (Dai et al., Deformable Convolutional Networks, 2017; the mask: Zhu et
 * al., 2019): the sampled elements as columns, then one product with the weights.
 */
export function deformConv(c: NodeContext): Operand {
  const [x, w, offset] = [c.input(0), c.input(1), c.input(2)];
  const rank = spatialRank(c, x);
  const kernel = w.dims.slice(2);
  if (w.rank !== x.rank || offset.rank !== x.rank || !kernel.every((k) => typeof k === "number"))
    return c.fail(`weights [${w.dims.join(", ")}] and offsets [${offset.dims.join(", ")}] for x [${x.dims.join(", ")}]`);
  const win = window(c, x.dims.slice(2), kernel as number[]);
  const taps = win.size.reduce((a, b) => a * b, 1);
  const [groups, offsetGroups] = [c.int("group", 1), c.int("offset_group", 1)];
  const [batch, channels] = x.dims as [Dim, Dim];
  c.sameDim(offset.dims[1] as Dim, offsetGroups * taps * rank, "channels of the offsets");
  const out = offset.dims.slice(2);
  const f = new Formula(c.g);
  const dtype = samplingType(x.dtype);
  /** Points: [batch, offset group, …window, …out] */
  const points = [batch, offsetGroups, ...win.size, ...out];
  const moved = c.g.reshape(c.g.convert(offset.value, dtype), [batch, offsetGroups, ...win.size, rank, ...out]);
  const shift = (s: number): Value => {
    const at = moved.dims.map((_, i) => (i === rank + 2 ? s : 0));
    const part = c.g.one("slice", [moved], { start: at, stride: at.map(() => 1), dims: moved.dims.with(rank + 2, 1) });
    return c.g.reshape(part, points);
  };
  const along = (axis: number): Value => c.g.one("iota", [], { dtype, dims: points, axis });
  const place = (s: number): Value => {
    const start = f.sub(f.mul(along(2 + rank + s), win.strides[s] as number), win.pads[s]?.[0] as number);
    return f.add(f.add(start, f.mul(along(2 + s), win.dilations[s] as number)), shift(s));
  };
  const index = (axis: number): Value => c.g.one("iota", [], { dtype: i32, dims: points, axis });
  const perOffset = dividedBy(c, channels, offsetGroups);
  const grouped = c.g.reshape(c.g.convert(x.value, dtype), [batch, offsetGroups, perOffset, ...x.dims.slice(2)]);
  const axes = [0, 1, ...win.size.map((_, s) => s + 3)];
  const around2 = win.size.map((_, s) => around(c, f, place(s), x.dims[s + 2] as Dim));
  // [channels of an offset group, …points]
  let read = sample(c, f, grouped, { axes, outer: [index(0), index(1)], at: 1 }, around2);
  const mask = c.optional(4);
  if (mask !== null) {
    const factors = c.g.convert(c.g.reshape(mask.value, points), dtype);
    read = f.mul(
      read,
      c.g.broadcast(
        factors,
        read.dims,
        points.map((_, i) => i + 1),
      ),
    );
  }
  return weighted(c, f, c.g.convert(read, x.dtype), w, groups, taps, out);
}

/** The product of columns [channels of an offset group, batch, offset group, …window, …out] and the weights, with the bias. */
function weighted(c: NodeContext, f: Formula, read: Value, w: Operand, groups: number, taps: number, out: readonly Dim[]): Operand {
  const [perOffset, batch, offsetGroups] = read.dims as [Dim, Dim, Dim];
  const turned = c.g.transpose(read, [1, 2, 0, ...read.dims.map((_, i) => i).slice(3)]);
  const depth = mulDim(w.dims[1] as Dim, taps);
  const features = dividedBy(c, w.dims[0] as Dim, groups);
  c.sameDim(mulDim(perOffset, offsetGroups), mulDim(w.dims[1] as Dim, groups), "channels of x");
  const columns = c.g.reshape(turned, [batch, groups, depth, productOf(out)]);
  const matrix = c.g.reshape(w.value, [groups, features, depth]);
  // [group, feature, batch, place]
  const product = c.g.one("dot", [matrix, columns], { batchA: [0], batchB: [1], contractA: [2], contractB: [2] });
  const y = c.g.reshape(c.g.transpose(product, [2, 0, 1, 3]), [batch, w.dims[0] as Dim, ...out]);
  const bias = c.optional(3);
  return c.of(bias === null ? y : f.add(y, c.g.broadcast(bias.value, y.dims, [1])));
}

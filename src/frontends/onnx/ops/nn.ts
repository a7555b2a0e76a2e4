import { type Dim, addDim, floorDivDim, maxDim, minDim, mulDim, subDim } from "../../../base/dim.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";
import { dividedBy } from "./shape.ts";
import { list, padded, reach, spatialRank, window } from "./window.ts";
import { mustHavePlaces } from "../symbols.ts";

function kernelSizes(c: NodeContext, w: Operand | Value): number[] {
  const size = w.dims.slice(2);
  return size.every((d) => typeof d === "number") ? (size as number[]) : c.unsupported(`weights of the symbolic shape [${w.dims.join(", ")}]`);
}

function addBias(c: NodeContext, y: Value, bias: Operand | null): Operand {
  if (bias === null) return c.of(y);
  const [x, b] = c.paired(y, 1, bias.value, 0, "channels, and elements of the bias");
  return c.of(c.g.one("add", [x, c.g.broadcast(b, x.dims, [1])]));
}

/** The convolution that the node's attributes describe. */
export function convolve(c: NodeContext, x: Operand, w: Operand): Value {
  const rank = spatialRank(c, x);
  if (w.rank !== x.rank) return c.fail(`weights of rank ${w.rank} for an input of rank ${x.rank}`);
  const win = window(c, x.dims.slice(2), kernelSizes(c, w));
  const order = x.dims.map((_, i) => i);
  const groups = c.int("group", 1);
  const channels = c.sameDim(x.dims[1] as Dim, mulDim(w.dims[1] as Dim, groups), "channels of the input, and of the weights times groups");
  const input = c.sizes.refine(x.value, x.dims.with(1, channels));
  const around = padded(c, input, win.pads, 0);
  const slid = c.g.one("convolution", [around.x, c.sizes.refine(w.value, w.dims.with(1, dividedBy(c, channels, groups)))], {
    strides: win.strides,
    pads: around.pads,
    dilation: win.dilations,
    inputDilation: new Array<number>(rank).fill(1),
    groups,
    xDims: order,
    wDims: order,
    resultDims: order,
  });
  return mustHavePlaces(slid);
}

export function conv(c: NodeContext): Operand {
  return addBias(c, convolve(c, c.input(0), c.input(1)), c.optional(2));
}

/** The adjoint of a convolution: one with the kernel reversed, on an input with `stride - 1` holes between elements. */
function convTranspose(c: NodeContext): Operand {
  const [given, weights] = [c.input(0), c.input(1)];
  const rank = spatialRank(c, given);
  if (weights.rank !== given.rank) return c.fail(`weights of rank ${weights.rank} for an input of rank ${given.rank}`);
  const [x, w] = c.paired(given.value, 1, weights.value, 0, "channels of the input, and of the weights");
  const groups = c.int("group", 1);
  const size = kernelSizes(c, w);
  const [strides, dilations] = [list(c, "strides", rank, 1), list(c, "dilations", rank, 1)];
  const crops = transposedCrops(c, x.dims.slice(2), size, strides, dilations);
  const [channels, perGroup] = w.dims as [Dim, Dim];
  const inner = dividedBy(c, channels, groups);
  // [groups · in, out, …] → [groups · out, in, …]
  const apart = c.g.reshape(w, [groups, inner, perGroup, ...size]);
  const turned = c.g.transpose(apart, [0, 2, 1, ...size.map((_, s) => s + 3)]);
  const kernel = c.g.reshape(turned, [mulDim(perGroup, groups), inner, ...size]);
  const flipped = size.every((k) => k === 1) ? kernel : c.g.one("reverse", [kernel], { axes: size.map((_, s) => s + 2) });
  const order = x.dims.map((_, i) => i);
  const known = crops.every((pair): pair is readonly [number, number] => pair.every((d) => typeof d === "number"));
  const y = c.g.one("convolution", [x, flipped], {
    strides: new Array<number>(rank).fill(1),
    pads: size.map((k, s) => {
      const whole = reach(k, dilations[s] as number) - 1;
      const [low, high] = known ? (crops[s] as readonly [number, number]) : [0, 0];
      return [whole - low, whole - high] as const;
    }),
    dilation: dilations,
    inputDilation: strides,
    groups,
    xDims: order,
    wDims: order,
    resultDims: order,
  });
  return addBias(c, known ? y : cropped(c, y, crops), c.optional(2));
}

/** Takes elements away at both ends of the spatial dimensions; where a crop is negative, zeros are put there. */
function cropped(c: NodeContext, y: Value, crops: readonly (readonly [Dim, Dim])[]): Value {
  const at = (side: 0 | 1): Dim[] => [0, 0, ...crops.map((pair) => mulDim(pair[side], -1))];
  return c.g.one("pad", [y, c.g.scalar(y.dtype, 0)], { low: at(0), high: at(1) });
}

/** How much of a whole transposed convolution is cut off at both ends, from pads, output_padding, output_shape and auto_pad. */
function transposedCrops(
  c: NodeContext,
  input: readonly Dim[],
  size: readonly number[],
  strides: readonly number[],
  dilations: readonly number[],
): (readonly [Dim, Dim])[] {
  const rank = size.length;
  const auto = c.text("auto_pad", "NOTSET");
  const output = c.ints("output_padding") ?? new Array<number>(rank).fill(0);
  const given = c.ints("pads") ?? new Array<number>(2 * rank).fill(0);
  const shape = c.ints("output_shape");
  if (output.length !== rank || given.length !== 2 * rank) c.fail(`${output.length} output paddings and ${given.length} pads for ${rank} dimensions`);
  return size.map((k, s) => {
    const [stride, span, more] = [strides[s] as number, reach(k, dilations[s] as number), output[s] as number];
    if (shape === null && !auto.startsWith("SAME")) {
      const [low, high] = auto === "NOTSET" ? [given[s] as number, given[s + rank] as number] : [0, 0];
      return [low, high - more];
    }
    const n = input[s] as Dim;
    const full = addDim(mulDim(subDim(n, 1), stride), span + more);
    const wanted: Dim = shape === null ? mulDim(n, stride) : (shape[shape.length - rank + s] as number);
    // A result that is to be longer than the whole one gets its zeros at the end.
    const total = subDim(full, wanted);
    const half = floorDivDim(maxDim(total, 0), 2);
    const [low, high] = auto === "SAME_UPPER" ? [half, subDim(total, half)] : [subDim(maxDim(total, 0), half), addDim(half, minDim(total, 0))];
    return [low, subDim(high, more)];
  });
}

/** x / (bias + alpha / size · Σ x²)^beta, the sum over neighbouring channels (Krizhevsky et al., 2012) */
function lrn(c: NodeContext): Operand {
  const x = c.value(0);
  const size = c.int("size", 1);
  if (x.dims.length < 2) return c.fail(`rank ${x.dims.length}, expected at least 2`);
  const one = x.dims.map(() => 1);
  const half = Math.floor((size - 1) / 2);
  const pads = x.dims.map((_, i): readonly [number, number] => (i === 1 ? [half, size - 1 - half] : [0, 0]));
  const sum = c.g.one("reduce_window", [c.g.one("mul", [x, x])], { monoid: "add", window: one.with(1, size), strides: one, dilation: one, pads });
  const base = c.withScalar("add", c.withScalar("mul", sum, c.float("alpha", 0.0001) / size), c.float("bias", 1));
  return c.of(c.g.one("div", [x, c.withScalar("pow", base, c.float("beta", 0.75))]));
}

export const nnOps: OpTable = {
  Conv: { since: 7, map: conv },
  ConvTranspose: { since: 7, map: convTranspose },
  LRN: { since: 7, map: lrn },
};

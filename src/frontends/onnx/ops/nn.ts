import { inlineConstant } from "../../../base/constant.ts";
import { type Dim, addDim, mulDim, subDim } from "../../../base/dim.ts";
import { hostFrom, hostToBytes } from "../../../graph/host.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";
import { shapeHint } from "../symbols.ts";
import { dividedBy } from "./shape.ts";

/** How a window slides over the spatial dimensions. */
interface Window {
  readonly size: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Low and high padding as the node declares it (or auto_pad derives it). */
  readonly pads: readonly (readonly [number, number])[];
  /** With ceil_mode: padding at the high end so that the last, partly filled window is there. */
  readonly extra: readonly number[];
}

function list(c: NodeContext, name: string, rank: number, least: number): number[] {
  const given = c.ints(name) ?? new Array<number>(rank).fill(1);
  if (given.length !== rank || given.some((v) => v < least)) c.fail(`${name} [${given.join(", ")}], expected ${rank} numbers from ${least} on`);
  return given;
}

const reach = (size: number, dilation: number): number => (size - 1) * dilation + 1;

/** The window that the node's attributes describe, on spatial sizes `input`. */
function window(c: NodeContext, input: readonly Dim[], size: readonly number[]): Window {
  const rank = size.length;
  if (size.some((s) => s < 1)) c.fail(`kernel [${size.join(", ")}]`);
  const [strides, dilations] = [list(c, "strides", rank, 1), list(c, "dilations", rank, 1)];
  const auto = c.text("auto_pad", "NOTSET");
  const given = c.ints("pads") ?? new Array<number>(2 * rank).fill(0);
  if (given.length !== 2 * rank) c.fail(`${given.length} pads for ${rank} spatial dimensions`);
  const pads = size.map((k, s): readonly [number, number] => {
    if (auto === "NOTSET") return [given[s] as number, given[s + rank] as number];
    if (auto === "VALID") return [0, 0];
    if (auto !== "SAME_UPPER" && auto !== "SAME_LOWER") return c.fail(`auto_pad '${auto}'`);
    return samePads(c, input[s] as Dim, reach(k, dilations[s] as number), strides[s] as number, auto);
  });
  const extra = size.map((k, s) =>
    c.int("ceil_mode", 0) === 0
      ? 0
      : ceilPad(c, input[s] as Dim, pads[s] as readonly [number, number], reach(k, dilations[s] as number), strides[s] as number),
  );
  return { size, strides, dilations, pads, extra };
}

/** Padding that makes the output ⌈input / stride⌉; an odd element goes to the end that `auto` names. */
function samePads(c: NodeContext, n: Dim, reachOf: number, stride: number, auto: string): readonly [number, number] {
  if (typeof n !== "number" && stride !== 1) return c.unsupported(`auto_pad ${auto} with stride ${stride} on the symbolic size ${n}${shapeHint(n)}`);
  const total = typeof n === "number" ? Math.max(0, (Math.ceil(n / stride) - 1) * stride + reachOf - n) : reachOf - 1;
  const half = Math.floor(total / 2);
  return auto === "SAME_UPPER" ? [half, total - half] : [total - half, half];
}

/** What ceil_mode adds at the high end. A window that would start in the padding beyond the input is left out. */
function ceilPad(c: NodeContext, n: Dim, [low, high]: readonly [number, number], reachOf: number, stride: number): number {
  if (stride === 1) return 0;
  if (typeof n !== "number") return c.unsupported(`ceil_mode with stride ${stride} on the symbolic size ${n}${shapeHint(n)}`);
  let count = Math.ceil((n + low + high - reachOf) / stride) + 1;
  if ((count - 1) * stride >= n + low) count--;
  return Math.max(0, (count - 1) * stride + reachOf - n - low - high);
}

function spatialRank(c: NodeContext, x: Operand): number {
  if (x.rank < 3) c.fail(`input of rank ${x.rank}, expected [batch, channels, size, …]`);
  return x.rank - 2;
}

function kernelSizes(c: NodeContext, w: Operand): number[] {
  const size = w.dims.slice(2);
  return size.every((d) => typeof d === "number") ? (size as number[]) : c.unsupported(`weights of the symbolic shape [${w.dims.join(", ")}]`);
}

function addBias(c: NodeContext, y: Value, bias: Operand | null): Operand {
  return c.of(bias === null ? y : c.g.one("add", [y, c.g.broadcast(bias.value, y.dims, [1])]));
}

/** The convolution that the node's attributes describe. */
export function convolve(c: NodeContext, x: Operand, w: Operand): Value {
  const rank = spatialRank(c, x);
  if (w.rank !== x.rank) return c.fail(`weights of rank ${w.rank} for an input of rank ${x.rank}`);
  const win = window(c, x.dims.slice(2), kernelSizes(c, w));
  const order = x.dims.map((_, i) => i);
  return c.g.one("convolution", [x.value, w.value], {
    strides: win.strides,
    pads: win.pads,
    dilation: win.dilations,
    inputDilation: new Array<number>(rank).fill(1),
    groups: c.int("group", 1),
    xDims: order,
    wDims: order,
    resultDims: order,
  });
}

function conv(c: NodeContext): Operand {
  return addBias(c, convolve(c, c.input(0), c.input(1)), c.optional(2));
}

/** The adjoint of a convolution: one with the kernel reversed, on an input with `stride - 1` holes between elements. */
function convTranspose(c: NodeContext): Operand {
  const [x, w] = [c.input(0), c.input(1)];
  const rank = spatialRank(c, x);
  const groups = c.int("group", 1);
  const size = kernelSizes(c, w);
  const [strides, dilations] = [list(c, "strides", rank, 1), list(c, "dilations", rank, 1)];
  const pads = transposedPads(c, x.dims.slice(2), size, strides, dilations);
  const [channels, perGroup] = w.dims as [Dim, Dim];
  const inner = dividedBy(c, channels, groups);
  // [groups · in, out, …] → [groups · out, in, …]
  const apart = c.g.reshape(w.value, [groups, inner, perGroup, ...size]);
  const turned = c.g.transpose(apart, [0, 2, 1, ...size.map((_, s) => s + 3)]);
  const kernel = c.g.reshape(turned, [mulDim(perGroup, groups), inner, ...size]);
  const flipped = size.every((k) => k === 1) ? kernel : c.g.one("reverse", [kernel], { axes: size.map((_, s) => s + 2) });
  const order = x.dims.map((_, i) => i);
  const y = c.g.one("convolution", [x.value, flipped], {
    strides: new Array<number>(rank).fill(1),
    pads,
    dilation: dilations,
    inputDilation: strides,
    groups,
    xDims: order,
    wDims: order,
    resultDims: order,
  });
  return addBias(c, y, c.optional(2));
}

/** Padding of the convolution that a transposed one becomes, from pads, output_padding, output_shape and auto_pad. */
function transposedPads(
  c: NodeContext,
  input: readonly Dim[],
  size: readonly number[],
  strides: readonly number[],
  dilations: readonly number[],
): (readonly [number, number])[] {
  const rank = size.length;
  const auto = c.text("auto_pad", "NOTSET");
  const output = c.ints("output_padding") ?? new Array<number>(rank).fill(0);
  const given = c.ints("pads") ?? new Array<number>(2 * rank).fill(0);
  const shape = c.ints("output_shape");
  return size.map((k, s) => {
    const [stride, span, more] = [strides[s] as number, reach(k, dilations[s] as number), output[s] as number];
    let [low, high] = auto === "NOTSET" ? [given[s] as number, given[s + rank] as number] : [0, 0];
    if (shape !== null || auto.startsWith("SAME")) {
      const n = input[s] as Dim;
      const full = addDim(mulDim(subDim(n, 1), stride), span + more);
      const wanted: Dim = shape === null ? mulDim(n, stride) : (shape[shape.length - rank + s] as number);
      const total = subDim(full, wanted);
      if (typeof total !== "number") return c.unsupported(`output sizes that depend on the symbolic size ${n}${shapeHint(n)}`);
      const half = Math.floor(total / 2);
      [low, high] = auto === "SAME_UPPER" ? [half, total - half] : [total - half, half];
    }
    return [span - 1 - low, span - 1 - high + more] as const;
  });
}

/** The window as the whole-rank attributes of reduce_window. */
function sliding(win: Window): { window: number[]; strides: number[]; dilation: number[]; pads: (readonly [number, number])[] } {
  const [one, none] = [[1, 1], [0, 0] as const];
  return {
    window: [...one, ...win.size],
    strides: [...one, ...win.strides],
    dilation: [...one, ...win.dilations],
    pads: [none, none, ...win.pads.map(([low, high], s) => [low, high + (win.extra[s] as number)] as const)],
  };
}

function poolWindow(c: NodeContext, x: Operand): Window {
  const rank = spatialRank(c, x);
  const size = c.ints("kernel_shape") ?? c.fail("'kernel_shape' is missing");
  if (size.length !== rank) c.fail(`kernel [${size.join(", ")}] for ${rank} spatial dimensions`);
  return window(c, x.dims.slice(2), size);
}

function maxPool(c: NodeContext): readonly (Operand | null)[] {
  if (c.wants(1)) return c.unsupported("the output of indices");
  const x = c.input(0);
  return [c.of(c.g.one("reduce_window", [x.value], { monoid: "max", ...sliding(poolWindow(c, x)) }))];
}

function averagePool(c: NodeContext): Operand {
  const x = c.input(0);
  const win = poolWindow(c, x);
  const sum = c.g.one("reduce_window", [x.value], { monoid: "add", ...sliding(win) });
  const padded = win.pads.some(([low, high], s) => low !== 0 || high !== 0 || win.extra[s] !== 0);
  const whole = c.int("count_include_pad", 0) === 1 && win.extra.every((e) => e === 0);
  if (!padded || whole) return c.of(c.withScalar("mul", sum, 1 / win.size.reduce((a, b) => a * b, 1)));
  return c.of(c.g.one("div", [sum, windowCounts(c, x, win, sum)]));
}

/** How many elements lie in each window, stretched to the result's dims. Padding counts if the node says so, ceil_mode's never does. */
function windowCounts(c: NodeContext, x: Operand, win: Window, result: Value): Value {
  const withPads = c.int("count_include_pad", 0) === 1;
  return win.size
    .map((k, s) => {
      const out = result.dims[s + 2] as Dim;
      const n = x.dims[s + 2] as Dim;
      if (typeof out !== "number" || typeof n !== "number")
        return c.unsupported(`an average that leaves out padding on the symbolic size ${n}${shapeHint(n)}`);
      const [low, high] = win.pads[s] as readonly [number, number];
      const [first, last] = withPads ? [-low, n + high] : [0, n];
      const count = (o: number): number => {
        const start = o * (win.strides[s] as number) - low;
        return Array.from({ length: k }, (_, i) => start + i * (win.dilations[s] as number)).filter((p) => p >= first && p < last).length;
      };
      const counts = hostFrom(x.dtype, [out], (o) => Math.max(1, count(o)));
      return c.g.broadcast(c.g.constant(x.dtype, [out], inlineConstant(hostToBytes(counts)), "counts"), result.dims, [s + 2]);
    })
    .reduce((a, b) => c.g.one("mul", [a, b]));
}

/** (Σ|x|^p)^(1/p) over each window */
function lpPool(c: NodeContext): Operand {
  const x = c.input(0);
  const p = c.int("p", 2);
  const magnitude = c.g.one("abs", [x.value]);
  const power = p === 1 ? magnitude : c.withScalar("pow", magnitude, p);
  const sum = c.g.one("reduce_window", [power], { monoid: "add", ...sliding(poolWindow(c, x)) });
  return c.of(p === 1 ? sum : c.withScalar("pow", sum, 1 / p));
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
  MaxPool: { since: 7, map: maxPool },
  AveragePool: { since: 7, map: averagePool },
  LpPool: { since: 7, map: lpPool },
  LRN: { since: 7, map: lrn },
};

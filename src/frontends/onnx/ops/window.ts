import { type Dim, addDim, ceilDivDim, floorDivDim, maxDim, minDim, mulDim, subDim } from "../../../base/dim.ts";
import type { Num } from "../../../base/numeric.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext } from "../context.ts";
import type { Operand } from "../operand.ts";

/** How a window slides over the spatial dimensions. */
export interface Window {
  readonly size: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Low and high padding as the node declares it (or auto_pad derives it). */
  readonly pads: readonly (readonly [Dim, Dim])[];
  /** With ceil_mode: padding at the high end so that the last, partly filled window is there. */
  readonly extra: readonly Dim[];
}

export function list(c: NodeContext, name: string, rank: number, least: number): number[] {
  const given = c.ints(name) ?? new Array<number>(rank).fill(1);
  if (given.length !== rank || given.some((v) => v < least)) c.fail(`${name} [${given.join(", ")}], expected ${rank} numbers from ${least} on`);
  return given;
}

export const reach = (size: number, dilation: number): number => (size - 1) * dilation + 1;

/** The window that the node's attributes describe, on spatial sizes `input`. */
export function window(c: NodeContext, input: readonly Dim[], size: readonly number[]): Window {
  const rank = size.length;
  if (size.some((s) => s < 1)) c.fail(`kernel [${size.join(", ")}]`);
  const [strides, dilations] = [list(c, "strides", rank, 1), list(c, "dilations", rank, 1)];
  const auto = c.text("auto_pad", "NOTSET");
  const given = c.ints("pads") ?? new Array<number>(2 * rank).fill(0);
  if (given.length !== 2 * rank) c.fail(`${given.length} pads for ${rank} spatial dimensions`);
  const pads = size.map((k, s): readonly [Dim, Dim] => {
    if (auto === "NOTSET") return [given[s] as number, given[s + rank] as number];
    if (auto === "VALID") return [0, 0];
    if (auto !== "SAME_UPPER" && auto !== "SAME_LOWER") return c.fail(`auto_pad '${auto}'`);
    return samePads(input[s] as Dim, reach(k, dilations[s] as number), strides[s] as number, auto);
  });
  const extra = size.map((k, s) =>
    c.int("ceil_mode", 0) === 0
      ? 0
      : ceilPad(input[s] as Dim, pads[s] as readonly [Dim, Dim], reach(k, dilations[s] as number), strides[s] as number),
  );
  return { size, strides, dilations, pads, extra };
}

/** Padding that makes the output ⌈input / stride⌉; an odd element goes to the end that `auto` names. */
function samePads(n: Dim, reachOf: number, stride: number, auto: string): readonly [Dim, Dim] {
  const covered = addDim(mulDim(subDim(ceilDivDim(n, stride), 1), stride), reachOf);
  const total = maxDim(0, subDim(covered, n));
  const half = floorDivDim(total, 2);
  return auto === "SAME_UPPER" ? [half, subDim(total, half)] : [subDim(total, half), half];
}

/** What ceil_mode adds at the high end. A window that would start in the padding beyond the input is left out. */
function ceilPad(n: Dim, [low, high]: readonly [Dim, Dim], reachOf: number, stride: number): Dim {
  if (stride === 1) return 0;
  const start = addDim(n, low);
  const whole = addDim(start, high);
  const count = minDim(addDim(ceilDivDim(subDim(whole, reachOf), stride), 1), ceilDivDim(start, stride));
  return maxDim(0, subDim(addDim(mulDim(subDim(count, 1), stride), reachOf), whole));
}

/** Padding as an attribute where it is known; x is padded first at ends where it depends on symbolic sizes. */
export function padded(
  c: NodeContext,
  x: Value,
  pads: readonly (readonly [Dim, Dim])[],
  fill: Num,
): { readonly x: Value; readonly pads: readonly (readonly [number, number])[] } {
  const known = pads.map(([low, high]) => [typeof low === "number" ? low : 0, typeof high === "number" ? high : 0] as const);
  if (pads.every((pair) => pair.every((p) => typeof p === "number"))) return { x, pads: known };
  const at = (side: 0 | 1): Dim[] => [0, 0, ...pads.map((pair) => (typeof pair[side] === "number" ? 0 : pair[side]))];
  return { x: c.g.one("pad", [x, c.g.scalar(x.dtype, fill)], { low: at(0), high: at(1) }), pads: known };
}

/** The number of spatial dimensions of [batch, channels, size, …]. */
export function spatialRank(c: NodeContext, x: Operand): number {
  if (x.rank < 3) c.fail(`input of rank ${x.rank}, expected [batch, channels, size, …]`);
  return x.rank - 2;
}

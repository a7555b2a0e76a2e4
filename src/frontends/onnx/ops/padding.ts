import { type Dim, addDim, dimMin, isDataDependent, maxDim, mulDim, subDim } from "../../../base/dim.ts";
import type { Value } from "../../../graph/ir.ts";
import { axesFromStart, axisMask, listOf, overAllAxes } from "../axes.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { positions } from "./elementwise.ts";

/** Edge, reflect and wrap read x at folded positions, axis by axis. */
function padByIndex(c: NodeContext, x: Value, axis: number, low: Dim, high: Dim, mode: string): Value {
  const n = x.dims[axis] as Dim;
  const size = addDim(addDim(n, low), high);
  if (mode !== "edge" && typeof n === "number" && n === 0) return c.fail(`mode ${mode} on an empty dimension`);
  const value = (d: Dim): Value => c.g.broadcast(dimValue(c.g, d), [size], []);
  const at = c.g.one("sub", [positions(c, [size], 0), value(low)]);
  return c.g.one("gather", [x, folded(c, at, value, n, mode)], { axes: [axis], at: axis });
}
function folded(c: NodeContext, at: Value, value: (d: Dim) => Value, n: Dim, mode: string): Value {
  // A read outside of x is moved to its edge by gather itself.
  if (mode === "edge") return at;
  if (mode === "wrap") return c.g.one("mod", [at, value(isDataDependent(n) ? maxDim(n, 1) : n)]);
  if (mode !== "reflect") return c.fail(`mode '${mode}', expected constant, edge, reflect or wrap`);
  if (n === 1) return at;
  // A zigzag of period 2(n - 1), which also folds pads longer than x.
  const whole = mulDim(subDim(n, 1), 2);
  const period = dimMin(whole) > 0 ? whole : maxDim(whole, 1);
  const within = c.g.one("mod", [at, value(period)]);
  return c.g.one("min", [within, c.g.one("sub", [value(period), within])]);
}

interface Pads {
  readonly low: readonly Dim[];
  readonly high: readonly Dim[];
}

/** Pads that are known while importing, in the order of ONNX: all that lie before, then all after. */
function padsOf(c: NodeContext, x: Operand, given: readonly Dim[], axes: readonly number[]): Pads {
  if (given.length !== 2 * axes.length) return c.fail(`${given.length} pads for ${axes.length} dimensions`);
  const of = (i: number, side: number): Dim => (axes.includes(i) ? (given[axes.indexOf(i) + side * axes.length] as Dim) : 0);
  return { low: x.dims.map((_, i) => of(i, 0)), high: x.dims.map((_, i) => of(i, 1)) };
}

/** Pads, or their axes, from data. */
function padsByData(c: NodeContext, x: Operand, axes: Operand | null): Pads {
  const s = c.sizes;
  const list = listOf(c, c.input(1));
  const count = axes === null ? x.rank : (axes.dims[0] ?? 1);
  s.require(list.dims[0] as Dim, mulDim(count, 2));
  const side = (k: number): Value => {
    const part = c.g.one("slice", [list], { start: [mulDim(count, k)], stride: [1], dims: [count] });
    if (axes === null) return part;
    return overAllAxes(c, part, axesFromStart(c, listOf(c, axes), x.rank), x.rank, 0);
  };
  if (axes !== null) axisMask(c, axes, x.rank);
  const sides = [side(0), side(1)] as const;
  const far = -(2 ** 31 - 1);
  const pads = x.dims.map((n, i): [Dim, Dim] => {
    const low = s.size(s.entry(sides[0], i), "pad", far, null);
    const declared = c.declaredDim(0, i);
    const high = s.size(s.entry(sides[1], i), "pad", far, null, declared === null ? null : subDim(subDim(declared, n), low));
    if (declared === null) s.size(s.add(s.add(low, high), n), "padded", 0, null);
    return [low, high];
  });
  return { low: pads.map(([l]) => l), high: pads.map(([, h]) => h) };
}

export function pad(c: NodeContext): Operand {
  const x = c.input(0);
  const mode = c.text("mode", "constant");
  const given = c.version < 11 ? (c.ints("pads") ?? c.fail("'pads' is missing")) : c.input(1).known;
  const axes = c.version >= 18 ? c.optional(3) : null;
  const known = axes === null ? x.dims.map((_, i) => i) : axes.numbers === null ? null : c.normalAxes(axes.numbers, x.rank);
  const { low, high } = given !== null && known !== null ? padsOf(c, x, given, known) : padsByData(c, x, axes);
  if ([...low, ...high].every((d) => d === 0)) return x;
  if (mode !== "constant")
    return c.of(
      x.dims.reduce(
        (v, _, axis) => (low[axis] === 0 && high[axis] === 0 ? v : padByIndex(c, v, axis, low[axis] as Dim, high[axis] as Dim, mode)),
        x.value,
      ),
    );
  const fill = c.version < 11 ? c.knownOf(x.dtype, [], [c.float("value", 0)]) : c.optional(2);
  return c.of(c.g.one("pad", [x.value, fill === null ? c.g.scalar(x.dtype, 0) : c.g.reshape(fill.value, [])], { low, high }));
}

export const paddingOps: OpTable = { Pad: { since: 7, map: pad } };

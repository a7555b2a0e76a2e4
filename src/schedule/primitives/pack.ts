import { ceilDivDim, dimMultiple } from "../../base/dim.ts";
import { i32 } from "../../base/dtype.ts";
import type { Expr, Variable } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Axis, type Kernel, type Stage, Tensor, mapStage } from "../../tensor/ir.ts";
import { accessesOf } from "../access.ts";
import type { Pack } from "../schedule.ts";

/**
 * Packing: the axis is split into tiles (`n` becomes `n.t` and `n.i`), and the operand is read from a copy that has the
 * tile innermost and all its other axes in the order in which the stage's reductions run. Where the size is no multiple
 * of the tile, the last tile is moved back to end with the axis, in the copy as in the kernel.
 */
export interface Packed {
  /** The kernel that reads the copy. */
  readonly kernel: Kernel;
  readonly copy: Tensor;
  /** The kernel that makes the copy. */
  readonly packing: Kernel;
}

/** @returns null when the operand cannot be packed so: a local, a conditional, several or non-affine reads, an axis shorter than the tile */
export function packOperand(sc: Scalars, k: Kernel, pack: Pack): Packed | null {
  const s = k.stages[pack.stage];
  if (s === undefined || s.inner !== null) return null;
  const accesses = accessesOf(
    sc,
    s.accumulators.map((a) => a.lift),
  );
  const access = accesses[pack.operand];
  const axis = s.axes.find((a) => a.variable.name === pack.axis);
  const moving = k.axes.filter((a) => access?.strides.has(a.variable));
  if (access === undefined || k.locals.includes(access.tensor) || moving.some((a) => a.kind !== "parallel")) return null;
  if (axis === undefined || axis.kind !== "parallel" || [...access.strides.values()].some((v) => v === null)) return null;
  if (!access.strides.has(axis.variable) || (typeof axis.extent === "number" && axis.extent < pack.size) || typeof axis.extent !== "number")
    return null;
  const tiles = ceilDivDim(axis.extent, pack.size);
  const tile: Axis = { variable: sc.variable(`${pack.axis}.t`, i32, { extent: sc.dim(tiles) }), extent: tiles, kind: "parallel" };
  const lane: Axis = { variable: sc.variable(`${pack.axis}.i`, i32, { extent: sc.int(pack.size) }), extent: pack.size, kind: "parallel" };
  const start = sc.mul(sc.var(tile.variable), sc.int(pack.size));
  const whole = dimMultiple(axis.extent) % pack.size === 0;
  const first = whole ? start : sc.min(start, sc.sub(sc.dim(axis.extent), sc.int(pack.size)));
  const point = sc.add(first, sc.var(lane.variable));

  const order = reductionOrder(sc, s, access.load);
  const others = [...k.axes, ...s.axes].filter((a) => a.kind === "parallel" && a !== axis && access.strides.has(a.variable));
  const axes = [...others, tile, ...order.filter((a) => access.strides.has(a.variable)), lane];
  const dims = axes.map((a) => a.extent);
  const copy = new Tensor(sc.freshId(), `${access.tensor.name}.packed`, access.tensor.dtype, dims, null, access.tensor.origin);
  const position = axes.reduce<Expr>((sum, a) => sc.add(sc.mul(sum, sc.dim(a.extent)), sc.var(a.variable)), sc.int(0));

  const toTiles = new Map<Variable, Expr>([[axis.variable, point]]);
  const memo = new Map<Expr, Expr>();
  const rewrite = (e: Expr): Expr =>
    sc.rebuild(
      [e],
      (x) => (x === access.load ? sc.load(copy, [position]) : x.op === "var" ? (toTiles.get(x.attr as Variable) ?? null) : null),
      memo,
    )[0] as Expr;
  const mapped = mapStage(s, rewrite);
  const split = (a: Axis): Axis[] => (a === axis ? [tile, lane] : [a]);
  const stage: Stage = {
    ...mapped,
    axes: [...s.axes.filter((a) => a.kind !== "reduction").flatMap(split), ...order],
    accumulators: mapped.accumulators.map((a) => ({
      ...a,
      axes: a.axes.flatMap((v) => (v === axis.variable ? [tile.variable, lane.variable] : [v])),
    })),
  };
  const source = sc.substitute(access.load, toTiles);
  const packing: Stage = {
    name: `${s.name}.pack`,
    origin: s.origin,
    axes: axes.map((a) => ({ ...a, kind: "parallel" })),
    inner: null,
    accumulators: [],
    writes: [{ tensor: copy, index: [position], value: source, combiner: null, guard: null }],
  };
  return {
    kernel: { ...k, stages: k.stages.with(pack.stage, stage) },
    copy,
    packing: { name: packing.name, axes: [], locals: [], stages: [packing] },
  };
}

/** Reduction axes in the order in which the other operands run through memory: largest stride first. */
function reductionOrder(sc: Scalars, s: Stage, packed: Expr): Axis[] {
  const others = accessesOf(
    sc,
    s.accumulators.map((a) => a.lift),
  ).filter((a) => a.load !== packed);
  const stride = (a: Axis): number => {
    const strides = others.map((o) => o.strides.get(a.variable)).filter((x) => x != null);
    const values = strides.map((x) => (x.constant === null ? Number.MAX_SAFE_INTEGER : Math.abs(Number(x.constant))));
    return Math.max(0, ...values);
  };
  return s.axes.filter((a) => a.kind === "reduction").sort((a, b) => stride(b) - stride(a));
}

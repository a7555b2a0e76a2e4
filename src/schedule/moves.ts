import { type Dim, addDim, symbolDim } from "../base/dim.ts";
import { i32 } from "../base/dtype.ts";
import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Axis, type Body, type Control, type Kernel, type Stage, Tensor, type TensorFunction, layoutOf } from "../tensor/ir.ts";
import { linearIndex } from "./linearize.ts";

/** Kernels that no op asks for: they bring values to where the next steps look for them, and zeros around tensors. */

/** Copies at the end of a body that bring its outputs to where the world outside, and a loop's next turn, read them. */
export function handOver(sc: Scalars, f: TensorFunction, c: Control, b: Body): Kernel[] {
  if (c.kind === "if")
    return c.results.flatMap((r, i) => {
      const from = b.outputs[i] as Tensor;
      return from === r || layoutOf(f, from).view?.of === r ? [] : [copyOf(sc, from, r)];
    });
  if (c.kind !== "loop") return [];
  const targets = [...(c.condition === null ? [] : [c.condition]), ...c.states];
  const next = b.outputs.slice(0, targets.length);
  const slices = b.outputs.slice(targets.length);
  const turn = sc.dim(symbolDim(c.index));
  const stacked = slices.map((t, i) => copyOf(sc, t, c.stacked[i] as Tensor, [turn]));
  // A state that becomes another one is saved before it is overwritten.
  const saved = new Map<Tensor, Tensor>();
  next.forEach((t, i) => {
    if (targets.includes(t) && t !== targets[i]) saved.set(t, new Tensor(sc.freshId(), `${t.name}.saved`, t.dtype, t.dims, null, t.origin));
  });
  const copies = next.flatMap((t, i) => (t === targets[i] ? [] : [copyOf(sc, saved.get(t) ?? t, targets[i] as Tensor)]));
  return [...stacked, ...[...saved].map(([t, s]) => copyOf(sc, t, s)), ...copies];
}

const copyOf = (sc: Scalars, from: Tensor, to: Tensor, at: readonly Expr[] = []): Kernel => copyKernel(sc, `${to.name}.copy`, from, to, at);

/** `to[at…, i…] = from[i…]` */
export function copyKernel(sc: Scalars, name: string, from: Tensor, to: Tensor, at: readonly Expr[] = []): Kernel {
  const axes = from.dims.map((d, i): Axis => ({ variable: sc.variable(`i${i}`, i32, { extent: sc.dim(d) }), extent: d, kind: "parallel" }));
  const index = axes.map((a) => sc.var(a.variable));
  const write = { tensor: to, index: [...at, ...index], value: sc.load(from, index), combiner: null, guard: null };
  return { name, axes: [], locals: [], stages: [{ name, origin: to.origin, axes, inner: null, accumulators: [], writes: [write] }] };
}

/** Writes the zeros around a padded tensor; null when it has none. */
export function borderKernel(sc: Scalars, f: TensorFunction, t: Tensor): Kernel | null {
  const { pad } = layoutOf(f, t);
  if (pad.every(([a, b]) => a === 0 && b === 0)) return null;
  const stages: Stage[] = [];
  const region = (d: number, from: Dim, size: Dim): void => {
    // Dims before d only inside the tensor (their own borders are regions of their own), dims after it whole.
    const axes: Axis[] = [];
    const index = t.dims.map((extent, k) => {
      const [lo, hi] = pad[k] as readonly [number, number];
      const [start, n] = k === d ? [from, size] : k < d ? [0, extent] : [-lo, addDim(extent, lo + hi)];
      const variable = sc.variable(`i${k}`, i32, { extent: sc.dim(n) });
      axes.push({ variable, extent: n, kind: "parallel" });
      return sc.add(sc.var(variable), sc.dim(start));
    });
    const ordered = layoutOf(f, t).order.map((k) => axes[k] as Axis);
    stages.push({
      name: `border${stages.length}`,
      origin: t.origin,
      axes: ordered,
      inner: null,
      accumulators: [],
      writes: [{ tensor: t, index: [linearIndex(sc, f, t, index)], value: sc.const(0, t.dtype), combiner: null, guard: null }],
    });
  };
  t.dims.forEach((extent, d) => {
    const [lo, hi] = pad[d] as readonly [number, number];
    if (lo > 0) region(d, -lo, lo);
    if (hi > 0) region(d, extent, hi);
  });
  return { name: `${t.name}.border`, axes: [], locals: [], stages };
}

import { type Dim, addDim, dimEquals, mulDim } from "../base/dim.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import { type Monomial, fromPolynomial, mentionedIn, polynomialOf, rangeOf, simplifyIndices } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import {
  type Axis,
  type Kernel,
  type Layout,
  type Stage,
  type Tensor,
  type TensorFunction,
  type View,
  allStages,
  layoutOf,
  mapStage,
  viewAxis,
} from "../tensor/ir.ts";
import { indexBehind } from "../tensor/views.ts";
import { splitAxes } from "./split.ts";

/**
 * From multi-dimensional indices to positions in memory: every read and write of the kernel gets one index, by the
 * layouts of the tensors. Reads that are guarded against the zeros around a tensor lose their guard where the tensor's
 * layout holds those zeros.
 */
export function linearizeKernel(sc: Scalars, f: TensorFunction, k: Kernel): Kernel {
  const memo = new Map<Expr, Expr>();
  const place = (t: Tensor, index: readonly Expr[]) => linearIndex(sc, f, t, index);
  const rewrite = (e: Expr): Expr =>
    sc.rebuild(
      [e],
      (x, args) => {
        if (x.op === "select") {
          const bare = dropGuard(sc, f, x);
          if (bare !== null) return sc.load(bare.storage as Tensor, [place(bare.storage as Tensor, simplifyIndices(sc, bare.args))]);
        }
        return x.op === "load" ? sc.load(x.attr as Tensor, [place(x.attr as Tensor, simplifyIndices(sc, args))]) : null;
      },
      memo,
    )[0] as Expr;
  const stage = (s: Stage): Stage => {
    const mapped = mapStage(s, rewrite);
    const inner = s.inner === null ? null : { ...s.inner, stages: s.inner.stages.map(stage) };
    // Write indices were rewritten as expressions; now they become one position.
    return { ...mapped, inner, writes: mapped.writes.map((w) => ({ ...w, index: [place(w.tensor, simplifyIndices(sc, w.index))] })) };
  };
  return { ...k, stages: k.stages.map(stage) };
}

/** Strides of a tensor's dims in its buffer, in elements. */
function stridesIn(sc: Scalars, dims: readonly Dim[], layout: Layout): Expr[] {
  const out: Expr[] = [];
  let stride = sc.int(1);
  for (const d of [...layout.order].reverse()) {
    out[d] = stride;
    const [lo, hi] = layout.pad[d] ?? [0, 0];
    const rows = layout.capacity?.dim === d ? layout.capacity.rows : (dims[d] as Dim);
    stride = sc.mul(stride, sc.add(sc.dim(rows), sc.int(lo + hi)));
  }
  return out;
}

/** Position of an element in the buffer that holds the tensor, in elements. */
export function linearIndex(sc: Scalars, f: TensorFunction, t: Tensor, index: readonly Expr[]): Expr {
  const layout = layoutOf(f, t);
  if (layout.view !== null) {
    return linearIndex(sc, f, layout.view.of, indexBehind(sc, layout.view, index));
  }
  const strides = stridesIn(sc, t.dims, layout);
  const sum = index.reduce((acc, e, d) => {
    const [lo] = layout.pad[d] ?? [0, 0];
    return sc.add(acc, sc.mul(sc.add(e, sc.int(lo)), strides[d] as Expr));
  }, sc.int(0));
  return fromPolynomial(sc, polynomialOf(sum));
}

/**
 * `select(inside(i), x[i], 0)` where x's padding reaches as far as i does: the read alone. Only conditions that are
 * nothing but bounds of the very indices read may go.
 */
function dropGuard(sc: Scalars, f: TensorFunction, e: Expr): Expr | null {
  const [condition, read, other] = e.args as [Expr, Expr, Expr];
  if (read.op !== "load" || !other.isConst(0)) return null;
  const t = read.attr as Tensor;
  const pad = paddingOf(f, t);
  if (pad.every(([a, b]) => a === 0 && b === 0)) return null;
  for (let d = 0; d < t.dims.length; d++) {
    const extent = t.dims[d];
    const [lo, hi] = pad[d] as readonly [number, number];
    const [min, max] = rangeOf(read.args[d] as Expr);
    if (typeof extent !== "number" || min < -lo || max >= extent + hi) return null;
  }
  return boundsOnly(sc, condition, read, t) ? read : null;
}

/** Zeros around a tensor in memory; a view has those of its buffer where it reaches that buffer's edge. */
function paddingOf(f: TensorFunction, t: Tensor): readonly (readonly [number, number])[] {
  const layout = layoutOf(f, t);
  if (layout.view === null) return layout.pad;
  const { of, offset } = layout.view;
  const outer = paddingOf(f, of);
  return t.dims.map((d, i) => {
    const axis = viewAxis(layout.view as View, i);
    if (axis < 0) return [0, 0];
    const start = offset[axis] as Dim;
    const [lo, hi] = outer[axis] as readonly [number, number];
    return [start === 0 ? lo : 0, dimEquals(addDim(start, d), of.dims[axis] as Dim) ? hi : 0];
  });
}

function boundsOnly(sc: Scalars, condition: Expr, read: Expr, t: Tensor): boolean {
  if (condition.op === "and") return condition.args.every((a) => boundsOnly(sc, a, read, t));
  const [x, limit] = condition.args as [Expr, Expr];
  if (condition.op === "ge" && limit.isConst(0)) return read.args.includes(x);
  return condition.op === "lt" && read.args.some((a, d) => a === x && limit === sc.dim(t.dims[d] as Dim));
}

/** Reach of guarded reads beyond a tensor's edges: the padding that would make their guards needless. */
export function guardedReach(k: Kernel, t: Tensor): readonly (readonly [number, number])[] {
  const reach = t.dims.map(() => [0, 0] as [number, number]);
  const seen = new Set<Expr>();
  const visit = (e: Expr) => {
    if (seen.has(e)) return;
    seen.add(e);
    const [, read, other] = e.args;
    if (e.op === "select" && read?.op === "load" && read.attr === t && other?.isConst(0)) {
      read.args.forEach((a, d) => {
        const [min, max] = rangeOf(a);
        const extent = t.dims[d];
        const r = reach[d] as [number, number];
        if (typeof extent !== "number") return;
        r[0] = Math.max(r[0], Number.isFinite(min) ? -min : 0);
        r[1] = Math.max(r[1], Number.isFinite(max) ? max - extent + 1 : 0);
      });
    }
    e.args.forEach(visit);
  };
  for (const s of k.stages) for (const a of s.accumulators) visit(a.lift);
  return reach;
}

/** Every expression that holds an index, for passes over linearised kernels. */
function indicesOf(s: Stage): Expr[] {
  const out: Expr[] = [...s.writes.map((w) => w.index[0] as Expr)];
  const seen = new Set<Expr>();
  const visit = (e: Expr) => {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.op === "load") out.push(e.args[0] as Expr);
    e.args.forEach(visit);
  };
  for (const a of s.accumulators) for (const e of [a.identity, a.lift, a.combine]) visit(e);
  for (const w of s.writes) {
    visit(w.value);
    if (w.guard !== null) visit(w.guard);
  }
  return out;
}

/** Coefficient of one axis in a linear index as a polynomial text key, or null when the index is not affine in it. */
function coefficient(sc: Scalars, index: Expr, v: Variable): Expr | null {
  const out = new Map<string, Monomial>();
  for (const [, m] of polynomialOf(index)) {
    const at = m.atoms.findIndex((a) => a.op === "var" && a.attr === v);
    if (at < 0) {
      if (m.atoms.some((a) => mentionedIn(a).has(v))) return null;
      continue;
    }
    const atoms = m.atoms.toSpliced(at, 1);
    if (atoms.some((a) => mentionedIn(a).has(v))) return null;
    out.set(atoms.map((a) => a.id).join(","), { coef: m.coef, atoms });
  }
  return fromPolynomial(sc, out);
}

/**
 * Splits axes that indices divide, then joins neighbouring axes of a kind that run through memory like one: `a·E + b` in
 * every index, with E the extent of b.
 * Works on a linearised kernel: on the axes its stages share, and, where it has one stage, on that stage's own.
 */
export function collapseAxes(sc: Scalars, k: Kernel): Kernel {
  let out = dropUnitAxes(sc, splitAxes(sc, k));
  for (let i = 0; i + 1 < out.axes.length; ) {
    const joined = joinShared(sc, out, out.axes[i] as Axis, out.axes[i + 1] as Axis);
    if (joined === null) i++;
    else out = joined;
  }
  const [only] = out.stages;
  if (out.stages.length !== 1 || only === undefined || only.inner !== null) return out;
  let s = only;
  for (let i = 0; i + 1 < s.axes.length; ) {
    const joined = joinAxes(sc, s, s.axes[i] as Axis, s.axes[i + 1] as Axis);
    if (joined === null) i++;
    else s = joined;
  }
  return { ...out, stages: [s] };
}

/** Axes of one point are that point. */
function dropUnitAxes(sc: Scalars, k: Kernel): Kernel {
  const ones = new Map<Variable, Expr>();
  for (const a of [...k.axes, ...allStages(k).flatMap((s) => s.axes)]) if (a.extent === 1) ones.set(a.variable, sc.int(0));
  if (ones.size === 0) return k;
  const keep = (axes: readonly Axis[]) => axes.filter((a) => a.extent !== 1);
  const memo = new Map<Expr, Expr>();
  const clear = (e: Expr) => sc.substituteAll([e], ones, memo)[0] as Expr;
  const stage = (s: Stage): Stage => {
    const inner = s.inner === null ? null : { ...s.inner, stages: s.inner.stages.map(stage) };
    const m = mapStage({ ...s, inner: null }, clear);
    return { ...m, inner, axes: keep(s.axes), accumulators: m.accumulators.map((a) => ({ ...a, axes: a.axes.filter((v) => !ones.has(v)) })) };
  };
  // A stage that holds others keeps its axes: theirs are bound to them.
  if (allStages(k).some((s) => s.inner !== null)) return k;
  return { ...k, axes: keep(k.axes), stages: k.stages.map(stage) };
}

interface Join {
  readonly axis: Axis;
  readonly map: ReadonlyMap<Variable, Expr>;
}

/** The axis that two would make, if they run as one in all stages. */
function joinOf(sc: Scalars, stages: readonly Stage[], a: Axis, b: Axis): Join | null {
  if (a.kind !== b.kind || a.kind === "scan") return null;
  const extent = sc.dim(b.extent);
  for (const e of stages.flatMap(indicesOf)) {
    const [ca, cb] = [coefficient(sc, e, a.variable), coefficient(sc, e, b.variable)];
    if (ca === null || cb === null || ca !== fromPolynomial(sc, polynomialOf(sc.mul(cb, extent)))) return null;
  }
  if (stages.some((s) => usesOutsideIndices(s, a.variable) || usesOutsideIndices(s, b.variable))) return null;
  const joint = mulDim(a.extent, b.extent);
  const variable = sc.variable(`${a.variable.name}${b.variable.name}`, undefined, { extent: sc.dim(joint) });
  return {
    axis: { variable, extent: joint, kind: a.kind },
    map: new Map([
      [a.variable, sc.int(0)],
      [b.variable, sc.var(variable)],
    ]),
  };
}

function joinShared(sc: Scalars, k: Kernel, a: Axis, b: Axis): Kernel | null {
  const j = joinOf(sc, allStages(k), a, b);
  if (j === null) return null;
  const memo = new Map<Expr, Expr>();
  return {
    ...k,
    axes: k.axes.flatMap((x) => (x === a ? [] : x === b ? [j.axis] : [x])),
    stages: k.stages.map((s) => mapStage(s, (e) => sc.substituteAll([e], j.map, memo)[0] as Expr)),
  };
}

function joinAxes(sc: Scalars, s: Stage, a: Axis, b: Axis): Stage | null {
  const j = joinOf(sc, [s], a, b);
  if (j === null) return null;
  const memo = new Map<Expr, Expr>();
  const mapped = mapStage(s, (e) => sc.substituteAll([e], j.map, memo)[0] as Expr);
  return {
    ...mapped,
    axes: s.axes.flatMap((x) => (x === a ? [] : x === b ? [j.axis] : [x])),
    accumulators: mapped.accumulators.map((acc) => ({
      ...acc,
      axes: acc.axes.flatMap((v) => (v === a.variable ? [] : v === b.variable ? [j.axis.variable] : [v])),
    })),
  };
}

function usesOutsideIndices(s: Stage, v: Variable): boolean {
  const seen = new Set<Expr>();
  const outside = (e: Expr): boolean => {
    if (seen.has(e)) return false;
    seen.add(e);
    if (e.op === "load") return false;
    if (e.op === "var") return e.attr === v;
    return e.args.some(outside);
  };
  return (
    s.accumulators.some((a) => outside(a.lift) || outside(a.combine) || a.axes.includes(v) !== (s.accumulators[0]?.axes.includes(v) ?? false)) ||
    s.writes.some((w) => outside(w.value) || (w.guard !== null && outside(w.guard)))
  );
}

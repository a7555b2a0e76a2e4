import { type Dim, ceilDivDim, dimMultiple, dimMin, mulDim } from "../../base/dim.ts";
import { type DType, i32 } from "../../base/dtype.ts";
import type { Expr, Variable } from "../../scalar/expr.ts";
import { mentions, simplifyIndex } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Axis, type Kernel, type Stage, Tensor, type Write } from "../../tensor/ir.ts";
import { type Access, accessesOf } from "../access.ts";
import { type Matrix, applyMatrix } from "./small-matrix.ts";

/**
 * Winograd's minimal filtering (Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, 2015): where a window of
 * three taps slides over an operand in steps of one, `tile` results along that axis take `tile + 2` products instead of
 * `3 · tile`. The kernel becomes four: one transforms the weights, one tiles of the data, a batch of plain contractions
 * multiplies them, and the last transforms back and does what the kernel did with its sums. Results differ from the direct
 * sum's by rounding: see `errorFactor`.
 */
export type Minimal = "winograd-2" | "winograd-4";

interface Transforms {
  /** Results of a tile along each axis. */
  readonly tile: number;
  readonly data: Matrix;
  readonly weights: Matrix;
  readonly result: Matrix;
}
const taps = 3;

/** F(2, 3) interpolates at 0, ±1 and infinity, F(4, 3) at ±2 besides. */
const transforms: { readonly [K in Minimal]: Transforms } = {
  "winograd-2": {
    tile: 2,
    data: [
      [1, 0, -1, 0],
      [0, 1, 1, 0],
      [0, -1, 1, 0],
      [0, 1, 0, -1],
    ],
    weights: [
      [1, 0, 0],
      [1 / 2, 1 / 2, 1 / 2],
      [1 / 2, -1 / 2, 1 / 2],
      [0, 0, 1],
    ],
    result: [
      [1, 1, 1, 0],
      [0, 1, -1, -1],
    ],
  },
  "winograd-4": {
    tile: 4,
    data: [
      [4, 0, -5, 0, 1, 0],
      [0, -4, -4, 1, 1, 0],
      [0, 4, -4, -1, 1, 0],
      [0, -2, -1, 2, 1, 0],
      [0, 2, -1, -2, 1, 0],
      [0, 4, 0, -5, 0, 1],
    ],
    weights: [
      [1 / 4, 0, 0],
      [-1 / 6, -1 / 6, -1 / 6],
      [-1 / 6, 1 / 6, -1 / 6],
      [1 / 24, 1 / 12, 1 / 6],
      [1 / 24, -1 / 12, 1 / 6],
      [0, 0, 1],
    ],
    result: [
      [1, 1, 1, 1, 1, 0],
      [0, 1, -1, 2, -2, 0],
      [0, 1, 1, 4, 4, 0],
      [0, 1, -1, 8, -8, 1],
    ],
  },
};
export const minimalAlgorithms = Object.keys(transforms) as readonly Minimal[];

/**
 * How many times the direct sum's error bound the result's error may be, for a window over `dims` axes: by how much the
 * transforms can magnify terms of one size (Higham, Accuracy and Stability of Numerical Algorithms, §3.1).
 */
export function errorFactor(algorithm: Minimal, dims: number): number {
  const { data, weights, result } = transforms[algorithm];
  const size = (row: readonly number[]) => row.reduce((n, c) => n + Math.abs(c), 0);
  const products = data.map((row, i) => size(row) * size(weights[i] as readonly number[]));
  const most = Math.max(...result.map((row) => row.reduce((n, c, i) => n + Math.abs(c) * (products[i] as number), 0)));
  return Math.ceil((most / taps) ** dims);
}

/** The kernels that a window contraction becomes. */
export interface MinimalFilter {
  /** The weights, and what the first kernel makes of them. */
  readonly source: Tensor;
  readonly transformed: Tensor;
  /** In the order in which they run; the last writes what the kernel wrote. The first is made when it is asked for: it is large. */
  readonly weights: () => Kernel;
  readonly data: Kernel;
  readonly product: Kernel;
  readonly result: Kernel;
}

/** An axis along which a window of three slides, with the reduction axis of its taps. */
interface Slide {
  readonly axis: Axis;
  readonly tap: Axis;
}

/** The parts of a window contraction. */
interface Window {
  readonly stage: Stage;
  readonly data: Expr;
  readonly weights: Expr;
  readonly slides: readonly Slide[];
  /** Parallel axes of both operands, of the data alone, of the weights alone; and the reduction besides the window. */
  readonly groups: readonly Axis[];
  readonly batch: readonly Axis[];
  readonly features: readonly Axis[];
  readonly channels: readonly Axis[];
}

/** @returns null when the (linearised) kernel is no sum of products over a window of three taps and something else besides */
export function minimalFilter(sc: Scalars, k: Kernel, algorithm: Minimal, blockBytes: number): MinimalFilter | null {
  const w = windowOf(sc, k);
  return w === null ? null : new Filter(sc, k, w, transforms[algorithm], blockBytes).build();
}

/** Is there a window to which an algorithm of this file applies? */
export function hasWindow(sc: Scalars, k: Kernel): boolean {
  return windowOf(sc, k) !== null;
}

function windowOf(sc: Scalars, k: Kernel): Window | null {
  const [stage] = k.stages;
  if (stage === undefined || k.stages.length !== 1 || k.axes.length > 0 || stage.inner !== null || stage.accumulators.length !== 1) return null;
  const [acc] = stage.accumulators;
  if (acc === undefined || !isWideFloat(acc.lift.dtype)) return null;
  if (acc.combine !== sc.add(sc.var(acc.left), sc.var(acc.right)) || !acc.identity.isConst(0)) return null;
  if (acc.lift.op !== "mul" || stage.writes.some((x) => x.combiner !== null || x.guard !== null)) return null;
  const [a, b] = acc.lift.args.map((e) => factorOf(sc, e)) as [Factor | null, Factor | null];
  return a === null || b === null ? null : (windowWith(sc, stage, a, b) ?? windowWith(sc, stage, b, a));
}

/** Transforms are stored between kernels, and magnify what was rounded: half precision has too little to lose. */
const isWideFloat = (d: DType) => d.isFloat && d.bits >= 32;

/** One side of the product: an expression with one read, which moves evenly with every axis. */
interface Factor {
  readonly value: Expr;
  readonly access: Access;
}

function factorOf(sc: Scalars, value: Expr): Factor | null {
  const [access, ...others] = accessesOf(sc, [value]);
  if (access === undefined || others.length > 0 || [...access.strides.values()].some((s) => s === null)) return null;
  return { value, access };
}

function windowWith(sc: Scalars, stage: Stage, data: Factor, weights: Factor): Window | null {
  const moves = (f: Factor, x: Axis) => f.access.strides.has(x.variable) || mentions(f.value, x.variable);
  const slides: Slide[] = [];
  for (const tap of stage.axes) {
    if (tap.kind !== "reduction" || tap.extent !== taps || !moves(weights, tap)) continue;
    const axis = stage.axes.find((x) => x.kind === "parallel" && !moves(weights, x) && slidesAlong(sc, data, x, tap));
    if (axis !== undefined) slides.push({ axis, tap });
  }
  const used = new Set(slides.flatMap((s) => [s.axis, s.tap]));
  const rest = stage.axes.filter((x) => !used.has(x));
  const parallel = rest.filter((x) => x.kind === "parallel");
  const channels = rest.filter((x) => x.kind === "reduction");
  const groups = parallel.filter((x) => moves(data, x) && moves(weights, x));
  const batch = parallel.filter((x) => moves(data, x) && !moves(weights, x));
  const features = parallel.filter((x) => !moves(data, x) && moves(weights, x));
  const complete = groups.length + batch.length + features.length === parallel.length;
  const shared = channels.every((x) => moves(data, x) && moves(weights, x) && typeof x.extent === "number");
  const tiled = slides.length > 0 && slides.length <= 2 && slides.every((s) => dimMin(s.axis.extent) >= 1);
  if (!complete || !shared || !tiled || channels.length === 0 || features.some((x) => typeof x.extent !== "number") || features.length === 0)
    return null;
  return { stage, data: data.value, weights: weights.value, slides, groups, batch, features, channels };
}

/** Is a step of the axis the same to the data as a step of the tap? */
function slidesAlong(sc: Scalars, data: Factor, axis: Axis, tap: Axis): boolean {
  const step = data.access.strides.get(tap.variable);
  if (step === undefined || data.access.strides.get(axis.variable) !== step) return false;
  const at = (point: Expr, p: number) => {
    const map = new Map([
      [axis.variable, point],
      [tap.variable, sc.int(p)],
    ]);
    return simplifyIndex(sc, sc.substitute(data.value, map));
  };
  const here = sc.var(axis.variable);
  return data.value.op === "load" || at(here, 1) === at(sc.add(here, sc.int(1)), 0);
}

class Filter {
  private readonly sc: Scalars;
  private readonly k: Kernel;
  private readonly w: Window;
  private readonly m: Transforms;
  private readonly blockBytes: number;
  /** Points of a tile's transform along each sliding axis. */
  private readonly points: number;
  /** Tiles along each sliding axis. */
  private readonly tiles: readonly Dim[];

  constructor(sc: Scalars, k: Kernel, w: Window, m: Transforms, blockBytes: number) {
    this.sc = sc;
    this.k = k;
    this.w = w;
    this.m = m;
    this.blockBytes = blockBytes;
    this.points = m.tile + taps - 1;
    this.tiles = w.slides.map((s) => ceilDivDim(s.axis.extent, m.tile));
  }

  build(): MinimalFilter {
    const { w } = this;
    const all = this.points ** w.slides.length;
    const tiles = this.tiles.reduce(mulDim, 1);
    const extents = (axes: readonly Axis[]) => axes.map((a) => a.extent);
    const u = this.tensor("weights", w.weights, [all, ...extents(w.groups), ...extents(w.channels), ...extents(w.features)]);
    const v = this.tensor("data", w.data, [all, ...extents(w.groups), ...extents(w.batch), tiles, ...extents(w.channels)]);
    const p = this.tensor("product", w.data, [all, ...extents(w.groups), ...extents(w.batch), tiles, ...extents(w.features)]);
    return {
      source: accessesOf(this.sc, [w.weights])[0]?.tensor as Tensor,
      transformed: u,
      weights: () => this.weights(u),
      data: this.data(v),
      product: this.product(u, v, p, tiles),
      result: this.result(p),
    };
  }

  private tensor(name: string, like: Expr, dims: readonly Dim[]): Tensor {
    return new Tensor(this.sc.freshId(), `${this.k.name}.${name}`, like.dtype, dims, null, this.w.stage.origin);
  }
  private axis(name: string, extent: Dim, kind: Axis["kind"] = "parallel"): Axis {
    return { variable: this.sc.variable(name, i32, { extent: this.sc.dim(extent) }), extent, kind };
  }
  private position(t: Tensor, index: readonly Expr[]): Expr {
    const { sc } = this;
    return index.reduce<Expr>((sum, e, d) => sc.add(sc.mul(sum, sc.dim(t.dims[d] as Dim)), e), sc.int(0));
  }
  private stage(name: string, axes: readonly Axis[], writes: readonly Write[], accumulators: Stage["accumulators"] = []): Stage {
    return { name: `${this.w.stage.name}.${name}`, origin: this.w.stage.origin, axes, inner: null, accumulators, writes };
  }
  private vars(axes: readonly Axis[]): Expr[] {
    return axes.map((a) => this.sc.var(a.variable));
  }
  private write(tensor: Tensor, index: readonly Expr[], value: Expr): Write {
    return { tensor, index: [this.position(tensor, index)], value, combiner: null, guard: null };
  }

  /** `u[ij, …] = Σ G[i, p] · G[j, q] · w[p, q, …]`, all points of one place at once. */
  private weights(u: Tensor): Kernel {
    const { sc, w } = this;
    const axes = [...w.groups, ...w.channels, ...w.features].map((a) => ({ ...a, kind: "parallel" }) as const);
    const at = (tap: readonly number[]) => sc.substitute(w.weights, new Map(w.slides.map((s, d) => [s.tap.variable, sc.int(tap[d] as number)])));
    const values = this.overGrid(this.m.weights, taps, at);
    const stage = this.stage(
      "weights",
      axes,
      values.map((value, i) => this.write(u, [sc.int(i), ...this.vars(axes)], value)),
    );
    return { name: stage.name, axes: [], locals: [], stages: [stage] };
  }

  /** A matrix applied along every sliding axis to values on a grid, in row-major order of the grid that results. */
  private overGrid(m: Matrix, side: number, at: (index: readonly number[]) => Expr): Expr[] {
    const range = Array.from({ length: side }, (_, i) => i);
    const line = (f: (i: number) => Expr) => applyMatrix(this.sc, m, range.map(f));
    if (this.w.slides.length === 1) return line((i) => at([i]));
    const columns = range.map((q) => line((p) => at([p, q])));
    return m.flatMap((_, i) =>
      applyMatrix(
        this.sc,
        m,
        columns.map((c) => c[i] as Expr),
      ),
    );
  }

  /** Where a tile stands: the position along each sliding axis of its first result. */
  private tileStarts(t: Axis): Expr[] {
    const { sc } = this;
    let rest = sc.var(t.variable);
    const at: Expr[] = [];
    for (let d = this.tiles.length - 1; d >= 0; d--) {
      const n = sc.dim(this.tiles[d] as Dim);
      at[d] = sc.mul(d === 0 ? rest : sc.mod(rest, n), sc.int(this.m.tile));
      rest = sc.floordiv(rest, n);
    }
    return at;
  }

  /**
   * An axis cut into blocks, so that what a kernel keeps between its two stages stays in the first cache: the longest
   * divisor of its extent that does.
   */
  private blocks(a: Axis, elements: number, bytes: number): { block: Axis | null; lane: Axis; at: Expr } {
    const { sc } = this;
    const extent = a.extent as number;
    const most = Math.max(1, Math.floor(this.blockBytes / (elements * bytes)));
    let size = extent;
    if (extent > most) for (size = most; extent % size !== 0; ) size--;
    const lane = this.axis(`${a.variable.name}.i`, size);
    if (size === extent) return { block: null, lane, at: sc.var(lane.variable) };
    const block = this.axis(`${a.variable.name}.t`, extent / size);
    return { block, lane, at: sc.add(sc.mul(sc.var(block.variable), sc.int(size)), sc.var(lane.variable)) };
  }

  /** `v[ij, …, t, c] = Σ B[i, p] · B[j, q] · x[…, start + p, start + q, c]` for every tile t. */
  private data(v: Tensor): Kernel {
    const { sc, w } = this;
    const t = this.axis("t", this.tiles.reduce(mulDim, 1));
    const channel = w.channels[w.channels.length - 1] as Axis;
    const others = w.channels.slice(0, -1).map((a) => ({ ...a, kind: "parallel" }) as const);
    const two = w.slides.length === 2;
    const { block, lane, at } = this.blocks(channel, two ? this.points ** 2 : 1, w.data.dtype.byteWidth);
    const starts = this.tileStarts(t);
    const read = (offsets: readonly Expr[]): Expr => {
      const map = new Map<Variable, Expr>([[channel.variable, at]]);
      w.slides.forEach(({ axis, tap }, d) => {
        const point = sc.add(starts[d] as Expr, offsets[d] as Expr);
        const last = sc.add(sc.dim(axis.extent), sc.int(taps - 2));
        // Past the last tap of the last result there is nothing; what is read there instead counts in no result that is kept.
        map.set(axis.variable, dimMultiple(axis.extent) % this.m.tile === 0 ? point : sc.min(point, last)).set(tap.variable, sc.int(0));
      });
      return sc.substitute(w.data, map);
    };
    const place = (i: Expr) => [i, ...this.vars(w.groups), ...this.vars(w.batch), sc.var(t.variable), ...this.vars(others), at];
    const shared = [t, ...w.groups, ...w.batch, ...others, ...(block === null ? [] : [block])];
    if (!two) {
      const values = applyMatrix(
        sc,
        this.m.data,
        this.each((i) => read([sc.int(i)])),
      );
      const stage = this.stage(
        "data",
        [...shared, lane],
        values.map((value, i) => this.write(v, place(sc.int(i)), value)),
      );
      return { name: stage.name, axes: [], locals: [], stages: [stage] };
    }
    const rows = new Tensor(sc.freshId(), `${v.name}.rows`, v.dtype, [this.points, this.points, lane.extent], null, v.origin);
    const column = this.axis("j", this.points);
    const lane1 = this.again(lane);
    const move = new Map([[lane.variable, sc.var(lane1.variable)]]);
    const along = applyMatrix(
      sc,
      this.m.data,
      this.each((i) => sc.substitute(read([sc.int(i), sc.var(column.variable)]), move)),
    );
    const first = this.stage(
      "rows",
      [column, lane1],
      along.map((e, i) => this.write(rows, [sc.int(i), ...this.vars([column, lane1])], e)),
    );
    const row = this.axis("i", this.points);
    const across = applyMatrix(
      sc,
      this.m.data,
      this.each((j) => sc.load(rows, [this.position(rows, [sc.var(row.variable), sc.int(j), sc.var(lane.variable)])])),
    );
    const flat = (j: number) => sc.add(sc.mul(sc.var(row.variable), sc.int(this.points)), sc.int(j));
    const second = this.stage(
      "data",
      [row, lane],
      across.map((e, j) => this.write(v, place(flat(j)), e)),
    );
    return { name: second.name, axes: shared, locals: [rows], stages: [first, second] };
  }
  private each(f: (i: number) => Expr): Expr[] {
    return Array.from({ length: this.points }, (_, i) => f(i));
  }
  private again(a: Axis): Axis {
    return this.axis(a.variable.name, a.extent);
  }

  /** `p[ij, …, t, k] = Σ u[ij, …, c, k] · v[ij, …, t, c]` */
  private product(u: Tensor, v: Tensor, p: Tensor, tiles: Dim): Kernel {
    const { sc, w } = this;
    const point = this.axis("p", p.dims[0] as Dim);
    const t = this.axis("t", tiles);
    const parallel = [point, ...w.groups, ...w.batch, t, ...w.features];
    const [acc] = w.stage.accumulators as [Stage["accumulators"][0]];
    const lift = sc.mul(
      sc.load(v, [this.position(v, this.vars([point, ...w.groups, ...w.batch, t, ...w.channels]))]),
      sc.load(u, [this.position(u, this.vars([point, ...w.groups, ...w.channels, ...w.features]))]),
    );
    const write = this.write(p, this.vars(parallel), sc.var(acc.left));
    const stage = this.stage("product", [...parallel, ...w.channels], [write], [{ ...acc, axes: parallel.map((a) => a.variable), lift }]);
    return { name: stage.name, axes: [], locals: [], stages: [stage] };
  }

  /** What the kernel wrote, with its sums as `Σ A[y, i] · A[x, j] · p[ij, …]`. */
  private result(p: Tensor): Kernel {
    const { sc, w } = this;
    const t = this.axis("t", this.tiles.reduce(mulDim, 1));
    const feature = w.features[w.features.length - 1] as Axis;
    const others = w.features.slice(0, -1);
    const two = w.slides.length === 2;
    const { block, lane, at } = this.blocks(feature, two ? this.points * this.m.tile : 1, p.dtype.byteWidth);
    const starts = this.tileStarts(t);
    const [acc] = w.stage.accumulators as [Stage["accumulators"][0]];
    const read = (i: Expr, lanes: Expr) =>
      sc.load(p, [this.position(p, [i, ...this.vars(w.groups), ...this.vars(w.batch), sc.var(t.variable), ...this.vars(others), lanes])]);
    /** The kernel's writes of one point of the tile. */
    const writes = (sum: Expr, offsets: readonly Expr[]): Write[] => {
      const map = new Map<Variable, Expr>([
        [feature.variable, at],
        [acc.left, sum],
      ]);
      let guard: Expr | null = null;
      w.slides.forEach(({ axis }, d) => {
        const point = sc.add(starts[d] as Expr, offsets[d] as Expr);
        map.set(axis.variable, point);
        if (dimMultiple(axis.extent) % this.m.tile === 0) return;
        const inside = sc.op("lt", [point, sc.dim(axis.extent)]);
        guard = guard === null ? inside : sc.and(guard, inside);
      });
      return w.stage.writes.map((x) => ({ ...x, index: sc.substituteAll(x.index, map), value: sc.substitute(x.value, map), guard }));
    };
    const shared = [t, ...w.groups, ...w.batch, ...others, ...(block === null ? [] : [block])];
    if (!two) {
      const sums = applyMatrix(
        sc,
        this.m.result,
        this.each((i) => read(sc.int(i), at)),
      );
      const stage = this.stage(
        "result",
        [...shared, lane],
        sums.flatMap((e, y) => writes(e, [sc.int(y)])),
      );
      return { ...this.k, stages: [stage] };
    }
    const rows = new Tensor(sc.freshId(), `${p.name}.rows`, p.dtype, [this.m.tile, this.points, lane.extent], null, p.origin);
    const column = this.axis("j", this.points);
    const lane1 = this.again(lane);
    const lanes1 = sc.substitute(at, new Map([[lane.variable, sc.var(lane1.variable)]]));
    const down = this.each((i) => read(sc.add(sc.int(i * this.points), sc.var(column.variable)), lanes1));
    const first = this.stage(
      "rows",
      [column, lane1],
      applyMatrix(sc, this.m.result, down).map((e, y) => this.write(rows, [sc.int(y), ...this.vars([column, lane1])], e)),
    );
    const row = this.axis("y", this.m.tile);
    const across = this.each((j) => sc.load(rows, [this.position(rows, [sc.var(row.variable), sc.int(j), sc.var(lane.variable)])]));
    const last = applyMatrix(sc, this.m.result, across).flatMap((e, x) => writes(e, [sc.var(row.variable), sc.int(x)]));
    const second = this.stage("result", [row, lane], last);
    return { name: this.k.name, axes: shared, locals: [rows], stages: [first, second] };
  }
}

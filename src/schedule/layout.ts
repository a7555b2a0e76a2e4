import { type Dim, addDim, dimEquals } from "../base/dim.ts";
import type { Capabilities } from "../base/machine.ts";
import { type Expr, loadsOf } from "../scalar/expr.ts";
import { mentions } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import {
  type Kernel,
  type Layout,
  type Stage,
  Tensor,
  type TensorFunction,
  allStages,
  layoutOf,
  mapStage,
  readsOf,
  rootOf,
  rowMajor,
  writesOf,
} from "../tensor/ir.ts";
import { type CostCache, scheduleCost } from "./choose.ts";
import { TensorGroups } from "./layout-groups.ts";
import { collapseAxes, guardedReach, linearizeKernel } from "./linearize.ts";
import { copyKernel } from "./moves.ts";

/**
 * Global layout assignment. Tensors that pointwise stages tie together get one order of dims; which one is decided by the
 * modelled cost of all kernels that touch them, against the order that the stages writing them would like best. Tensors
 * that are read beyond their edges get zeros around them. What cannot change its layout (inputs) is copied where the
 * kernels that read it gain more than the copy costs. `given` says otherwise for groups of these keys, where its order fits.
 */
export function assignLayouts(sc: Scalars, machine: Capabilities, f: TensorFunction, exact: boolean, given: GivenOrders = new Map()): TensorFunction {
  const assigned = new Assigner(sc, machine, f, exact).run(given);
  return padGuarded(convertInputs(sc, machine, assigned, exact));
}

/** Orders of dims, outermost first, by the key of a group (`TensorGroups.keys`). */
export type GivenOrders = ReadonlyMap<string, readonly number[]>;

/** Groups of one structure, which get one order, and what orders there are. */
export interface LayoutChoice {
  readonly key: string;
  /** For each of the groups its tensors, and the kernels that touch them. */
  readonly groups: readonly { readonly tensors: readonly Tensor[]; readonly kernels: readonly Kernel[] }[];
  /** The present order, and the modelled cost of all these kernels with it, in units of one vector multiply-add. */
  readonly order: readonly number[];
  readonly cost: number;
  /** The others, cheapest first. */
  readonly others: readonly { readonly order: readonly number[]; readonly cost: number }[];
}

/** What may be changed in a function's layouts, with `given` as they are: the costliest groups first. */
export function layoutChoices(sc: Scalars, machine: Capabilities, f: TensorFunction, exact: boolean, given: GivenOrders): LayoutChoice[] {
  return new Assigner(sc, machine, f, exact).choices(given);
}

/** Estimates are rough: what stages wish is left only for a gain beyond their error. */
const clearGain = 0.85;

class Assigner {
  private readonly sc: Scalars;
  private readonly machine: Capabilities;
  private readonly f: TensorFunction;
  private readonly exact: boolean;
  private readonly groups: TensorGroups;
  private readonly fixed: ReadonlySet<Tensor>;
  private readonly cache: CostCache = new Map();

  constructor(sc: Scalars, machine: Capabilities, f: TensorFunction, exact: boolean) {
    this.exact = exact;
    this.sc = sc;
    this.machine = machine;
    this.f = f;
    this.groups = new TensorGroups(f);
    this.fixed = this.groups.fixed;
  }

  run(given: GivenOrders): TensorFunction {
    return this.apply(this.withGiven(this.modelled(), given));
  }

  choices(given: GivenOrders): LayoutChoice[] {
    const orders = this.withGiven(this.modelled(), given);
    const alike = new Map<string, Tensor[]>();
    for (const [g, key] of this.groups.keys(this.sc)) alike.set(key, [...(alike.get(key) ?? []), g]);
    const choices = [...alike].map(([key, groups]): LayoutChoice => {
      const [first] = groups as [Tensor];
      const kernels = new Set(groups.flatMap((g) => [...this.groups.touching(g)]));
      const present = orders.get(first) ?? rowMajor(first.dims.length).order;
      const costOf = (order: readonly number[]) => {
        const changed = new Map(orders);
        for (const g of groups) changed.set(g, order);
        return [...kernels].reduce((n, k) => n + this.cost(k, changed), 0);
      };
      const others = ordersOf(first)
        .filter((o) => !sameInMemory(first, o, present))
        .map((order) => ({ order, cost: costOf(order) }))
        .sort((a, b) => a.cost - b.cost);
      const found = groups.map((g) => ({ tensors: this.groups.free.get(g) ?? [], kernels: [...this.groups.touching(g)] }));
      return { key, groups: found, order: present, cost: costOf(present), others };
    });
    return choices.sort((a, b) => b.cost - a.cost);
  }

  /** Orders that were given come before the modelled ones; the latter do not depend on them. */
  private withGiven(modelled: ReadonlyMap<Tensor, readonly number[]>, given: GivenOrders): ReadonlyMap<Tensor, readonly number[]> {
    if (given.size === 0) return modelled;
    const out = new Map(modelled);
    for (const [g, key] of this.groups.keys(this.sc)) {
      const order = given.get(key);
      if (order?.length !== g.dims.length) continue;
      if (order.every((d, i) => d === i)) out.delete(g);
      else out.set(g, order);
    }
    return out;
  }

  /** The orders that the cost model decides on; groups that are absent are row-major. */
  private modelled(): ReadonlyMap<Tensor, readonly number[]> {
    const wishes = this.wishes();
    const none = new Map<Tensor, readonly number[]>();
    if (wishes.size === 0) return none;
    const sum = (kernels: Iterable<Kernel>, cost: (k: Kernel) => number): number => [...kernels].reduce((n, k) => n + cost(k), 0);
    const remembered = (orders: ReadonlyMap<Tensor, readonly number[]>) => {
      const known = new Map<Kernel, number>();
      return (k: Kernel): number => {
        const c = known.get(k) ?? this.cost(k, orders);
        known.set(k, c);
        return c;
      };
    };
    // Everything as wished, or everything row-major, whichever costs less; then each group that fares worse so, on its own.
    const [wished, plain] = [remembered(wishes), remembered(none)];
    const affected = new Set([...wishes.keys()].flatMap((g) => [...this.groups.touching(g)]));
    const take = sum(affected, wished) * clearGain < sum(affected, plain);
    let chosen = new Map(take ? wishes : none);
    const [mine, other] = take ? [wished, plain] : [plain, wished];
    for (const [group, wish] of wishes) {
      const near = this.groups.touching(group);
      if (sum(near, mine) * clearGain < sum(near, other)) continue;
      const flipped = new Map(chosen);
      if (chosen.has(group)) flipped.delete(group);
      else flipped.set(group, wish);
      if (sum(near, (k) => this.cost(k, flipped)) < sum(near, (k) => this.cost(k, chosen)) * clearGain) chosen = flipped;
    }
    return chosen;
  }

  /** For each group the order that puts the dim innermost along which stages have most to gain: one that only one operand moves with. */
  private wishes(): Map<Tensor, readonly number[]> {
    const votes = new Map<Tensor, Map<number, number>>();
    for (const k of this.f.kernels) {
      const [s] = k.stages;
      if (s === undefined || k.stages.length !== 1) continue;
      for (const w of s.writes) {
        const d = this.featureDim(s, w.index);
        if (d === null || this.fixed.has(w.tensor) || d === w.tensor.dims.length - 1 || w.tensor.dims.length < 3) continue;
        const g = this.groups.find(w.tensor);
        const tally = votes.get(g) ?? new Map<number, number>();
        tally.set(d, (tally.get(d) ?? 0) + 1);
        votes.set(g, tally);
      }
    }
    const out = new Map<Tensor, readonly number[]>();
    for (const [g, tally] of votes) {
      const [best] = [...tally].sort((a, b) => b[1] - a[1])[0] as [number, number];
      const dims = g.dims.map((_, i) => i);
      out.set(g, [...dims.filter((i) => i !== best), best]);
    }
    return out;
  }

  /** The written dim whose axis a reduction's operands share least: the vector axis of a tile. */
  private featureDim(s: Stage, index: readonly Expr[]): number | null {
    const [a] = s.accumulators;
    if (a === undefined || s.accumulators.length !== 1) return null;
    const loads = loadsOf(a.lift);
    if (loads.length < 2) return null;
    for (const [d, e] of index.entries()) {
      const axis = s.axes.find((x) => x.variable === e.variable && x.kind === "parallel");
      if (axis === undefined) continue;
      const moving = loads.filter((l) => mentions(l, axis.variable));
      if (moving.length === 1 && isConstant(moving[0])) return d;
      // An axis that all operands share, plainly (a depthwise window), is as good.
      const plainly = moving.length === loads.length && moving.every((l) => l.args.some((x) => x.variable === axis.variable));
      if (plainly && loads.some(isConstant)) return d;
    }
    return null;
  }

  private layoutsWith(orders: ReadonlyMap<Tensor, readonly number[]>, tensors: Iterable<Tensor>): Map<Tensor, Layout> {
    const layouts = new Map(this.f.layouts);
    for (const t of tensors) {
      const order = orders.get(this.groups.find(t));
      if (order === undefined || this.fixed.has(t) || order.length !== t.dims.length) continue;
      layouts.set(t, { ...(layouts.get(t) ?? rowMajor(t.dims.length)), order });
    }
    return layouts;
  }

  private cost(k: Kernel, orders: ReadonlyMap<Tensor, readonly number[]>): number {
    const tensors = [...readsOf(k), ...writesOf(k)];
    const roots = tensors.flatMap((t) => {
      const v = this.f.layouts.get(t)?.view;
      return v == null ? [t] : [t, v.of];
    });
    const g = padGuarded({ ...this.f, kernels: [k], layouts: this.layoutsWith(orders, roots) });
    return scheduleCost(this.sc, this.machine, collapseAxes(this.sc, linearizeKernel(this.sc, g, k)), (t) => t.data !== null, this.exact, this.cache);
  }

  private apply(orders: ReadonlyMap<Tensor, readonly number[]>): TensorFunction {
    return { ...this.f, layouts: this.layoutsWith(orders, this.f.tensors) };
  }
}

/** Above this number of dims that have more than one element only the innermost one is chosen, lest there be too many orders. */
const mostPermuted = 4;

/** Orders of a tensor's dims that differ in memory: all permutations of the dims that have more than one element. */
function ordersOf(t: Tensor): (readonly number[])[] {
  const all = t.dims.map((_, d) => d);
  const [short, long] = [all.filter((d) => t.dims[d] === 1), all.filter((d) => t.dims[d] !== 1)];
  if (long.length <= mostPermuted) return permutations(long).map((p) => [...short, ...p]);
  return long.map((last) => [...short, ...long.filter((d) => d !== last), last]);
}

function permutations(list: readonly number[]): (readonly number[])[] {
  if (list.length <= 1) return [list];
  return list.flatMap((x) => permutations(list.filter((y) => y !== x)).map((rest) => [x, ...rest]));
}

/** Dims of one element may stand anywhere. */
function sameInMemory(t: Tensor, a: readonly number[], b: readonly number[]): boolean {
  const long = (order: readonly number[]) => order.filter((d) => t.dims[d] !== 1).join();
  return long(a) === long(b);
}

function isConstant(load: Expr | undefined): boolean {
  return load !== undefined && (load.attr as Tensor).data !== null;
}

/** Inputs that kernels would rather read in another order, or with zeros around them, are copied first where that pays. */
function convertInputs(sc: Scalars, machine: Capabilities, f: TensorFunction, exact: boolean): TensorFunction {
  let out = f;
  for (const input of f.inputs) {
    if (input.dims.length < 3) continue;
    const readers = out.kernels.filter(
      (k) =>
        readsOf(k).includes(input) &&
        k.stages.some((s) => s.accumulators.length > 0 && s.accumulators.some((a) => loadsOf(a.lift).some((l) => l.attr === input))),
    );
    if (readers.length === 0) continue;
    const copy = new Tensor(sc.freshId(), `${input.name}.copy`, input.dtype, input.dims, null, input.origin);
    const order = preferredOrder(out, readers, input);
    const kernel = copyKernel(sc, copy.name, input, copy);
    const redirect = (k: Kernel): Kernel =>
      readers.includes(k)
        ? {
            ...k,
            stages: k.stages.map((s) =>
              mapStage(s, (e) => sc.rebuild([e], (x, args) => (x.op === "load" && x.attr === input ? sc.load(copy, args) : null))[0] as Expr),
            ),
          }
        : k;
    const layouts = new Map(out.layouts).set(copy, { ...rowMajor(input.dims.length), order });
    const converted: TensorFunction = { ...out, tensors: [...out.tensors, copy], kernels: [kernel, ...out.kernels.map(redirect)], layouts };
    const padded = padGuarded(converted);
    const cost = (g: TensorFunction, kernels: readonly Kernel[]) =>
      kernels.reduce((n, k) => n + scheduleCost(sc, machine, collapseAxes(sc, linearizeKernel(sc, g, k)), (t) => t.data !== null, exact), 0);
    if (cost(padded, [kernel, ...readers.map(redirect)]) < cost(out, readers)) out = converted;
  }
  return out;
}

/** The order of what the readers write, where it has the input's rank: the whole chain then runs alike. */
function preferredOrder(f: TensorFunction, readers: readonly Kernel[], input: Tensor): readonly number[] {
  for (const k of readers) for (const t of writesOf(k)) if (t.dims.length === input.dims.length) return layoutOf(f, rootOf(f, t)).order;
  return rowMajor(input.dims.length).order;
}

/** Puts zeros around tensors that reductions read beyond their edges, as far as one of them reaches. */
function padGuarded(f: TensorFunction): TensorFunction {
  const fixed = new Set<Tensor>([...f.inputs, ...f.outputs]);
  const layouts = new Map(f.layouts);
  for (const k of f.kernels) {
    if (allStages(k).every((s) => s.accumulators.length === 0)) continue;
    for (const t of readsOf(k)) {
      const root = rootOf(f, t);
      if (t.data !== null || fixed.has(root) || hasOtherRank(f, t) || t.dims.some((d) => typeof d !== "number")) continue;
      const reach = guardedReach(k, t);
      if (reach.every(([a, b]) => a <= 0 && b <= 0)) continue;
      const layout = layouts.get(root) ?? rowMajor(root.dims.length);
      const offset = viewOffset(f, t);
      const pad = layout.pad.map(([lo, hi], d) => {
        const [a, b] = reach[d] as readonly [number, number];
        const start = offset[d] as Dim;
        const atEnd = dimEquals(addDim(start, t.dims[d] as Dim), root.dims[d] as Dim);
        return [start === 0 ? Math.max(lo, a) : lo, atEnd ? Math.max(hi, b) : hi] as const;
      });
      layouts.set(root, { ...layout, pad });
    }
  }
  return { ...f, layouts };
}

/** Does the tensor lie in a buffer of another rank? */
function hasOtherRank(f: TensorFunction, t: Tensor): boolean {
  const v = layoutOf(f, t).view;
  return v !== null && (v.axes !== undefined || hasOtherRank(f, v.of));
}

/** Where a view of its own rank starts in the buffer it lies in. */
function viewOffset(f: TensorFunction, t: Tensor): Dim[] {
  const v = layoutOf(f, t).view;
  if (v === null) return t.dims.map(() => 0);
  return viewOffset(f, v.of).map((o, d) => addDim(o, v.offset[d] as Dim));
}

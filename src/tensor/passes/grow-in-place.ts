import { type Dim, dimEquals, makeCapacitySymbol, symbolDim } from "../../base/dim.ts";
import { Names } from "../../base/text.ts";
import type { Expr } from "../../scalar/expr.ts";
import { fromPolynomial, polynomialOf, rangeOf, simplifyIndices } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import {
  type Kernel,
  type Layout,
  type Tensor,
  type TensorFunction,
  allKernels,
  allStages,
  layoutOf,
  rootOf,
  rowMajor,
  soleStage,
  writesOf,
} from "../ir.ts";
import { indexBehind } from "../views.ts";
import { substituteIndices } from "./fusion.ts";

/** An output whose first rows, along `dim`, are an input's, and the kernels that copy those. */
interface Cache {
  readonly from: Tensor;
  readonly to: Tensor;
  readonly dim: number;
  readonly copies: ReadonlySet<Kernel>;
}

/**
 * Caches that grow where they lie (a decoder's keys and values): an output that is an input with more rows gets the layout of
 * rows with room for more, as the input does, so that both may be one place in memory; the kernels that copy the old
 * rows then have nothing to do. How much room there is, and whether it is one place, is told when the model runs.
 */
export function growInPlace(sc: Scalars, f: TensorFunction): TensorFunction {
  const caches: Cache[] = [];
  for (const to of f.outputs) {
    const taken = new Set(caches.map((c) => c.from));
    const cache = f.inputs.filter((from) => !taken.has(from)).map((from) => cacheOf(sc, f, from, to));
    caches.push(...cache.filter((c) => c !== null).slice(0, 1));
  }
  if (caches.length === 0) return f;
  const names = new Names();
  for (const t of [...f.tensors, ...f.symbols]) names.fresh(t.name);
  const layouts = new Map(f.layouts);
  const symbols = caches.flatMap(({ from, to, dim }) =>
    [from, to].map((t) => {
      const s = makeCapacitySymbol(names.fresh(`rows_${t.name.replace(/\W/g, "_")}`), t.dims[dim] as Dim);
      layouts.set(t, { ...rowMajor(t.dims.length), capacity: { dim, rows: symbolDim(s) } });
      return s;
    }),
  );
  const copied = new Map(caches.flatMap(({ from, to, copies }) => [...copies].map((k) => [k, { from, to }] as const)));
  const kernels = f.kernels.map((k) => (copied.has(k) ? { ...k, identity: copied.get(k) as { from: Tensor; to: Tensor } } : k));
  return { ...f, kernels, layouts, symbols: [...f.symbols, ...symbols] };
}

/** Null where the output is no such cache of the input. */
function cacheOf(sc: Scalars, f: TensorFunction, from: Tensor, to: Tensor): Cache | null {
  const dim = growingDim(from, to);
  if (dim === null || !isPlain(f, from) || !isPlain(f, to)) return null;
  const copies = new Set(f.kernels.filter((k) => isIdentity(sc, f, k, from, to)));
  if (copies.size === 0) return null;
  const first = sc.dim(from.dims[dim] as Dim);
  const writers = allKernels(f.kernels).filter((k) => !copies.has(k) && writesOf(k).some((t) => rootOf(f, t) === to));
  return writers.every((k) => writesBehind(sc, f, k, to, dim, first)) ? { from, to, dim, copies } : null;
}

/** The one dim, of a size that inputs tell, in which the output is larger. */
function growingDim(from: Tensor, to: Tensor): number | null {
  if (from.dtype !== to.dtype || from.dtype.bits < 8 || from.dims.length !== to.dims.length) return null;
  const other = from.dims.flatMap((d, i) => (dimEquals(d, to.dims[i] as Dim) ? [] : [i]));
  const [dim] = other;
  return dim !== undefined && other.length === 1 && typeof from.dims[dim] !== "number" ? dim : null;
}

function isPlain(f: TensorFunction, t: Tensor): boolean {
  const { order, pad, view } = layoutOf(f, t);
  return view === null && order.every((d, i) => d === i) && pad.every(([a, b]) => a === 0 && b === 0);
}

/** `to[i…] = from[i…]` for some of its indices. */
function isIdentity(sc: Scalars, f: TensorFunction, k: Kernel, from: Tensor, to: Tensor): boolean {
  const s = soleStage(k);
  const w = s?.writes[0];
  if (s === null || w === undefined || s.accumulators.length > 0 || w.value.op !== "load" || w.value.attr !== from) return false;
  if (rootOf(f, w.tensor) !== to) return false;
  const points = new Map(s.axes.filter((a) => a.extent === 1).map((a) => [a.variable, sc.int(0)]));
  const plain = (e: Expr): Expr => fromPolynomial(sc, polynomialOf(substituteIndices(sc, e, points)));
  const written = placeInRoot(sc, f, w.tensor, w.index);
  return w.value.args.every((e, d) => plain(e) === plain(written[d] as Expr));
}

/** Does the kernel write rows from `first` on only? */
function writesBehind(sc: Scalars, f: TensorFunction, k: Kernel, to: Tensor, dim: number, first: Expr): boolean {
  if (k.control !== undefined) return false;
  const writes = allStages(k).flatMap((s) => s.writes.filter((w) => rootOf(f, w.tensor) === to));
  return writes.every((w) => {
    const [row] = simplifyIndices(sc, [placeInRoot(sc, f, w.tensor, w.index)[dim] as Expr]);
    return rangeOf(fromPolynomial(sc, polynomialOf(sc.sub(row as Expr, first))))[0] >= 0;
  });
}

/** An index of a view as one of the tensor that holds it. */
function placeInRoot(sc: Scalars, f: TensorFunction, t: Tensor, index: readonly Expr[]): readonly Expr[] {
  let [at, view]: [readonly Expr[], Layout["view"]] = [index, layoutOf(f, t).view];
  while (view !== null) {
    at = indexBehind(sc, view, at);
    view = layoutOf(f, view.of).view;
  }
  return at;
}

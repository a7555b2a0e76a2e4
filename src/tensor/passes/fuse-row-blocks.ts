import { type Dim, ceilDivDim, dimEquals, dimMin, dimMultiple, productOf } from "../../base/dim.ts";
import { i32 } from "../../base/dtype.ts";
import type { Capabilities } from "../../base/machine.ts";
import { type Expr, type Variable, loadsOf } from "../../scalar/expr.ts";
import { mentions } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import {
  type Axis,
  type Branch,
  type Kernel,
  type Stage,
  Tensor,
  type TensorFunction,
  type Write,
  mapStage,
  readsOf,
  soleStage,
  stageExprs,
  writesOf,
} from "../ir.ts";
import { isContraction, substituteIndices, usersOf } from "./fusion.ts";
import { withKernels } from "./inline-producers.ts";

/** Rows of a block: as many as register tiles take at once, twice over. */
const blockRows = 8;
/** Contraction → row-wise kernel → contraction, each the only reader of the one before: attention. */
interface Chain {
  readonly scores: Kernel;
  readonly rows: Kernel;
  readonly values: Kernel;
  readonly first: Tensor;
  readonly second: Tensor;
}

/**
 * Attention, by its structure: a contraction whose rows go through a row-wise chain and from there into another
 * contraction. All three become one kernel over blocks of rows, so that the matrix between them is never stored, only a
 * block of it at a time (the blocking of Dao et al., FlashAttention, 2022, with whole rows in a block). Every block reads
 * the other operands anew: they must fit the second cache.
 */
export function fuseRowBlocks(sc: Scalars, f: TensorFunction, machine: Capabilities): TensorFunction {
  const users = usersOf(f);
  const only = (t: Tensor): Kernel | null => {
    const readers = users.readers.get(t) ?? [];
    return readers.length === 1 && !users.visible.has(t) && users.writers.get(t)?.length === 1 ? (readers[0] as Kernel) : null;
  };
  const replaced = new Map<Kernel, readonly Kernel[]>();
  const tensors: Tensor[] = [];
  for (const scores of f.kernels) {
    const chain = chainFrom(scores, only);
    const fused = chain === null || !panelsFit(chain, machine) ? null : fuseAsSized(sc, chain);
    if (chain === null || fused === null) continue;
    replaced.set(chain.scores, []).set(chain.rows, []).set(chain.values, fused.kernels);
    tensors.push(...fused.tensors);
  }
  if (replaced.size === 0) return f;
  const g = withKernels(
    f,
    f.kernels.flatMap((k) => replaced.get(k) ?? [k]),
  );
  // What is written and read in branches alone has no users outside of them.
  return { ...g, tensors: [...g.tensors, ...tensors] };
}

function chainFrom(scores: Kernel, only: (t: Tensor) => Kernel | null): Chain | null {
  const s = soleStage(scores);
  const first = s?.writes[0]?.tensor;
  if (s === null || first === undefined || !isContraction(s)) return null;
  const rows = only(first);
  const [second, ...others] = rows === null ? [] : writesOf(rows);
  if (
    rows === null ||
    second === undefined ||
    others.length > 0 ||
    rows.axes.length !== first.dims.length - 1 ||
    rows.axes.some((a) => a.kind !== "parallel") ||
    rows.stages.some((x) => x.inner !== null)
  )
    return null;
  const values = only(second);
  const p = values === null ? null : soleStage(values);
  if (values === null || p === null || !isContraction(p) || second.dims.length !== first.dims.length) return null;
  return { scores, rows, values, first, second };
}

interface Fused {
  readonly kernels: readonly Kernel[];
  readonly tensors: readonly Tensor[];
}

/** Of an unknown number of rows there may be less than a block, as when a decoder takes one token at a time: then row by row. */
function fuseAsSized(sc: Scalars, c: Chain): Fused | null {
  const height = c.first.dims[c.rows.axes.length - 1] as Dim;
  const blocks = fuse(sc, c, blockRows);
  if (blocks === null || dimMin(height) >= blockRows) return blocks;
  const single = fuse(sc, c, 1);
  if (single === null) return blocks;
  const results = writesOf(c.values);
  const own = (kernels: readonly Kernel[]) => kernels.map((k) => ({ ...k, name: `${k.name}.single` }));
  const bodies = [
    { kernels: blocks.kernels, outputs: results },
    { kernels: own(single.kernels), outputs: results },
  ] as const;
  const control: Branch = { kind: "if", condition: { size: height, least: blockRows }, bodies, results };
  const kernel: Kernel = { name: `${c.values.name}.rows`, axes: [], locals: [], stages: [], control };
  return { kernels: [kernel], tensors: [...blocks.tensors, ...single.tensors] };
}

/** `blockRows` rows at a time; where there are fewer, the kernels must not run. */
function fuse(sc: Scalars, c: Chain, blockRows: number): Fused | null {
  const [s, p] = [soleStage(c.scores) as Stage, soleStage(c.values) as Stage];
  const rank = c.rows.axes.length;
  const [height, width] = [c.first.dims[rank - 1] as Dim, c.first.dims[rank] as Dim];
  if ((typeof height === "number" && height < blockRows) || !dimEquals(c.second.dims[rank] as Dim, width)) return null;
  const scoreRows = plainVariables(s.writes[0]?.index ?? []);
  const reads = loadsOf(...stageExprs(p)).filter((l) => l.attr === c.second);
  const valueRows = plainVariables(reads[0]?.args ?? []);
  if (scoreRows === null || valueRows === null || reads.length !== 1 || !rowsReadPlainly(c)) return null;

  const tiles = ceilDivDim(height, blockRows);
  const outer = c.rows.axes.slice(0, -1).map((a): Axis => axisOf(sc, a.variable.name, a.extent));
  const tile = axisOf(sc, "block", tiles);
  const start = sc.mul(sc.var(tile.variable), sc.int(blockRows));
  // There is at least one block, and the last one ends with the last row.
  const last = sc.sub(sc.dim(height), sc.int(blockRows));
  const begin = dimMultiple(height) % blockRows === 0 ? start : sc.min(start, last);
  const point = (row: Axis) => sc.add(begin, sc.var(row.variable));
  // Rows that the last block shares with the one before are written by that one alone: the two may run at the same time.
  const ownRow = (row: Axis) => (begin === start ? null : sc.op("ge", [point(row), start]));
  /** The rows' variables as they are inside of the fused kernel, with a row axis of the stage's own. */
  const bind = (variables: readonly Variable[], row: Axis): Map<Variable, Expr> => {
    return new Map(variables.slice(0, rank).map((v, d) => [v, d === rank - 1 ? point(row) : sc.var((outer[d] as Axis).variable)]));
  };
  const local = (t: Tensor, dims: readonly Dim[]) =>
    new Tensor(sc.freshId(), `${t.name}.${blockRows === 1 ? "row" : "block"}`, t.dtype, [blockRows, ...dims], null, t.origin);
  const locals = new Map<Tensor, Tensor>([
    [c.first, local(c.first, [width])],
    [c.second, local(c.second, [width])],
    ...c.rows.locals.map((t) => [t, local(t, t.dims)] as const),
  ]);
  const isOwn = new Set(c.rows.locals);

  const rewrite = (stage: Stage, variables: readonly Variable[]): Stage => {
    const row = axisOf(sc, "row", blockRows);
    const map = bind(variables, row);
    const expr = (e: Expr): Expr =>
      sc.rebuild([substituteIndices(sc, e, map)], (x, args) => {
        const t = x.op === "load" ? locals.get(x.attr as Tensor) : undefined;
        return t === undefined ? null : sc.load(t, [sc.var(row.variable), ...(isOwn.has(x.attr as Tensor) ? args : args.slice(rank))]);
      })[0] as Expr;
    const m = mapStage(stage, expr);
    const rows = new Set(variables.slice(0, rank));
    const q = variables[rank - 1];
    return {
      ...m,
      axes: [row, ...stage.axes.filter((a) => !rows.has(a.variable))],
      accumulators: m.accumulators.map((a) => ({
        ...a,
        axes: [...(a.axes.some((v) => v === q) || variables === rowVariables ? [row.variable] : []), ...a.axes.filter((v) => !rows.has(v))],
      })),
      writes: m.writes.map((w) => {
        const t = locals.get(w.tensor);
        return t === undefined
          ? { ...w, guard: ownRow(row) }
          : { ...w, tensor: t, index: [sc.var(row.variable), ...(isOwn.has(w.tensor) ? w.index : w.index.slice(rank))] };
      }),
    };
  };
  const rowVariables = c.rows.axes.map((a) => a.variable);
  // One row is read as often as the copy would be.
  const turned = blockRows === 1 ? { stage: s, kernels: [], tensors: [] } : turnOperand(sc, s, scoreRows[rank] as Variable);
  const stages = [rewrite(turned.stage, scoreRows), ...c.rows.stages.map((x) => rewrite(x, rowVariables)), rewrite(p, valueRows)];
  const fused: Kernel = { name: c.values.name, axes: [...outer, tile], locals: [...locals.values()], stages };
  return { kernels: [...turned.kernels, fused], tensors: turned.tensors };
}

/** Do the operands that every block reads anew, for one point of the outer axes, stay in the second cache? */
function panelsFit(c: Chain, machine: Capabilities): boolean {
  const rank = c.rows.axes.length;
  const bytes = (k: Kernel, rows: readonly (Variable | null)[]) => {
    const { axes, writes } = soleStage(k) as Stage;
    const size = productOf(axes.filter((a) => !rows.includes(a.variable)).map((a) => a.extent));
    return (typeof size === "number" ? size : 0) * (writes[0] as Write).tensor.dtype.byteWidth;
  };
  const scoreRows = (soleStage(c.scores) as Stage).writes[0]?.index.slice(0, rank).map((e) => e.variable) ?? [];
  const valueRows = (loadsOf(...stageExprs(soleStage(c.values) as Stage)).find((l) => l.attr === c.second)?.args ?? [])
    .slice(0, rank)
    .map((e) => e.variable);
  return bytes(c.scores, scoreRows) <= machine.l2Bytes && bytes(c.values, valueRows) <= machine.l2Bytes;
}

function axisOf(sc: Scalars, name: string, extent: Dim): Axis {
  return { variable: sc.variable(name, i32, { extent: sc.dim(extent) }), extent, kind: "parallel" };
}

/** The variables of an index that is nothing but distinct variables, else null. */
function plainVariables(index: readonly Expr[]): Variable[] | null {
  const out = index.map((e) => e.variable);
  return out.every((v) => v !== null) && new Set(out).size === out.length ? (out as Variable[]) : null;
}

/** Does every stage of the row-wise kernel read the scores in its own row alone? */
function rowsReadPlainly(c: Chain): boolean {
  const rows = c.rows.axes.map((a) => a.variable);
  const reads = c.rows.stages.flatMap((s) => loadsOf(...stageExprs(s))).filter((l) => l.attr === c.first);
  const writes = c.rows.stages.flatMap((s) => s.writes).filter((w) => w.tensor === c.second);
  return (
    [...reads.map((l) => l.args), ...writes.map((w) => w.index)].every((index) => rows.every((v, d) => index[d]?.variable === v)) &&
    !readsOf(c.rows).includes(c.second)
  );
}

/**
 * The operand that moves with the columns is copied so that columns are innermost: then vectors run along them. Schedules
 * do that better, by packing, but only for a known number of columns.
 */
function turnOperand(sc: Scalars, s: Stage, column: Variable): { stage: Stage; kernels: Kernel[]; tensors: Tensor[] } {
  const loads = loadsOf(...s.accumulators.map((a) => a.lift)).filter((l) => mentions(l, column));
  const [load] = loads;
  const known = s.axes.some((a) => a.variable === column && typeof a.extent === "number");
  if (known || loads.length !== 1 || load === undefined || load.args[load.args.length - 1]?.variable === column)
    return { stage: s, kernels: [], tensors: [] };
  const axes = [...s.axes.filter((a) => a.variable !== column && mentions(load, a.variable)), s.axes.find((a) => a.variable === column) as Axis];
  const source = load.attr as Tensor;
  const turned = new Tensor(
    sc.freshId(),
    `${source.name}.turned`,
    source.dtype,
    axes.map((a) => a.extent),
    null,
    source.origin,
  );
  const index = axes.map((a) => sc.var(a.variable));
  const copy: Stage = {
    name: turned.name,
    origin: source.origin,
    axes: axes.map((a) => ({ ...a, kind: "parallel" })),
    inner: null,
    accumulators: [],
    writes: [{ tensor: turned, index, value: load, combiner: null, guard: null }],
  };
  const stage = mapStage(s, (e) => sc.rebuild([e], (x) => (x === load ? sc.load(turned, index) : null))[0] as Expr);
  return { stage, kernels: [{ name: turned.name, axes: [], locals: [], stages: [copy] }], tensors: [turned] };
}

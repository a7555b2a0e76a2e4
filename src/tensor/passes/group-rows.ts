import { dimEquals, dimMax, dimMin, productOf } from "../../base/dim.ts";
import { i32 } from "../../base/dtype.ts";
import { type Expr, type Variable, loadsOf } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Axis, type Kernel, type Stage, Tensor, type TensorFunction, mapStage, soleStage, stageExprs } from "../ir.ts";
import { isContraction, usersOf } from "./fusion.ts";
import { withKernels } from "./inline-producers.ts";

/** Rows that are fewer than this are not worth a kernel that runs row by row. */
const fewestRows = 4;
/** Largest local, in elements: what a row keeps between its stages should stay in the first cache. */
const largestLocal = 16384;

/** Stages of one kernel: beyond, code and compile time grow, and rows have long left the cache. */
const mostStages = 64;

/** Stages that will run row by row, with the axes of each that stand for the rows. */
interface Group {
  readonly members: readonly { readonly stage: Stage; readonly rows: readonly Variable[] }[];
  readonly rowAxes: readonly Axis[];
}

/**
 * Row-wise fusion: a chain of stages that go over the same rows (softmax, normalisations) becomes one kernel, in which
 * every row goes through all stages before the next; what only the chain reads becomes a local of one row. Contractions
 * stay out: they are tiled over rows instead.
 */
export function groupRows(sc: Scalars, f: TensorFunction): TensorFunction {
  const users = usersOf(f);
  const outputs = users.visible;
  const groups = new Map<Kernel, Group>();
  const owner = new Map<Tensor, Kernel>();
  const owned = new Map<Kernel, Tensor[]>();
  const order = new Map(f.kernels.map((k, i) => [k, i]));
  const absorbed = new Set<Kernel>();
  // A group is kept under its last kernel; when a kernel joins, the group moves to its place.
  for (const k of f.kernels) {
    const stage = soleStage(k);
    if (stage === null || isContraction(stage) || stage.accumulators.some((a) => a.axes.length !== stage.accumulators[0]?.axes.length)) continue;
    const own = (stage.writes[0] as Stage["writes"][0]).tensor;
    let group: Group = { members: [{ stage, rows: [] }], rowAxes: [] };
    const merged: Kernel[] = [];
    for (const t of new Set(loadsOf(...stageExprs(stage)).map((l) => l.attr as Tensor))) {
      const home = owner.get(t);
      if (home === undefined || merged.includes(home)) continue;
      const readers = users.readers.get(t) ?? [];
      // Moving the producer down here must not take its results from a reader in between.
      const known = groups.get(home) as Group;
      if (known.members.length + group.members.length > mostStages) continue;
      const written = known.members.flatMap((m) => m.stage.writes.map((w) => w.tensor));
      const safe =
        written.every((w) =>
          (users.readers.get(w) ?? []).every(
            (r) => (order.get(r) as number) >= (order.get(k) as number) || known.members.some((m) => soleStage(r) === m.stage),
          ),
        ) && readers.length > 0;
      if (!safe) continue;
      const next = merge(known, group, t, stage);
      if (next === null || !rowsWorthwhile(next) || !localsFit(next, users.readers, outputs)) continue;
      group = next;
      merged.push(home);
    }
    for (const m of merged) absorbed.add(m);
    const mine = [...merged.flatMap((m) => owned.get(m) ?? []), own];
    for (const t of mine) owner.set(t, k);
    groups.set(k, group);
    owned.set(k, mine);
  }
  const grouped = [...groups].filter(([k, g]) => !absorbed.has(k) && g.members.length > 1 && keepsRows(g));
  if (grouped.length === 0) return f;
  const replacement = new Map(grouped.map(([k, g]) => [k, buildGroup(sc, k, g, users.readers, outputs)]));
  const inGroups = new Set(grouped.flatMap(([, g]) => g.members.map((m) => m.stage)));
  const kernels = f.kernels.flatMap((k) => {
    const r = replacement.get(k);
    if (r !== undefined) return [r];
    const s = soleStage(k);
    return s !== null && inGroups.has(s) ? [] : [k];
  });
  return withKernels(f, kernels);
}

/** Joins a producer's group with the reader's, along the leading dims in which the reader reads just its own row. */
function merge(producer: Group, reader: Group, t: Tensor, stage: Stage): Group | null {
  const reads = loadsOf(...stageExprs(stage)).filter((l) => l.attr === t);
  const written = producer.members.find((m) => m.stage.writes[0]?.tensor === t);
  if (written === undefined) return null;
  const writeIndex = written.stage.writes[0]?.index ?? [];
  const rows: Variable[] = [];
  for (let d = 0; d < t.dims.length; d++) {
    const v = rowVariable(stage, t, d, reads[0]?.args[d]);
    const axis = stage.axes.find((a) => a.variable === v && a.kind === "parallel");
    const from = written.stage.axes.find((a) => a.variable === writeIndex[d]?.variable && a.kind === "parallel");
    if (
      v == null ||
      axis === undefined ||
      from === undefined ||
      rows.includes(v) ||
      !dimEquals(axis.extent, from.extent) ||
      reads.some((r) => r.args[d] !== reads[0]?.args[d])
    )
      break;
    rows.push(v);
  }
  const count = producer.rowAxes.length > 0 ? producer.rowAxes.length : reader.rowAxes.length > 0 ? reader.rowAxes.length : rows.length;
  if (count === 0 || rows.length < count || (reader.rowAxes.length > 0 && reader.rowAxes.length !== count)) return null;
  const mine = rows.slice(0, count);
  const own = reader.members[reader.members.length - 1] as Group["members"][0];
  // All reads of this stage must agree on which axes are its rows.
  if (own.rows.length > 0 && own.rows.some((v, i) => v !== mine[i])) return null;
  // What the producer writes is a row of its own only where its rows lead; and pointwise stages alone must not choose rows that
  // no later reader can go along (a mask of the columns, say, before a softmax).
  if (written.rows.length > 0 && !leads(written.stage, written.rows)) return null;
  if (![...producer.members.map((m) => m.stage), stage].some((s) => s.accumulators.length > 0) && !leads(stage, mine)) return null;
  const producerRows = (m: Group["members"][0]): readonly Variable[] =>
    m.rows.length > 0 ? m.rows : (writeIndex.slice(0, count).map((e) => e.variable) as Variable[]);
  const rowAxes = producer.rowAxes.length > 0 ? producer.rowAxes : mine.map((v) => stage.axes.find((a) => a.variable === v) as Axis);
  return {
    members: [...producer.members.map((m) => ({ ...m, rows: producerRows(m) })), ...reader.members.slice(0, -1), { ...own, rows: mine }],
    rowAxes,
  };
}

/** Do the axes index the leading dims of what the stage writes? */
function leads(stage: Stage, rows: readonly Variable[]): boolean {
  return rows.every((v, i) => stage.writes[0]?.index[i]?.variable === v);
}

/** The reader's axis for dim d of the tensor: the index itself, or for a dim of one point the reader's own such axis. */
function rowVariable(stage: Stage, t: Tensor, d: number, index: Expr | undefined): Variable | null {
  if (index === undefined) return null;
  if (index.variable !== null || t.dims[d] !== 1 || !index.isConst(0)) return index.variable;
  const own = stage.writes[0]?.index[d]?.variable ?? null;
  return stage.axes.some((a) => a.variable === own && a.extent === 1) ? own : null;
}

function rowsWorthwhile(g: Group): boolean {
  const rows = productOf(g.rowAxes.map((a) => a.extent));
  return dimMax(rows) === Number.POSITIVE_INFINITY || dimMin(rows) >= fewestRows;
}

/**
 * Do rows stay in the cache from one stage to the next? One reduction to a single number, and points made of that, keep nothing
 * worth it: apart, each can run in vectors along any axis.
 */
function keepsRows(g: Group): boolean {
  const reductions = g.members.filter((m) => m.stage.accumulators.length > 0).length;
  return reductions > 1 || (reductions > 0 && g.members.some((m) => m.stage.axes.some((a) => a.kind === "parallel" && !m.rows.includes(a.variable))));
}

function localsFit(g: Group, readers: ReadonlyMap<Tensor, readonly Kernel[]>, outputs: ReadonlySet<Tensor>): boolean {
  return g.members.every((m) =>
    m.stage.writes.every(
      (w) =>
        !isLocal(w.tensor, g, readers, outputs) ||
        dimMax(productOf(w.tensor.dims.slice(g.rowAxes.length))) <= largestLocal ||
        dimMax(productOf(w.tensor.dims.slice(g.rowAxes.length))) === Number.POSITIVE_INFINITY,
    ),
  );
}

/** Is a tensor read by the group's own stages alone? */
function isLocal(t: Tensor, g: Group, readers: ReadonlyMap<Tensor, readonly Kernel[]>, outputs: ReadonlySet<Tensor>): boolean {
  return !outputs.has(t) && (readers.get(t) ?? []).every((r) => g.members.some((m) => m.stage === soleStage(r)));
}

function buildGroup(sc: Scalars, last: Kernel, g: Group, readers: ReadonlyMap<Tensor, readonly Kernel[]>, outputs: ReadonlySet<Tensor>): Kernel {
  const rank = g.rowAxes.length;
  const axes = g.rowAxes.map(
    (a, i): Axis => ({ variable: sc.variable(`row${i}`, i32, { extent: sc.dim(a.extent) }), extent: a.extent, kind: "parallel" }),
  );
  const locals = new Map<Tensor, Tensor>();
  for (const m of g.members) {
    for (const w of m.stage.writes) {
      const t = w.tensor;
      if (isLocal(t, g, readers, outputs)) locals.set(t, new Tensor(sc.freshId(), `${t.name}.row`, t.dtype, t.dims.slice(rank), null, t.origin));
    }
  }
  const stages = g.members.map(({ stage, rows }): Stage => {
    const map = new Map<Variable, Expr>(rows.map((v, i) => [v, sc.var((axes[i] as Axis).variable)]));
    const rewrite = (e: Expr): Expr =>
      sc.rebuild([e], (x, args) => {
        if (x.op === "var") return map.get(x.attr as Variable) ?? null;
        const local = x.op === "load" ? locals.get(x.attr as Tensor) : undefined;
        return local === undefined ? null : sc.load(local, args.slice(rank));
      })[0] as Expr;
    const mapped = mapStage(stage, rewrite);
    return {
      ...mapped,
      axes: stage.axes.filter((a) => !rows.includes(a.variable)),
      accumulators: mapped.accumulators.map((a) => ({ ...a, axes: a.axes.filter((v) => !rows.includes(v)) })),
      writes: mapped.writes.map((w) => {
        const local = locals.get(w.tensor);
        return local === undefined ? w : { ...w, tensor: local, index: w.index.slice(rank) };
      }),
    };
  });
  return { name: last.name, axes, locals: [...locals.values()], stages };
}

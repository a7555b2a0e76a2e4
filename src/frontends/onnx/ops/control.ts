import {
  type Dim,
  dimEquals,
  dimMin,
  dimsEqual,
  isDataDependent,
  maxDim,
  minDim,
  productOf,
  subDim,
  symbolDim,
  upperBound,
} from "../../../base/dim.ts";
import { bool, i64 } from "../../../base/dtype.ts";
import type { Region, Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Binding, Operand, Optional, Sequence, describeBinding, dimValue } from "../operand.ts";
import type { GraphProto } from "../proto.ts";
import { shapeHint } from "../symbols.ts";
import { reshaped, slicedAlong } from "./shape.ts";

/** The tensors that a binding is made of, and how to put others in their places. */
function tensorsOf(b: Binding): Operand[] {
  if (b instanceof Operand) return [b];
  if (b instanceof Sequence) return [...b.elements];
  return b.content === null ? [] : tensorsOf(b.content);
}
function rebuilt(b: Binding, next: () => Operand): Binding {
  if (b instanceof Operand) return next();
  if (b instanceof Sequence) return new Sequence(b.elements.map(next));
  return b.content === null ? b : new Optional(rebuilt(b.content, next) as Operand | Sequence);
}
/** Do two bindings differ in nothing but the sizes of tensors? */
function sameStructure(a: Binding, b: Binding): boolean {
  if (a instanceof Operand) return b instanceof Operand && a.dtype === b.dtype && (a.rank === b.rank || isSingle(a, b));
  if (a instanceof Sequence)
    return b instanceof Sequence && a.elements.length === b.elements.length && a.elements.every((x, i) => sameStructure(x, b.elements[i] as Operand));
  if (!(b instanceof Optional)) return false;
  return a.content === null || b.content === null ? a.content === b.content : sameStructure(a.content, b.content);
}

/** One element each, which may stand for one another whatever their ranks. */
const isSingle = (a: Operand, b: Operand): boolean => [a, b].every((o) => dimEquals(productOf(o.dims), 1));

/** A bool, or any tensor of one element, as bool[]. */
function truth(c: NodeContext, o: Operand): Value {
  return c.g.reshape(c.g.convert(o.value, bool), []);
}

/** A branch is taken while importing when the condition follows from sizes and constants; else both become regions. */
function ifOp(c: NodeContext): readonly Binding[] {
  const condition = c.input(0);
  const [known] = condition.numbers ?? [];
  const [thenGraph, elseGraph] = [c.graph("then_branch"), c.graph("else_branch")];
  if (known !== undefined) return c.inlineGraph(known === 0 ? elseGraph : thenGraph);
  return either(
    c,
    truth(c, condition),
    () => c.inlineGraph(thenGraph),
    () => c.inlineGraph(elseGraph),
  );
}

/**
 * What one of two functions gives, each made in a branch of its own; `where` is a bool[]. Both must give the same number of
 * tensors, of the same dtypes and ranks; sizes may differ.
 */
export function either(c: NodeContext, where: Value, makeThen: () => readonly Binding[], makeElse: () => readonly Binding[]): Binding[] {
  const [then, otherwise] = [makeThen, makeElse].map((make) => {
    c.g.enterRegion();
    return { results: make(), region: c.g.leaveRegion([], []) };
  }) as [Branch, Branch];
  if (then.results.length !== otherwise.results.length)
    return c.fail(`its branches give ${then.results.length} and ${otherwise.results.length} outputs`);
  then.results.forEach((a, i) => {
    const b = otherwise.results[i] as Binding;
    const hint = shapeHint(...[a, b].flatMap((x) => tensorsOf(x).flatMap((o) => o.dims)));
    if (!sameStructure(a, b)) c.unsupported(`branches whose output ${i} is ${describeBinding(a)} or ${describeBinding(b)}${hint}`);
  });
  const [left, right] = [then, otherwise].map((x) => x.results.flatMap(tensorsOf)) as [Operand[], Operand[]];
  const joins = left.map((a, k) => joinOf(c, a, right[k] as Operand));
  const regions = [
    { branch: then, operands: left },
    { branch: otherwise, operands: right },
  ].map(({ branch, operands }) => finishBranch(c, branch.region, operands, joins));
  const results = [...c.g.op("if", [where], {}, { regions })];
  const made = joins.map((j) => finishJoin(c, j, results));
  return then.results.map((b) => rebuilt(b, () => made.shift() as Operand));
}

interface Branch {
  readonly results: readonly Binding[];
  readonly region: Region;
}

/**
 * How a result of two branches is handed over: as it is where both give the same sizes; else flat, with room for the larger,
 * and with the sizes that differ beside.
 */
interface Join {
  readonly dims: readonly Dim[];
  readonly differing: readonly number[];
  /** Bounds of each dim. */
  readonly low: readonly Dim[];
  readonly high: readonly Dim[];
  /** Elements of the flat form; null where none is needed. */
  readonly room: Dim | null;
}

function joinOf(c: NodeContext, a: Operand, b: Operand): Join {
  if (a.rank !== b.rank) return { dims: (a.rank < b.rank ? a : b).dims, differing: [], low: [], high: [], room: null };
  const local = (d: Dim): boolean => isDataDependent(d);
  const differing = a.dims.flatMap((d, i) => (dimEquals(d, b.dims[i] as Dim) && !local(d) ? [] : [i]));
  if (differing.length === 0) return { dims: a.dims, differing, low: [], high: [], room: null };
  const bounds = (o: Operand) =>
    o.dims.map((d) => upperBound(d) ?? c.unsupported(`a branch that gives [${o.dims.join(", ")}], where ${d} has no upper bound`));
  const [x, y] = [bounds(a), bounds(b)];
  const high = x.map((d, i) => maxDim(d, y[i] as Dim));
  const low = a.dims.map((d, i) => minDim(local(d) ? dimMin(d) : d, local(b.dims[i] as Dim) ? dimMin(b.dims[i] as Dim) : (b.dims[i] as Dim)));
  return { dims: a.dims, differing, low, high, room: maxDim(productOf(x), productOf(y)) };
}

/** Adds to a branch what its results need, and ends its region with them. */
function finishBranch(c: NodeContext, region: Region, operands: readonly Operand[], joins: readonly Join[]): Region {
  const { g } = c;
  g.enterRegion();
  for (const op of region.ops) g.push(op);
  const results = operands.flatMap((o, k): Value[] => {
    const j = joins[k] as Join;
    if (j.room === null) return [g.reshape(o.value, j.dims)];
    const n = productOf(o.dims);
    const flat = g.reshape(o.value, [n]);
    const padded = dimEquals(n, j.room) ? flat : g.one("pad", [flat, g.scalar(o.dtype, 0)], { low: [0], high: [subDim(j.room, n)] });
    return [padded, ...j.differing.map((d) => dimValue(g, o.dims[d] as Dim))];
  });
  return g.leaveRegion([], results);
}

/** The result of a join, from the results of the `if` that are left. */
function finishJoin(c: NodeContext, j: Join, results: Value[]): Operand {
  const { g } = c;
  const first = results.shift() as Value;
  if (j.room === null) return c.of(first);
  const dims = [...j.dims];
  for (const d of j.differing) {
    const least = dimMin(j.low[d] as Dim);
    dims[d] = g.bindSize(
      results.shift() as Value,
      `${c.node.opType.toLowerCase()}_size`,
      Math.max(0, Number.isFinite(least) ? least : 0),
      j.high[d] as Dim,
    );
  }
  return reshaped(c, slicedAlong(c, c.of(first), 0, 0, productOf(dims)), dims);
}

/** More turns than any loop has. */
const endless = 2 ** 31 - 1;

/**
 * Loop: a `loop` of the graph where the states keep their types; where they do not, or are sequences, and the number of
 * turns is known, one turn after the other.
 */
function loopOp(c: NodeContext): readonly Binding[] {
  const body = c.graph("body");
  const [trips, first] = [c.optional(0), c.optional(1)];
  const initial = c.inputs.slice(2).map((b, i) => b ?? c.fail(`state ${i} is missing`));
  const compiled = initial.every((b) => b instanceof Operand) ? c.attempt(() => compiledLoop(c, body, trips, first, initial as Operand[])) : null;
  if (compiled !== null) return compiled;
  const [n] = trips?.numbers ?? [];
  if (n === undefined || (first !== null && first.numbers === null))
    return c.unsupported("a loop whose states change their types, or are sequences, and whose number of turns is computed from the model's data");
  return unrolledLoop(c, body, n, first?.numbers?.[0] !== 0, initial);
}

function compiledLoop(
  c: NodeContext,
  body: GraphProto,
  trips: Operand | null,
  first: Operand | null,
  initial: readonly Operand[],
): readonly Operand[] | null {
  const { g } = c;
  const scans = body.outputs.length - 1 - initial.length;
  if (scans < 0) return c.fail(`its body gives ${body.outputs.length} outputs for ${initial.length} states`);
  const length = tripCount(c, trips, scans > 0);
  if (length === null) return c.unsupported("a loop that stacks outputs and has no trip count");
  const index = g.dataSymbol("turn", 0, length === endless ? null : subDim(length, 1));
  const start = initial.map((o) => o.value);
  const before = first === null ? null : first.numbers?.[0] === 1 ? null : truth(c, first);
  g.enterRegion();
  const states = start.map((v) => g.value("state", { dtype: v.dtype, dims: v.dims }));
  const results = c.inlineGraph(body, [
    c.knownOf(i64, body.inputs[0]?.dims?.length === 1 ? [1] : [], [symbolDim(index)]),
    // The body runs only while the condition holds.
    c.knownOf(bool, body.inputs[1]?.dims?.length === 1 ? [1] : [], [1]),
    ...states.map((v) => c.of(v)),
  ]);
  const [more, ...rest] = results;
  const next = rest.slice(0, states.length);
  const fits =
    results.every((r) => r instanceof Operand) &&
    next.every((r, i) => r instanceof Operand && r.dtype === states[i]?.dtype && dimsEqual(r.dims, states[i]?.dims ?? [])) &&
    rest.slice(states.length).every((r) => r instanceof Operand && !r.dims.some((d) => dependsOn(d, index.name)));
  if (!fits || !(more instanceof Operand)) {
    g.leaveRegion([], []);
    return null;
  }
  const endsByItself = before !== null || more.numbers?.[0] !== 1;
  const yields = (rest as Operand[]).map((r) => r.value);
  const region = g.leaveRegion(states, endsByItself ? [truth(c, more), ...yields] : yields);
  const operands = endsByItself ? [before ?? g.scalar(bool, 1), ...start] : start;
  const [turns, ...made] = g.op(
    "loop",
    operands,
    { index: [symbolDim(index)], length: [length], states: states.length, conditional: endsByItself },
    { regions: [region] },
  ) as [Value, ...Value[]];
  const count = endsByItself && scans > 0 ? g.bindSize(turns, "turns", 0, length) : length;
  return made.map((v, i) => (i < states.length ? c.of(v) : slicedAlong(c, c.of(v), 0, 0, count)));
}

const dependsOn = (d: Dim, symbol: string): boolean => typeof d !== "number" && new RegExp(`\\b${symbol}\\b`).test(d.toString());

/** How many turns there are at most: a number, a size, or one that the model computes; null where a bound is needed and there is none. */
function tripCount(c: NodeContext, trips: Operand | null, bounded: boolean): Dim | null {
  if (trips === null) return bounded ? null : endless;
  const [known] = trips.known ?? [];
  if (known !== undefined) return maxDim(typeof known === "number" && known > endless ? endless : known, 0);
  const { g } = c;
  const count = g.reshape(trips.value, []);
  const atMost = g.one("min", [g.one("max", [count, g.scalar(count.dtype, 0)]), g.scalar(count.dtype, endless)]);
  return g.bindSize(atMost, "trips", 0, null);
}

/** Unrolled loops must not eat memory without bound; the importer limits the number of nodes besides. */
const mostTurns = 4096;

function unrolledLoop(c: NodeContext, body: GraphProto, turns: number, start: boolean, initial: readonly Binding[]): readonly Binding[] {
  if (turns > mostTurns) return c.unsupported(`a loop of ${turns} turns whose states change their types (up to ${mostTurns} are unrolled)`);
  let states: readonly Binding[] = initial;
  const slices: Operand[][] = body.outputs.slice(1 + initial.length).map(() => []);
  let more = start;
  for (let t = 0; t < turns && more; t++) {
    const [condition, ...rest] = c.inlineGraph(body, [c.knownOf(i64, [], [t]), c.knownOf(bool, [], [1]), ...states]);
    if (!(condition instanceof Operand) || condition.numbers === null)
      return c.unsupported("a loop whose states change their types, and that ends by a condition computed from the model's data");
    more = condition.numbers[0] !== 0;
    states = rest.slice(0, initial.length);
    rest.slice(initial.length).forEach((y, k) => slices[k]?.push(y instanceof Operand ? y : c.unsupported("a scan output that is no tensor")));
  }
  return [...states, ...slices.map((s) => stacked(c, s))];
}

/** Tensors of one shape along a new dimension 0. */
function stacked(c: NodeContext, parts: readonly Operand[]): Operand {
  const [first] = parts;
  if (first === undefined) return c.unsupported("a scan output of a loop that never runs");
  const rows = parts.map((p) => c.g.reshape(p.value, [1, ...first.dims]));
  return c.of(rows.length === 1 ? (rows[0] as Value) : c.g.one("concat", rows, { axis: 0 }));
}

/** Scan as a `loop` that takes its slices itself. Opset 8 has a batch dimension in front, and its sequences may have lengths. */
function scanOp(c: NodeContext): readonly Operand[] {
  return c.version < 9 ? batchedScan(c) : scan(c, c.all());
}

function scan(c: NodeContext, inputs: readonly Operand[]): Operand[] {
  const { g } = c;
  const body = c.graph("body");
  const xs = c.int("num_scan_inputs", 0);
  const states = inputs.length - xs;
  if (xs < 1 || states < 0) return c.fail(`num_scan_inputs ${xs} of ${inputs.length} inputs`);
  const ys = body.outputs.length - states;
  const list = (name: string, n: number): number[] => c.ints(name) ?? Array.from({ length: n }, () => 0);
  const [backIn, backOut] = [list(c.version < 9 ? "directions" : "scan_input_directions", xs), list("scan_output_directions", ys)];
  const axesIn = list("scan_input_axes", xs).map((a, k) => c.axis(a, (inputs[states + k] as Operand).rank));
  const sources = inputs.slice(states).map((x) => x.value);
  const lengths = sources.map((x, k) => x.dims[axesIn[k] as number] as Dim);
  const [length] = lengths as [Dim];
  for (const n of lengths) c.sameDim(n, length, "lengths of the scanned inputs");
  const index = g.dataSymbol("step", 0, subDim(length, 1));
  const start = inputs.slice(0, states).map((o) => o.value);
  g.enterRegion();
  const params = start.map((v) => g.value("state", { dtype: v.dtype, dims: v.dims }));
  const step = symbolDim(index);
  const slices = sources.map((x, k) => {
    const axis = axesIn[k] as number;
    const at = backIn[k] === 1 ? subDim(subDim(length, 1), step) : step;
    return reshaped(c, slicedAlong(c, c.of(x), axis, at, 1), x.dims.toSpliced(axis, 1));
  });
  const results = c
    .inlineGraph(body, [...params.map((v) => c.of(v)), ...slices])
    .map((r) => (r instanceof Operand ? r : c.fail("a scan gives tensors only")));
  params.forEach((p, i) => {
    const r = results[i] as Operand;
    if (r.dtype !== p.dtype || !dimsEqual(r.dims, p.dims)) c.fail(`state ${i} is ${describeBinding(c.of(p))}, but becomes ${describeBinding(r)}`);
  });
  const region = g.leaveRegion(
    params,
    results.map((r) => r.value),
  );
  const [, ...made] = g.op("loop", start, { index: [step], length: [length], states, conditional: false }, { regions: [region] });
  const axesOut = list("scan_output_axes", ys);
  return made.map((v, i) => {
    const k = i - states;
    if (k < 0) return c.of(v);
    const turned = backOut[k] === 1 ? g.one("reverse", [v], { axes: [0] }) : v;
    const axis = c.axis(axesOut[k] as number, v.dims.length);
    const perm = Array.from({ length: v.dims.length - 1 }, (_, d) => d + 1).toSpliced(axis, 0, 0);
    return c.of(g.transpose(turned, perm));
  });
}

/** One scan for each element of the batch, in a loop over them. */
function batchedScan(c: NodeContext): readonly Operand[] {
  const { g } = c;
  if (c.inputs[0] !== null) return c.unsupported("a scan with lengths of its sequences (opset 8); later opsets have none");
  const inputs = c.inputs.slice(1).map((_, i) => c.input(i + 1));
  const values = inputs.map((o) => o.value);
  const batch = values[0]?.dims[0] ?? c.fail("it has no inputs");
  const index = g.dataSymbol("item", 0, subDim(batch, 1));
  g.enterRegion();
  const rows = values.map((v) => reshaped(c, slicedAlong(c, c.of(v), 0, symbolDim(index), 1), v.dims.slice(1)));
  const results = scan(c, rows).map((o) => o.value);
  const region = g.leaveRegion([], results);
  const [, ...made] = g.op("loop", [], { index: [symbolDim(index)], length: [batch], states: 0, conditional: false }, { regions: [region] });
  return made.map((v) => c.of(v));
}

export const controlOps: OpTable = {
  If: { since: 7, map: ifOp },
  Loop: { since: 7, map: loopOp },
  Scan: { since: 8, map: scanOp },
};

import { type Dim, dimSymbols, evaluateDim, mulDim, productOf } from "../base/dim.ts";
import { type Expr, type Variable, postorder } from "../scalar/expr.ts";
import type { Kernel, Stage } from "../tensor/ir.ts";

/**
 * What a kernel's code does, as opposed to what the model asks for: every operation on data counted once, a multiply-add as
 * two. Algorithms that change the arithmetic (Winograd) do less than the model says; what is pointwise or a maximum counts
 * here too. Null where sizes are unknown.
 */
export function countOperations(k: Kernel, sizes: ReadonlyMap<string, number>): number | null {
  let sum = 0;
  for (const [points, each] of k.stages.flatMap((s) => parts(s, productOf(k.axes.map((a) => a.extent))))) {
    if (each === 0) continue;
    if ([...dimSymbols(points).keys()].some((s) => !sizes.has(s))) return null;
    sum += each * evaluateDim(points, sizes);
  }
  return sum;
}

/** Expressions of a stage with how often each is evaluated: points, operations of one point. `around` are the points of what holds the stage. */
function parts(s: Stage, around: Dim): (readonly [Dim, number])[] {
  const extents = new Map(s.axes.map((a) => [a.variable, a.extent]));
  const over = (axes: readonly Variable[]): Dim => axes.reduce<Dim>((n, v) => mulDim(n, extents.get(v) ?? 1), around);
  const reductions = s.axes.filter((a) => a.kind === "reduction").map((a) => a.variable);
  const outside = s.axes.filter((a) => a.kind !== "reduction").map((a) => a.variable);
  const data = new Set(s.accumulators.flatMap((a) => [a.left, a.right]));
  const sums = s.accumulators.map(
    (a) => [over([...new Set([...a.axes, ...reductions])]), operationsOf([a.lift], data) + operationsOf([a.combine], data)] as const,
  );
  const writes = operationsOf(
    s.writes.map((w) => w.value),
    data,
  );
  const merges = s.writes.filter((w) => w.combiner !== null).length;
  const inner = s.inner;
  const held = inner === null ? [] : inner.stages.flatMap((x) => parts(x, over([inner.axis])));
  return [...sums, [over(outside), writes + merges] as const, ...held];
}

/** Moving, choosing and converting values is no arithmetic. */
const free = new Set<string>(["const", "var", "load", "loadat", "ramp", "broadcast", "extract", "insert", "cast", "bitcast", "select"]);

/** Operations on data in expressions: not those on indices, nor conditions of indices. */
function operationsOf(roots: readonly Expr[], data: ReadonlySet<Variable>): number {
  const dataful = new Set<Expr>();
  let n = 0;
  for (const e of valuesOf(roots)) {
    const isData = e.op === "load" || (e.variable !== null && data.has(e.variable)) || e.args.some((a) => dataful.has(a));
    if (!isData) continue;
    dataful.add(e);
    if (!free.has(e.op)) n += e.op === "fma" ? 2 : 1;
  }
  return n;
}

/** The expressions below the roots, operands first; what loads are indexed by is left out unless something else uses it too. */
function valuesOf(roots: readonly Expr[]): readonly Expr[] {
  const reached = new Set<Expr>();
  const stack = [...roots];
  for (let e = stack.pop(); e !== undefined; e = stack.pop()) {
    if (reached.has(e)) continue;
    reached.add(e);
    if (e.op !== "load") stack.push(...e.args);
  }
  return postorder([...roots]).filter((e) => reached.has(e));
}

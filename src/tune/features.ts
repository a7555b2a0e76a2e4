import { type Expr, type Variable, postorder } from "../scalar/expr.ts";
import type { Num } from "../base/numeric.ts";
import { type OpName, scalarOps } from "../scalar/ops/table.ts";
import type { Kernel, Program, Stmt } from "../loop/ir.ts";
import { isBuffer } from "../loop/ir.ts";
import { launchesOf } from "../targets/launches.ts";

/**
 * What a program's loops do, counted in its loop IR after the passes on kernels, with the numbers of iterations that its
 * launches give. The cost model that is fitted while tuning sees schedules as these numbers only.
 */
export const featureNames = [
  "vector loads",
  "splat loads",
  "scalar loads",
  "vector stores",
  "scalar stores",
  "vector multiply-adds",
  "other vector operations",
  "scalar float operations",
  "integer operations",
  "iterations",
  "calls",
  "launches",
  "static operations",
  "bytes of buffers",
  "hot: operations",
  "hot: loads",
  "hot: multiply-adds",
  "hot: vectors carried",
  "hot: pointers carried",
  "hot: values bound",
  "hot: trips",
  "hot: share",
  "depth",
] as const;
export type Features = Readonly<Record<(typeof featureNames)[number], number>>;
type Counts = Record<(typeof featureNames)[number], number>;

/** Iterations that a loop is taken to make where its bounds are not known. */
const guessedTrips = 8;

/** Counts the launches of a program. `symbols` are its symbols' values, `bytes` what its buffers hold. */
export function programFeatures(p: Program, symbols: readonly number[], bytes: number): Features {
  const counts = Object.fromEntries(featureNames.map((n) => [n, 0])) as Counts;
  const host: Env = new Map(p.symbolVariables.map((v, i) => [v, symbols[i] ?? 1]));
  const counter = new Counter(counts);
  for (const s of launchesOf(p)) counter.launch(s, host);
  counts["bytes of buffers"] = bytes;
  counter.finish();
  return counts;
}

/** Operations that a program executes, roughly: what bounds the time of a schedule that nobody has run yet. */
export function dynamicOperations(f: Features): number {
  const n = featureNames.slice(0, 10).reduce((sum, name) => sum + f[name], 0);
  return n + 20 * f.calls;
}

type Env = Map<Variable, number>;

/** The innermost loop body in which most of the time goes. */
interface Hot {
  readonly body: readonly Stmt[];
  readonly trips: number;
  readonly depth: number;
  readonly operations: number;
}

class Counter {
  private readonly counts: Counts;
  private hot: Hot | null = null;
  private total = 0;

  constructor(counts: Counts) {
    this.counts = counts;
  }

  launch(s: Extract<Stmt, { kind: "launch" }>, host: Env): void {
    const { counts } = this;
    const count = evaluate(s.count, host) ?? guessedTrips;
    const grain = Math.max(1, evaluate(s.grain, host) ?? 1);
    counts.launches++;
    counts.calls += Math.ceil(count / grain);
    const env: Env = new Map();
    s.kernel.params.forEach((param, i) => {
      const arg = s.args[i];
      const v = arg === undefined || isBuffer(param) ? null : evaluate(arg, host);
      if (v !== null && !isBuffer(param)) env.set(param, v);
    });
    env.set(s.kernel.begin, 0).set(s.kernel.end, count);
    this.kernel(s.kernel, env);
  }
  private kernel(k: Kernel, env: Env): void {
    this.block(k.body, env, 1, 0, 1);
  }

  private block(body: readonly Stmt[], env: Env, weight: number, depth: number, trips: number): void {
    const before = this.total;
    let nested = false;
    for (const s of body) {
      if (s.kind === "for") nested = true;
      this.statement(s, env, weight, depth);
    }
    const operations = this.total - before;
    if (!nested && depth > 0 && operations > (this.hot?.operations ?? 0)) this.hot = { body, trips, depth, operations };
  }

  private statement(s: Stmt, env: Env, weight: number, depth: number): void {
    switch (s.kind) {
      case "for": {
        const [begin, end] = [evaluate(s.begin, env), evaluate(s.end, env)];
        const trips = begin === null || end === null ? guessedTrips : Math.max(0, end - begin);
        this.exprs([s.begin, s.end], weight);
        this.counts.iterations += weight * trips;
        env.set(s.variable, (begin ?? 0) + Math.floor(trips / 2));
        this.block(s.body, env, weight * trips, depth + 1, trips);
        return;
      }
      case "if": {
        this.exprs([s.condition], weight);
        // The branch that the middle iteration takes stands for all.
        const taken = evaluate(s.condition, env) === 0 ? s.otherwise : s.then;
        this.block(taken, env, weight, depth, 1);
        for (const x of taken === s.then ? s.otherwise : s.then) this.statement(x, env, 0, depth);
        return;
      }
      case "let":
      case "assign": {
        this.exprs([s.value], weight);
        const v = s.variable.lanes === 1 && !s.variable.dtype.isFloat ? evaluate(s.value, env) : null;
        if (v !== null) env.set(s.variable, v);
        return;
      }
      case "store":
      case "storeat": {
        this.exprs([s.value, s.kind === "store" ? s.index : s.address], weight);
        this.add(s.value.lanes > 1 ? "vector stores" : "scalar stores", weight);
        return;
      }
      case "alloc":
      case "launch":
      case "while":
      case "require":
        return;
      default:
        throw s satisfies never;
    }
  }

  private exprs(roots: readonly Expr[], weight: number): void {
    for (const e of postorder(roots)) {
      const kind = kindOf(e);
      if (kind !== null) this.add(kind, weight);
    }
  }
  private add(name: keyof Counts, weight: number): void {
    this.counts[name] += weight;
    this.counts["static operations"]++;
    this.total += weight;
  }

  /** Fills in what the hottest body is like. */
  finish(): void {
    const { counts, hot } = this;
    if (hot === null) return;
    const own = Object.fromEntries(featureNames.map((n) => [n, 0])) as Counts;
    const inner = new Counter(own);
    inner.block(hot.body, new Map(), 1, 0, 1);
    const assigned = hot.body.flatMap((s) => (s.kind === "assign" ? [s.variable] : []));
    counts["hot: operations"] = own["static operations"];
    counts["hot: loads"] = own["vector loads"] + own["splat loads"] + own["scalar loads"];
    counts["hot: multiply-adds"] = own["vector multiply-adds"];
    counts["hot: vectors carried"] = assigned.filter((v) => v.lanes > 1).length;
    counts["hot: pointers carried"] = assigned.filter((v) => v.lanes === 1 && !v.dtype.isFloat).length;
    counts["hot: values bound"] = hot.body.filter((s) => s.kind === "let").length;
    counts["hot: trips"] = hot.trips;
    counts["hot: share"] = hot.operations / Math.max(1, this.total);
    counts.depth = hot.depth;
  }
}

/** What an operation counts as; null for what costs nothing of its own. */
function kindOf(e: Expr): keyof Counts | null {
  switch (e.op) {
    case "const":
    case "var":
    case "ramp":
    case "extract":
    case "insert":
      return null;
    case "broadcast":
      return (e.args[0] as Expr).op === "loadat" ? "splat loads" : null;
    case "load":
    case "loadat":
      return e.lanes > 1 ? "vector loads" : "scalar loads";
    case "fma":
      return e.lanes > 1 ? "vector multiply-adds" : "scalar float operations";
    default:
      if (e.lanes > 1) return "other vector operations";
      return e.dtype.isFloat ? "scalar float operations" : "integer operations";
  }
}

/** Value of an integer expression; null where it depends on what is not known. */
function evaluate(root: Expr, env: Env): number | null {
  const values = new Map<Expr, Num | null>();
  for (const e of postorder([root])) values.set(e, exprValue(e, env, values));
  const v = values.get(root) ?? null;
  return v === null ? null : Number(v);
}
function exprValue(e: Expr, env: Env, values: ReadonlyMap<Expr, Num | null>): Num | null {
  if (e.lanes > 1) return null;
  if (e.op === "const") return e.attr as Num;
  if (e.op === "var") return env.get(e.attr as Variable) ?? null;
  const entry = scalarOps[e.op as OpName] as (typeof scalarOps)[OpName] | undefined;
  const args = e.args.map((a) => values.get(a) ?? null);
  if (entry === undefined || args.some((a) => a === null)) return null;
  return entry.evaluate(
    args as Num[],
    e.dtype,
    e.args.map((a) => a.dtype),
  );
}

/** Below this a feature counts as nothing. */
const log = (v: number) => Math.log2(1 + v);

/** The row of numbers that the cost model takes: the logarithm of each feature, and its difference to the default schedule's. */
export function featureRow(f: Features, reference: Features, cost: number, referenceCost: number): number[] {
  const own = featureNames.map((n) => log(f[n]));
  const change = featureNames.map((n, i) => (own[i] as number) - log(reference[n]));
  const modelled = Math.log2(Math.max(cost, 1e-9) / Math.max(referenceCost, 1e-9));
  return [...own, ...change, modelled].map((v) => Math.round(v * 1000) / 1000 + 0);
}
/** Where the modelled cost, relative to the default's, stands in a row. */
export const modelledColumn = 2 * featureNames.length;

import type { Dim } from "../../../../base/dim.ts";
import { type DType, f32, f64, i32 } from "../../../../base/dtype.ts";
import { hostFrom, hostToBytes } from "../../../../graph/host.ts";
import type { Value } from "../../../../graph/ir.ts";
import { packTrees, treeDepths } from "../../../../graph/ops/trees.ts";
import type { NodeContext } from "../../context.ts";
import { Formula } from "../formula.ts";
import { reduced } from "../reduction.ts";
import { featureCount } from "./common.ts";
import { type FlatTrees, type Target, type TreeNode, flattenTrees } from "./flatten.ts";

/** Trees whose leaves add to scores. */
export interface Ensemble {
  readonly nodes: readonly TreeNode[];
  readonly roots: readonly Target[];
  /** What each leaf gives to scores: pairs of score and weight. */
  readonly leaves: readonly (readonly (readonly [score: number, weight: number])[])[];
}

export type Aggregate = "SUM" | "AVERAGE" | "MIN" | "MAX";

/** Does a score get something from every row, from none, or does it depend on the row? */
type Given = "always" | "never" | "sometimes";

/** Scores that trees give, [rows, scores], without base values. */
export interface Scores {
  readonly values: Value;
  readonly given: readonly Given[];
  /** Whether a score was given, where that depends on the row: bool [rows, scores]. */
  readonly isGiven: Value | null;
}

const monoids = { SUM: "add", AVERAGE: "add", MIN: "min", MAX: "max" } as const;
const identities = { SUM: 0, AVERAGE: 0, MIN: Number.POSITIVE_INFINITY, MAX: Number.NEGATIVE_INFINITY } as const;

/** The leaves that a walk from each root may end at. */
function reached(e: Ensemble): Set<number>[] {
  return e.roots.map((root) => {
    const [leaves, seen, stack] = [new Set<number>(), new Set<number>(), [root]];
    for (let t = stack.pop(); t !== undefined; t = stack.pop()) {
      if (t.kind === "leaf") leaves.add(t.at);
      else if (!seen.has(t.at)) {
        seen.add(t.at);
        const n = e.nodes[t.at] as TreeNode;
        stack.push(n.yes, n.no);
      }
    }
    return leaves;
  });
}

/** Scores, for each of them whether the walks through some tree always give it. */
function givenBy(e: Ensemble, trees: readonly Set<number>[], count: number): Given[] {
  const given = new Array<Given>(count).fill("never");
  for (const leaves of trees) {
    const times = new Map<number, number>();
    for (const leaf of leaves) for (const s of new Set(e.leaves[leaf]?.map(([score]) => score))) times.set(s, (times.get(s) ?? 0) + 1);
    for (const [s, n] of times) given[s] = n === leaves.size ? "always" : given[s] === "always" ? "always" : "sometimes";
  }
  return given;
}

/** The one score that a tree's leaves give to; null where there are several. */
function onlyScores(e: Ensemble, trees: readonly Set<number>[]): number[] | null {
  const out: number[] = [];
  for (const leaves of trees) {
    let only = -1;
    for (const leaf of leaves) {
      for (const [s] of e.leaves[leaf] ?? []) {
        if (only !== -1 && only !== s) return null;
        only = s;
      }
      if ((e.leaves[leaf]?.length ?? 0) > 1) return null;
    }
    out.push(Math.max(0, only));
  }
  return out;
}

/** The walks of trees over the rows of x: what `outcome` says of the leaf that each ends at, [rows, trees]. */
function walked(c: NodeContext, x: Value, flat: FlatTrees, order: readonly number[], result: DType, outcome: (leaf: number) => number): Value {
  const n = flat.threshold.length;
  const columns = featureCount(c, x);
  // Where only negated features are asked for, they are all that there is.
  const shift = flat.usesPlain ? 0 : columns;
  const negated = flat.usesNegated ? new Formula(c.g).op("neg", x) : x;
  const features = flat.usesNegated && flat.usesPlain ? c.g.one("concat", [x, negated], { axis: 1 }) : negated;
  const links = Int32Array.from({ length: 2 * n }, (_, i) => {
    const at = i >> 1;
    if (i % 2 === 1) return flat.child[at] as number;
    return flat.leaf[at] === -1 ? (flat.feature[at] as number) - shift : 0;
  });
  const tables = packTrees(
    { roots: Int32Array.from(order, (t) => flat.roots[t] as number), links },
    hostToBytes(hostFrom(x.dtype, [n], (i) => flat.threshold[i] as number)),
    hostToBytes(hostFrom(result, [n], (i) => (flat.leaf[i] === -1 ? 0 : outcome(flat.leaf[i] as number)))),
  );
  return c.g.one("walk_trees", [features], { trees: order.length, nodes: n, result, dims: [tables.byteLength], tables });
}

/** Trees by their depths, so that those walked beside each other take about as many steps. */
function byDepth(flat: FlatTrees, x: Value): number[] {
  const links = Int32Array.from({ length: 2 * flat.child.length }, (_, i) => (i % 2 === 0 ? 0 : (flat.child[i >> 1] as number)));
  const thresholds = hostFrom(x.dtype, [flat.threshold.length], (i) => flat.threshold[i] as number);
  const depths = treeDepths({ roots: Int32Array.from(flat.roots), links, thresholds });
  const order = flat.roots.map((_, i) => i);
  return typeof depths === "string" ? order : order.sort((a, b) => (depths[a] as number) - (depths[b] as number) || a - b);
}

/** A tree that is one leaf, which gives nothing. */
function withNothing(flat: FlatTrees, leaf: number): number {
  const at = flat.threshold.length;
  flat.feature.push(0);
  flat.child.push(at);
  flat.threshold.push(Number.NaN);
  flat.leaf.push(leaf);
  return flat.roots.push(at) - 1;
}

/** Tables have an entry for each score of each leaf. */
const mostScores = 2 ** 16;

/** The scores of all rows, in f32, or in f64 where the features are. @throws UserError for trees that no walk gets out of */
export function scoresOf(c: NodeContext, x: Value, e: Ensemble, count: number, aggregate: Aggregate, wantsGiven: boolean): Scores {
  if (e.roots.length === 0) return c.fail("there are no trees");
  if (count > mostScores) return c.unsupported(`${count} scores, expected at most ${mostScores}`);
  for (const leaf of e.leaves)
    for (const [s] of leaf) if (!Number.isInteger(s) || s < 0 || s >= count) return c.fail(`a leaf gives to score ${s} of ${count}`);
  const features = featureCount(c, x);
  for (const n of e.nodes)
    if (!Number.isInteger(n.feature) || n.feature < 0 || n.feature >= features) return c.fail(`a node asks for feature ${n.feature} of ${features}`);
  const trees = reached(e);
  const given = givenBy(e, trees, count);
  const only = onlyScores(e, trees);
  const flat = flattenTrees(e.nodes, e.roots, features, x.dtype);
  const order = byDepth(flat, x);
  const asksPerRow = wantsGiven && given.includes("sometimes");
  const values =
    only === null || asksPerRow ? sharedScores(c, x, e, flat, order, count, aggregate) : ownScores(c, x, e, flat, order, only, count, aggregate);
  const scaled = aggregate === "AVERAGE" ? c.withScalar("mul", values, 1 / e.roots.length) : values;
  const isMissing = (aggregate === "MIN" || aggregate === "MAX") && given.some((g) => g !== "always");
  const f = new Formula(c.g);
  const clean = isMissing ? f.select(f.op("eq", scaled, identities[aggregate]), 0, scaled) : scaled;
  return { values: clean, given, isGiven: asksPerRow ? givenPerRow(c, x, e, flat, order, count) : null };
}

/** Each tree gives to one score: what it gives comes out of the walk, the trees of a score side by side. */
function ownScores(
  c: NodeContext,
  x: Value,
  e: Ensemble,
  flat: FlatTrees,
  order: readonly number[],
  only: readonly number[],
  count: number,
  aggregate: Aggregate,
): Value {
  const groups = Array.from({ length: count }, (_, s) => order.filter((t) => only[t] === s));
  const most = Math.max(...groups.map((g) => g.length));
  const nothing = groups.some((g) => g.length < most) ? withNothing(flat, e.leaves.length) : 0;
  const all = groups.flatMap((g) => [...g, ...new Array<number>(most - g.length).fill(nothing)]);
  const given = walked(c, x, flat, all, x.dtype, (leaf) => e.leaves[leaf]?.[0]?.[1] ?? identities[aggregate]);
  return reduced(c, c.g.reshape(given, [x.dims[0] as Dim, count, most]), monoids[aggregate], [2]);
}

/** A table with a row for each leaf, picked by the walks and combined. */
function combined(
  c: NodeContext,
  leaf: Value,
  d: DType,
  leaves: number,
  count: number,
  monoid: string,
  element: (leaf: number, score: number) => number,
): Value {
  const table = c.g.host(
    hostFrom(d, [leaves, count], (i) => element(Math.floor(i / count), i % count)),
    "leaves",
  );
  return reduced(c, c.g.one("gather", [table, leaf], { axes: [0], at: 0 }), monoid, [1]);
}

/** Leaves give to several scores: the walks give their numbers. */
function sharedScores(c: NodeContext, x: Value, e: Ensemble, flat: FlatTrees, order: readonly number[], count: number, aggregate: Aggregate): Value {
  const monoid = monoids[aggregate];
  const leaf = walked(c, x, flat, order, i32, (l) => l);
  const merge = { add: (a: number, b: number) => a + b, min: Math.min, max: Math.max }[monoid];
  const element = (l: number, s: number): number =>
    (e.leaves[l] ?? []).reduce((sum, [score, weight]) => (score === s ? merge(sum, weight) : sum), identities[aggregate] as number);
  return combined(c, leaf, x.dtype, e.leaves.length, count, monoid, element);
}

function givenPerRow(c: NodeContext, x: Value, e: Ensemble, flat: FlatTrees, order: readonly number[], count: number): Value {
  const leaf = walked(c, x, flat, order, i32, (l) => l);
  const times = combined(c, leaf, f32, e.leaves.length, count, "max", (l, s) => Number((e.leaves[l] ?? []).some(([score]) => score === s)));
  return c.withScalar("gt", times, 0);
}

/** The dtype that the trees of a node reckon in. */
export function reckoningIn(x: Value): (v: number) => number {
  return x.dtype === f64 ? (v) => v : Math.fround;
}

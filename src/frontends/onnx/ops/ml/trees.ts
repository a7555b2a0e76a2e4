import type { Dim } from "../../../../base/dim.ts";
import { f32 } from "../../../../base/dtype.ts";
import { hostFromBytes } from "../../../../graph/host.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { Mapped, NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { Formula } from "../formula.ts";
import { bothScores, classCount, classLabels, decided, labelled, largestIn, rowsOf, transformOf, transformed, vector } from "./common.ts";
import { type Aggregate, type Ensemble, type Scores, reckoningIn, scoresOf } from "./ensemble.ts";
import type { Mode, Target, TreeNode } from "./flatten.ts";

const modes: readonly Mode[] = ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ", "MEMBER"];
const aggregates: readonly Aggregate[] = ["AVERAGE", "SUM", "MIN", "MAX"];

/** Numbers of an attribute, or of the tensor that later versions may have in its place. */
function numbers(c: NodeContext, name: string): readonly number[] {
  return c.attribute(name)?.floats.length ? (c.attribute(name)?.floats ?? []) : elementsOf(c, `${name}_as_tensor`);
}
function elementsOf(c: NodeContext, name: string): readonly number[] {
  const t = c.tensor(name);
  return t === null ? [] : Array.from(hostFromBytes(t.dtype, t.dims, t.data.read(0, t.data.byteLength)).data, Number);
}

/** Lists of one entry for each node or leaf. */
function checkLengths(c: NodeContext, n: number, lists: Readonly<Record<string, readonly unknown[]>>): void {
  for (const [name, list] of Object.entries(lists)) if (list.length !== n) c.fail(`${name} has ${list.length} entries, expected ${n}`);
}

/** Trees as versions 1 to 4 have them: nodes with the numbers of their trees, leaves among them. */
function listedTrees(c: NodeContext, kind: "class" | "target", round: (v: number) => number): Ensemble {
  const ints = (name: string): readonly number[] => c.ints(name) ?? [];
  const [tree, id, feature] = [ints("nodes_treeids"), ints("nodes_nodeids"), ints("nodes_featureids")];
  const [yes, no] = [ints("nodes_truenodeids"), ints("nodes_falsenodeids")];
  const missing = ints("nodes_missing_value_tracks_true");
  const mode = (c.attribute("nodes_modes")?.strings ?? []).map((s) => new TextDecoder().decode(s));
  const values = numbers(c, "nodes_values");
  const n = tree.length;
  checkLengths(c, n, {
    nodes_nodeids: id,
    nodes_featureids: feature,
    nodes_truenodeids: yes,
    nodes_falsenodeids: no,
    nodes_modes: mode,
    nodes_values: values,
  });
  if (missing.length > 0) checkLengths(c, n, { nodes_missing_value_tracks_true: missing });
  const places = new Map<string, number>();
  for (let i = 0; i < n; i++) places.set(`${tree[i]} ${id[i]}`, i);
  if (places.size !== n) c.fail("two nodes of a tree have the same number");
  const isLeaf = (i: number): boolean => mode[i] === "LEAF";
  const target = (i: number): Target => ({ kind: isLeaf(i) ? "leaf" : "node", at: i });
  const led = new Set<number>();
  const branch = (i: number, to: number): Target => {
    const at = places.get(`${tree[i]} ${to}`) ?? c.fail(`node ${id[i]} of tree ${tree[i]} leads to ${to}, which is no node of that tree`);
    led.add(at);
    return target(at);
  };
  const nodes = Array.from({ length: n }, (_, i): TreeNode => {
    const m = modes.find((x) => `BRANCH_${x}` === mode[i]) ?? (isLeaf(i) ? "LEQ" : c.fail(`node mode '${mode[i]}'`));
    const self: Target = { kind: "leaf", at: i };
    const [to, otherwise] = isLeaf(i) ? [self, self] : [branch(i, yes[i] as number), branch(i, no[i] as number)];
    return {
      feature: isLeaf(i) ? 0 : (feature[i] as number),
      mode: m,
      against: [round(values[i] as number)],
      missingIsTrue: missing[i] === 1,
      yes: to,
      no: otherwise,
    };
  });
  const leaves = Array.from({ length: n }, (): [number, number][] => []);
  const [ofTree, ofNode, score, weight] = [ints(`${kind}_treeids`), ints(`${kind}_nodeids`), ints(`${kind}_ids`), numbers(c, `${kind}_weights`)];
  checkLengths(c, score.length, { [`${kind}_treeids`]: ofTree, [`${kind}_nodeids`]: ofNode, [`${kind}_weights`]: weight });
  score.forEach((s, i) => {
    const at =
      places.get(`${ofTree[i]} ${ofNode[i]}`) ?? c.fail(`a weight is given to node ${ofNode[i]} of tree ${ofTree[i]}, which is no node of that tree`);
    leaves[at]?.push([s, round(weight[i] as number)]);
  });
  return { nodes, roots: rootsOf(c, tree, led).map(target), leaves };
}

/** The node of each tree that no other leads to. */
function rootsOf(c: NodeContext, tree: readonly number[], led: ReadonlySet<number>): number[] {
  const roots = new Map<number, number>();
  tree.forEach((t, i) => {
    if (led.has(i)) return;
    if (roots.has(t)) c.fail(`two nodes of tree ${t} have none above them`);
    roots.set(t, i);
  });
  return [...new Set(tree)].map((t) => roots.get(t) ?? c.fail(`all nodes of tree ${t} have another above them`));
}

/** Trees as version 5 of TreeEnsemble has them: nodes and leaves apart, with the numbers of the roots. */
function indexedTrees(c: NodeContext, round: (v: number) => number): Ensemble {
  const ints = (name: string): readonly number[] => c.ints(name) ?? [];
  const [feature, yes, no] = [ints("nodes_featureids"), ints("nodes_truenodeids"), ints("nodes_falsenodeids")];
  const [yesIsLeaf, noIsLeaf] = [ints("nodes_trueleafs"), ints("nodes_falseleafs")];
  const missing = ints("nodes_missing_value_tracks_true");
  const [mode, splits] = [elementsOf(c, "nodes_modes"), elementsOf(c, "nodes_splits")];
  const n = feature.length;
  const lists = {
    nodes_truenodeids: yes,
    nodes_falsenodeids: no,
    nodes_trueleafs: yesIsLeaf,
    nodes_falseleafs: noIsLeaf,
    nodes_modes: mode,
    nodes_splits: splits,
  };
  checkLengths(c, n, lists);
  if (missing.length > 0) checkLengths(c, n, { nodes_missing_value_tracks_true: missing });
  const [score, weight] = [ints("leaf_targetids"), elementsOf(c, "leaf_weights")];
  checkLengths(c, score.length, { leaf_weights: weight });
  const sets = membershipSets(elementsOf(c, "membership_values"));
  let set = 0;
  const target = (at: number, isLeaf: boolean): Target => {
    if (at < 0 || at >= (isLeaf ? score.length : n)) c.fail(`${isLeaf ? "leaf" : "node"} ${at}, of which there are ${isLeaf ? score.length : n}`);
    return { kind: isLeaf ? "leaf" : "node", at };
  };
  const nodes = Array.from({ length: n }, (_, i): TreeNode => {
    const m = modes[mode[i] as number] ?? c.fail(`node mode ${mode[i]}, expected 0 to 6`);
    const against =
      m === "MEMBER"
        ? (sets[set++] ?? c.fail(`membership_values has ${sets.length} sets, and there are more nodes of that mode`))
        : [splits[i] as number];
    const [to, otherwise] = [target(yes[i] as number, yesIsLeaf[i] === 1), target(no[i] as number, noIsLeaf[i] === 1)];
    return { feature: feature[i] as number, mode: m, against: against.map(round), missingIsTrue: missing[i] === 1, yes: to, no: otherwise };
  });
  // A tree that is only a leaf has a node whose two branches are that leaf.
  const roots = ints("tree_roots").map((r) => target(r, false));
  return { nodes, roots, leaves: score.map((s, i) => [[s, round(weight[i] as number)]]) };
}

/** One set after another, each ended by a NaN. */
function membershipSets(values: readonly number[]): number[][] {
  const out: number[][] = [];
  let open: number[] = [];
  for (const v of values) {
    if (!Number.isNaN(v)) open.push(v);
    else {
      out.push(open);
      open = [];
    }
  }
  return open.length > 0 ? [...out, open] : out;
}

/** Base values added to scores, [rows, n]. */
function withBase(c: NodeContext, scores: Value, base: readonly number[]): Value {
  return base.length === 0 ? scores : c.g.one("add", [scores, c.g.broadcast(vector(c, scores.dtype, base, "base"), scores.dims, [1])]);
}

/** The same, where ONNX Runtime leaves a score that no leaf gives at 0. */
function withGivenBase(c: NodeContext, s: Scores, base: readonly number[]): Value {
  const moved = withBase(
    c,
    s.values,
    base.map((b, i) => (s.given[i] === "never" ? 0 : b)),
  );
  return s.isGiven === null ? moved : new Formula(c.g).select(s.isGiven, moved, s.values);
}

function regressor(c: NodeContext): Operand {
  const x = rowsOf(c);
  const ensemble = listedTrees(c, "target", reckoningIn(x));
  const name = c.text("aggregate_function", "SUM");
  const aggregate = aggregates.find((a) => a === name) ?? c.fail(`aggregate_function '${name}', expected one of ${aggregates.join(", ")}`);
  const count = c.int("n_targets", 1);
  if (count < 1) return c.fail(`n_targets ${count}`);
  const base = numbers(c, "base_values");
  if (base.length !== 0 && base.length !== count) return c.fail(`${base.length} base_values for ${count} targets`);
  const scores = scoresOf(c, x, ensemble, count, aggregate, count > 1 && base.length > 0);
  return c.of(c.g.convert(transformed(c, count === 1 ? withBase(c, scores.values, base) : withGivenBase(c, scores, base), transformOf(c)), f32));
}

function ensemble(c: NodeContext): Operand {
  const x = rowsOf(c);
  const trees = indexedTrees(c, reckoningIn(x));
  const aggregate = aggregates[c.int("aggregate_function", 1)] ?? c.fail(`aggregate_function ${c.int("aggregate_function", 1)}, expected 0 to 3`);
  const count = c.int("n_targets", 1);
  if (count < 1) return c.fail(`n_targets ${count}`);
  const { values } = scoresOf(c, x, trees, count, aggregate, false);
  return c.of(c.g.convert(transformed(c, values, transformOf(c)), c.input(0).dtype));
}

/** Scores of all classes, and the number of the one that wins: of a class label, or (ONNX Runtime's rule) the label itself. */
interface Classified {
  readonly at: Value;
  readonly scores: Value;
  readonly isLabel?: boolean;
}

/** More than two classes: the highest score wins, of those that a row gives one to. */
function manyClasses(c: NodeContext, s: Scores, base: readonly number[]): Classified {
  const f = new Formula(c.g);
  const scores = withBase(c, s.values, base);
  if (base.length > 0 || s.given.every((g) => g === "always")) return { at: largestIn(c, scores), scores };
  const always = s.given.map((g) => (g === "always" ? 1 : 0));
  const given = s.isGiven ?? c.withScalar("gt", c.g.broadcast(vector(c, f32, always, "given"), scores.dims, [1]), 0);
  return { at: largestIn(c, f.select(given, scores, Number.NEGATIVE_INFINITY)), scores };
}

/** Two classes as ONNX Runtime has them: trees may give the score of one only, which then decides. */
function twoClasses(c: NodeContext, s: Scores, base: readonly number[], isPositive: boolean): Classified {
  const f = new Formula(c.g);
  const t = transformOf(c);
  const rows = s.values.dims[0] as Dim;
  const column = (i: number): Value => c.g.one("slice", [s.values], { start: [0, i], stride: [1, 1], dims: [rows, 1] });
  const both = (a: Value, b: Value): Value => c.g.one("concat", [a, b], { axis: 1 });
  const [first, second] = [column(0), column(1)];
  const hasSecond = s.given[1] !== "never";
  const isBinary = s.given.filter((g) => g !== "never").length === 1;
  const at = (score: Value): Value => decided(c, score, isBinary && isPositive ? 0.5 : 0);
  const pair = (a: Value, b: Value, deciding = b): Classified => ({ at: at(deciding), scores: transformed(c, both(a, b), t), isLabel: !isBinary });
  if (base.length === 2) {
    if (!hasSecond) {
      const score = f.add(first, base[0] as number);
      return { ...pair(score, second, score), isLabel: false };
    }
    // The second base value and the first score, as it is.
    const score = f.add(first, base[1] as number);
    return pair(s.given[0] === "never" ? first : f.op("neg", score), score);
  }
  // A score that no leaf gives stays 0.
  const shifted = base.length === 1 && s.given[0] !== "never" ? f.add(first, base[0] as number) : first;
  if (hasSecond) return pair(shifted, second);
  return { at: at(shifted), scores: bothScores(c, shifted, isPositive ? "complement" : "opposite", t) };
}

function classifier(c: NodeContext): Mapped {
  const x = rowsOf(c);
  const trees = listedTrees(c, "class", reckoningIn(x));
  const labels = classLabels(c, "classlabels_int64s");
  const count = classCount(c, "classlabels_int64s");
  const base = numbers(c, "base_values");
  const isPositive = trees.leaves.every((l) => l.every(([, w]) => w >= 0));
  if (count < 2) return c.unsupported(`${count} class labels, expected 2 or more`);
  if (base.length > count || (count > 2 && base.length !== 0 && base.length !== count))
    return c.fail(`${base.length} base_values for ${count} classes`);
  const scores = scoresOf(c, x, trees, count, "SUM", count > 2 && base.length === 0);
  const done = count > 2 ? manyClasses(c, scores, base) : twoClasses(c, scores, base, isPositive);
  const z = count > 2 ? transformed(c, done.scores, transformOf(c)) : done.scores;
  const label = labelled(c, done.isLabel === true && labels !== null ? [0n, 1n] : labels, done.at);
  return [label === null ? null : c.of(label), c.of(c.g.convert(z, f32))];
}

export const treeOps: OpTable = {
  TreeEnsembleRegressor: { since: 1, map: regressor },
  TreeEnsembleClassifier: { since: 1, map: classifier },
  TreeEnsemble: { since: 5, map: ensemble },
};

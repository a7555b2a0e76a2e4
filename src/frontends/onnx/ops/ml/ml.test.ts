import { describe, expect, test } from "vitest";
import { type AttrSpec, type ElemName, type ModelSpec, failure } from "../../../../../test/support/onnx.ts";
import { runBoth } from "../../../../../test/support/onnx-run.ts";
import { f32, i64 } from "../../../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../../../graph/host.ts";
import { seededRandom } from "../../../../schedule/random.ts";
import { before } from "./flatten.ts";

function modelOf(
  op: string,
  attrs: Record<string, AttrSpec>,
  columns: number,
  outputs: readonly string[] = ["y"],
  dtype: ElemName = "f32",
  version = 3,
): ModelSpec {
  return {
    domains: { "ai.onnx.ml": version },
    inputs: { x: [dtype, ["n", columns]] },
    nodes: [{ op, domain: "ai.onnx.ml", in: ["x"], out: [...outputs], attrs }],
    outputs: [...outputs],
  };
}

function expectClose(y: HostTensor | undefined, want: readonly number[]): void {
  expect(y?.data.length).toBe(want.length);
  want.forEach((v, i) => {
    expect(Math.abs(v - Number(y?.data[i]))).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(v)));
  });
}

interface Node {
  readonly mode: string;
  readonly feature: number;
  readonly value: number;
  readonly missing: boolean;
  readonly yes: number;
  readonly no: number;
  readonly weight: number;
}

/** A random tree; node 0 is the root. */
function randomTree(random: () => number, modes: readonly string[], depth: number): Node[] {
  const nodes: Node[] = [];
  const grow = (left: number): number => {
    const at = nodes.length;
    const isLeaf = left === 0 || random() < 0.15;
    const base = { feature: Math.floor(random() * 4), value: Math.floor(random() * 7 - 3) / 2, missing: random() < 0.5, weight: random() - 0.5 };
    nodes.push({ ...base, mode: "LEAF", yes: 0, no: 0 });
    if (!isLeaf) {
      const [yes, no] = [grow(left - 1), grow(left - 1)];
      nodes[at] = { ...base, mode: modes[Math.floor(random() * modes.length)] as string, yes, no };
    }
    return at;
  };
  grow(depth);
  return nodes;
}

const tests: Readonly<Record<string, (x: number, t: number) => boolean>> = {
  BRANCH_LEQ: (x, t) => x <= t,
  BRANCH_LT: (x, t) => x < t,
  BRANCH_GTE: (x, t) => x >= t,
  BRANCH_GT: (x, t) => x > t,
  BRANCH_EQ: (x, t) => x === t,
  BRANCH_NEQ: (x, t) => x !== t,
};

function leafOf(tree: readonly Node[], row: readonly number[]): Node {
  let n = tree[0] as Node;
  while (n.mode !== "LEAF") {
    const x = row[n.feature] as number;
    const goes = (tests[n.mode]?.(x, n.value) ?? false) || (n.missing && Number.isNaN(x));
    n = tree[goes ? n.yes : n.no] as Node;
  }
  return n;
}

function treeAttributes(trees: readonly (readonly Node[])[]): Record<string, AttrSpec> {
  const all = trees.flatMap((nodes, tree) => nodes.map((n, id) => ({ ...n, tree, id })));
  return {
    nodes_treeids: all.map((n) => n.tree),
    nodes_nodeids: all.map((n) => n.id),
    nodes_featureids: all.map((n) => n.feature),
    nodes_values: { floats: all.map((n) => n.value) },
    nodes_modes: { strings: all.map((n) => n.mode) },
    nodes_truenodeids: all.map((n) => n.yes),
    nodes_falsenodeids: all.map((n) => n.no),
    nodes_missing_value_tracks_true: all.map((n) => Number(n.missing)),
  };
}
function weightsOf(trees: readonly (readonly Node[])[], kind: string, scoreOf: (tree: number) => number): Record<string, AttrSpec> {
  const leaves = trees.flatMap((nodes, tree) => nodes.flatMap((n, id) => (n.mode === "LEAF" ? [{ tree, id, weight: n.weight }] : [])));
  return {
    [`${kind}_treeids`]: leaves.map((l) => l.tree),
    [`${kind}_nodeids`]: leaves.map((l) => l.id),
    [`${kind}_ids`]: leaves.map((l) => scoreOf(l.tree)),
    [`${kind}_weights`]: { floats: leaves.map((l) => l.weight) },
  };
}

const rows = 70;
/** Numbers on both sides of thresholds, the thresholds themselves, and what is no number or infinite. */
function features(random: () => number): HostTensor {
  return hostFrom(f32, [rows, 4], () => {
    const kind = random();
    if (kind < 0.1) return Number.NaN;
    if (kind < 0.15) return kind < 0.125 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    return Math.floor(random() * 9 - 4) / 2 + (kind < 0.4 ? 0.1 : 0);
  });
}
const rowOf = (x: HostTensor, i: number): number[] => Array.from(x.data.subarray(i * 4, i * 4 + 4) as Float64Array);

describe("trees give what a walk from node to node gives", () => {
  const modes = Object.keys(tests);
  test.each([...modes.map((m) => [m]), modes])("%s", async (...names) => {
    const random = seededRandom(names.join().length);
    const trees = Array.from({ length: 11 }, (_, i) => randomTree(random, names, 1 + (i % 5)));
    const x = features(random);
    const count = 3;
    const attrs = {
      ...treeAttributes(trees),
      ...weightsOf(trees, "target", (t) => t % count),
      n_targets: count,
      base_values: { floats: [0.5, 0.25, 0] },
    };
    const want = Array.from({ length: rows * count }, (_, i) =>
      trees.reduce(
        (sum, t, k) => sum + (k % count === i % count ? leafOf(t, rowOf(x, Math.floor(i / count))).weight : 0),
        [0.5, 0.25, 0][i % count] as number,
      ),
    );
    for (const [y] of await runBoth(modelOf("TreeEnsembleRegressor", attrs, 4), [x])) expectClose(y, want);
  });

  test.each([
    ["MIN", (w: readonly number[]) => Math.min(...w)],
    ["MAX", (w: readonly number[]) => Math.max(...w)],
    ["AVERAGE", (w: readonly number[]) => w.reduce((a, b) => a + b, 0) / w.length],
  ] as const)("%s", async (aggregate, combine) => {
    const random = seededRandom(8);
    const trees = Array.from({ length: 9 }, () => randomTree(random, ["BRANCH_LEQ"], 4));
    const x = features(random);
    const attrs = { ...treeAttributes(trees), ...weightsOf(trees, "target", () => 0), n_targets: 1, aggregate_function: aggregate };
    const want = Array.from({ length: rows }, (_, i) => combine(trees.map((t) => leafOf(t, rowOf(x, i)).weight)));
    for (const [y] of await runBoth(modelOf("TreeEnsembleRegressor", attrs, 4), [x])) expectClose(y, want);
  });

  test("classes: the highest score has the label", async () => {
    const random = seededRandom(9);
    const trees = Array.from({ length: 10 }, () => randomTree(random, ["BRANCH_LT"], 3));
    const x = features(random);
    const labels = [7, 20, 3, 5, 11];
    const attrs = { ...treeAttributes(trees), ...weightsOf(trees, "class", (t) => t % 5), classlabels_int64s: labels };
    const scores = Array.from({ length: rows }, (_, i) =>
      labels.map((_l, s) => trees.reduce((sum, t, k) => sum + (k % 5 === s ? leafOf(t, rowOf(x, i)).weight : 0), 0)),
    );
    for (const [y, z] of await runBoth(modelOf("TreeEnsembleClassifier", attrs, 4, ["y", "z"]), [x])) {
      expectClose(z, scores.flat());
      expect(Array.from(y?.data ?? [], Number)).toEqual(scores.map((s) => labels[s.indexOf(Math.max(...s))]));
    }
  });
});

test("the number before another", () => {
  expect(before(f32, 1)).toBe(1 - 2 ** -24);
  expect(before(f32, 0)).toBe(-(2 ** -149));
  expect(before(f32, Number.POSITIVE_INFINITY)).toBe(Math.fround(3.4028234663852886e38));
  expect(before(f32, Number.NEGATIVE_INFINITY)).toBeNaN();
});

test("LabelEncoder: many keys are searched, of equal ones the first counts", async () => {
  const keys = Array.from({ length: 90 }, (_, i) => (i * 37) % 89);
  const attrs = { keys_int64s: keys, values_floats: { floats: keys.map((_, i) => i) }, default_float: { float: -2 } };
  const x = hostFrom(i64, [40, 3], (i) => BigInt(i - 10));
  const want = Array.from({ length: 120 }, (_, i) => (keys.includes(i - 10) ? keys.indexOf(i - 10) : -2));
  for (const [y] of await runBoth(modelOf("LabelEncoder", attrs, 3, ["y"], "i64", 2), [x])) expectClose(y, want);
});

test("SVMClassifier: probabilities of three classes add up to 1 and follow the pairs", async () => {
  const random = seededRandom(4);
  const draw = (n: number): { floats: number[] } => ({ floats: Array.from({ length: n }, () => random() * 2 - 1) });
  const attrs = {
    kernel_type: "RBF",
    kernel_params: { floats: [0.5, 0, 0] },
    support_vectors: draw(12),
    coefficients: draw(12),
    rho: draw(3),
    prob_a: { floats: [-2, -1.5, -1] },
    prob_b: { floats: [0, 0.1, -0.1] },
    vectors_per_class: [2, 2, 2],
    classlabels_ints: [1, 2, 3],
  };
  const x = hostFrom(f32, [9, 2], () => random() * 2 - 1);
  for (const [, z] of await runBoth(modelOf("SVMClassifier", attrs, 2, ["y", "z"]), [x])) {
    const p = Array.from(z?.data ?? [], Number);
    expect(p.every((v) => v > 0 && v < 1)).toBe(true);
    for (let i = 0; i < 9; i++) expect(p.slice(3 * i, 3 * i + 3).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
  }
});

describe("errors name the node", () => {
  const tree = treeAttributes([[{ mode: "BRANCH_LEQ", feature: 0, value: 0, missing: false, yes: 0, no: 0, weight: 0 }]]);
  const weights = { target_treeids: [0], target_nodeids: [0], target_ids: [0], target_weights: { floats: [1] } };
  test.each<[string, string, Record<string, AttrSpec>, string]>([
    ["a walk without end", "TreeEnsembleRegressor", { ...tree, ...weights }, "TreeEnsembleRegressor): all nodes of tree 0 have another above them"],
    ["lists of different lengths", "TreeEnsembleRegressor", { ...tree, nodes_values: { floats: [1, 2] } }, "nodes_values has 2 entries, expected 1"],
    ["missing coefficients", "LinearRegressor", { coefficients: { floats: [1] } }, "LinearRegressor): 1 coefficients, expected 1 times 4 features"],
    ["strings", "LabelEncoder", { keys_strings: { strings: ["a"] }, values_int64s: [1] }, "LabelEncoder"],
    [
      "an unknown kernel",
      "SVMRegressor",
      { kernel_type: "X", n_supports: 1, support_vectors: { floats: [1, 2, 3, 4] }, rho: { floats: [0] } },
      "kernel_type 'X'",
    ],
  ])("%s", (_, op, attrs, message) => {
    const e = failure(modelOf(op, attrs, 4));
    expect(e.message).toContain(message);
  });
});

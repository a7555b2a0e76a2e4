/**
 * Gradient-boosted regression trees for squared error (Friedman, Greedy Function Approximation, 2001), which other tuners
 * of kernels use too, for the reason that holds here: a few hundred samples, some fifty features of unlike scales of which
 * most say nothing, and thresholds (registers spill, a cache is full) that no straight line shows. Trees are small, splits
 * are looked for at quantiles, and fitting is deterministic. The libraries for this have native code or are services; what
 * is needed is this page.
 */
export interface Sample {
  readonly row: readonly number[];
  readonly target: number;
}

export interface BoostingOptions {
  readonly trees?: number;
  readonly depth?: number;
  readonly rate?: number;
  /** Fewest samples on each side of a split. */
  readonly leaf?: number;
  /** Thresholds tried for a feature. */
  readonly bins?: number;
}

interface Split {
  readonly feature: number;
  readonly threshold: number;
  readonly left: Node;
  readonly right: Node;
}
type Node = number | Split;

export class BoostedTrees {
  private readonly base: number;
  private readonly rate: number;
  private readonly trees: readonly Node[];

  /** Fits to the samples; without any it predicts 0. */
  constructor(samples: readonly Sample[], options: BoostingOptions = {}) {
    const { trees = 60, depth = 3, rate = 0.15, leaf = 3, bins = 24 } = options;
    this.rate = rate;
    this.base = samples.length === 0 ? 0 : samples.reduce((n, s) => n + s.target, 0) / samples.length;
    const rows = samples.map((s) => s.row);
    const grower = new Grower(rows, bins, leaf);
    const residuals = Float64Array.from(samples, (s) => s.target - this.base);
    const all = Int32Array.from(samples, (_, i) => i);
    const made: Node[] = [];
    for (let t = 0; t < trees && samples.length >= 2 * leaf; t++) {
      const tree = grower.grow(residuals, all, depth);
      if (typeof tree === "number") break;
      made.push(tree);
      for (let i = 0; i < rows.length; i++) residuals[i] = (residuals[i] as number) - rate * treeValue(tree, rows[i] as readonly number[]);
    }
    this.trees = made;
  }

  predict(row: readonly number[]): number {
    return this.trees.reduce((n: number, t) => n + this.rate * treeValue(t, row), this.base);
  }
}

function treeValue(tree: Node, row: readonly number[]): number {
  let n: Node = tree;
  while (typeof n !== "number") n = (row[n.feature] as number) <= n.threshold ? n.left : n.right;
  return n;
}

class Grower {
  private readonly leaf: number;
  /** For each feature the thresholds, and for each sample the bin that it falls in. */
  private readonly thresholds: readonly (readonly number[])[];
  private readonly bin: readonly Uint8Array[];

  constructor(rows: readonly (readonly number[])[], bins: number, leaf: number) {
    this.leaf = leaf;
    const width = rows[0]?.length ?? 0;
    this.thresholds = Array.from({ length: width }, (_, f) => quantiles(rows, f, bins));
    this.bin = this.thresholds.map((t, f) =>
      Uint8Array.from(rows, (r) => {
        let b = 0;
        while (b < t.length && (r[f] as number) > (t[b] as number)) b++;
        return b;
      }),
    );
  }

  grow(target: Float64Array, samples: Int32Array, depth: number): Node {
    let sum = 0;
    for (const i of samples) sum += target[i] as number;
    const mean = samples.length === 0 ? 0 : sum / samples.length;
    if (depth === 0 || samples.length < 2 * this.leaf) return mean;
    let best = { gain: 1e-12, feature: -1, at: 0 };
    for (const [f, t] of this.thresholds.entries()) {
      if (t.length === 0) continue;
      const found = this.bestSplit(f, t.length, target, samples, sum);
      if (found.gain > best.gain) best = { ...found, feature: f };
    }
    if (best.feature < 0) return mean;
    const bin = this.bin[best.feature] as Uint8Array;
    const left = samples.filter((i) => (bin[i] as number) <= best.at);
    const right = samples.filter((i) => (bin[i] as number) > best.at);
    return {
      feature: best.feature,
      threshold: this.thresholds[best.feature]?.[best.at] as number,
      left: this.grow(target, left, depth - 1),
      right: this.grow(target, right, depth - 1),
    };
  }

  /** The threshold of a feature that takes most of the squared error away. */
  private bestSplit(f: number, thresholds: number, target: Float64Array, samples: Int32Array, total: number): { gain: number; at: number } {
    const sums = new Float64Array(thresholds + 1);
    const counts = new Int32Array(thresholds + 1);
    const bin = this.bin[f] as Uint8Array;
    for (const i of samples) {
      const b = bin[i] as number;
      sums[b] = (sums[b] as number) + (target[i] as number);
      counts[b] = (counts[b] as number) + 1;
    }
    let [gain, at, n, s] = [0, 0, 0, 0];
    const whole = (total * total) / samples.length;
    for (let b = 0; b < thresholds; b++) {
      n += counts[b] as number;
      s += sums[b] as number;
      const rest = samples.length - n;
      if (n < this.leaf || rest < this.leaf) continue;
      const g = (s * s) / n + ((total - s) * (total - s)) / rest - whole;
      if (g > gain) [gain, at] = [g, b];
    }
    return { gain, at };
  }
}

/** Distinct thresholds between the values of a feature, at most `bins`. */
function quantiles(rows: readonly (readonly number[])[], f: number, bins: number): number[] {
  const values = [...new Set(rows.map((r) => r[f] as number))].sort((a, b) => a - b);
  const count = Math.min(bins, values.length - 1);
  const out = Array.from({ length: Math.max(0, count) }, (_, i) => {
    const at = Math.floor(((i + 1) * (values.length - 1)) / (count + 1));
    return ((values[at] as number) + (values[at + 1] as number)) / 2;
  });
  return [...new Set(out)];
}

import { type DType, f64 } from "../../../../base/dtype.ts";
import { UserError } from "../../../../base/errors.ts";

/** Where a branch leads: a node by its number, or a leaf by its own. */
export type Target = { readonly kind: "node" | "leaf"; readonly at: number };

/** The comparison of a node: with one number, or with a set of them. */
export type Mode = "LEQ" | "LT" | "GTE" | "GT" | "EQ" | "NEQ" | "MEMBER";

/** A node as ONNX has it. */
export interface TreeNode {
  readonly feature: number;
  readonly mode: Mode;
  /** What is compared with; as many as there are for MEMBER, else one. */
  readonly against: readonly number[];
  readonly missingIsTrue: boolean;
  readonly yes: Target;
  readonly no: Target;
}

/** Nodes as the graph op takes them: at most the threshold, or not. */
export interface FlatTrees {
  readonly roots: number[];
  readonly feature: number[];
  readonly child: number[];
  readonly threshold: number[];
  /** The leaf that a node is, -1 for others. */
  readonly leaf: number[];
  /** Are features above the number of columns used, which stand for the columns negated? */
  readonly usesNegated: boolean;
  readonly usesPlain: boolean;
}

/** The largest number of the dtype below one. */
export function before(d: DType, v: number): number {
  if (Number.isNaN(v) || v === Number.NEGATIVE_INFINITY) return Number.NaN;
  const bytes = new DataView(new ArrayBuffer(8));
  if (d === f64) {
    if (v === 0) return -Number.MIN_VALUE;
    bytes.setFloat64(0, v);
    bytes.setBigInt64(0, bytes.getBigInt64(0) + (v > 0 ? -1n : 1n));
    return bytes.getFloat64(0);
  }
  if (v === 0) return -(2 ** -149);
  bytes.setFloat32(0, v);
  bytes.setInt32(0, bytes.getInt32(0) + (v > 0 ? -1 : 1));
  return bytes.getFloat32(0);
}

/**
 * What a node says of a feature, as a step function: `holds[i]` up to and including `bounds[i]`, the last one beyond all
 * bounds; and what it says of NaN.
 */
interface Steps {
  readonly bounds: readonly number[];
  readonly holds: readonly boolean[];
  readonly ofNaN: boolean;
}

function stepsOf(n: TreeNode, d: DType): Steps {
  const [t = Number.NaN] = n.against;
  const below = before(d, t);
  const missing = n.missingIsTrue;
  switch (n.mode) {
    case "LEQ":
      return merged([t], [true, false], missing);
    case "LT":
      return merged([below], [true, false], missing);
    case "GT":
      return Number.isNaN(t) ? merged([], [false], missing) : merged([t], [false, true], missing);
    case "GTE":
      return Number.isNaN(t) ? merged([], [false], missing) : merged([below], [false, true], missing);
    case "EQ":
    case "MEMBER":
      return amongSteps(n.against, d, false, missing);
    case "NEQ":
      return amongSteps(n.against, d, true, true);
    default:
      throw n.mode satisfies never;
  }
}

function amongSteps(values: readonly number[], d: DType, inverted: boolean, ofNaN: boolean): Steps {
  const bounds: number[] = [];
  const holds: boolean[] = [];
  for (const v of Float64Array.from(new Set(values.filter((x) => !Number.isNaN(x)))).sort()) {
    bounds.push(before(d, v), v);
    holds.push(inverted, !inverted);
  }
  return merged(bounds, [...holds, inverted], ofNaN);
}

/** Without steps that have nothing between their bounds, or say what the next one says. A NaN is a bound below all numbers. */
function merged(bounds: readonly number[], holds: readonly boolean[], ofNaN: boolean): Steps {
  const [b, h]: [number[], boolean[]] = [[], []];
  bounds.forEach((bound, i) => {
    if (Number.isNaN(bound) || b.at(-1) === bound) return;
    const says = holds[i] as boolean;
    if (h.at(-1) === says) b[b.length - 1] = bound;
    else {
      b.push(bound);
      h.push(says);
    }
  });
  const last = holds.at(-1) as boolean;
  if (h.at(-1) === last) {
    b.pop();
    h.pop();
  }
  return { bounds: b, holds: [...h, last], ofNaN };
}

/** What is left to do at a node of the result: go to a target, or find the step that a feature is in. */
type Work =
  | { readonly kind: "target"; readonly target: Target }
  | {
      readonly kind: "search";
      readonly node: TreeNode;
      readonly steps: Steps;
      readonly from: number;
      readonly to: number;
    };

/**
 * Trees as comparisons with one threshold each, "at most" or not, where a NaN is not. Other comparisons are searches among
 * their bounds; one that a NaN should fulfil is asked of the negated feature, with the branches exchanged. Subtrees to which
 * several branches lead are shared.
 */
export function flattenTrees(nodes: readonly TreeNode[], roots: readonly Target[], columns: number, d: DType): FlatTrees {
  const out = { roots: [] as number[], feature: [] as number[], child: [] as number[], threshold: [] as number[], leaf: [] as number[] };
  const uses = { negated: false, plain: false };
  /** Where a node's first comparison stands. */
  const placed = new Map<number, number>();
  const stack: { readonly at: number; readonly work: Work }[] = [];
  const room = (): number => {
    for (const list of [out.feature, out.child, out.leaf]) list.push(-1);
    return out.threshold.push(Number.NaN) - 1;
  };
  const put = (at: number, feature: number, child: number, threshold: number, leaf: number): void => {
    out.feature[at] = feature;
    out.child[at] = child;
    out.threshold[at] = threshold;
    out.leaf[at] = leaf;
  };
  const copy = (at: number, of: number): void =>
    put(at, out.feature[of] as number, out.leaf[of] === -1 ? (out.child[of] as number) : at, out.threshold[of] as number, out.leaf[of] as number);
  /** A comparison whose two results are worked on later. */
  const branch = (at: number, feature: number, threshold: number, no: Work, yes: Work): void => {
    const child = room();
    room();
    put(at, feature, child, threshold, -1);
    stack.push({ at: child, work: no }, { at: child + 1, work: yes });
  };
  const toTarget = (n: TreeNode, holds: boolean): Work => ({ kind: "target", target: holds ? n.yes : n.no });

  const search = (at: number, w: Extract<Work, { kind: "search" }>): void => {
    const { node, steps, from, to } = w;
    const { bounds, holds, ofNaN } = steps;
    const stepOf = (low: number, high: number): Work =>
      low === high ? toTarget(node, holds[low] as boolean) : { kind: "search", node, steps, from: low, to: high };
    const isNegated = bounds.length === 1 && holds[0] === ofNaN;
    if (isNegated) {
      uses.negated = true;
      const bound = before(d, -(bounds[0] as number));
      branch(at, node.feature + columns, bound, toTarget(node, holds[0] as boolean), toTarget(node, holds[1] as boolean));
      return;
    }
    uses.plain = true;
    const middle = (from + to) >> 1;
    branch(at, node.feature, bounds[middle] as number, stepOf(middle + 1, to), stepOf(from, middle));
  };

  const work = (at: number, target: Target): void => {
    const passed = new Set<number>();
    for (let t = target; ; ) {
      if (t.kind === "leaf") {
        put(at, 0, at, Number.NaN, t.at);
        return;
      }
      const before = placed.get(t.at);
      if (before !== undefined) {
        copy(at, before);
        return;
      }
      const n = nodes[t.at] as TreeNode;
      let steps = stepsOf(n, d);
      const last = steps.holds.at(-1) as boolean;
      // What decides between a NaN and all numbers, where the step of a NaN is neither the first of two nor the last.
      if (steps.ofNaN !== last && steps.bounds.length !== 1)
        steps = { ...steps, bounds: [...steps.bounds, Number.POSITIVE_INFINITY], holds: [...steps.holds, steps.ofNaN] };
      if (steps.bounds.length > 0) {
        placed.set(t.at, at);
        search(at, { kind: "search", node: n, steps, from: 0, to: steps.bounds.length });
        return;
      }
      // A node that decides nothing.
      if (passed.has(t.at)) throw new UserError("invalid-model", `node ${t.at} of the trees leads back to itself`);
      passed.add(t.at);
      t = last ? n.yes : n.no;
    }
  };

  for (const root of roots) {
    const at = room();
    out.roots.push(at);
    stack.push({ at, work: { kind: "target", target: root } });
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      if (next.work.kind === "target") work(next.at, next.work.target);
      else search(next.at, next.work);
    }
  }
  return { ...out, usesNegated: uses.negated, usesPlain: uses.plain };
}

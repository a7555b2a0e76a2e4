import { type ConstantData, aligned, inlineConstant } from "../../base/constant.ts";
import { type Dim, ceilDivDim, minDim, productOf } from "../../base/dim.ts";
import { type DType, f32, f64, i32 } from "../../base/dtype.ts";
import type { Num } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { OpaqueBuilder } from "../../tensor/opaque-builder.ts";
import type { Tensor } from "../../tensor/ir.ts";
import { type HostTensor, hostFrom, hostFromBytes, hostTensor, hostToBytes } from "../host.ts";
import { type LowerContext, type TensorType, defineOp } from "../op.ts";

/**
 * Binary decision trees as flat tables. At an inner node the walk goes to the node `child`, or the one after it if the row's
 * `feature` is at most the node's threshold. A leaf is its own child, and its threshold NaN, so that further steps stay there.
 */
interface TreeTables {
  /** The first node of each tree. */
  readonly roots: Int32Array;
  /** feature and child of each node. */
  readonly links: Int32Array;
  /** One for each node, of the dtype of the features. */
  readonly thresholds: HostTensor;
  /** What a tree gives where the walk ends at the node. */
  readonly values: HostTensor;
}

/** The tables as one constant, as the op takes them. */
export function packTrees(t: Omit<TreeTables, "thresholds" | "values">, thresholds: Uint8Array, values: Uint8Array): ConstantData {
  const parts = [bytesOf(t.roots), bytesOf(t.links), thresholds, values];
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    all.set(p, at);
    at += p.length;
  }
  return inlineConstant(all);
}
function bytesOf(a: Int32Array): Uint8Array {
  return new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
}

interface Attributes {
  readonly trees: number;
  readonly nodes: number;
  readonly result: DType;
  readonly dims: readonly Dim[];
  readonly tables: ConstantData;
}

/** The bytes of each table; null where they are not as many as there have to be. */
function splitTables(
  a: Attributes,
  d: DType,
): { readonly roots: Uint8Array; readonly links: Uint8Array; readonly thresholds: Uint8Array; readonly values: Uint8Array } | null {
  const sizes = [4 * a.trees, 8 * a.nodes, d.byteWidth * a.nodes, a.result.byteWidth * a.nodes];
  if (a.trees < 1 || a.nodes < 1 || sizes.reduce((x, y) => x + y) !== a.tables.byteLength) return null;
  let at = 0;
  const [roots, links, thresholds, values] = sizes.map((n) => {
    at += n;
    return aligned(a.tables.read(at - n, n));
  }) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  return { roots, links, thresholds, values };
}
const integers = (b: Uint8Array): Int32Array => new Int32Array(b.buffer, b.byteOffset, b.byteLength / 4);

function tablesOf(a: Attributes, d: DType): TreeTables | null {
  const parts = splitTables(a, d);
  if (parts === null) return null;
  return {
    roots: integers(parts.roots),
    links: integers(parts.links),
    thresholds: hostFromBytes(d, [a.nodes], parts.thresholds),
    values: hostFromBytes(a.result, [a.nodes], parts.values),
  };
}

/**
 * The most steps from each root to a leaf; a text that says what is wrong where a walk could leave the tables, or not end.
 * Nodes may be shared.
 */
export function treeDepths(t: Pick<TreeTables, "roots" | "links" | "thresholds">): number[] | string {
  const n = t.thresholds.data.length;
  const child = (i: number): number => t.links[2 * i + 1] as number;
  for (let i = 0; i < n; i++) {
    const c = child(i);
    if (c === i ? !Number.isNaN(t.thresholds.data[i] as number) : c < 0 || c + 1 >= n)
      return c === i ? `the leaf ${i} has a threshold` : `node ${i} has the child ${c}`;
  }
  // -1: not seen; -2: being worked on.
  const depth = new Int32Array(n).fill(-1);
  const out: number[] = [];
  for (const root of t.roots) {
    if (root < 0 || root >= n) return `a root is ${root}`;
    const stack = [root];
    for (let i = stack.at(-1); i !== undefined; i = stack.at(-1)) {
      const c = child(i);
      const [a, b] = [depth[c] as number, depth[c + 1] as number];
      if ((depth[i] as number) >= 0 || c === i || (a >= 0 && b >= 0)) {
        if ((depth[i] as number) < 0) depth[i] = c === i ? 0 : 1 + Math.max(a, b);
        stack.pop();
        continue;
      }
      if (a === -2 || b === -2) return `node ${i} leads back to itself`;
      depth[i] = -2;
      if (a < 0) stack.push(c);
      if (b < 0) stack.push(c + 1);
    }
    out.push(depth[root] as number);
  }
  return out;
}

/** Depths of tables that were found right: ops are made again and again with the same constant. */
const known = new WeakMap<ConstantData, { readonly of: DType; readonly depths: readonly number[]; readonly features: number }>();

function checked(a: Attributes, d: DType): { readonly depths: readonly number[]; readonly features: number } | string {
  const before = known.get(a.tables);
  if (before?.of === d) return before;
  const t = tablesOf(a, d);
  if (t === null) return `${a.tables.byteLength} bytes for ${a.trees} trees with ${a.nodes} nodes`;
  const depths = treeDepths(t);
  if (typeof depths === "string") return depths;
  let features = 0;
  for (let i = 0; i < a.nodes; i++) {
    const f = t.links[2 * i] as number;
    if (f < 0) return `node ${i} has the feature ${f}`;
    features = Math.max(features, f + 1);
  }
  const found = { of: d, depths, features };
  known.set(a.tables, found);
  return found;
}

/** Walks that go on beside each other: a step of one waits for memory, that of another need not. */
const together = 8;
/** Rows that go through the same trees one after another, while these are in the caches. */
const rowBlock = 64;

/** Trees of one group, over a block of rows. */
function walkBlock(
  o: OpaqueBuilder,
  c: LowerContext<Attributes>,
  t: Record<"roots" | "links" | "thresholds" | "values" | "depths", Tensor>,
  at: readonly Expr[],
): void {
  const { sc, attrs } = c;
  const [x, result] = [c.operands[0] as Tensor, c.results[0] as Tensor];
  const [group, block] = at as [Expr, Expr];
  const width = Math.min(together, attrs.trees);
  // The last group goes back so far that it is full: what it shares with the one before comes out twice alike.
  const first = o.let("first", sc.min(sc.mul(group, sc.int(width)), sc.int(attrs.trees - width)));
  const tree = Array.from({ length: width }, (_, k) => sc.add(first, sc.int(k)));
  const roots = tree.map((i) => o.let("root", o.read(t.roots, i)));
  const depth = o.let("depth", o.read(t.depths, group));
  const from = o.let("rows", sc.mul(block, sc.int(rowBlock)));
  o.for("row", from, sc.min(sc.add(from, sc.int(rowBlock)), sc.dim(x.dims[0] as Dim)), (row) => {
    const nodes = roots.map((r) => o.cell("node", r));
    o.for("step", sc.int(0), depth, () => {
      for (const node of nodes) {
        const feature = o.read(t.links, node.value, sc.int(0));
        const isLow = sc.op("le", [o.read(x, row, feature), o.read(t.thresholds, node.value)]);
        node.set(sc.add(o.read(t.links, node.value, sc.int(1)), sc.cast(i32, isLow)));
      }
    });
    nodes.forEach((node, k) => {
      o.write(result, [row, tree[k] as Expr], o.read(t.values, node.value));
    });
  });
}

/** Tables of an example: two trees over the features 0 to 3, and one that is a leaf. */
function exampleTables(
  d: DType,
  result: DType,
): { readonly trees: number; readonly nodes: number; readonly result: DType; readonly dims: readonly number[]; readonly tables: ConstantData } {
  const leaf = (i: number): [number, number, number] => [0, i, Number.NaN];
  const nodes: [number, number, number][] = [[1, 1, 0.25], leaf(1), [3, 3, -0.5], [0, 5, 0.75], leaf(4), leaf(5), leaf(6), [2, 3, 0], leaf(8)];
  const table = (of: DType, at: (i: number) => Num): Uint8Array => hostToBytes(hostFrom(of, [nodes.length], at));
  const links = Int32Array.from(nodes.flatMap((n) => n.slice(0, 2)));
  const tables = packTrees(
    { roots: Int32Array.of(0, 7, 8, 2), links },
    table(d, (i) => nodes[i]?.[2] ?? 0),
    table(result, (i) => i * 3 - 7),
  );
  return { trees: 4, nodes: nodes.length, result, dims: [tables.byteLength], tables };
}

const walkTrees = defineOp({
  name: "walk_trees",
  doc: "Walks decision trees, each from its root to a leaf, for every row of x; the result has one column for each tree. At an inner node the walk goes to the node `child`, or to the one after it if the node's feature of the row is at most its threshold (a NaN is not). `tables` holds, one after another: the root of each tree (i32), feature and child of each node (i32[nodes, 2]), the thresholds (x's dtype), and what comes out at each node (`result`). A leaf is its own child and has a NaN as threshold. Nodes may be shared.",
  operands: ["x"],
  attrs: { trees: "int", nodes: "int", result: "dtype", dims: "dims", tables: "data" },
  constraints: [
    "C1: x is f32 or f64, [rows, features], and `result` a dtype of whole bytes.",
    "C2: `dims` is the size of `tables` in bytes, which are those of as many trees and nodes.",
    "C3: all walks stay within the tables, and end.",
    "C4: all features are columns of x.",
  ],
  infer({ operands: [x], attrs, fail }) {
    const t = x as TensorType;
    const [rows, features] = t.dims;
    if ((t.dtype !== f32 && t.dtype !== f64) || t.dims.length !== 2 || rows === undefined || attrs.result.bits < 8)
      return fail("C1", `expected a matrix of f32 or f64, and ${attrs.result} has ${attrs.result.bits} bits`);
    if (attrs.dims.length !== 1 || attrs.dims[0] !== attrs.tables.byteLength || splitTables(attrs, t.dtype) === null)
      return fail("C2", `${attrs.tables.byteLength} bytes for ${attrs.trees} trees with ${attrs.nodes} nodes`);
    const found = checked(attrs, t.dtype);
    if (typeof found === "string") return fail("C3", found);
    if (typeof features !== "number" || features < found.features) fail("C4", `${found.features} features are used, x has ${features}`);
    return [{ dtype: attrs.result, dims: [rows, attrs.trees] }];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    const t = x === undefined ? null : tablesOf(attrs, x.dtype);
    if (x === undefined || t === null || out === undefined) return [];
    const y = hostTensor(attrs.result, out.dims);
    const features = x.dims[1] as number;
    for (let i = 0; i < y.data.length; i++) {
      const row = Math.floor(i / attrs.trees);
      let node = t.roots[i % attrs.trees] as number;
      while (t.links[2 * node + 1] !== node) {
        const isLow = (x.data[row * features + (t.links[2 * node] as number)] as number) <= (t.thresholds.data[node] as number);
        node = (t.links[2 * node + 1] as number) + Number(isLow);
      }
      y.data[i] = t.values.data[node] as never;
    }
    return [y];
  },
  lower(c) {
    const { b, attrs } = c;
    const [x, result] = [c.operands[0], c.results[0]];
    const parts = x === undefined ? null : splitTables(attrs, x.dtype);
    if (x === undefined || result === undefined || parts === null) return;
    const found = checked(attrs, x.dtype);
    if (typeof found === "string") return;
    const width = Math.min(together, attrs.trees);
    const groups = Math.ceil(attrs.trees / width);
    const depths = Array.from({ length: groups }, (_, g) => {
      const from = Math.min(g * width, attrs.trees - width);
      return Math.max(...found.depths.slice(from, from + width));
    });
    const constant = (name: string, dtype: DType, dims: readonly number[], bytes: Uint8Array): Tensor =>
      b.tensor(`${result.name}.${name}`, dtype, dims, result.origin, inlineConstant(bytes));
    const tables = {
      roots: constant("roots", i32, [attrs.trees], parts.roots),
      links: constant("links", i32, [attrs.nodes, 2], parts.links),
      thresholds: constant("thresholds", x.dtype, [attrs.nodes], parts.thresholds),
      values: constant("values", attrs.result, [attrs.nodes], parts.values),
      depths: constant("depths", i32, [groups], bytesOf(Int32Array.from(depths))),
    };
    const rows = x.dims[0] as Dim;
    const steps = depths.reduce((n, d) => n + d, 0) / groups;
    const work = productOf([minDim(rows, rowBlock), Math.ceil(10 * width * (steps + 1))]);
    b.opaque(result.name, [groups, ceilDivDim(rows, rowBlock)], work, result.origin, (o, at) => walkBlock(o, c, tables, at));
  },
  examples: [
    { operands: [{ type: "f32[5, 4]", range: [-1, 1] }], attrs: exampleTables(f32, f32) },
    { operands: [{ type: "f64[70, 5]", range: [-1, 1] }], attrs: exampleTables(f64, i32) },
  ],
});

export const treeOps = [walkTrees] as const;

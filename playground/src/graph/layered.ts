import type { Layout, LayoutInput } from "./layout.ts";

/**
 * A layered drawing in near linear time, for graphs that are too large for the layout library: layers by longest path, order
 * within them by the mean of the neighbours, positions by least squares under that order (Sugiyama's three steps; the last one
 * by pooling adjacent violators, which is exact for a single layer).
 */

const gapX = 28;
const gapY = 44;
const sweeps = 6;

/** Nodes and bends of edges alike: what has a place in a layer. */
interface Grid {
  readonly layer: Int32Array;
  readonly width: Float64Array;
  readonly up: number[][];
  readonly down: number[][];
  readonly layers: number[][];
}

/** Lays out a graph without cycles (edges that would close one are ignored for the layers). */
export function layered(input: LayoutInput): Layout {
  const n = input.width.length;
  const edges = forwardEdges(n, input.edges);
  const layer = layersOf(n, edges);
  const { grid, trunks, starts } = withBends(input, edges, layer);
  order(grid);
  const x = positions(grid);
  const tops = layerTops(grid, input.height, n);
  const y = Float32Array.from(grid.layer, (l) => tops[l] ?? 0);
  const left = x.reduce((m, v, i) => Math.min(m, v - (grid.width[i] ?? 0) / 2), Number.POSITIVE_INFINITY);
  const through = (list: readonly number[]) => Float32Array.from(list.flatMap((v) => [(x[v] ?? 0) - left, y[v] ?? 0]));
  const points = edges.map(([, b], i) => through([starts[i] ?? b, b]));
  const xs = Float32Array.from({ length: n }, (_, i) => (x[i] ?? 0) - left);
  let width = 0;
  for (let i = 0; i < n; i++) width = Math.max(width, (xs[i] ?? 0) + (input.width[i] ?? 0) / 2);
  return {
    x: xs,
    y: y.slice(0, n),
    points,
    trunks: [...trunks].map(([from, t]) => ({ from, points: through([from, ...t]) })),
    width,
    height: (tops.at(-1) ?? 0) + gapY / 2,
    method: "layered",
  };
}

/** The edges as pairs, without loops and without those that lead back in a depth-first order. */
function forwardEdges(n: number, flat: Int32Array): [number, number][] {
  const out: number[][] = Array.from({ length: n }, () => []);
  const pairs: [number, number][] = [];
  for (let e = 0; e + 1 < flat.length; e += 2) {
    const [a, b] = [flat[e] as number, flat[e + 1] as number];
    pairs.push([a, b]);
    out[a]?.push(b);
  }
  const rank = postOrder(n, out);
  return pairs.map(([a, b]) => ((rank[a] ?? 0) > (rank[b] ?? 0) ? [a, b] : [b, a]));
}

/** Numbers of leaving each node in a depth-first walk: an edge that leads forward goes from a larger to a smaller one. */
function postOrder(n: number, out: readonly number[][]): Int32Array {
  const rank = new Int32Array(n).fill(-1);
  const next = new Int32Array(n);
  const seen = new Uint8Array(n);
  let count = 0;
  for (let root = 0; root < n; root++) {
    if (seen[root]) continue;
    const stack = [root];
    seen[root] = 1;
    while (stack.length > 0) {
      const v = stack[stack.length - 1] as number;
      const to = out[v]?.[next[v] as number];
      if (to === undefined) {
        rank[v] = count++;
        stack.pop();
        continue;
      }
      next[v] = (next[v] as number) + 1;
      if (seen[to]) continue;
      seen[to] = 1;
      stack.push(to);
    }
  }
  return rank;
}

/**
 * Longest path from the sources; then what reads one thing at most comes down to just above what first uses it, so that many
 * readers of one node (slices of a cache) stand where they are needed, and the way to them is one trunk.
 */
function layersOf(n: number, edges: readonly [number, number][]): Int32Array {
  const down: number[][] = Array.from({ length: n }, () => []);
  const waiting = new Int32Array(n);
  for (const [a, b] of edges) {
    if (a === b) continue;
    down[a]?.push(b);
    waiting[b] = (waiting[b] ?? 0) + 1;
  }
  const degree = waiting.slice();
  const layer = new Int32Array(n);
  const queue: number[] = [];
  for (let v = 0; v < n; v++) if (waiting[v] === 0) queue.push(v);
  for (let i = 0; i < queue.length; i++) {
    const v = queue[i] as number;
    for (const b of down[v] ?? []) {
      layer[b] = Math.max(layer[b] ?? 0, (layer[v] ?? 0) + 1);
      waiting[b] = (waiting[b] ?? 0) - 1;
      if (waiting[b] === 0) queue.push(b);
    }
  }
  for (const v of queue.reverse()) {
    if ((degree[v] ?? 0) > 1) continue;
    const first = (down[v] ?? []).reduce((m, b) => Math.min(m, layer[b] ?? 0), Number.POSITIVE_INFINITY);
    if (Number.isFinite(first)) layer[v] = Math.max(layer[v] ?? 0, first - 1);
  }
  return layer;
}

/**
 * What edges are drawn along: the trunk of each node (its bends, one in each layer up to the last one before the farthest node that
 * it leads to), and for every edge the node or bend that it begins at.
 */
interface Routes {
  readonly grid: Grid;
  readonly trunks: ReadonlyMap<number, readonly number[]>;
  readonly starts: readonly number[];
}

/** Adds the bends, so that long edges go round the boxes between. */
function withBends(input: LayoutInput, edges: readonly (readonly [number, number])[], layer: Int32Array): Routes {
  const n = input.width.length;
  const layerOf = Array.from(layer);
  const widths = Array.from(input.width);
  const up: number[][] = Array.from({ length: n }, () => []);
  const down: number[][] = Array.from({ length: n }, () => []);
  const link = (a: number, b: number) => {
    down[a]?.push(b);
    up[b]?.push(a);
  };
  const trunks = new Map<number, number[]>();
  const starts = edges.map(([a, b]) => {
    if (a === b) return a;
    const first = (layer[a] ?? 0) + 1;
    const needed = (layer[b] ?? 0) - first;
    const trunk = trunks.get(a) ?? [];
    if (needed > 0) trunks.set(a, trunk);
    while (trunk.length < needed) {
      const bend = layerOf.push(first + trunk.length) - 1;
      widths.push(8);
      up.push([]);
      down.push([]);
      link(trunk.at(-1) ?? a, bend);
      trunk.push(bend);
    }
    const start = needed > 0 ? (trunk[needed - 1] ?? a) : a;
    link(start, b);
    return start;
  });
  const layers: number[][] = [];
  layerOf.forEach((l, v) => {
    const list = layers[l] ?? [];
    layers[l] = list;
    list.push(v);
  });
  for (let l = 0; l < layers.length; l++) layers[l] ??= [];
  return { grid: { layer: Int32Array.from(layerOf), width: Float64Array.from(widths), up, down, layers }, trunks, starts };
}

/** Sorts each layer by the mean place of its neighbours, down and up in turns. */
function order(g: Grid): void {
  const place = new Float64Array(g.layer.length);
  const number = (list: readonly number[]) => list.forEach((v, i) => (place[v] = i / Math.max(1, list.length - 1)));
  for (const list of g.layers) number(list);
  for (let s = 0; s < sweeps; s++) {
    const [layers, near] = s % 2 === 0 ? [g.layers, g.up] : [[...g.layers].reverse(), g.down];
    for (const list of layers) {
      const key = new Map(list.map((v) => [v, mean(near[v] ?? [], place) ?? (place[v] as number)]));
      list.sort((a, b) => (key.get(a) ?? 0) - (key.get(b) ?? 0));
      number(list);
    }
  }
}

function mean(list: readonly number[], of: Float64Array): number | null {
  if (list.length === 0) return null;
  let sum = 0;
  for (const v of list) sum += of[v] as number;
  return sum / list.length;
}

function positions(g: Grid): Float64Array {
  const x = new Float64Array(g.layer.length);
  for (const list of g.layers) place(list, g, x, (_, i) => i * 200);
  for (let s = 0; s < sweeps + 2; s++) {
    const [layers, near] = s % 2 === 0 ? [g.layers, g.up] : [[...g.layers].reverse(), g.down];
    for (const list of layers) place(list, g, x, (v) => mean(near[v] ?? [], x) ?? (x[v] as number));
  }
  return x;
}

/** Puts a layer's members as near as can be (least squares) to where they want to be, in their order and without overlap. */
function place(list: readonly number[], g: Grid, x: Float64Array, wish: (v: number, i: number) => number): void {
  const shift: number[] = [];
  let at = 0;
  list.forEach((v, i) => {
    const before = list[i - 1];
    if (before !== undefined) at += ((g.width[before] ?? 0) + (g.width[v] ?? 0)) / 2 + gapX;
    shift.push(at);
  });
  // Blocks of members that touch: their common place is the mean of what they want.
  const blocks: { sum: number; count: number }[] = [];
  list.forEach((v, i) => {
    blocks.push({ sum: wish(v, i) - (shift[i] ?? 0), count: 1 });
    for (let k = blocks.length - 1; k > 0; k--) {
      const [a, b] = [blocks[k - 1], blocks[k]] as [{ sum: number; count: number }, { sum: number; count: number }];
      if (a.sum / a.count <= b.sum / b.count) break;
      blocks.splice(k - 1, 2, { sum: a.sum + b.sum, count: a.count + b.count });
    }
  });
  let i = 0;
  for (const b of blocks) for (let k = 0; k < b.count; k++, i++) x[list[i] as number] = b.sum / b.count + (shift[i] ?? 0);
}

/** The middle of each layer, and at the end where the last one ends. */
function layerTops(g: Grid, heights: Float32Array, n: number): number[] {
  const tops: number[] = [];
  let y = gapY / 2;
  for (const list of g.layers) {
    const h = list.reduce((m, v) => Math.max(m, v < n ? (heights[v] ?? 0) : 0), 0);
    tops.push(y + h / 2);
    y += h + gapY;
  }
  tops.push(y - gapY);
  return tops;
}

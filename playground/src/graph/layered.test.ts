import { describe, expect, test } from "vitest";
import type { Layout, LayoutInput } from "./layout.ts";
import { layered } from "./layered.ts";

/** A graph of boxes of one size. */
function graph(n: number, edges: readonly (readonly [number, number])[]): LayoutInput {
  return { width: new Float32Array(n).fill(100), height: new Float32Array(n).fill(40), edges: Int32Array.from(edges.flat()) };
}

/** Pairs of boxes that lie over one another. */
function overlaps(input: LayoutInput, l: Layout): number {
  const order = [...l.y.keys()].sort((a, b) => (l.y[a] as number) - (l.y[b] as number));
  let found = 0;
  order.forEach((a, k) => {
    for (let j = k + 1; j < order.length; j++) {
      const b = order[j] as number;
      if ((l.y[b] as number) - (l.y[a] as number) >= 40) break;
      if (Math.abs((l.x[a] as number) - (l.x[b] as number)) < ((input.width[a] as number) + (input.width[b] as number)) / 2 - 0.01) found++;
    }
  });
  return found;
}

/** Pseudo-random numbers in [0, 1). */
function source(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("the layered layout", () => {
  test("a chain is a straight line downwards", () => {
    const l = layered(
      graph(4, [
        [0, 1],
        [1, 2],
        [2, 3],
      ]),
    );
    expect(new Set(l.x).size).toBe(1);
    expect([...l.y]).toEqual([...l.y].sort((a, b) => a - b));
    expect(new Set(l.y).size).toBe(4);
  });

  test("edges lead downwards, and boxes do not overlap", () => {
    const random = source(7);
    const edges = Array.from({ length: 400 }, (_, i): [number, number] => [Math.floor(random() * (i + 1)), i + 1]);
    for (let k = 0; k < 150; k++) {
      const a = Math.floor(random() * 400);
      edges.push([a, a + 1 + Math.floor(random() * (400 - a))]);
    }
    const input = graph(401, edges);
    const l = layered(input);
    for (const [a, b] of edges) expect(l.y[a]).toBeLessThan(l.y[b] as number);
    expect(overlaps(input, l)).toBe(0);
    edges.forEach(([a, b], i) => {
      const p = l.points[i] as Float32Array;
      // An edge ends at its box, and begins at the other one or on its trunk.
      expect([p[2], p[3]]).toEqual([l.x[b], l.y[b]]);
      const trunk = l.trunks.find((t) => t.from === a)?.points ?? Float32Array.of(l.x[a] as number, l.y[a] as number);
      const starts = Array.from({ length: trunk.length / 2 }, (_, k) => [trunk[2 * k], trunk[2 * k + 1]]);
      expect(starts).toContainEqual([p[0], p[1]]);
    });
  });

  test("an edge over several layers goes round the boxes between", () => {
    const input = graph(4, [
      [0, 1],
      [1, 2],
      [2, 3],
      [0, 3],
    ]);
    const l = layered(input);
    const [trunk] = l.trunks;
    const xs = trunk?.points.filter((_, i) => i % 2 === 0).slice(1) ?? [];
    expect(xs.length).toBe(2);
    for (const x of xs) expect(Math.abs(x - (l.x[1] as number))).toBeGreaterThan(50);
  });

  test("cycles, loops and nodes without edges are no obstacle", () => {
    const input = graph(5, [
      [0, 1],
      [1, 0],
      [2, 2],
      [1, 3],
    ]);
    const l = layered(input);
    expect([...l.x, ...l.y].every(Number.isFinite)).toBe(true);
    expect(overlaps(input, l)).toBe(0);
    expect(layered(graph(0, [])).points).toEqual([]);
  });

  test("everything lies within the width and height that it tells", () => {
    const l = layered(
      graph(6, [
        [0, 1],
        [0, 2],
        [0, 3],
        [3, 4],
        [2, 5],
      ]),
    );
    for (const [i, x] of l.x.entries()) {
      expect(x - 50).toBeGreaterThanOrEqual(-0.01);
      expect(x + 50).toBeLessThanOrEqual(l.width + 0.01);
      expect((l.y[i] as number) + 20).toBeLessThanOrEqual(l.height);
    }
  });

  test("five thousand nodes with long edges are laid out", () => {
    const random = source(3);
    const edges: [number, number][] = [];
    for (let i = 1; i < 5000; i++) {
      edges.push([i - 1 - Math.floor(random() * Math.min(i, 4)), i]);
      if (i % 7 === 0 && i > 60) edges.push([i - 50, i]);
    }
    const input = graph(5000, edges);
    const l = layered(input);
    expect(overlaps(input, l)).toBe(0);
  });
});

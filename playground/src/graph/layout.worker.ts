import { graphlib, layout } from "@dagrejs/dagre";
import { layered } from "./layered.ts";
import type { Layout, LayoutInput, LayoutJob } from "./layout.ts";

self.onmessage = (e: MessageEvent<LayoutJob>) => {
  const { input, method } = e.data;
  self.postMessage(method === "dagre" ? byLibrary(input) : layered(input));
};

function byLibrary(input: LayoutInput): Layout {
  const g = new graphlib.Graph({ multigraph: true });
  g.setGraph({ rankdir: "TB", nodesep: 28, ranksep: 44, edgesep: 12 });
  g.setDefaultEdgeLabel(() => ({}));
  const n = input.width.length;
  for (let i = 0; i < n; i++) g.setNode(String(i), { width: input.width[i] ?? 0, height: input.height[i] ?? 0 });
  const names: [string, string, string][] = [];
  for (let k = 0; k + 1 < input.edges.length; k += 2) names.push([String(input.edges[k]), String(input.edges[k + 1]), String(k)]);
  for (const [a, b, name] of names) g.setEdge(a, b, {}, name);
  layout(g);
  const node = (i: number): { x?: number; y?: number } => g.node(String(i));
  const size = g.graph() as { width?: number; height?: number };
  return {
    x: Float32Array.from({ length: n }, (_, i) => node(i).x ?? 0),
    y: Float32Array.from({ length: n }, (_, i) => node(i).y ?? 0),
    points: names.map(([a, b, name]) => {
      const { points = [] } = g.edge(a, b, name) as { points?: { x: number; y: number }[] };
      return Float32Array.from(points.flatMap((p) => [p.x, p.y]));
    }),
    trunks: [],
    width: size.width ?? 0,
    height: size.height ?? 0,
    method: "dagre",
  };
}

import type { GraphView, NodeView } from "../../../src/explorer/types.ts";
import type { LayoutInput } from "./layout.ts";

/** What kind of work a node is: decides its colour. */
export type Family = "port" | "product" | "elementwise" | "reduce" | "move" | "control" | "constant" | "other";

const families: readonly (readonly [RegExp, Family])[] = [
  [/^(convolution|dot|attention|einsum)/, "product"],
  [/^(reduce|softmax|layer_norm|rms_norm|batch_norm|cumulative|arg|reduce_window|sort|top)/, "reduce"],
  [/^(reshape|transpose|broadcast|concat|slice|pad|gather|scatter|reverse|bitcast|refine)/, "move"],
  [/^(if|loop|scan|while|require|bind_size)/, "control"],
];

export const familyNames: Readonly<Record<Family, string>> = {
  port: "input, output",
  product: "products and convolutions",
  elementwise: "element by element",
  reduce: "reductions",
  move: "moves data",
  control: "control flow",
  constant: "constant",
  other: "other",
};

/** A node as it is drawn. */
export interface Box {
  readonly node: NodeView;
  readonly title: string;
  readonly subtitle: string;
  readonly family: Family;
}

/** A graph ready to be laid out: without constants and what is made of them alone, unless they are asked for. */
export interface Scene {
  readonly boxes: readonly Box[];
  /** From box to box; `body` leads from what a region gives to the op that it belongs to. */
  readonly edges: readonly { readonly from: number; readonly to: number; readonly body: boolean; readonly label: string }[];
  /** Boxes that a box reads, and those that read it. */
  readonly before: readonly (readonly number[])[];
  readonly after: readonly (readonly number[])[];
  readonly input: LayoutInput;
}

const height = 42;
const padding = 14;

function familyOf(node: NodeView): Family {
  if (node.kind === "constant") return "constant";
  if (node.kind !== "op") return "port";
  return families.find(([pattern]) => pattern.test(node.op))?.[1] ?? "elementwise";
}

/** The type that a node gives, short. */
function shapeText(node: NodeView): string {
  const [first, ...more] = node.values;
  if (first === undefined) return "";
  const text = `${first.dtype} ${first.dims.join("×")}`.trim();
  return more.length === 0 ? text : `${text} + ${more.length} more`;
}

/** @param measure widths of texts: of the title (large) and the line below it */
export function sceneOf(g: GraphView, constants: boolean, measure: (text: string, large: boolean) => number): Scene {
  const hidden = constants ? new Set<number>() : fixedNodes(g);
  const kept = g.nodes.filter((n) => !hidden.has(n.id));
  const place = new Map(kept.map((n, i) => [n.id, i]));
  const boxes = kept.map((node): Box => ({ node, title: short(node.op, 34), subtitle: short(shapeText(node), 40), family: familyOf(node) }));
  const edges: { from: number; to: number; body: boolean; label: string }[] = [];
  const seen = new Set<string>();
  const add = (a: number, b: number, body: boolean, label: string) => {
    const [from, to] = [place.get(a), place.get(b)];
    if (from === undefined || to === undefined || seen.has(`${from},${to}`)) return;
    seen.add(`${from},${to}`);
    edges.push({ from, to, body, label });
  };
  for (const e of g.edges) {
    const v = g.nodes[e.from]?.values[e.value];
    add(e.from, e.to, false, v === undefined ? "" : `${v.dtype} ${v.dims.join("×")}`);
  }
  for (const n of kept) if (n.kind === "result" && n.parent !== null) add(n.id, n.parent.node, true, "");
  const before: number[][] = boxes.map(() => []);
  const after: number[][] = boxes.map(() => []);
  for (const e of edges) {
    before[e.to]?.push(e.from);
    after[e.from]?.push(e.to);
  }
  const input = {
    width: Float32Array.from(boxes, (b) => Math.max(76, measure(b.title, true), measure(b.subtitle, false)) + 2 * padding),
    height: new Float32Array(boxes.length).fill(height),
    edges: Int32Array.from(edges.flatMap((e) => [e.from, e.to])),
  };
  return { boxes, edges, before, after, input };
}

/** Constants, and what is made of nothing but constants: weights on their way to where they are used. */
function fixedNodes(g: GraphView): Set<number> {
  const operands: number[][] = g.nodes.map(() => []);
  for (const e of g.edges) operands[e.to]?.push(e.from);
  const regions = new Set(g.nodes.map((n) => n.parent?.node));
  const fixed = new Set<number>();
  // Nodes are in order, so that operands have been seen.
  for (const n of g.nodes) {
    const from = operands[n.id] ?? [];
    const made = n.kind === "op" && from.length > 0 && !regions.has(n.id) && from.every((f) => fixed.has(f));
    if (n.kind === "constant" || made) fixed.add(n.id);
  }
  return fixed;
}

function short(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

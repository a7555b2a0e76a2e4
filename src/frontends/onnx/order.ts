import { namesRead } from "./scopes.ts";
import type { AttributeProto, GraphProto, NodeProto } from "./proto.ts";

/**
 * The graph with its nodes in an order in which each reads only what stands before it. ONNX asks models for that, and some
 * tools write them in another order. The same graph when it is in order; nodes of a cycle, or that read what is defined
 * nowhere, stay behind the others, for the check of scopes to name. Nested graphs are ordered too.
 */
export function inOrder(graph: GraphProto): GraphProto {
  const nodes = orderedNodes(graph.nodes).map(withOrderedSubgraphs);
  return nodes.every((n, i) => n === graph.nodes[i]) ? graph : { ...graph, nodes };
}

function withOrderedSubgraphs(node: NodeProto): NodeProto {
  let attributes: Map<string, AttributeProto> | null = null;
  for (const [name, a] of node.attributes) {
    const g = a.g === null ? null : inOrder(a.g);
    if (g === a.g) continue;
    attributes ??= new Map(node.attributes);
    attributes.set(name, { ...a, g });
  }
  return attributes === null ? node : { ...node, attributes };
}

function orderedNodes(nodes: readonly NodeProto[]): readonly NodeProto[] {
  const maker = new Map<string, number>();
  nodes.forEach((n, i) => {
    for (const o of n.outputs) if (o !== "" && !maker.has(o)) maker.set(o, i);
  });
  const needs = nodes.map((n, i) => {
    const made = [...namesRead([n], [])].map((name) => maker.get(name)).filter((m) => m !== undefined && m !== i);
    return new Set(made as number[]);
  });
  if (needs.every((set, i) => [...set].every((m) => m < i))) return nodes;
  return byNeeds(nodes, needs);
}

/** Every node after those that it needs, else as in the file. A cycle is cut somewhere. */
function byNeeds(nodes: readonly NodeProto[], needs: readonly ReadonlySet<number>[]): readonly NodeProto[] {
  const out: NodeProto[] = [];
  const seen = new Uint8Array(nodes.length);
  const taken = new Uint8Array(nodes.length);
  nodes.forEach((_, first) => {
    const pending = [first];
    for (let i = pending.at(-1); i !== undefined; i = pending.at(-1)) {
      const missing = seen[i] === 0 ? [...(needs[i] as ReadonlySet<number>)].filter((m) => seen[m] === 0) : [];
      seen[i] = 1;
      if (missing.length > 0) pending.push(...missing);
      else {
        pending.pop();
        if (taken[i] === 0) out.push(nodes[i] as NodeProto);
        taken[i] = 1;
      }
    }
  });
  return out;
}

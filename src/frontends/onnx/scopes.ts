import { UserError } from "../../base/errors.ts";
import type { FunctionProto, GraphProto, NodeProto } from "./proto.ts";

/** The subgraphs in a node's attributes. */
export function subgraphs(node: NodeProto): GraphProto[] {
  return [...node.attributes.values()].flatMap((a) => (a.g === null ? [] : [a.g]));
}

/** A node as messages name it. */
export function nodeLabel(node: NodeProto): string {
  return node.name === "" ? `${node.opType}:${node.outputs.find((o) => o !== "") ?? ""}` : node.name;
}

/** Names visible at a place: those of a graph, then those of the graphs around it. */
class Names {
  private readonly own = new Set<string>();
  private readonly outer: Names | null;
  constructor(outer: Names | null) {
    this.outer = outer;
  }
  has(name: string): boolean {
    for (let s: Names | null = this; s !== null; s = s.outer) if (s.own.has(name)) return true;
    return false;
  }
  define(name: string, by: string): void {
    if (this.own.has(name)) throw new UserError("invalid-model", `value '${name}' is defined twice, the second time by ${by}`);
    this.own.add(name);
  }
}

/**
 * Checks that every name that a node or an output reads is defined before, in its graph or in one around it, and once only.
 * @throws UserError `undefined-value`, `invalid-model`
 */
export function checkScopes(graph: GraphProto): void {
  checkGraph(graph, null);
}

/** The same for a function's body, which sees nothing but its own inputs. */
export function checkFunction(f: FunctionProto): void {
  const names = new Names(null);
  for (const i of f.inputs) names.define(i, `function ${f.name}`);
  checkNodes(f.nodes, names);
  checkOutputs(f.outputs, names, `function ${f.name}`);
}

function checkGraph(graph: GraphProto, outer: Names | null): void {
  const names = new Names(outer);
  for (const i of graph.inputs) names.define(i.name, "an input");
  // Before IR version 4 an initializer had to be listed among the inputs, too: then it is that input's value.
  const inputs = new Set(graph.inputs.map((i) => i.name));
  for (const name of [...graph.initializers.map((t) => t.name), ...graph.sparseInitializers])
    if (!inputs.has(name)) names.define(name, "an initializer");
  checkNodes(graph.nodes, names);
  checkOutputs(
    graph.outputs.map((o) => o.name),
    names,
    `graph '${graph.name}'`,
  );
}

function checkNodes(nodes: readonly NodeProto[], names: Names): void {
  for (const node of nodes) {
    for (const name of node.inputs) {
      if (name !== "" && !names.has(name))
        throw new UserError(
          "undefined-value",
          `node '${nodeLabel(node)}' (${node.opType}) reads '${name}', which no input, initializer or earlier node defines`,
        );
    }
    for (const g of subgraphs(node)) checkGraph(g, names);
    for (const name of node.outputs) if (name !== "") names.define(name, `node '${nodeLabel(node)}'`);
  }
}

function checkOutputs(outputs: readonly string[], names: Names, of: string): void {
  for (const name of outputs) if (!names.has(name)) throw new UserError("undefined-value", `output '${name}' of ${of} is defined nowhere`);
}

/** Names that somebody reads: nodes, nested graphs and outputs. */
export function namesRead(nodes: readonly NodeProto[], outputs: readonly string[], into: Set<string> = new Set(outputs)): ReadonlySet<string> {
  for (const node of nodes) {
    for (const i of node.inputs) into.add(i);
    for (const g of subgraphs(node)) {
      for (const o of g.outputs) into.add(o.name);
      namesRead(g.nodes, [], into);
    }
  }
  return into;
}

/** Calls `visit` with every node, those of nested graphs included. */
export function forEachNode(nodes: readonly NodeProto[], visit: (node: NodeProto) => void): void {
  for (const node of nodes) {
    visit(node);
    for (const g of subgraphs(node)) forEachNode(g.nodes, visit);
  }
}

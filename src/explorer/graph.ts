import type { Dim } from "../base/dim.ts";
import type { GraphFunction, Op, Region, Value } from "../graph/ir.ts";
import { attributeTexts } from "../graph/print.ts";
import type { EdgeView, GraphView, NodeKind, NodeView, ValueView } from "./types.ts";

/** A graph as nodes and edges: constants are nodes too, regions lie in the node that holds them. */
export function viewGraph(f: GraphFunction, step: number): GraphView {
  const v = new GraphViewer();
  v.ports("input", f.params, null);
  v.ops(f.ops, null);
  f.results.forEach((r, i) => {
    v.output(r, f.resultNames[i] ?? r.name);
  });
  return { step, nodes: v.nodes, edges: v.edges };
}

/** A dimension as a number, or as the text of an expression. */
export const viewDim = (d: Dim): number | string => (typeof d === "number" ? d : d.toString());

function viewValue(v: Value): ValueView {
  return { name: v.name, dtype: v.dtype.name, dims: v.dims.map(viewDim) };
}

class GraphViewer {
  readonly nodes: NodeView[] = [];
  readonly edges: EdgeView[] = [];
  /** The node that gives a value, and which of its values it is. */
  private readonly givers = new Map<Value, { readonly node: number; readonly value: number }>();

  ports(kind: NodeKind, values: readonly Value[], parent: NodeView["parent"]): void {
    for (const v of values) {
      const id = this.add(kind, v.name, [v], {}, parent, v.origin);
      this.givers.set(v, { node: id, value: 0 });
    }
  }

  output(v: Value, name: string): void {
    const id = this.add("output", name, [v], {}, null, []);
    this.connect(v, id, 0);
  }

  /** Ops of a region, and those of their regions after them. */
  ops(list: readonly Op[], parent: NodeView["parent"]): void {
    for (const op of list) {
      const kind = op.def.name === "constant" ? "constant" : "op";
      const id = this.add(kind, op.def.name, op.results, attributeTexts(op), parent, op.results[0]?.origin ?? []);
      op.operands.forEach((v, i) => {
        this.connect(v, id, i);
      });
      op.results.forEach((v, value) => {
        this.givers.set(v, { node: id, value });
      });
      op.regions.forEach((r, region) => {
        this.region(r, { node: id, region });
      });
    }
  }

  private region(r: Region, parent: NodeView["parent"]): void {
    this.ports("parameter", r.params, parent);
    this.ops(r.ops, parent);
    for (const v of r.results) this.connect(v, this.add("result", v.name, [v], {}, parent, []), 0);
  }

  private add(
    kind: NodeKind,
    op: string,
    values: readonly Value[],
    attrs: Readonly<Record<string, string>>,
    parent: NodeView["parent"],
    origins: readonly string[],
  ): number {
    const id = this.nodes.length;
    this.nodes.push({ id, kind, op, values: values.map(viewValue), attrs, origins, parent });
    return id;
  }

  private connect(v: Value, to: number, operand: number): void {
    const from = this.givers.get(v);
    if (from !== undefined) this.edges.push({ from: from.node, to, value: from.value, operand });
  }
}

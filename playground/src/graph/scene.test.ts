import { expect, test } from "vitest";
import type { EdgeView, GraphView, NodeKind, NodeView } from "../../../src/explorer/types.ts";
import { sceneOf } from "./scene.ts";

function node(id: number, kind: NodeKind, op: string, parent: NodeView["parent"] = null): NodeView {
  return { id, kind, op, values: [{ name: `v${id}`, dtype: "f32", dims: [2, "n"] }], attrs: {}, origins: [op], parent };
}
const edge = (from: number, to: number, operand = 0): EdgeView => ({ from, to, value: 0, operand });
const measure = (text: string) => text.length * 7;

/** x + broadcast(constant), then an `if` whose region gives a value. */
const graph: GraphView = {
  step: 0,
  nodes: [
    node(0, "input", "x"),
    node(1, "constant", "bias"),
    node(2, "op", "broadcast"),
    node(3, "op", "add"),
    node(4, "op", "exp", { node: 6, region: 0 }),
    node(5, "result", "", { node: 6, region: 0 }),
    node(6, "op", "if"),
    node(7, "output", "y"),
  ],
  edges: [edge(0, 3), edge(1, 2), edge(2, 3, 1), edge(3, 4), edge(4, 5), edge(3, 6), edge(6, 7)],
};

test("constants and what is made of them alone are left out, unless they are asked for", () => {
  const ops = (constants: boolean) => sceneOf(graph, constants, measure).boxes.map((b) => b.node.id);
  expect(ops(false)).toEqual([0, 3, 4, 5, 6, 7]);
  expect(ops(true)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test("what a region gives leads to the op that the region belongs to", () => {
  const scene = sceneOf(graph, false, measure);
  const [from, to] = [5, 6].map((id) => scene.boxes.findIndex((b) => b.node.id === id));
  expect(scene.edges.filter((e) => e.body)).toEqual([{ from, to, body: true, label: "" }]);
  expect(scene.before[to as number]).toContain(from);
});

test("boxes are as wide as their texts, and tell the type", () => {
  const { boxes, input } = sceneOf(graph, false, measure);
  expect(boxes[0]?.subtitle).toBe("f32 2×n");
  boxes.forEach((b, i) => {
    expect(input.width[i]).toBeGreaterThan(Math.max(measure(b.title), measure(b.subtitle)));
  });
});

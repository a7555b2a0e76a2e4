import { describe, expect, it } from "vitest";
import { failure, graph, model } from "../../../test/support/onnx.ts";
import { inOrder } from "./order.ts";
import { decodeModel } from "./proto.ts";

const read = (nodes: Parameters<typeof model>[0]["nodes"], outputs: readonly string[]) =>
  decodeModel(model({ nodes, outputs, inputs: { x: ["f32", [2]], c: ["bool", []] } })).graph;

describe("the order of nodes", () => {
  it("leaves a graph that is in order as it is", () => {
    const g = read(
      [
        { op: "Relu", in: ["x"], out: ["a"] },
        { op: "Neg", in: ["a"], out: ["b"] },
      ],
      ["b"],
    );
    expect(inOrder(g)).toBe(g);
  });

  it("puts nodes behind those that they read, through subgraphs too", () => {
    const branch = graph({ nodes: [{ op: "Neg", in: ["late"], out: ["r"] }], outputs: ["r"] });
    const g = read(
      [
        { op: "If", in: ["c"], out: ["y"], attrs: { then_branch: { graph: branch }, else_branch: { graph: branch } } },
        { op: "Relu", in: ["later"], out: ["late"] },
        { op: "Abs", in: ["x"], out: ["later"] },
        { op: "Exp", in: ["y"], out: ["z"] },
      ],
      ["z"],
    );
    expect(inOrder(g).nodes.map((n) => n.opType)).toEqual(["Abs", "Relu", "If", "Exp"]);
  });

  it("orders nested graphs", () => {
    const branch = graph({
      nodes: [
        { op: "Neg", in: ["q"], out: ["r"] },
        { op: "Relu", in: ["x"], out: ["q"] },
      ],
      outputs: ["r"],
    });
    const g = read([{ op: "If", in: ["c"], out: ["y"], attrs: { then_branch: { graph: branch }, else_branch: { graph: branch } } }], ["y"]);
    expect(
      inOrder(g)
        .nodes[0]?.attributes.get("then_branch")
        ?.g?.nodes.map((n) => n.opType),
    ).toEqual(["Relu", "Neg"]);
  });

  it("leaves a cycle to the check of names", () => {
    const e = failure({
      inputs: { x: ["f32", [2]] },
      nodes: [
        { op: "Add", in: ["x", "b"], out: ["a"] },
        { op: "Relu", in: ["a"], out: ["b"] },
      ],
      outputs: ["b"],
    });
    expect(e.code).toBe("undefined-value");
  });

  it("does so for long chains", () => {
    const nodes = Array.from({ length: 20_000 }, (_, i) => ({ op: "Relu", in: [i === 0 ? "x" : `v${i}`], out: [`v${i + 1}`] })).reverse();
    const ordered = inOrder(read(nodes, ["v20000"]));
    expect(ordered.nodes.map((n) => n.outputs[0])).toEqual(nodes.map((n) => n.out[0] ?? "").reverse());
  });
});

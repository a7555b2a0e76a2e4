import { expect, test } from "vitest";
import { Reader } from "../base/text.ts";
import { Scalars } from "../scalar/scalars.ts";
import { GraphBuilder } from "./builder.ts";
import { lowerGraph } from "./lower.ts";
import type { AnyAttrs, OpDef } from "./op.ts";
import { opaqueOps } from "./opaque.ts";
import { decomposeComposites } from "./passes/decompose.ts";
import { graphOps } from "./registry.ts";

/** Does an example of the op become an opaque step? */
function makesOpaque(def: OpDef, example: OpDef["examples"][0]): boolean {
  const g = new GraphBuilder();
  const operands = example.operands.map((o, i) => {
    const r = new Reader(o.type);
    return g.param(`p${i}`, { dtype: r.dtype(), dims: r.list("[", "]", () => r.dim()) });
  });
  const graph = g.finish(def.name, [], g.op(def.name, operands, example.attrs as AnyAttrs));
  return lowerGraph(decomposeComposites(graph), new Scalars(null)).kernels.some((k) => k.control?.kind === "opaque");
}

test("the ops that lower to opaque steps are those of the list", () => {
  const found = graphOps.filter((def) => def.examples.some((e) => makesOpaque(def, e))).map((def) => def.name);
  expect(found.toSorted()).toEqual(Object.keys(opaqueOps).toSorted());
});

import type { NodeContext, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";

/** A branch is taken while importing when the condition follows from sizes and constants. */
function ifOp(c: NodeContext): readonly Operand[] {
  const [condition] = c.input(0).numbers ?? c.unsupported("a condition that is computed from the model's data (both branches are needed)");
  return c.inlineGraph(c.graph(condition === 0 ? "else_branch" : "then_branch"));
}

export const controlOps: OpTable = { If: { since: 7, map: ifOp } };

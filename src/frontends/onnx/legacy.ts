import type { GraphBuilder } from "../../graph/builder.ts";
import { Operand, dataOperand } from "./operand.ts";
import type { NodeProto } from "./proto.ts";

// Opset 6, which older exporters of PyTorch wrote, differs from opset 7 in how operands of different shapes fit together,
// and in Upsample. Mappings are written for opset 7 on; here operands become what those expect. Opsets 1 to 5 are read as
// opset 6 is: most of what it changed was to take away an attribute about where results may be stored.

/** Ops with two operands that opset 6 broadcast by the attributes `broadcast` and `axis`. */
const broadcasting = new Set(["Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"]);

/** Ops whose attributes opset 7 changed: a mapping does not fit. */
const changedInOpset7: ReadonlySet<string> = new Set(["Upsample"]);

/** Ops that mean something else, or are given otherwise, before an opset below 7: that opset. */
const firstRead: Readonly<Record<string, number>> = {
  Cast: 6,
  Concat: 4,
  GRU: 3,
  GlobalLpPool: 2,
  LpPool: 2,
  Pad: 2,
  Reshape: 5,
  Selu: 6,
  Split: 2,
  Tile: 6,
};

/** The first opset of ONNX's own in which an op is read, if its mapping is written for opset 7 on. */
export function oldestRead(opType: string): number {
  return changedInOpset7.has(opType) ? 7 : (firstRead[opType] ?? 1);
}

/** The operands of a node of opsets before 7 as its op takes them from opset 7 on. */
export function modernOperands<T>(g: GraphBuilder, node: NodeProto, inputs: readonly (T | Operand)[]): readonly (T | Operand)[] {
  const [x, y] = inputs;
  if (!(x instanceof Operand && y instanceof Operand)) return inputs;
  const start = broadcastAxis(node, x, y);
  const missing = start === null ? 0 : x.rank - start - y.rank;
  if (missing <= 0) return inputs;
  return [x, dataOperand(g.reshape(y.value, [...y.dims, ...new Array<number>(missing).fill(1)])), ...inputs.slice(2)];
}

/** The dimension of the first operand where the second one's dims start; null where they end together. */
function broadcastAxis(node: NodeProto, x: Operand, y: Operand): number | null {
  // One slope for each channel.
  if (node.opType === "PRelu") return y.rank === 1 && x.rank > 1 && y.dims[0] !== 1 ? 1 : null;
  const axis = node.attributes.get("axis");
  if (!broadcasting.has(node.opType) || axis === undefined || node.attributes.get("broadcast")?.i !== 1n) return null;
  const a = Number(axis.i);
  return a < 0 ? a + x.rank : a;
}

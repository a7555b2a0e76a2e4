import { createHash } from "node:crypto";
import type { Compiled } from "../../compile.ts";
import { printProgram } from "../../loop/print.ts";

/** Constants are read in pieces of this many bytes. */
const pieceBytes = 1 << 22;

type Tensor = Compiled["weights"][number];

/**
 * Hash of all that decides what a compiled model's weights are: where each lies, the bytes of the model's own constants, and
 * the programs that compute the others. It takes one pass over the constants, far less than computing and writing them.
 */
export function weightsKey(c: Compiled): string {
  const hash = createHash("sha256");
  const add = (t: Tensor): void => {
    const { data } = t;
    hash.update(`${data?.byteLength ?? "computed"};`);
    for (let at = 0; data !== null && at < data.byteLength; at += pieceBytes) hash.update(data.read(at, Math.min(pieceBytes, data.byteLength - at)));
  };
  const slots = new Map(c.weights.map((t, i) => [t, i]));
  c.weights.forEach((t, i) => {
    const slot = c.program.weightSlots[i];
    hash.update(`${slot?.offset},${slot?.bytes}:`);
    add(t);
  });
  for (const p of c.prepare) {
    hash.update(printProgram(p.program));
    p.inputs.forEach(add);
    hash.update(`to ${p.outputs.map((t) => slots.get(t)).join()};`);
  }
  return hash.digest("hex");
}

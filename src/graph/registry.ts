import { InternalError } from "../base/errors.ts";
import type { OpDef } from "./op.ts";
import { bitOps } from "./ops/bits.ts";
import { compositeOps } from "./ops/composite.ts";
import { contractionOps } from "./ops/contraction.ts";
import { controlOps } from "./ops/control.ts";
import { cumulativeOps } from "./ops/cumulative.ts";
import { elementwiseOps } from "./ops/elementwise.ts";
import { indexingOps } from "./ops/indexing.ts";
import { packedOps } from "./ops/packed.ts";
import { reductionOps } from "./ops/reduction.ts";
import { selectionOps } from "./ops/selection.ts";
import { shapeOps } from "./ops/shape.ts";
import { sortingOps } from "./ops/sorting.ts";
import { treeOps } from "./ops/trees.ts";
import { windowOps } from "./ops/windows.ts";

/** Every graph op, by family. */
export const graphOps: readonly OpDef[] = [
  ...elementwiseOps,
  ...shapeOps,
  ...indexingOps,
  ...bitOps,
  ...contractionOps,
  ...packedOps,
  ...reductionOps,
  ...windowOps,
  ...cumulativeOps,
  ...sortingOps,
  ...selectionOps,
  ...treeOps,
  ...controlOps,
  ...compositeOps,
] as unknown as readonly OpDef[];

const byName = new Map(graphOps.map((o) => [o.name, o]));

/** @throws InternalError for a name that no op has */
export function findOp(name: string): OpDef {
  const op = byName.get(name);
  if (op === undefined) throw new InternalError("graph-op", `there is no graph op '${name}'`);
  return op;
}
export function hasOp(name: string): boolean {
  return byName.has(name);
}
